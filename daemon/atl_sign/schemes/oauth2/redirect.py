"""
The redirect at the end of a dance: a code for this dance and no other one, or the provider's refusal.

Source: RFC 6749 §4.1.2, §10.12; RFC 9207; facts oauth2.md section 12.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import Pairs, parse_pairs

CODE_CHARS_MAX = 4_096


class ForeignRedirectError(Exception):
    """The redirect does not belong to this dance, so nothing of it counts, and the dance waits on; its text says why."""

    def __init__(self, words: str, *, is_empty: bool = False) -> None:
        """Say why; *is_empty*: it has nothing that an answer has."""
        super().__init__(words)
        self.is_empty = is_empty


class MixedUpError(Exception):
    """The redirect comes from another server than the one that was asked: the dance ends, and no code is sent anywhere."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The properties of its redirect that a dance knows from the start."""

    state: Secret
    issuer: str | None  # None when nobody knows it
    announces_issuer: bool  # whether the server has said that each redirect names its issuer


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider's or the user's refusal."""

    word: str  # RFC 6749 §4.1.2.1: "access_denied" is the user's


def read_redirect(query: str, expected: Expected) -> Secret | Refused:
    """
    Return the code in *query*, or the refusal.

    Parameters that nobody knows are ignored (RFC 6749 §4.1.2).

    Raises:
        ForeignRedirectError: its state is not the dance's, a parameter is there twice, or there is neither code nor error.
        MixedUpError: its issuer is not the one that was asked, or is missing where there always is one.
    """
    try:
        fields = _read_once(parse_pairs(query, "query"))
    except BadUrlError:
        raise ForeignRedirectError("it cannot be read", is_empty=True) from None
    if not fields.keys() & {"code", "error", "state"}:
        raise ForeignRedirectError("it has neither code nor state", is_empty=True)
    if not hmac.compare_digest(fields.get("state", "").encode(), expected.state.reveal().encode()):
        raise ForeignRedirectError("its state is of another dance")
    if not fields.keys() & {"code", "error"}:  # the consent's own address, pasted by mistake; it never has `iss`
        raise ForeignRedirectError("it has neither code nor error", is_empty=True)
    _check_issuer(fields.get("iss"), expected)
    if "error" in fields:
        return Refused(fields["error"])
    code = fields.get("code", "")
    # RFC 6749 appendix A.11.
    if not code or len(code) > CODE_CHARS_MAX or not code.isascii() or not code.isprintable():
        raise ForeignRedirectError("it has no code")
    return Secret(code)


def _read_once(pairs: Pairs) -> Mapping[str, str]:
    fields = dict(pairs)
    if len(fields) != len(pairs):  # RFC 6749 §3.1: none is there more than once
        raise ForeignRedirectError("a parameter is there twice")
    return fields


def _check_issuer(named: str | None, expected: Expected) -> None:
    """Raise MixedUpError as RFC 9207 §2.4 has it, for a refusal too."""
    if named is None:
        if expected.announces_issuer:
            raise MixedUpError("the redirect names no issuer, though this server always does")
    elif expected.issuer is not None and named != expected.issuer:  # compared as it is written
        raise MixedUpError("the redirect comes from another server than the one that was asked")
