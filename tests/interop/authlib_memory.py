"""The records of the Authlib server, in memory: Authlib leaves storage to the application."""

import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin, list_to_scope, scope_to_list
from authlib.oauth2.rfc8628 import DeviceCredentialMixin


@dataclass(frozen=True, slots=True)
class Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """A registration, from RFC 7591 metadata."""

    metadata: Mapping[str, Any]
    scopes: frozenset[str]

    def get_client_id(self) -> str:
        return str(self.metadata["client_id"])

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str | None) -> str:
        return str(list_to_scope([each for each in scope_to_list(scope) or [] if each in self.scopes]))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Return whether it is registered; a native application may use any port of the loopback address (RFC 8252 §7.3)."""
        registered = self.metadata["redirect_uris"]
        if self.metadata["application_type"] != "native":
            return redirect_uri in registered
        url = urlsplit(redirect_uri)
        return f"{url.scheme}://{url.hostname}{url.path}" in registered and not url.query

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(self.metadata.get("client_secret", "").encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return bool(self.metadata["token_endpoint_auth_method"] == method)

    def check_response_type(self, response_type: str) -> bool:
        return response_type in self.metadata["response_types"]

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.metadata["grant_types"]


@dataclass(frozen=True, slots=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    """An authorization code."""

    client_id: str
    user: str
    redirect_uri: str
    scope: str
    code_challenge: str | None  # Authlib reads these two attributes
    code_challenge_method: str | None
    expires_at: float

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass(slots=True)
class Token(TokenMixin):  # type: ignore[misc]
    """An access token with its refresh token."""

    client_id: str
    user: str
    access_token: str
    refresh_token: str | None
    scope: str
    expires_in: int
    refresh_expires_at: float
    issued_at: float = field(default_factory=time.time)
    is_access_revoked: bool = False
    is_refresh_revoked: bool = False

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.get_client_id()

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return self.expires_in

    def is_expired(self) -> bool:
        return time.time() >= self.issued_at + self.expires_in

    def is_revoked(self) -> bool:
        return self.is_access_revoked

    def can_refresh(self) -> bool:
        return not self.is_refresh_revoked and time.time() < self.refresh_expires_at


@dataclass(slots=True)
class Device(DeviceCredentialMixin):  # type: ignore[misc]
    """A device that waits for its user's decision."""

    client_id: str
    scope: str
    user_code: str
    interval: int
    expires_at: float
    answer: tuple[str, bool] | None = None  # the user, and whether the user allows it
    polled_at: float | None = None

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_polled_too_early(self) -> bool:
        """Return whether the last call is less than the interval ago; if so, the interval grows (RFC 8628 §3.5)."""
        before, self.polled_at = self.polled_at, time.time()
        if before is None or self.polled_at - before >= self.interval:
            return False
        self.interval += 5
        return True


@dataclass(slots=True)
class Memory:
    """All records."""

    clients: dict[str, Client]
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    devices: dict[str, Device] = field(default_factory=dict)  # by the device's code
    sessions: dict[str, str] = field(default_factory=dict)  # the user by the cookie

    def find_token(self, text: str) -> Token | None:
        """Return the record that has *text* as its access or refresh token."""
        return next((each for each in self.tokens if text in (each.access_token, each.refresh_token)), None)

    def begin_session(self, user: str) -> str:
        """Return the cookie of a new session."""
        cookie = secrets.token_urlsafe()
        self.sessions[cookie] = user
        return cookie
