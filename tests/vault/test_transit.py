"""A key that signs in a vault: the same signatures, the version that providers know, and nothing but digests on the way."""

import subprocess
from base64 import b64encode
from hashlib import sha1
from pathlib import Path

import pytest

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadRequestError, KeyExistsError, KeyLockedError, KeyMissingError, KeyUnavailableError
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.places import KeyPlaces
from atl_sign.custody.keys.software import make_private_key
from atl_sign.custody.keys.transit import TransitPlace
from atl_sign.custody.vaults.policy import format_policy
from tests.openbao import Refused
from tests.signer_contract import SignerContract
from tests.vault.conftest import Lab

REFERENCE = "vault:ci/transit/atl-sign"
OPERATORS = format_policy(("transit", "+"), None, makes_key=True)


@pytest.fixture
def place(lab: Lab) -> TransitPlace:
    return TransitPlace(lab.vaults)


@pytest.fixture
def operators(lab: Lab) -> Lab:
    """Their login, which may make keys."""
    lab.space.make_policy("operators", OPERATORS)
    lab.log_in("operators")
    return lab


class TestTransitKey(SignerContract):
    """As every key, with the policy of a machine that only signs."""

    @pytest.fixture
    def key(self, lab: Lab) -> Signer:
        lab.make_key()
        return TransitPlace(lab.vaults).find(REFERENCE)

    def test_it_waits_for_the_network(self, key: Signer) -> None:
        """So the event loop must not call it."""
        assert not key.is_instant


def test_the_signature_is_that_of_openssl(operators: Lab, place: TransitPlace, tmp_path: Path) -> None:
    """Of the imported key, to the byte (PKCS#1 v1.5 has no chance in it); the vault gives the key to nobody."""
    key = make_private_key(2048)
    pem = tmp_path / "key.pem"
    pem.touch(0o600)
    pem.write_text(key.private_pem().reveal())
    command = ["openssl", "dgst", "-sha1", "-sign", str(pem)]
    expected = subprocess.run(command, input=b"message", capture_output=True, check=True).stdout

    moved = place.take(REFERENCE, key)

    assert moved.public == key.public
    assert moved.sign_sha1(b"message") == expected
    assert moved.reference == f"{REFERENCE}@1"
    with pytest.raises(Refused, match="not exportable"):
        operators.space.call("GET", "transit/export/signing-key/atl-sign")


@pytest.mark.parametrize("bits", [2048, 4096])
def test_a_key_is_made_there(operators: Lab, place: TransitPlace, bits: int) -> None:
    """Once: a second one under the name is refused, and the first one stays."""
    key = place.make(REFERENCE, bits)
    assert key.public.bits == bits
    shown = operators.space.call("GET", "transit/keys/atl-sign")["data"]
    assert shown["keys"]["1"]["public_key"].strip() == key.public.pem.strip()

    with pytest.raises(KeyExistsError) as made:
        place.make(REFERENCE, bits)
    with pytest.raises(KeyExistsError) as taken:
        place.take(REFERENCE, make_private_key(2048))
    assert made.value.hint == taken.value.hint == f"atl-sign key use {REFERENCE}"
    assert place.find(REFERENCE).public == key.public


def test_a_rotated_key_goes_on_with_the_version_that_providers_know(lab: Lab, place: TransitPlace) -> None:
    """Another version is another key; it is used when it is named, or found anew."""
    lab.make_key()
    key = place.find(REFERENCE)
    lab.space.call("POST", "transit/keys/atl-sign/rotate", {})

    key.sign_sha1(b"message")  # checks itself

    assert place.open(f"{REFERENCE}@1", key.public).sign_sha1(b"m") == key.sign_sha1(b"m")
    newer = place.find(REFERENCE)
    assert newer.reference == f"{REFERENCE}@2"
    assert newer.public != key.public
    assert place.find(f"{REFERENCE}@1").public == key.public


def test_a_version_that_is_no_longer_allowed_is_named(lab: Lab, place: TransitPlace) -> None:
    """Its operators have ended it; nothing is signed with another one."""
    lab.make_key()
    key = place.find(REFERENCE)
    lab.space.call("POST", "transit/keys/atl-sign/rotate", {})
    lab.space.call("POST", "transit/keys/atl-sign/config", {"min_encryption_version": 2})

    with pytest.raises(KeyUnavailableError, match="minimum encryption key version"):
        key.sign_sha1(b"message")


