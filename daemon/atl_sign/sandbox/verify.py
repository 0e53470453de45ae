"""OAuth 1.0a verification as Atlassian's servers do it: RFC 5849 by the rules and in the order of facts section 3."""

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from atl_sign.sandbox.parameters import Pairs, ServerThrowsError
from atl_sign.sandbox.problems import OAuthProblemError, escape

WINDOW_S = 300  # a timestamp may differ this much, either way

ACCESS_PARAMETERS = (
    "oauth_consumer_key",
    "oauth_token",
    "oauth_signature_method",
    "oauth_signature",
    "oauth_timestamp",
    "oauth_nonce",
)
_SINGLE_PARAMETERS = frozenset(ACCESS_PARAMETERS) | {"oauth_callback", "oauth_token_secret", "oauth_version"}
# Java's Long.parseLong and Double.parseDouble accept, beyond their range: a sign, leading zeros, digits of any script here and
# only ASCII there; no blank here, and blanks around the number there.
_LONG = re.compile(r"[+-]?\d{1,1000}")
_DOUBLE = re.compile(
    r"[\0-\x20]*(?P<number>[+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))(?:(?<=[\d.])[fFdD])?[\0-\x20]*", re.A
)
_DEFAULT_PORTS = {"http": b":80", "https": b":443"}


@dataclass(frozen=True, slots=True)
class OAuthMessage:
    """The verified parts of one request."""

    method: str
    base_uri: bytes  # from `make_base_uri`
    parameters: Pairs  # decoded, of the Authorization header (without realm), the query and the form

    def get(self, name: str) -> str | None:
        """Return the first parameter called *name*, or None."""
        return next((value for key, value in self.parameters if key == name), None)

    def require(self, *names: str) -> tuple[str, ...]:
        """Return the values of *names*; raises OAuthProblemError (parameter_absent) naming those that are missing."""
        values = {name: self.get(name) for name in names}
        absent = [name for name, value in values.items() if value is None]
        if absent:
            raise OAuthProblemError("parameter_absent", oauth_parameters_absent="&".join(map(escape, absent)))
        return tuple(value for value in values.values() if value is not None)

    @property
    def is_access_attempt(self) -> bool:
        """Tell whether the request is OAuth at all; one of the six missing makes it anonymous, without a word."""
        names = {name for name, _ in self.parameters}
        return names.issuperset(ACCESS_PARAMETERS)

    @property
    def base_string(self) -> str:
        """The signature base string (RFC 5849 §3.4.1)."""
        pairs = sorted((escape(name), escape(value)) for name, value in self.parameters if name != "oauth_signature")
        normalized = "&".join(f"{name}={value}" for name, value in pairs)
        return "&".join((escape(self.method.upper()), escape(self.base_uri), escape(normalized)))


class NonceMemory:
    """The nonces of the last minutes. Atlassian keys them only on the consumer: all its users share them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: dict[tuple[str, str], float] = {}  # the oldest first

    def use(self, consumer_key: str, nonce: str, now: float) -> None:
        """Take *nonce*; raises OAuthProblemError (nonce_used) when the consumer has used it."""
        while self._seen and next(iter(self._seen.values())) < now - 2 * WINDOW_S:
            del self._seen[next(iter(self._seen))]
        if (consumer_key, nonce) in self._seen:
            raise OAuthProblemError("nonce_used")
        self._seen[consumer_key, nonce] = now


def make_base_uri(scheme: str, authority: bytes, path: bytes) -> bytes:
    """
    Return the base string URI (RFC 5849 §3.4.1.2): lower case down to the port, default port dropped, the path as sent.

    Args:
        scheme: "http" or "https".
        authority: host and port.
        path: the raw path, without the query.
    """
    return scheme.encode() + b"://" + authority.lower().removesuffix(_DEFAULT_PORTS[scheme]) + (path or b"/")


def verify(message: OAuthMessage, public_key: RSAPublicKey, nonces: NonceMemory, now: float) -> None:
    """
    Return when *message* is signed by *public_key*, now, and for the first time.

    The order is the servers': method, repeated parameters, version, timestamp, nonce, signature. A nonce is used up even when
    the signature turns out wrong.

    Raises:
        OAuthProblemError: it is not.
        ServerThrowsError: the timestamp or the version is not a number, or the signature is not as long as the key.
    """
    if message.get("oauth_signature_method") != "RSA-SHA1":
        raise OAuthProblemError("signature_method_rejected")
    _check_single(message.parameters)
    _check_version(message.get("oauth_version"))
    timestamp, nonce = message.require("oauth_timestamp", "oauth_nonce")
    _check_timestamp(timestamp, now)
    consumer_key, signature = message.require("oauth_consumer_key", "oauth_signature")
    nonces.use(consumer_key, nonce, now)
    if not _is_signed(message.base_string, signature, public_key):
        raise OAuthProblemError(
            "signature_invalid",
            oauth_signature=signature,
            oauth_signature_base_string=message.base_string,
            oauth_signature_method="RSA-SHA1",
        )


def _check_single(parameters: Iterable[tuple[str, str]]) -> None:
    by_name: dict[str, list[str]] = {}
    for name, value in parameters:
        if name in _SINGLE_PARAMETERS:
            by_name.setdefault(name, []).append(value)
    repeated = [(name, value) for name, values in by_name.items() if len(values) > 1 for value in values]
    if repeated:
        rejected = "&".join(f"{escape(name)}={escape(value)}" for name, value in repeated)
        raise OAuthProblemError("parameter_rejected", oauth_parameters_rejected=rejected)


def _check_version(version: str | None) -> None:
    if version is None:
        return
    match = _DOUBLE.fullmatch(version)
    if match is None:
        raise ServerThrowsError("the version is not a number")
    number = float(match["number"])
    if number < 1.0 or number > 1.0:  # not "!= 1.0": NaN passes, as it does there
        raise OAuthProblemError("version_rejected", oauth_acceptable_versions="1.0-1.0")


def _check_timestamp(timestamp: str, now: float) -> None:
    value = int(timestamp) if _LONG.fullmatch(timestamp) else None
    if value is None or not -(2**63) <= value < 2**63:
        raise ServerThrowsError("the timestamp is not a number")
    first, last = int(now + 0.5) - WINDOW_S, int(now + 0.5) + WINDOW_S
    if not first <= value <= last:
        raise OAuthProblemError("timestamp_refused", oauth_acceptable_timestamps=f"{first}-{last}")


def _is_signed(base_string: str, signature: str, public_key: RSAPublicKey) -> bool:
    try:
        raw = binascii.a2b_base64(signature)
    except ValueError:
        raw = b""  # what is not base64 is decoded to less than a signature there
    if len(raw) * 8 != (public_key.key_size + 7) // 8 * 8:
        # java.security.Signature.verify: "Bad signature length: got 256 but was expecting 512".
        raise ServerThrowsError("the signature is not as long as the key")
    try:
        public_key.verify(raw, base_string.encode("ascii"), padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - the protocol's
    except (InvalidSignature, ValueError):
        return False
    return True
