"""An OAuth 2.0 client for the tests: sends byte for byte, and can be wrong on purpose; requests-oauthlib is the foreign one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from requests_oauthlib import OAuth2Session

from atl_sign.sandbox.oauth2.records import App
from tests.sandbox.consumer import FORM, JSON, Reply, send

# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
S256 = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


@dataclass
class Client:
    """One app at one server."""

    app: App
    redirect: str
    authorize_url: str
    token_url: str
    approve: Callable[..., str]
    scope: str = ""
    authorize_extra: Mapping[str, str] | None = None

    def url(self, **changes: str | None) -> str:
        """Return the address that the browser is sent to; None leaves a parameter out."""
        fields = {
            "response_type": "code",
            "client_id": self.app.client_id,
            "redirect_uri": self.redirect,
            "scope": self.scope or None,
            "state": "the-state",
            **(self.authorize_extra or {}),
            **changes,
        }
        return f"{self.authorize_url}?" + urlencode({name: value for name, value in fields.items() if value is not None})

    def consent(self, user: str = "alice", /, **changes: str | None) -> dict[str, str]:
        """Go through the pages and press Allow; returns the parameters of the redirect."""
        return query_of(self.approve(self.url(**changes), user, deny=False))

    def deny(self, user: str = "alice", /, **changes: str | None) -> dict[str, str]:
        """Go through the pages and press Deny."""
        return query_of(self.approve(self.url(**changes), user, deny=True))

    def code(self, user: str = "alice", /, **changes: str | None) -> str:
        """Return a fresh code."""
        return self.consent(user, **changes)["code"]

    def post(self, fields: Mapping[str, str | None], headers: Mapping[str, str] | None = None, *, as_json: bool = False) -> Reply:
        """Ask the token endpoint, with the client's credentials unless *fields* say otherwise."""
        sent = {"client_id": self.app.client_id, "client_secret": self.app.client_secret, **fields}
        given = {name: value for name, value in sent.items() if value is not None}
        body = json.dumps(given) if as_json else urlencode(given)
        return send(
            "POST", self.token_url, body, {**(JSON if as_json else FORM), "Accept": "application/json", **(headers or {})}
        )

    def exchange(self, code: str, /, **changes: str | None) -> Reply:
        """Exchange a code."""
        return self.post({"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect, **changes})

    def tokens(self, user: str = "alice", /, **changes: str | None) -> dict[str, Any]:
        """Go all the way; returns the token endpoint's answer."""
        reply = self.exchange(self.code(user, **changes))
        assert reply.status == 200, reply.text
        return dict(reply.json)

    def refresh(self, refresh_token: str, /, **changes: str | None) -> Reply:
        """Refresh."""
        return self.post({"grant_type": "refresh_token", "refresh_token": refresh_token, **changes})


def query_of(address: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def bearer(token: str) -> dict[str, str]:
    """Return the header for an access token."""
    return {"Authorization": f"Bearer {token}"}


def dance_with_oauthlib(
    client: Client, monkeypatch: pytest.MonkeyPatch, *, user: str = "alice", pkce: str | None = "S256", **token_arguments: Any
) -> tuple[OAuth2Session, dict[str, Any]]:
    """Go through the whole dance as requests-oauthlib does it; returns the session and the token."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_RELAX_TOKEN_SCOPE", "1")
    session = OAuth2Session(
        client.app.client_id, redirect_uri=client.redirect, scope=client.scope.split() if client.scope else None, pkce=pkce
    )
    session.trust_env = False
    address, _ = session.authorization_url(client.authorize_url, **(client.authorize_extra or {}))
    back = client.approve(address, user)
    arguments: dict[str, Any] = {"client_secret": client.app.client_secret, "include_client_id": True, **token_arguments}
    token = session.fetch_token(client.token_url, authorization_response=back, **arguments)
    return session, dict(token)
