"""The looks of tokens: a JWT of any size, or random letters and digits."""

import hmac
import json
import secrets
import string
from base64 import urlsafe_b64encode
from hashlib import sha256

from atl_sign.sandbox.oauth2.flavour import TokenShape

_ALPHANUMERIC = string.ascii_letters + string.digits


def make_value(shape: TokenShape, length: int | None = None) -> str:
    """Return a new token of *shape*, of *length* characters instead of the usual number."""
    wanted = length or shape.length
    return shape.prefix + (_make_jwt(wanted) if shape.is_jwt else make_word(max(wanted - len(shape.prefix), 16)))


def make_word(length: int, alphabet: str = _ALPHANUMERIC) -> str:
    """Return *length* random characters."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def is_jwt(value: str) -> bool:
    """Tell whether *value* looks like a JWT."""
    parts = value.split(".")
    return len(parts) == 3 and all(parts)


def _make_jwt(length: int) -> str:
    """Nobody checks its signature here: the server knows its tokens by heart."""
    claims = {"jti": make_word(32)}
    head = _encode(json.dumps({"typ": "JWT", "alg": "HS256"}).encode())
    rest = length - len(f"{head}.{_encode(json.dumps(claims).encode())}.") - 43
    if rest > 0:
        claims["pad"] = make_word(max(rest * 3 // 4 - 10, 1))  # base64 makes four characters of three
    signed = f"{head}.{_encode(json.dumps(claims).encode())}"
    return f"{signed}.{_encode(hmac.digest(secrets.token_bytes(32), signed.encode(), sha256))}"


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
