"""An RSA key in this process's memory, kept by the store as PKCS#8."""

from cryptography.exceptions import InternalError as OpenSslError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import InternalError, StoreLockedError
from atl_sign.custody.keys.base import KeyState
from atl_sign.custody.keys.public import PADDING, SHA1, PublicKey


class RsaPrivateKey:
    """An RSA private key, parsed once, that makes RSA-SHA1 signatures."""

    __slots__ = ("_key",)
    is_instant = True
    reference = None

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        """Wrap a key that `load_private_key` or `make_private_key` gave."""
        self._key: rsa.RSAPrivateKey | None = key

    def forget(self) -> None:
        """Give the key up, even if this object is in use; OpenSSL overwrites its numbers when the last signature is done."""
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
            InternalError: this machine's crypto policy forbids SHA-1 signatures, as RHEL 9's does (facts section 1.1), or its
                OpenSSL has no RSA at all, as where it is configured for a FIPS module that is not there.
            StoreLockedError: the key was forgotten.
        """
        try:
            return self._known().sign(message, PADDING, SHA1)
        except UnsupportedAlgorithm:
            raise InternalError(
                "this machine's cryptography library refuses RSA-SHA1 signatures",
                "allow SHA-1 signatures in the system's crypto policy, or install cryptography from PyPI with its own OpenSSL",
            ) from None
        except OpenSslError:
            raise _without_rsa() from None

    @property
    def public(self) -> PublicKey:
        """See `Signer.public`."""
        return PublicKey(self._known().public_key())

    def state(self) -> KeyState:
        """Return "ready": the store's state is another matter."""
        return "ready"

    def survives_restart(self) -> bool:
        """Return True: the store tells for itself."""
        return True

    def pkcs1_der(self) -> bytes:
        """Return the private key as unencrypted PKCS#1, only to bring it to another place."""
        return self._written(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL)

    def pkcs8_der(self) -> bytes:
        """Return the private key as unencrypted PKCS#8, only to wrap it for another place."""
        return self._written(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8)

    def private_pem(self) -> Secret:
        """Return the private key as unencrypted PKCS#8 PEM, only for the store."""
        return Secret(self._written(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8).decode("ascii"))

    def _written(self, encoding: serialization.Encoding, form: serialization.PrivateFormat) -> bytes:
        return self._known().private_bytes(encoding, form, serialization.NoEncryption())


def make_private_key(bits: int) -> RsaPrivateKey:
    """Make a new key of *bits* (2048, 3072 or 4096); takes up to some seconds. Raises as `RsaPrivateKey.sign_sha1`."""
    try:
        key = RsaPrivateKey(rsa.generate_private_key(public_exponent=65_537, key_size=bits))
    except (OpenSslError, UnsupportedAlgorithm):
        raise _without_rsa() from None
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
    except OpenSslError:
        raise _without_rsa() from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return RsaPrivateKey(key)


def _without_rsa() -> InternalError:
    return InternalError(
        "this machine's OpenSSL has no RSA: its configuration may name a FIPS module that is not there",
        "openssl list -providers shows what it has; OPENSSL_CONF names its configuration",
    )