def test_a_key_that_was_made_anew_is_found_out(lab: Lab, place: TransitPlace) -> None:
    """Before a provider sees its signature."""
    lab.make_key()
    key = place.find(REFERENCE)
    lab.space.call("POST", "transit/keys/atl-sign/config", {"deletion_allowed": True})
    lab.space.call("DELETE", "transit/keys/atl-sign")
    with pytest.raises(KeyMissingError):
        key.sign_sha1(b"message")
    lab.make_key()

    with pytest.raises(KeyUnavailableError, match="another key than vault:ci/transit/atl-sign@1 was"):
        key.sign_sha1(b"message")


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519", "aes256-gcm96"])
def test_only_rsa_keys_sign(lab: Lab, place: TransitPlace, kind: str) -> None:
    """The products know no other method."""
    lab.space.call("POST", "transit/keys/atl-sign", {"type": kind})

    with pytest.raises(BadRequestError, match=kind):
        place.find(REFERENCE)


@pytest.mark.parametrize(
    "reference", ["vault:ci/atl-sign", "vault:ci/transit/", "vault:ci/transit/a@0", "vault:ci/transit/a@x", "vault:ci/../a"]
)
def test_what_is_no_reference_is_refused(place: TransitPlace, reference: str) -> None:
    """With the form that is one."""
    with pytest.raises(BadRequestError) as caught:
        place.find(reference)

    assert caught.value.hint == "name one such as vault:ci/transit/atl-sign"


def test_a_version_is_not_named_for_a_key_to_be_made(operators: Lab, place: TransitPlace) -> None:
    """Nor one that is not there for a key that is."""
    with pytest.raises(BadRequestError, match="no version yet"):
        place.make(f"{REFERENCE}@2", 2048)
    operators.make_key()
    with pytest.raises(BadRequestError, match="has no version 7"):
        place.find(f"{REFERENCE}@7")


def test_the_machines_policy_allows_nothing_else(lab: Lab, place: TransitPlace) -> None:
    """No message, no other hash or padding, no new key; and making one says what is missing."""
    lab.make_key()
    place.find(REFERENCE)
    digest = b64encode(sha1(b"m").digest()).decode()
    good = {"input": digest, "prehashed": True, "signature_algorithm": "pkcs1v15", "key_version": 1}
    assert lab.space.call("POST", "transit/sign/atl-sign/sha1", good, token=lab.token)["data"]["key_version"] == 1
    refused: dict[str, dict[str, object]] = {
        "transit/sign/atl-sign/sha1": {**good, "prehashed": False},
        "transit/sign/atl-sign/sha2-256": good,
        "transit/sign/atl-sign": {**good, "hash_algorithm": "sha1"},
        "transit/keys/atl-sign/rotate": {},
        "transit/keys/atl-sign/config": {"exportable": True},
    }
    for path, body in refused.items():
        with pytest.raises(Refused):
            lab.space.call("POST", path, body, token=lab.token)

    with pytest.raises(KeyUnavailableError, match="does not allow this login to read transit/keys/new"):
        place.make("vault:ci/transit/new", 2048)


def test_a_dead_login_locks_the_key(lab: Lab, place: TransitPlace) -> None:
    """It is in the error's code, and in the key's state; the public half is there all the same."""
    lab.make_key()
    key = place.find(REFERENCE)
    lab.space.call("POST", "auth/token/revoke", {"token": lab.token})

    with pytest.raises(KeyLockedError, match="refuses the login"):
        key.sign_sha1(b"message")

    assert key.state() == "locked"
    assert key.public.bits == 2048
    lab.log_in("atl-sign")
    assert key.state() == "ready"
    key.sign_sha1(b"message")


def test_a_vault_that_left_the_configuration(lab: Lab, place: TransitPlace) -> None:
    """The key is still shown, and says where it was."""
    lab.make_key()
    key = place.find(REFERENCE)
    lab.servers.clear()

    with pytest.raises(KeyUnavailableError, match="no vault is called ci") as caught:
        key.sign_sha1(b"message")

    assert caught.value.hint == "add a table [vaults.ci] to config.toml"
    assert key.state() == "unavailable"


def test_it_has_no_pin(lab: Lab) -> None:
    """So none is sent."""
    places = KeyPlaces({"vault": lambda: TransitPlace(lab.vaults)})

    with pytest.raises(BadRequestError, match="has no PIN"):
        places.unlock(REFERENCE, Passphrase(b"canary"), may_be_last=False)
