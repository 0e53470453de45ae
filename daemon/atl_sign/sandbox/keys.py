"""Public keys as an application link's form and REST call take them (facts section 1.3)."""

import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_MARKER = re.compile(r"-----[A-Z ]*-----")


class BadKeyError(ValueError):
    """The text is not a public key that the product takes."""


def parse_public_key(text: str, *, may_be_certificate: bool) -> RSAPublicKey:
    """
    Parse *text*: X.509 SubjectPublicKeyInfo in base64, with or without marker lines, or a certificate in PEM.

    Args:
        text: what was pasted. A certificate is known by its very first characters.
        may_be_certificate: the form takes one, the REST call does not.

    Raises:
        BadKeyError: it is something else; PKCS#1 (`BEGIN RSA PUBLIC KEY`) is.
    """
    try:
        key = _parse_certificate(text) if may_be_certificate and text.startswith(_CERTIFICATE) else _parse_spki(text)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise BadKeyError("Invalid public key: it is not X.509 SubjectPublicKeyInfo in base64") from exc
    if not isinstance(key, RSAPublicKey):
        raise BadKeyError("Invalid public key: it is not an RSA key")
    return key


def format_public_key(key: RSAPublicKey) -> str:
    """Return *key* as SubjectPublicKeyInfo in base64, on one line."""
    return binascii.b2a_base64(_to_der(key), newline=False).decode("ascii")


def _parse_certificate(text: str) -> object:
    return x509.load_pem_x509_certificate(text.encode()).public_key()


def _parse_spki(text: str) -> object:
    der = binascii.a2b_base64(_MARKER.sub("", text).replace("\r", "").replace("\n", "").encode())
    key = load_der_public_key(der)
    # The loader takes PKCS#1 too, which Java's X509EncodedKeySpec refuses.
    if isinstance(key, RSAPublicKey) and _to_der(key) != der:
        raise BadKeyError("not SubjectPublicKeyInfo")
    return key


def _to_der(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
