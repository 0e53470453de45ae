"""requests-oauthlib as a client: neither end of its dances is our code."""

from typing import Any
from urllib.parse import quote_plus, urlsplit

import requests
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.interop.oauth2_servers import SCOPES, ForeignServer, Kind

TIMEOUT_S = 10.0


class Stranger:
    """One of the clients of a server."""

    def __init__(self, server: ForeignServer, kind: Kind = "post") -> None:
        self.server = server
        self.client = server.client(kind)
        self.redirect = self.client.redirect_at(50_123)
        self.document = read_document(server)
        self.session = OAuth2Session(self.client.client_id, redirect_uri=self.redirect, scope=list(SCOPES), pkce="S256")

    def consent(self, *, deny: bool = False, **fields: str) -> str:
        """Return the redirect of a new dance; *fields* are added to the authorization request."""
        url, _ = self.session.authorization_url(self.document["authorization_endpoint"], **self.server.extra, **fields)
        return self.server.consent(url, deny=deny)

    def fetch(self, redirect: str) -> dict[str, Any]:
        """Return the tokens; raises an OAuth2Error of oauthlib."""
        form = {"authorization_response": redirect, **self._secret()}
        token: dict[str, Any] = self.session.fetch_token(self.document["token_endpoint"], **form)
        return token

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Return new tokens, as the client "post"; raises InvalidGrantError."""
        form = {"client_id": self.client.client_id, "client_secret": self.client.secret}
        token: dict[str, Any] = self.session.refresh_token(self.document["token_endpoint"], refresh_token, **form)
        return token

    def post(self, endpoint: str, **fields: str) -> requests.Response:
        """Send a form, as the client "post"."""
        body = {"client_id": self.client.client_id, "client_secret": self.client.secret, **fields}
        return requests.post(self.document[endpoint], data=body, timeout=TIMEOUT_S)

    def _secret(self) -> dict[str, Any]:
        """Return the arguments by which requests-oauthlib sends the secret where the server expects it."""
        name, secret = self.client.client_id, self.client.secret
        if self.client.auth == "client_secret_basic":
            return {"auth": HTTPBasicAuth(quote_plus(name), quote_plus(secret or ""))}
        return {"include_client_id": True, **({} if secret is None else {"client_secret": secret})}


def read_document(server: ForeignServer) -> dict[str, Any]:
    """Return the metadata: RFC 8414's document, or OpenID's."""
    url = urlsplit(server.issuer)
    rfc8414 = f"{url.scheme}://{url.netloc}/.well-known/oauth-authorization-server{url.path}"
    for place in (rfc8414, f"{server.issuer}/.well-known/openid-configuration"):
        response = requests.get(place, timeout=TIMEOUT_S)
        if response.ok:
            document: dict[str, Any] = response.json()
            return document
    raise AssertionError("there is no metadata")


def ask_resource(server: ForeignServer, access_token: str) -> requests.Response:
    return requests.get(server.protected_url, headers={"Authorization": f"Bearer {access_token}"}, timeout=TIMEOUT_S)
