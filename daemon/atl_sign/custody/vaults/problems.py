"""A vault's failures and their causes: one error for stores and keys, each of which gives it a code of its own."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import (
    DaemonError,
    KeyLockedError,
    KeyMissingError,
    KeyUnavailableError,
    StoreLockedError,
    StoreUnavailableError,
)

Kind = Literal[
    "unavailable",  # it did not answer, or not as a vault does
    "locked",  # it takes our login no more, or there is none
    "denied",  # the login's policy does not allow the call
    "absent",  # the mount has nothing under that name
    "missing",  # the mount itself is not there, or the key
    "conflict",  # check-and-set: another version than the one that was to be replaced
]


_SECRET_FIELDS = frozenset({"ciphertext", "input", "item", "jwt", "role_id", "secret_id"})
_PIECE = re.compile(r"[\w.+/=-]{16,}", re.ASCII)  # longer than every word of a vault's own refusals


class VaultError(Exception):
    """A call that came to nothing."""

    def __init__(self, kind: Kind, message: str, hint: str | None = None, *, was_sent: bool = True) -> None:
        """
        Say what happened.

        Args:
            kind: as in `Kind`.
            message: thing and state, without what a vault says of secrets.
            hint: what to do.
            was_sent: whether the vault may have done what it was asked for.
        """
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.was_sent = was_sent

    def for_store(self) -> DaemonError:
        """Return the error of a store."""
        return (StoreLockedError if self.kind == "locked" else StoreUnavailableError)(self.message, self.hint)

    def for_key(self) -> DaemonError:
        """Return the error of a key."""
        kinds: dict[Kind, type[DaemonError]] = {"locked": KeyLockedError, "missing": KeyMissingError, "absent": KeyMissingError}
        return kinds.get(self.kind, KeyUnavailableError)(self.message, self.hint)


def words_of(answer: Mapping[str, Any]) -> str:
    """Return the words of a vault's refusal on one line, as far as they can be printed; "" when there are none."""
    errors = answer.get("errors")
    words = "; ".join(each for each in errors if isinstance(each, str)) if isinstance(errors, list) else ""
    return "".join(char if char.isprintable() else " " for char in words)[:300].strip()


def repeats_secret(content: bytes, token: Secret | None, body: Mapping[str, Any] | None) -> bool:
    """Tell whether *content*, a refusal, has a piece of what was sent with it: of the *token*, or of a secret in the *body*."""
    secrets = [*_secrets_in(body or {}), "" if token is None else token.reveal()]
    return any(piece.encode("ascii") in content for secret in secrets for piece in _PIECE.findall(secret))


def _secrets_in(body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        if isinstance(value, dict):
            yield from _secrets_in(value)
        elif isinstance(value, str) and name in _SECRET_FIELDS:
            yield value
