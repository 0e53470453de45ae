"""
The requests to a token endpoint and to a revocation endpoint: form-encoded, with the client's own credentials.

Source: RFC 6749 §2.3.1, §4.1.3, §6; RFC 7009 §2.1; RFC 7636 §4.5; RFC 8628 §3.1, §3.4.
"""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus, urlencode

from atl_sign.base.credentials import App, Secret
from atl_sign.schemes.oauth2.metadata import ClientAuth

_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request to send by POST, as `application/x-www-form-urlencoded`."""

    body: Secret
    authorization: Secret | None  # the header's value


class TokenRequests:
    """Makes the requests of one app."""

    def __init__(self, app: App, auth: ClientAuth) -> None:
        """
        Prepare.

        Args:
            app: whose requests.
            auth: where the secret goes; an app without one only names itself, whatever this is.
        """
        self._app = app
        self._auth = auth

    def for_code(self, code: Secret, redirect_uri: str, verifier: Secret) -> TokenRequest:
        """Return the request for the tokens of *code*, with the very `redirect_uri` that the dance began with."""
        fields = {"code": code.reveal(), "redirect_uri": redirect_uri, "code_verifier": verifier.reveal()}
        return self._make({"grant_type": "authorization_code", **fields})

    def for_refresh(self, refresh_token: Secret, redirect_uri: str | None = None) -> TokenRequest:
        """Return the request for new tokens; *redirect_uri* for a provider that wants it again (GitLab)."""
        repeated = {} if redirect_uri is None else {"redirect_uri": redirect_uri}
        return self._make({"grant_type": "refresh_token", "refresh_token": refresh_token.reveal(), **repeated})

    def for_device_code(self, scopes: Iterable[str]) -> TokenRequest:
        """Return the request that begins a device flow; the client shows who it is there, too (RFC 8628 §3.1)."""
        named = " ".join(scopes)
        return self._make({"scope": named} if named else {})

    def for_device(self, device_code: Secret) -> TokenRequest:
        """Return the question whether the user has entered the device's code."""
        return self._make({"grant_type": _DEVICE_CODE, "device_code": device_code.reveal()})

    def for_revocation(self, token: Secret, hint: Literal["access_token", "refresh_token"]) -> TokenRequest:
        """Return the request that ends *token*."""
        return self._make({"token": token.reveal(), "token_type_hint": hint})

    def _make(self, fields: dict[str, str]) -> TokenRequest:
        secret = self._app.secret
        if secret is not None and self._auth == "basic":
            return TokenRequest(Secret(urlencode(fields)), _basic(self._app.client_id, secret))
        fields["client_id"] = self._app.client_id
        if secret is not None and self._auth == "body":
            fields["client_secret"] = secret.reveal()
        return TokenRequest(Secret(urlencode(fields)), None)


def _basic(client_id: str, secret: Secret) -> Secret:
    """Return the header: each of the two is form-encoded first, so that a colon in the name cannot end it."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
    return Secret(f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}")
