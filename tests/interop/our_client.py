"""A client made of our parts of OAuth 2.0: they write each request and read each answer, and `requests` only sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from atl_sign.base.credentials import App, Secret
from atl_sign.providers.answer import Answer
from atl_sign.schemes.oauth2.consent import authorize_url, make_state, make_verifier
from atl_sign.schemes.oauth2.metadata import ClientAuth, Metadata, find_documents, read_metadata
from atl_sign.schemes.oauth2.redirect import Expected, Refused, read_redirect
from atl_sign.schemes.oauth2.token_answer import Asked, Failure, Tokens, read_token_answer
from atl_sign.schemes.oauth2.token_request import TokenRequest, TokenRequests
from tests.interop.oauth2_servers import SCOPES, ForeignServer, Kind
from tests.interop.stranger import ask_resource

TIMEOUT_S = 10.0

DEAD = Failure("dead", "invalid_grant")

_AUTHS: Mapping[str, ClientAuth] = {"client_secret_basic": "basic", "client_secret_post": "body", "none": "none"}


@dataclass(frozen=True, slots=True)
class Begun:
    """A dance between its start and its redirect."""

    url: str  # to open in the browser
    redirect_uri: str
    verifier: Secret
    expected: Expected


class OurClient:
    """One of the clients of a server."""

    def __init__(self, server: ForeignServer, kind: Kind = "basic") -> None:
        client = server.client(kind)
        self.server = server
        self.client = client
        self.metadata = read_documents(server.issuer)
        app = App(client.client_id, None if client.secret is None else Secret(client.secret))
        self.requests = TokenRequests(app, _AUTHS[client.auth])

    def begin(self, port: int = 50_123) -> Begun:
        """Return a new dance whose redirect goes to *port*."""
        redirect_uri, state, verifier = self.client.redirect_at(port), make_state(), make_verifier()
        url = authorize_url(
            self.metadata.authorize_url,
            self.client.client_id,
            redirect_uri=redirect_uri,
            scopes=SCOPES,
            state=state,
            verifier=verifier,
            extra=self.server.extra,
        )
        return Begun(url, redirect_uri, verifier, Expected(state, self.metadata.issuer, self.metadata.announces_issuer))

    def consent(self, begun: Begun, *, deny: bool = False) -> Secret | Refused:
        """Return what the redirect has after alice has allowed or denied."""
        return read_redirect(urlsplit(self.server.consent(begun.url, deny=deny)).query, begun.expected)

    def swap(self, code: Secret, begun: Begun) -> Tokens | Failure:
        return self.ask(self.requests.for_code(code, begun.redirect_uri, begun.verifier), "code")

    def dance(self) -> Tokens:
        """Return the tokens of a complete dance."""
        begun = self.begin()
        code = self.consent(begun)
        assert isinstance(code, Secret)
        tokens = self.swap(code, begun)
        assert isinstance(tokens, Tokens), tokens
        return tokens

    def refresh(self, tokens: Tokens) -> Tokens | Failure:
        assert tokens.refresh is not None
        return self.ask(self.requests.for_refresh(tokens.refresh), "refresh")

    def revoke(self, token: Secret, hint: Literal["access_token", "refresh_token"]) -> int:
        """Return the answer's status."""
        assert self.metadata.revoke_url is not None
        return self._send(self.metadata.revoke_url, self.requests.for_revocation(token, hint)).status

    def begin_device(self) -> dict[str, Any]:
        """Return the answer of the device authorization endpoint; no pure part makes this request, so it is written here."""
        assert self.metadata.device_url is not None
        assert self.client.auth != "client_secret_basic"
        body = {"client_id": self.client.client_id, "client_secret": self.client.secret, "scope": " ".join(SCOPES)}
        response = requests.post(self.metadata.device_url, data=body, timeout=TIMEOUT_S)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def poll(self, device: Mapping[str, Any]) -> Tokens | Failure:
        return self.ask(self.requests.for_device(Secret(device["device_code"])), "device")

    def ask(self, request: TokenRequest, asked: Asked) -> Tokens | Failure:
        return read_token_answer(self._send(self.metadata.token_url, request), asked)

    def _send(self, url: str, request: TokenRequest) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if request.authorization is not None:
            headers["Authorization"] = request.authorization.reveal()
        response = requests.post(url, data=request.body.reveal(), headers=headers, timeout=TIMEOUT_S)
        return Answer(response.status_code, response.headers, response.text, None)


def read_documents(issuer: str) -> Metadata:
    """Return the metadata from the first address that has it."""
    for url in find_documents(issuer):
        response = requests.get(url, timeout=TIMEOUT_S)
        if response.status_code == 200:
            return read_metadata(issuer, response.text)
    raise AssertionError("there is no metadata")


def knows_alice(server: ForeignServer, tokens: Tokens | Failure) -> bool:
    """Return whether the access token is valid, and alice's."""
    assert isinstance(tokens, Tokens), tokens
    answer = ask_resource(server, tokens.access.reveal())
    assert answer.status_code in (200, 401)
    return bool(answer.json().get("sub") == "alice")
