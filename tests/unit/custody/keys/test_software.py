"""A key in memory: made, loaded, shown by its public half alone, and forgotten."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import InternalError
from atl_sign.custody.keys import software
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.software import load_private_key, make_private_key
from tests.signer_contract import SignerContract
from tests.vectors import private_key, private_pem, public_der_sha256, public_pem


class TestSoftwareKey(SignerContract):
    """What every key promises, kept by one in memory."""

    @pytest.fixture
    def key(self) -> Signer:
        return make_private_key(2048)

    def test_it_signs_at_once(self, key: Signer) -> None:
        """A millisecond of arithmetic: the event loop may call it."""
        assert key.is_instant


def test_the_public_key_is_the_published_one() -> None:
    """SubjectPublicKeyInfo, as `openssl pkey -pubout` prints it; the fingerprint is over its DER."""
    key = private_key()

    assert key.public.pem == public_pem()
    assert key.public.fingerprint == "SHA256:" + b64encode(bytes.fromhex(public_der_sha256())).decode().rstrip("=")
    assert key.public.bits == 1024


def test_a_key_made_is_a_key_loaded() -> None:
    """It goes to the store as PKCS#8 and comes back as the same key."""
    key = make_private_key(2048)

    again = load_private_key(key.private_pem())

    assert key.public.bits == again.public.bits == 2048
    assert again.public.pem == key.public.pem
    assert again.sign_sha1(b"m") == key.sign_sha1(b"m")
    assert key.private_pem().reveal().startswith("-----BEGIN PRIVATE KEY-----\n")


def test_two_keys_made_differ() -> None:
    """The twin: nothing about a key is fixed."""
    assert make_private_key(2048).public.fingerprint != make_private_key(2048).public.fingerprint


def test_a_key_does_not_show_itself() -> None:
    """Neither the object nor the text it gives to the store."""
    assert "PRIVATE" not in repr(private_key()) + repr(private_key().private_pem())


def _pkcs8(key: ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


# PKCS#8 (RFC 5958) of an algorithm that nobody knows: OID 1.2.3.4, key of one byte; then of an elliptic curve that nobody knows.
_UNKNOWN_ALGORITHM = "-----BEGIN PRIVATE KEY-----\nMA0CAQAwBQYDKgMEBAEA\n-----END PRIVATE KEY-----\n"
_EC_UNKNOWN_CURVE = (
    "-----BEGIN PRIVATE KEY-----\nMCYCAQAwDwYHKoZIzj0CAQYEKgMEBQQQMA4CAQEECQAAAAAAAAAAAQ==\n-----END PRIVATE KEY-----\n"
)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "canary",
        "canary \ud800",
        private_pem().replace("MIICdgIBADAN", "MIICdgIBADAM"),
        private_pem()[:300],
        public_pem(),
        _UNKNOWN_ALGORITHM,
        _EC_UNKNOWN_CURVE,
        _pkcs8(ec.generate_private_key(ec.SECP256R1())),
        _pkcs8(rsa.generate_private_key(65_537, 1024), b"password"),
    ],
)
def test_what_is_no_rsa_private_key_is_refused(pem: str) -> None:
    """Broken, public, of another kind, or locked by a password: one error, which shows nothing of it."""
    with pytest.raises(ValueError, match=r"^not (a private key in PEM|an RSA key)$") as caught:
        load_private_key(Secret(pem))

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_machine_that_refuses_the_signature_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a system-wide policy refuses SHA-1: here a digest that RSA never signs takes its place."""
    key = make_private_key(2048)
    monkeypatch.setattr(software, "SHA1", hashes.BLAKE2b(64))

    for refused in (lambda: key.sign_sha1(b"x"), lambda: make_private_key(2048)):
        with pytest.raises(InternalError, match="refuses RSA-SHA1 signatures") as caught:
            refused()
        assert "crypto policy" in str(caught.value.hint)
