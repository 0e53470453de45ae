"""
The address where the user consents, and the secrets that bind the answer to this dance.

Source: RFC 6749 §4.1.1; RFC 7636 §4.1, §4.2; RFC 9700 §2.1.
"""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from atl_sign.base.credentials import Secret


def make_verifier() -> Secret:
    """Return a new code verifier: 43 characters from 32 random bytes."""
    return Secret(secrets.token_urlsafe(32))


def challenge_of(verifier: Secret) -> str:
    """Return the S256 challenge of *verifier*, which does not tell the verifier."""
    digest = sha256(verifier.reveal().encode("ascii")).digest()
    return urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def make_state() -> Secret:
    """Return a new state: a page that guesses must not end a dance of ours with a code of its own."""
    return Secret(secrets.token_urlsafe(32))


def extra_for(endpoint: str, scopes: Iterable[str]) -> Mapping[str, str]:
    """
    Return the further parameters that a server of no flavour of ours needs, unless *endpoint* has them.

    For `offline_access` a client has to ask for consent, or a server ignores the scope and gives no refresh token.
    Source: OpenID Connect Core 1.0 §11.
    """
    is_needed = "offline_access" in scopes and "prompt" not in parse_qs(urlsplit(endpoint).query, keep_blank_values=True)
    return {"prompt": "consent"} if is_needed else {}


def authorize_url(
    endpoint: str,
    client_id: str,
    *,
    redirect_uri: str,
    scopes: Iterable[str],
    state: Secret,
    verifier: Secret,
    extra: Mapping[str, str],
) -> str:
    """
    Return the address to open in the browser.

    Args:
        endpoint: the authorization endpoint; a query that it has stays (RFC 6749 §3.1).
        client_id: ours.
        redirect_uri: as it is registered, and as it will be repeated for the code.
        scopes: in the order in which they are shown; without any, the provider decides.
        state: of this dance.
        verifier: of this dance; only its challenge goes out.
        extra: further parameters that this provider wants.
    """
    named = " ".join(scopes)
    fields = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        **({"scope": named} if named else {}),
        "state": state.reveal(),
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        **extra,
    }
    # %20 rather than "+" for a blank: both are right, and some servers know only the former.
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(fields, quote_via=quote, safe='')}"
