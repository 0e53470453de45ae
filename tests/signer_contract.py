"""The tests that all keys share, wherever they are."""

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from atl_sign.base.errors import StoreLockedError
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.software import make_private_key


class SignerContract:
    """The tests that all keys share; a key's test class inherits it and names its key in the fixture `key`."""

    @pytest.fixture
    def key(self) -> Signer:
        raise NotImplementedError

    def test_its_signature_fits_its_public_half(self, key: Signer) -> None:
        """RSASSA-PKCS1-v1_5 with SHA-1, as the cryptography library verifies it; the twin: of no other message."""
        public = serialization.load_pem_public_key(key.public.pem.encode())
        assert isinstance(public, rsa.RSAPublicKey)

        signature = key.sign_sha1(b"message")

        public.verify(signature, b"message", padding.PKCS1v15(), hashes.SHA1())
        with pytest.raises(InvalidSignature):
            public.verify(signature, b"another", padding.PKCS1v15(), hashes.SHA1())
        assert key.public.bits == public.key_size

    def test_its_fingerprint_is_that_of_its_public_half(self, key: Signer) -> None:
        """The SHA-256 of the SubjectPublicKeyInfo."""
        der = serialization.load_pem_public_key(key.public.pem.encode()).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

        assert key.public.fingerprint == "SHA256:" + b64encode(sha256(der).digest()).decode().rstrip("=")

    def test_a_forgotten_key_does_nothing(self, key: Signer) -> None:
        """Whatever still holds the object; forgetting twice is fine."""
        key.forget()
        key.forget()

        for refused in (lambda: key.sign_sha1(b"x"), lambda: key.public):
            with pytest.raises(StoreLockedError):
                refused()

    def test_it_does_not_show_itself(self, key: Signer) -> None:
        """Nothing private stands in its repr."""
        assert "PRIVATE" not in repr(key)

    def test_its_public_half_tells_its_signatures_from_others(self, key: Signer) -> None:
        """What a signature from elsewhere is checked with; the twins: another message, another key's, and half of one."""
        signature = key.sign_sha1(b"message")

        assert key.public.has_signed(b"message", signature)
        assert not key.public.has_signed(b"another", signature)
        assert not key.public.has_signed(b"message", make_private_key(2048).sign_sha1(b"message"))
        assert not key.public.has_signed(b"message", signature[:100])

    def test_it_is_ready(self, key: Signer) -> None:
        """And says so without a signature."""
        assert key.state() == "ready"
