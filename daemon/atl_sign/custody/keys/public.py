"""The public half of an RSA key: people see it, providers have it, and signatures from elsewhere are checked with it."""

from base64 import b64encode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PADDING = padding.PKCS1v15()
SHA1 = hashes.SHA1()  # noqa: S303 - the protocol's choice, not ours

_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class PublicKey:
    """An RSA public key, parsed once; two are equal when they are the same key."""

    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        """Wrap a key of the cryptography library."""
        self._key = key

    @property
    def bits(self) -> int:
        """The length of the modulus."""
        return self._key.key_size

    @property
    def pem(self) -> str:
        """The key as SubjectPublicKeyInfo PEM, the form that an application link's page takes (facts section 1.3)."""
        return self._key.public_bytes(serialization.Encoding.PEM, _SPKI).decode("ascii")

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the unpadded base64 of the SubjectPublicKeyInfo's SHA-256, as ssh-keygen prints fingerprints."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self._key.public_bytes(serialization.Encoding.DER, _SPKI))
        return "SHA256:" + b64encode(digest.finalize()).decode("ascii").rstrip("=")

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether *signature* is this key's RSASSA-PKCS1-v1_5 signature with SHA-1 over *message*."""
        try:
            self._key.verify(signature, message, PADDING, SHA1)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def load_public_key(pem: str) -> PublicKey:
    """Parse a public key in PEM; raises ValueError when it is not one of RSA."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return PublicKey(key)
