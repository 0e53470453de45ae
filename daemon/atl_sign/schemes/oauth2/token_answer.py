"""
The answer of a token endpoint: tokens, or the kind of its failure.

The body decides, not the status: providers differ in that, and a proxy in between has statuses of its own.
Source: RFC 6749 §5; RFC 8628 §3.5; facts oauth2.md section 11.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from atl_sign.base.credentials import Secret
from atl_sign.providers.answer import Answer

Asked = Literal["code", "refresh", "device"]  # with what tokens were asked for
# dead: the grant has ended, or another refresh was faster; expired: the code came too late; client: the client's secret or its
# registration is wrong; request: our request, or an answer that nobody can read; passing: the same may work later; pending,
# slow_down and denied: of a device whose user has not answered, or has refused.
Kind = Literal["dead", "expired", "client", "request", "passing", "pending", "slow_down", "denied"]

LIFETIME_S_MAX = 10 * 365 * 86_400.0  # a greater one is taken for this

_PASSING_STATUSES = frozenset({408, 429})
_KINDS: Mapping[str, Kind] = {
    "invalid_grant": "dead",
    "bad_refresh_token": "dead",  # GitHub
    "bad_verification_code": "expired",  # GitHub
    "expired_token": "expired",
    "incorrect_device_code": "expired",  # GitHub
    "invalid_client": "client",
    "unauthorized_client": "client",
    "incorrect_client_credentials": "client",  # GitHub
    "device_flow_disabled": "client",  # GitHub
    "application_suspended": "client",  # GitHub
    "temporarily_unavailable": "passing",
    "server_error": "passing",
    "authorization_pending": "pending",
    "slow_down": "slow_down",
}
_WORD = re.compile(r"[a-z0-9_.-]{1,64}")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1: nothing else can stand in the header


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as they were given."""

    access: Secret
    refresh: Secret | None  # None: the one before stays, if there is one
    lifetime_s: float | None  # of the access token, from before the request; None: the provider does not say
    scopes: frozenset[str] | None  # None: those that were asked for


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there are none."""

    kind: Kind
    word: str | None = None  # the provider's error code


def read_token_answer(answer: Answer, asked: Asked, late_code_words: Collection[str] = ()) -> Tokens | Failure:
    """
    Return what *answer* says.

    Args:
        answer: the token endpoint's, read to its end.
        asked: with what tokens were asked for.
        late_code_words: further error codes by which this provider says that a code came too late.
    """
    fields = answer.json_object
    if fields is None:
        return Failure("passing" if answer.is_html else _kind_of(answer.status))
    word = fields.get("error")
    if word is not None:
        return _read_failure(answer.status, word, str(fields.get("error_description", "")), asked, late_code_words)
    kind = _kind_of(answer.status)
    return Failure(kind) if kind == "passing" else _read_tokens(fields)


def _kind_of(status: int) -> Kind:
    """Return the kind of a failure of which the body says nothing."""
    return "passing" if status >= 500 or status in _PASSING_STATUSES else "request"


def read_word(value: object) -> str | None:
    """Return *value*, an error code that a server chose, when it is one that can be shown."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _read_failure(status: int, word: object, description: str, asked: Asked, late_code_words: Collection[str]) -> Failure:
    word = read_word(word)
    if word is None:
        return Failure(_kind_of(status))
    if asked == "code" and word in late_code_words:
        return Failure("expired", word)
    if asked == "refresh" and (
        (word == "unauthorized_client" and status == 403)  # Atlassian Cloud
        or (word == "invalid_request" and "refresh_token" in description)  # Bitbucket Cloud's old server
    ):
        return Failure("dead", word)
    if word == "access_denied":  # to a device, the user's own word; else Atlassian Cloud's for a wrong secret
        return Failure("denied" if asked == "device" else "client", word)
    kind = _KINDS.get(word, _kind_of(status))
    if asked != "device" and kind in ("pending", "slow_down"):  # nobody waits for a user there
        kind = _kind_of(status)
    return Failure(kind, word)


def _read_tokens(fields: Mapping[str, Any]) -> Tokens | Failure:
    access, refresh = fields.get("access_token"), fields.get("refresh_token")
    kind = fields.get("token_type", "bearer")
    if not isinstance(access, str) or _BEARER.fullmatch(access) is None:
        return Failure("request")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return Failure("request")
    if refresh is not None and not (isinstance(refresh, str) and refresh.isascii() and refresh.isprintable() and refresh):
        return Failure("request")
    return Tokens(
        Secret(access),
        None if refresh is None else Secret(refresh),
        _read_lifetime(fields.get("expires_in")),
        _read_scopes(fields.get("scope", fields.get("scopes"))),
    )


def _read_lifetime(value: object) -> float | None:
    """Return seconds; None for a time that does not lie ahead, since a token that is given is good for some."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    # Not `math.isfinite`, which fails with a whole number that is greater than any float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    return float(min(value, LIFETIME_S_MAX))


def _read_scopes(value: object) -> frozenset[str] | None:
    """Return the scopes in a text, between blanks or (GitHub) commas, or in a list."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return frozenset(words)
