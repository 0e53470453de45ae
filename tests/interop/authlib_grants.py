"""Authlib's grants and endpoints, with the methods for storage that Authlib leaves to the application."""

import time
from collections.abc import Mapping
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask

from tests.interop.authlib_memory import Client, Code, Device, Memory, Token

CLIENT_AUTHS = ["client_secret_basic", "client_secret_post", "none"]


class Server(AuthorizationServer):  # type: ignore[misc]  # Authlib has no types
    """Authlib's server, with the values that its grants and endpoints read."""

    def __init__(self, app: Flask, issuer: str, memory: Memory, lifetimes_s: Mapping[str, int], device_interval_s: int) -> None:
        self.issuer = issuer
        self.memory = memory
        self.lifetimes_s = lifetimes_s
        self.device_interval_s = device_interval_s
        grant_types = ("authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE)
        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(grant_types, lifetimes_s["AccessToken"])
        app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
        super().__init__(app, memory.clients.get, self._keep_token)
        self.register_grant(CodeGrant, [S256()])
        self.register_grant(RefreshGrant)
        self.register_grant(DeviceGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(DeviceAuthorization)
        self.register_extension(Issuer(issuer))

    def _keep_token(self, token: Mapping[str, Any], request: OAuth2Request) -> None:
        self.memory.tokens.append(
            Token(
                client_id=request.client.get_client_id(),
                user=request.user,
                access_token=token["access_token"],
                refresh_token=token.get("refresh_token"),
                scope=token.get("scope", ""),
                expires_in=token["expires_in"],
                refresh_expires_at=time.time() + self.lifetimes_s["RefreshToken"],
            )
        )


class Issuer(IssuerParameter):  # type: ignore[misc]
    """RFC 9207."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer


class S256(CodeChallenge):  # type: ignore[misc]
    """RFC 7636 without plain."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)


class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    """RFC 6749 §4.1. A code that is used twice is rejected, but its tokens stay valid, as RFC 6749 §4.1.2 allows."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTHS

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        self.server.memory.codes[code] = Code(
            client_id=request.client.get_client_id(),
            user=request.user,
            redirect_uri=request.payload.redirect_uri,
            scope=request.scope,
            code_challenge=request.payload.data.get("code_challenge"),
            code_challenge_method=request.payload.data.get("code_challenge_method"),
            expires_at=time.time() + self.server.lifetimes_s["AuthorizationCode"],
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found: Code | None = self.server.memory.codes.get(code)
        if found is None or found.client_id != client.get_client_id() or time.time() >= found.expires_at:
            return None
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        codes = self.server.memory.codes
        for text in [text for text, code in codes.items() if code is authorization_code]:
            del codes[text]

    def authenticate_user(self, authorization_code: Code) -> str:
        return authorization_code.user


class RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    """RFC 6749 §6 with rotation: a refresh revokes both old tokens. A refresh token that is used twice is only rejected."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTHS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        found: Token | None = self.server.memory.find_token(refresh_token)
        return found if found is not None and found.refresh_token == refresh_token and found.can_refresh() else None

    def authenticate_user(self, refresh_token: Token) -> str:
        return refresh_token.user

    def revoke_old_credential(self, refresh_token: Token) -> None:
        refresh_token.is_access_revoked = refresh_token.is_refresh_revoked = True


class DeviceAuthorization(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    """RFC 8628 §3.1."""

    @property
    def EXPIRES_IN(self) -> int:
        return int(self.server.lifetimes_s["DeviceCode"])

    @property
    def INTERVAL(self) -> int:
        return int(self.server.device_interval_s)

    def get_verification_uri(self) -> str:
        return f"{self.server.issuer}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: Mapping[str, Any]) -> None:
        expires_at = time.time() + data["expires_in"]
        device = Device(client_id, scope or "", data["user_code"], data["interval"], expires_at)
        self.server.memory.devices[data["device_code"]] = device


class DeviceGrant(DeviceCodeGrant):  # type: ignore[misc]
    """RFC 8628 §3.4."""

    def query_device_credential(self, device_code: str) -> Device | None:
        device: Device | None = self.server.memory.devices.get(device_code)
        return device

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        devices: list[Device] = [each for each in self.server.memory.devices.values() if each.user_code == user_code]
        return devices[0].answer

    def should_slow_down(self, credential: Device) -> bool:
        return credential.is_polled_too_early()

    def create_token_response(self) -> Any:
        answer = super().create_token_response()
        del self.server.memory.devices[self.request.payload.data["device_code"]]
        return answer


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009. Revoking a refresh token revokes its access token too, but not the other way round."""

    CLIENT_AUTH_METHODS = CLIENT_AUTHS

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        found: Token | None = self.server.memory.find_token(token_string)
        return found

    def revoke_token(self, token: Token, request: OAuth2Request) -> None:
        token.is_access_revoked = True
        token.is_refresh_revoked |= token.refresh_token == request.form["token"]


class Bearer(BearerTokenValidator):  # type: ignore[misc]
    """RFC 6750."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory

    def authenticate_token(self, token_string: str) -> Token | None:
        found = self._memory.find_token(token_string)
        return found if found is not None and found.access_token == token_string else None
