"""Known answers from standards and other implementations, read from `oauth1.json` beside this file."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from atl_sign.base.credentials import Consumer, Secret
from atl_sign.base.request import Request
from atl_sign.base.urls import Pairs, parse_pairs, parse_url
from atl_sign.custody.keys.software import RsaPrivateKey, load_private_key
from atl_sign.schemes.oauth1.signature import LegRequest
from atl_sign.schemes.oauth1.tokens import AccessToken

TEST_KEY = "wiki.oauth.net"  # published with its private half: it protects nothing


@dataclass(frozen=True, slots=True)
class Vector:
    """One request, and what comes out of it."""

    name: str
    source: str
    point: str  # what it is hard about
    method: str
    url: str
    form: str | None  # the body as sent; None when it is no form
    consumer_key: str
    token: str | None
    nonce: str
    timestamp: int
    signature_method: str
    version: str | None
    oauth: Pairs  # further protocol parameters
    base_string: str | None  # None: only the signature is published
    base_string_sha1: str | None
    key: str  # the name of the key pair
    signature: str  # base64

    def request(self) -> Request:
        """Return it as our own value."""
        form = None if self.form is None else parse_pairs(self.form, "form")
        return LegRequest(self.method, parse_url(self.url), form, self.oauth)

    def consumer(self) -> Consumer:
        """Return the consumer that signs with the published test key."""
        return Consumer(self.consumer_key, private_key())

    def access_token(self) -> AccessToken | None:
        """Return the token; its secret takes no part in RSA-SHA1."""
        return None if self.token is None else AccessToken(Secret(self.token), Secret("unused"))


def vectors() -> tuple[Vector, ...]:
    """Return every vector."""
    return tuple(Vector(**{**fields, "oauth": tuple(map(tuple, fields["oauth"]))}) for fields in _data()["vectors"])


def vector(name: str) -> Vector:
    """Return the vector called *name*."""
    return next(vector for vector in vectors() if vector.name == name)


def base_string_uris() -> list[tuple[str, str]]:
    """Return URLs with the base string URIs that RFC 5849 prints for them."""
    return [(case["url"], case["uri"]) for case in _data()["base_string_uris"]]


def private_pem() -> str:
    """Return the published test key, as PKCS#8 PEM."""
    return _pem("PRIVATE KEY", _data()["keys"][TEST_KEY]["private_pkcs8"])


def public_pem(name: str = TEST_KEY) -> str:
    """Return the public half of the published test key called *name*, as PEM."""
    key = _data()["keys"][name]
    return _pem("PUBLIC KEY", key["public_spki"]) if "public_spki" in key else _pem("RSA PUBLIC KEY", key["public_pkcs1"])


def public_der_sha256() -> str:
    """Return the SHA-256 in hex of the published test key's SubjectPublicKeyInfo."""
    digest: str = _data()["keys"][TEST_KEY]["public_spki_sha256"]
    return digest


@cache
def private_key() -> RsaPrivateKey:
    """Return the published test key, parsed."""
    return load_private_key(Secret(private_pem()))


def _pem(label: str, lines: list[str]) -> str:
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


@cache
def _data() -> Any:
    return json.loads(Path(__file__).with_name("oauth1.json").read_text(encoding="utf-8"))
