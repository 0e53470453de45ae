"""A vault's failures and their causes: one error for stores and keys, each of which gives it a code of its own."""

from typing import Literal

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
    "missing",  # there is no such thing there
    "conflict",  # check-and-set: another version than the one that was to be replaced
]


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
        kinds: dict[Kind, type[DaemonError]] = {"locked": KeyLockedError, "missing": KeyMissingError}
        return kinds.get(self.kind, KeyUnavailableError)(self.message, self.hint)
