"""Keys in a TPM, through tpm2-pkcs11: real but for the silicon."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadRequestError, KeyUnavailableError, TooManyTriesError, WrongPassphraseError
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.pkcs11.place import Pkcs11Place
from atl_sign.custody.keys.software import make_private_key
from tests.signer_contract import SignerContract
from tests.token_lab import PIN
from tests.tpm_lab import TpmLab
from tests.unit.custody.keys.pkcs11.conftest import SETTINGS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def tpm() -> Iterator[TpmLab]:
    """With a key that tpm2_ptool made, called key."""
    with TpmLab() as lab:
        lab.ptool("addkey", "--label", "tpm", "--userpin", PIN, "--algorithm", "rsa2048", "--key-label", "key")
        yield lab


@pytest.fixture
def place(tpm: TpmLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pkcs11Place]:
    for name, value in tpm.environment.items():
        monkeypatch.setenv(name, value)
    folder = Path(tempfile.mkdtemp(prefix="atlp-"))
    made = Pkcs11Place(folder / "p11/s", lambda: SETTINGS)
    yield made
    made.close()
    shutil.rmtree(folder)


def unlock(place: Pkcs11Place, tpm: TpmLab, pin: str = PIN, *, may_be_last: bool = False) -> None:
    place.unlock(tpm.uri("key"), Passphrase(pin.encode()), may_be_last=may_be_last)


class TestTpmKey(SignerContract):
    """What every key promises, kept by one in a TPM."""

    @pytest.fixture
    def key(self, place: Pkcs11Place, tpm: TpmLab) -> Signer:
        unlock(place, tpm)
        return place.find(tpm.uri("key"))


def test_a_key_that_was_imported_signs_the_same_bytes(place: Pkcs11Place, tpm: TpmLab, tmp_path: Path) -> None:
    """`tpm2_ptool import` moves a key there, and no provider sees a change."""
    own = make_private_key(2048)
    pem = tmp_path / "key.pem"
    pem.write_text(own.private_pem().reveal())
    arguments = "--label", "tpm", "--userpin", PIN, "--privkey", str(pem), "--algorithm", "rsa", "--key-label", "imported"
    tpm.ptool("import", *arguments)
    unlock(place, tpm)

    key = place.find(tpm.uri("imported"))

    assert key.public == own.public
    command = ["openssl", "dgst", "-sha1", "-sign", str(pem)]
    assert key.sign_sha1(b"message") == subprocess.run(command, input=b"message", capture_output=True, check=True).stdout


def test_a_key_is_made_there(place: Pkcs11Place, tpm: TpmLab) -> None:
    """Of 2048 bits; the twin: more than the TPM has are refused."""
    unlock(place, tpm)

    key = place.make(tpm.uri("made"), 2048)

    assert key.public.has_signed(b"m", key.sign_sha1(b"m"))
    with pytest.raises((BadRequestError, KeyUnavailableError)):
        place.make(tpm.uri("large"), 4096)


def test_wrong_pins_block_the_tpm_until_its_owner_unblocks_it(place: Pkcs11Place, tpm: TpmLab) -> None:
    """The third try locks the TPM as a whole (facts section 9): we try none by ourselves, and name the remedy."""
    unlock(place, tpm)
    key = place.find(tpm.uri("key"))

    with pytest.raises(WrongPassphraseError):
        unlock(place, tpm, "not-the-pin", may_be_last=True)
    wrong = 1
    while _is_taken_for_wrong(place, tpm):
        wrong += 1
    with pytest.raises(TooManyTriesError) as blocked:
        unlock(place, tpm, may_be_last=True)

    assert wrong < 8
    assert "--init-pin" in str(blocked.value.hint)
    assert key.state() == "locked"
    tpm.run("tpm2_dictionarylockout", "--clear-lockout")
    unlock(place, tpm, may_be_last=True)
    assert key.sign_sha1(b"m")


def _is_taken_for_wrong(place: Pkcs11Place, tpm: TpmLab) -> bool:
    """Try a wrong PIN; tell whether it was looked at."""
    try:
        unlock(place, tpm, "not-the-pin", may_be_last=True)
    except WrongPassphraseError:
        return True
    except TooManyTriesError:
        pass
    return False
