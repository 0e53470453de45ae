"""
OAuth 1.0a signatures: from a request, a consumer and a token to one Authorization header value.

The one place that knows the signature method. The daemon's answers and the dance's own requests are signed here alike.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from atl_sign.base.credentials import AccessToken, Consumer, RequestToken, Secret
from atl_sign.base.errors import BadUrlError, InternalError, StoreLockedError
from atl_sign.base.urls import PARAMETERS_MAX, Pairs, Url, parse_pairs

SIGNATURE_METHOD = "RSA-SHA1"  # the only one that Atlassian's servers take (facts atlassian-auth.md section 1.1)
# Names that belong to the signature; the provider takes each only once (net.oauth, SimpleOAuthValidator.SINGLE_PARAMETERS).
PROTOCOL_PARAMETERS = frozenset(
    {
        "oauth_callback",
        "oauth_consumer_key",
        "oauth_nonce",
        "oauth_signature",
        "oauth_signature_method",
        "oauth_timestamp",
        "oauth_token",
        "oauth_token_secret",
        "oauth_version",
    }
)

_PADDING = padding.PKCS1v15()
_SHA1 = hashes.SHA1()  # noqa: S303 - the protocol's choice, not ours


@dataclass(frozen=True, slots=True)
class UnsignedRequest:
    """One request as it will be sent, less its Authorization header."""

    method: str  # any case; the base string has it in upper case
    url: Url
    form: Pairs | None = None  # decoded names and values of a form body; None for every other body
    # Protocol parameters of the dance: oauth_callback, oauth_verifier, oauth_session_handle. They go into the header.
    oauth: Pairs = field(default=(), repr=False)


class RsaPrivateKey:
    """An RSA private key, parsed once, that makes RSA-SHA1 signatures."""

    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        """Wrap a key that `load_private_key` or `make_private_key` gave."""
        self._key: rsa.RSAPrivateKey | None = key

    def forget(self) -> None:
        """Give the key up, whoever still holds this object; OpenSSL overwrites its numbers when the last signature is done."""
        self._key = None

    def _known(self) -> rsa.RSAPrivateKey:
        """Return the key; raises StoreLockedError after `forget`."""
        key = self._key
        if key is None:
            raise StoreLockedError("the store was locked meanwhile", "atl-sign unlock")
        return key

    def sign_sha1(self, message: bytes) -> bytes:
        """
        Return the PKCS#1 v1.5 signature with SHA-1 over *message* (RFC 5849 §3.4.3).

        Raises:
            InternalError: this machine's crypto policy forbids SHA-1 signatures, as RHEL 9's does (facts section 1.1).
            StoreLockedError: the key was forgotten.
        """
        try:
            return self._known().sign(message, _PADDING, _SHA1)
        except UnsupportedAlgorithm:
            raise InternalError(
                "this machine's cryptography library refuses RSA-SHA1 signatures",
                "allow SHA-1 signatures in the system's crypto policy, or install cryptography from PyPI with its own OpenSSL",
            ) from None

    @property
    def bits(self) -> int:
        """The length of the modulus."""
        return self._known().key_size

    def public_pem(self) -> str:
        """Return the public key as SubjectPublicKeyInfo PEM, the form an application link's page takes (facts section 1.3)."""
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._known().public_key().public_bytes(serialization.Encoding.PEM, spki).decode("ascii")

    def fingerprint(self) -> str:
        """Return `SHA256:` and the unpadded base64 of the SubjectPublicKeyInfo's SHA-256, as ssh-keygen prints fingerprints."""
        digest = hashes.Hash(hashes.SHA256())
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        digest.update(self._known().public_key().public_bytes(serialization.Encoding.DER, spki))
        return "SHA256:" + b64encode(digest.finalize()).decode("ascii").rstrip("=")

    def private_pem(self) -> Secret:
        """Return the private key as unencrypted PKCS#8 PEM, for the store alone."""
        pkcs8 = serialization.PrivateFormat.PKCS8
        return Secret(
            self._known().private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()).decode("ascii")
        )


def make_private_key(bits: int) -> RsaPrivateKey:
    """Make a new key of *bits* (2048, 3072 or 4096); takes up to some seconds. Raises as `RsaPrivateKey.sign_sha1`."""
    key = RsaPrivateKey(rsa.generate_private_key(public_exponent=65_537, key_size=bits))
    key.sign_sha1(b"self-test")  # better told now than at the first request
    return key


