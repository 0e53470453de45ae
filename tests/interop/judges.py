"""Three verifiers of OAuth 1.0a by other hands than the signer's: oauthlib, Authlib and the sandbox provider."""

import re
from typing import Any, Protocol
from urllib.parse import quote

from authlib.oauth1.errors import OAuth1Error
from authlib.oauth1.rfc5849.resource_protector import ResourceProtector
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

from atl_sign.sandbox.parameters import ServerThrowsError, has_broken_escape, parse_authorization
from atl_sign.sandbox.problems import OAuthProblemError
from atl_sign.sandbox.verify import NonceMemory, OAuthMessage, make_base_uri, verify
from atl_sign.sandbox.wire import Request
from tests.vectors import public_pem

CONSUMER_KEY = "example-consumer"
TIMESTAMP = 1_700_000_000

FORM = "application/x-www-form-urlencoded"
_RAW = re.compile(r"[^A-Za-z0-9_.=&;:%+~,*@!()/?-]+")


class Judge(Protocol):
    """Someone who holds the consumer's public key."""

    def accepts(self, method: str, url: str, form: str | None, header: str) -> bool:
        """
        Tell whether the request is signed by the consumer.

        Args:
            method: as sent.
            url: as sent, with an ASCII host.
            form: the body as sent when it is a form, else None.
            header: the value of Authorization.
        """


def encode_raw(text: str) -> str:
    """Escape what curl sends raw in a query or form: both libraries raise ValueError for it; decoded, it is the same."""
    return _RAW.sub(lambda match: quote(match[0], safe=""), text)


def _encode_raw_query(url: str) -> str:
    start, question_mark, query = url.partition("#")[0].partition("?")
    return start + question_mark + encode_raw(query)


class Oauthlib:
    """oauthlib's own resource endpoint."""

    def __init__(self) -> None:
        self._endpoint = ResourceEndpoint(_Validator())

    def accepts(self, method: str, url: str, form: str | None, header: str) -> bool:
        headers = {"Authorization": header, **({} if form is None else {"Content-Type": FORM})}
        body = None if form is None else encode_raw(form)
        try:
            is_valid, _ = self._endpoint.validate_protected_resource_request(_encode_raw_query(url), method, body, headers)
        except ValueError:  # what it cannot parse at all
            return False
        return bool(is_valid)


class _Validator(RequestValidator):  # type: ignore[misc]  # oauthlib has no types
    """One consumer, any token, any nonce: the signature alone decides."""

    enforce_ssl = False
    allowed_signature_methods = ("RSA-SHA1",)
    timestamp_lifetime = 10**10  # the timestamp is fixed
    dummy_client = "nobody"
    dummy_access_token = "none"

    def check_client_key(self, client_key: str) -> bool:
        return bool(client_key)

    def check_access_token(self, request_token: str) -> bool:
        return bool(request_token)

    def check_nonce(self, nonce: str) -> bool:
        return bool(nonce)

    def validate_client_key(self, client_key: str, request: object) -> bool:
        return client_key == CONSUMER_KEY

    def validate_access_token(self, client_key: str, token: str, request: object) -> bool:
        return True

    def validate_timestamp_and_nonce(self, *arguments: object, **named: object) -> bool:
        return True

    def validate_realms(self, *arguments: object, **named: object) -> bool:
        return True

    def get_rsa_key(self, client_key: str, request: object) -> str:
        return public_pem()


class Authlib:
    """Authlib's own resource protector. It wants AUTHLIB_INSECURE_TRANSPORT in the environment to look at http."""

    def __init__(self) -> None:
        self._protector = _Protector()

    def accepts(self, method: str, url: str, form: str | None, header: str) -> bool:
        headers = {"Authorization": header, **({} if form is None else {"Content-Type": FORM})}
        body = None if form is None else encode_raw(form)
        try:
            self._protector.validate_request(method, _encode_raw_query(url), body, headers)
        except (OAuth1Error, ValueError):
            return False
        return True


class _Protector(ResourceProtector):  # type: ignore[misc]  # Authlib has no types
    """One consumer, any token, any nonce: the signature alone decides."""

    SUPPORTED_SIGNATURE_METHODS = ("RSA-SHA1",)
    EXPIRY_TIME = None  # the timestamp is fixed

    def get_client_by_id(self, client_id: str) -> Any:
        return _Client() if client_id == CONSUMER_KEY else None

    def get_token_credential(self, request: Any) -> Any:
        return object()

    def exists_nonce(self, nonce: str, request: object) -> bool:
        return False


class _Client:
    def get_rsa_public_key(self) -> str:
        return public_pem()


class SandboxProvider:
    """The sandbox's verification, from the bytes of the request on; it takes what curl sends raw."""

    def __init__(self) -> None:
        key = load_pem_public_key(public_pem().encode())
        assert isinstance(key, RSAPublicKey)
        self._key = key

    def accepts(self, method: str, url: str, form: str | None, header: str) -> bool:
        scheme = url.partition(":")[0].lower()
        if scheme not in ("http", "https"):
            return False
        headers = (("authorization", header), *(() if form is None else (("content-type", FORM),)))
        request = Request(method, url.partition("#")[0].encode(), headers, (form or "").encode())
        try:
            base_uri = make_base_uri(scheme, request.authority, request.path)
            message = OAuthMessage(method, base_uri, parse_authorization(header) + request.query + request.form)
            if (
                not message.is_access_attempt
                or has_broken_escape(request.path)
                or message.get("oauth_consumer_key") != CONSUMER_KEY
            ):
                return False
            verify(message, self._key, NonceMemory(), TIMESTAMP)
        except (OAuthProblemError, ServerThrowsError, ValueError):
            return False
        return True
