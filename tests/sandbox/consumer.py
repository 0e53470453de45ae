"""A consumer for the tests: signs with oauthlib, sends byte for byte, and can be wrong on purpose."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1Session

from atl_sign.sandbox import Sandbox

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
NO_CHECK = {"X-Atlassian-Token": "no-check"}
REQUEST_TOKEN = "/plugins/servlet/oauth/request-token"
ACCESS_TOKEN = "/plugins/servlet/oauth/access-token"
AUTHORIZE = "/plugins/servlet/oauth/authorize"
WHO_AM_I = {
    "bamboo": "/rest/api/latest/currentUser",
    "jira": "/rest/api/2/myself",
    "confluence": "/rest/api/user/current",
    "bitbucket": "/plugins/servlet/applinks/whoami",
}


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class KeyPair:
    """An RSA key as the two sides have it."""

    private_pem: str = field(repr=False)
    public_pem: str
    private_key: rsa.RSAPrivateKey = field(repr=False)


def make_key_pair() -> KeyPair:
    """Make a key that is short, because oauthlib proves it again for each signature; the products check no length (facts 1.3)."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private.decode(), public.decode(), key)


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.body)

    @property
    def fields(self) -> dict[str, str]:
        """A form-encoded body."""
        return dict(parse_qsl(self.text, keep_blank_values=True))

    @property
    def problem(self) -> str | None:
        return self.fields.get("oauth_problem")


def send(method: str, url: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Send one request as it is."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, url[url.index(parts.netloc) + len(parts.netloc) :], body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())  # type: ignore[arg-type]  # a Message is a mapping here
    finally:
        connection.close()


class Consumer:
    """One consumer at one product, and the token that it got."""

    def __init__(self, provider: Sandbox, product: str, key_pair: KeyPair, clock: Clock, key: str = "test-consumer") -> None:
        provider.register_consumer(product, key, key_pair.public_pem, name="Test consumer")
        self.provider = provider
        self.product = product
        self.key = key
        self.key_pair = key_pair
        self.clock = clock
        self.base = provider.base_url(product)
        self.token: str | None = None

    def sign(self, method: str, url: str, body: str | None = None, *, is_form: bool = False, **settings: Any) -> dict[str, str]:
        """Return the Authorization header, by oauthlib; *settings* are those of its client."""
        settings = {
            "resource_owner_key": self.token,
            "rsa_key": self.key_pair.private_pem,
            "signature_method": "RSA-SHA1",
            "timestamp": str(int(self.clock.now)),
            **settings,
        }
        session_handle = settings.pop("session_handle", None)
        client = Client(self.key, **settings)
        if session_handle is not None:  # oauthlib has no name for it
            parameters = client.get_oauth_params
            client.get_oauth_params = lambda request: [*parameters(request), ("oauth_session_handle", session_handle)]
        _, headers, _ = client.sign(url, method, body if is_form else None, FORM if is_form else {})
        return {"Authorization": headers["Authorization"]}

    def call(
        self, method: str, path: str, body: str | bytes | None = None, headers: Mapping[str, str] | None = None, **settings: Any
    ) -> Reply:
        """Send a signed request."""
        url, headers = self.base + path, dict(headers or {})
        is_form = headers.get("Content-Type") == FORM["Content-Type"] and isinstance(body, str)
        signed = self.sign(method, url, body if isinstance(body, str) else None, is_form=is_form, **settings)
        return send(method, url, body, {**headers, **signed})

    def request_token(self, callback: str | None = "oob") -> dict[str, str]:
        """Fetch a request token."""
        reply = self.call("POST", REQUEST_TOKEN, callback_uri=callback, resource_owner_key=None)
        assert reply.status == 200, reply.text
        return reply.fields

    def swap(self, request_token: str, verifier: str | None, **settings: Any) -> Reply:
        """Ask for the access token."""
        return self.call("POST", ACCESS_TOKEN, resource_owner_key=request_token, verifier=verifier, **settings)

    def renew(self, handle: str) -> Reply:
        """Ask for a successor of the access token."""
        return self.call("POST", ACCESS_TOKEN, session_handle=handle)

    def dance(self, user: str = "alice") -> dict[str, str]:
        """Get an access token as requests-oauthlib does, and keep it."""
        session = OAuth1Session(
            self.key,
            signature_method="RSA-SHA1",
            rsa_key=self.key_pair.private_pem,
            callback_uri="oob",
            timestamp=str(int(self.clock.now)),
        )
        session.trust_env = False
        session.fetch_request_token(self.base + REQUEST_TOKEN)
        code = self.provider.approve(self.product, session.authorization_url(self.base + AUTHORIZE), user)
        fields = dict(session.fetch_access_token(self.base + ACCESS_TOKEN, verifier=code))
        session.close()
        self.token = fields["oauth_token"]
        return fields
