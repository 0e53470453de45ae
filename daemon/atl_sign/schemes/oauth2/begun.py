"""A dance of OAuth 2.0 between its two ends: what was begun, and what the browser may bring back instead of a code."""

from dataclasses import dataclass

from atl_sign.base.errors import DaemonError, DanceRefusedError, ProviderRefusedError
from atl_sign.config.links import Link
from atl_sign.schemes.base import Consent
from atl_sign.schemes.oauth2.server import Server
from atl_sign.schemes.oauth2.token_answer import read_word


@dataclass(frozen=True, slots=True)
class Begun:
    """The part of a dance that its end needs."""

    server: Server  # the only one that the code is sent to (RFC 9700 §4.4)
    redirect_uri: str | None = None  # None in a device flow
    scopes: tuple[str, ...] = ()  # that are asked for


def begun_of(consent: Consent) -> Begun:
    """Return what a dance of this scheme needs at its end."""
    assert isinstance(consent.own, Begun)  # noqa: S101 - `begin` sets it
    return consent.own


def refusal_of(link: Link, word: str) -> DaemonError:
    """Return the error for the refusal *word* in a redirect (RFC 6749 §4.1.2.1)."""
    again = f"atl-sign dance {link.name}"
    if word == "access_denied":
        return DanceRefusedError("the user refused access", again)
    known = {
        "invalid_scope": ("the app does not have the scopes that are asked for", f"atl-sign link setup {link.name} lists them"),
        "redirect_uri_mismatch": (
            "the app is registered with another redirect address",
            f"atl-sign link setup {link.name} shows the one to register",
        ),
        "unauthorized_client": ("the app may not ask for this consent", f"atl-sign link setup {link.name}"),
        "temporarily_unavailable": ("the provider is not available at the moment", again),
        "server_error": ("the provider failed", again),
    }
    message, hint = known.get(word, ("the provider refuses this consent", again))
    problem = read_word(word)
    return ProviderRefusedError(f"{message} ({problem})" if problem else message, hint, link=link.name, problem=problem)