def load_private_key(pem: Secret) -> RsaPrivateKey:
    """
    Parse a PKCS#8 PEM that our own store gave back.

    The key's arithmetic is not proved again: that takes 36 ms for 2048 bits, and it was proved when the key was made.

    Raises:
        ValueError: it is not an RSA private key in PEM.
    """
    try:
        key = serialization.load_pem_private_key(pem.reveal().encode(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return RsaPrivateKey(key)


def sign(
    request: UnsignedRequest,
    consumer: Consumer,
    token: AccessToken | RequestToken | None,
    *,
    nonce: str,
    timestamp: int,
) -> str:
    """
    Return the Authorization header value for *request*.

    Args:
        request: the request; its URL is the one the provider believes it was called by.
        consumer: who signs.
        token: the access token; the request token when it is swapped; None for the dance's first request.
        nonce: hex, 16 random bytes or more, never used twice with the same timestamp and token.
        timestamp: seconds since 1970-01-01 UTC, by the provider's clock.

    Raises:
        BadUrlError: the query or the form repeats one of the header's parameters, has too many parameters or one without a name,
            or cannot be decoded exactly.

    Source: RFC 5849 §3.4 (signature), §3.5.1 (header).
    """
    oauth = _protocol_parameters(request, consumer, token, nonce, timestamp)
    base_string = _base_string(request, oauth)
    signature = b64encode(consumer.private_key.sign_sha1(base_string.encode("ascii"))).decode("ascii")
    escaped = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")  # base64 has nothing else to escape
    items = ", ".join(f'{name}="{value}"' for name, value in oauth)
    return f'OAuth {items}, oauth_signature="{escaped}"'


def signature_base_string(
    request: UnsignedRequest, consumer: Consumer, token: AccessToken | RequestToken | None, *, nonce: str, timestamp: int
) -> str:
    """
    Return what `sign` signs for the same arguments; it holds the token, so it is a secret until that is struck out.

    Source: RFC 5849 §3.4.1.
    """
    return _base_string(request, _protocol_parameters(request, consumer, token, nonce, timestamp))


def _protocol_parameters(
    request: UnsignedRequest, consumer: Consumer, token: AccessToken | RequestToken | None, nonce: str, timestamp: int
) -> list[tuple[str, str]]:
    """Return what the header carries besides the signature, percent-encoded, in the header's order."""
    oauth = [("oauth_consumer_key", _escape(consumer.key))]
    if token is not None:
        oauth.append(("oauth_token", _escape(token.key.reveal())))
    oauth += [
        ("oauth_signature_method", SIGNATURE_METHOD),
        ("oauth_timestamp", str(timestamp)),
        ("oauth_nonce", _escape(nonce)),
        ("oauth_version", "1.0"),
    ]
    oauth.extend((name, _escape(value)) for name, value in request.oauth)
    return oauth


def _base_string(request: UnsignedRequest, oauth: list[tuple[str, str]]) -> str:
    url = request.url
    sent = [*(parse_pairs(url.query, "query") if url.query else ()), *(request.form or ())]
    if len(sent) > PARAMETERS_MAX:  # the provider counts query and form together
        raise BadUrlError(f"the request has more than {PARAMETERS_MAX} parameters", "the provider would not read them all")
    for name, _ in sent:
        if name in PROTOCOL_PARAMETERS:
            raise BadUrlError(
                f"the request carries a parameter {name} of its own", "take it out: the name is reserved for the signature"
            )
        if not name:  # a form given as pairs; parse_pairs refuses it in a text
            raise BadUrlError("the form has a part without a name", "the provider would drop it: take it out")
    # RFC 5849 §3.4.1.3.2: sorted by encoded name, then by encoded value. Encoded text is ASCII, so str order is byte order.
    encoded = sorted([*((_escape(name), _escape(value)) for name, value in sent), *oauth])
    parameters = "%26".join(f"{_escape_again(name)}%3D{_escape_again(value)}" for name, value in encoded)
    return f"{_escape(request.method.upper())}&{_escape(url.origin + url.path)}&{parameters}"


def _escape_again(encoded: str) -> str:
    """Percent-encode what `_escape` gave: nothing is left to encode but its percent signs."""
    return encoded.replace("%", "%25")


def _escape(text: str) -> str:
    """Percent-encode as RFC 5849 §3.6: only letters, digits and "-._~" stay."""
    try:
        return quote(text, safe="-._~")
    except UnicodeEncodeError:
        # Half a surrogate pair: JSON can carry it, no request can. No chain: the cause would show the text.
        raise BadUrlError("the request holds text that is not valid Unicode", "encode the text as UTF-8 first") from None
