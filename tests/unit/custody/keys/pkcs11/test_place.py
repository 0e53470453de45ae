"""Keys in real tokens, by a module that runs in a process of its own: found, made, brought, locked, lost and found again."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.base.errors import (
    BadRequestError,
    KeyExistsError,
    KeyLockedError,
    KeyMissingError,
    KeyUnavailableError,
    TooManyTriesError,
    WrongPassphraseError,
)
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.software import load_private_key, make_private_key
from tests.lab import wait_for
from tests.signer_contract import SignerContract
from tests.token_lab import PIN, SoftHsm
from tests.unit.custody.keys.pkcs11.conftest import Lab


def module_of(lab: Lab) -> int:
    """Return the pid of the program that has loaded the module."""
    process = lab.place._module._process
    assert process is not None
    assert process._process is not None
    return process._process.pid


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestTokenKey(SignerContract):
    """What every key promises, kept by one in SoftHSM."""

    @pytest.fixture
    def key(self, lab: Lab) -> Signer:
        lab.unlock()
        return lab.place.find(lab.hsm.uri())

    def test_it_is_not_instant(self, key: Signer) -> None:
        """A device answers, so the event loop must not wait for it."""
        assert not key.is_instant


def test_its_own_reference_names_it_exactly(lab: Lab) -> None:
    """With the token's serial number and the key's id: another token or key of the same label is another one."""
    lab.unlock()

    key = lab.place.find(lab.hsm.uri())

    assert key.reference.startswith("pkcs11:token=atl;serial=")
    assert key.reference.endswith(f";object=key;id=%01?module-path={lab.hsm.module}")
    assert lab.place.open(key.reference, key.public).sign_sha1(b"m") == key.sign_sha1(b"m")


def test_a_key_is_locked_until_its_pin_came(lab: Lab) -> None:
    """It says so, with the command; the twin: after the PIN it signs, and after `forget` it does not."""
    with pytest.raises(KeyLockedError) as refused:
        lab.place.find(lab.hsm.uri())
    assert refused.value.hint == f"atl-sign unlock --key '{lab.hsm.uri()}'"
    lab.unlock()
    found = lab.place.find(lab.hsm.uri())
    assert not found.survives_restart()

    lab.place.forget()

    key = lab.place.open(found.reference, found.public)
    assert key.survives_restart()
    assert key.state() == "locked"
    with pytest.raises(KeyLockedError) as refused:
        key.sign_sha1(b"m")
    assert refused.value.hint == "atl-sign unlock --key"


def test_a_wrong_pin_is_tried_once_and_the_next_one_needs_a_word(lab: Lab) -> None:
    """The token counts it; only the right one with that word opens the token, and then the count is forgotten."""
    with pytest.raises(WrongPassphraseError) as wrong:
        lab.unlock(pin="not-the-pin")
    with pytest.raises(TooManyTriesError) as low:
        lab.unlock()
    lab.unlock(may_be_last=True)
    lab.unlock()

    assert wrong.value.hint == "atl-sign unlock --key --try-again"
    assert "atl-sign unlock --key --try-again" in str(low.value.hint)
    assert lab.place.find(lab.hsm.uri()).state() == "ready"
    for error in (wrong.value, low.value):
        assert "not-the-pin" not in f"{error}{error.hint}"


def test_a_wrong_pin_ends_the_login_before(lab: Lab) -> None:
    """Nobody who does not know the PIN has unlocked anything."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())

    with pytest.raises(WrongPassphraseError):
        lab.unlock(pin="not-the-pin")

    with pytest.raises(KeyLockedError):
        key.sign_sha1(b"m")


def test_a_kept_pin_is_not_shown_to_a_token_that_counts_wrong_ones(lab: Lab) -> None:
    """Somebody else tried: ours may be another one by now, and a try is worth more than the convenience."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    os.kill(module_of(lab), signal.SIGKILL)
    done = subprocess.run(["pkcs11-tool", "--module", lab.hsm.module, "--login", "--pin", "wrong", "-O"], capture_output=True)
    assert done.returncode != 0

    with pytest.raises(KeyLockedError):
        key.sign_sha1(b"m")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_crashed_module_is_loaded_again(lab: Lab, number: int) -> None:
    """It takes nothing of ours along: the next signature comes from another process."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    before = module_of(lab)

    os.kill(before, number)

    assert key.public.has_signed(b"m", key.sign_sha1(b"m"))
    assert module_of(lab) != before
    assert not is_running(before)


def test_a_module_that_hangs_is_left_and_replaced(lab: Lab) -> None:
    """The caller leaves after the deadline; the program that hangs is ended, and the next signature comes from another one."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    lab.set(pkcs11_timeout_s=0.5)
    before = module_of(lab)
    os.kill(before, signal.SIGSTOP)

    began = time.monotonic()
    with pytest.raises(KeyUnavailableError, match=r"did not answer within 0\.5 s"):
        key.sign_sha1(b"m")
    took = time.monotonic() - began

    assert 0.5 <= took < 1.5
    lab.set(pkcs11_timeout_s=5.0)
    wait_for(lambda: not is_running(before))
    wait_for(lambda: key.state() == "ready")
    assert key.sign_sha1(b"m")


def test_those_who_come_while_it_hangs_leave_too(lab: Lab) -> None:
    """Nobody waits longer than the deadline, and nobody is forgotten."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    lab.set(pkcs11_timeout_s=0.5)
    os.kill(module_of(lab), signal.SIGSTOP)
    times: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        try:
            key.sign_sha1(b"m")
        except KeyUnavailableError:
            times.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(times) == 8
    assert max(times) < 1.5


def test_many_threads_sign_at_once(lab: Lab) -> None:
    """One after the other, in the one thread that may call the library; each signature is right."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    found: list[bool] = []

    def sign(number: int) -> None:
        found.extend(key.public.has_signed(b"%d" % number, key.sign_sha1(b"%d" % number)) for _ in range(20))

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert found == [True] * 160


def test_a_token_that_is_gone_and_back_signs_again(lab: Lab, hsm: SoftHsm) -> None:
    """While it is gone, that is said; back again, it needs no second PIN."""
    lab.unlock()
    key = lab.place.find(hsm.uri())
    (hsm.folder / "tokens").rename(hsm.folder / "away")
    (hsm.folder / "tokens").mkdir()

    with pytest.raises(KeyUnavailableError, match=r"the token atl with serial .* is not there"):
        key.sign_sha1(b"m")
    assert key.state() == "unavailable"
    (hsm.folder / "tokens").rmdir()
    (hsm.folder / "away").rename(hsm.folder / "tokens")

    assert key.sign_sha1(b"m")


def test_it_is_let_go_of_when_idle(lab: Lab) -> None:
    """Others want the reader too; the next signature needs no second PIN."""
    lab.set(pkcs11_idle_s=0.2)
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    before = module_of(lab)

    wait_for(lambda: not is_running(before))

    assert key.sign_sha1(b"m")


def test_close_leaves_no_process(lab: Lab) -> None:
    """Nor a socket."""
    lab.unlock()
    pid = module_of(lab)
    address = lab.place._module._address

    lab.place.close()

    assert not is_running(pid)
    assert not address.exists()


def test_a_key_is_made_and_not_made_twice(lab: Lab) -> None:
    """In the token, from which it cannot be read; the twin: the name is taken then."""
    lab.unlock()
    uri = lab.hsm.uri("made")

    key = lab.place.make(uri, 2048)

    assert key.public.has_signed(b"m", key.sign_sha1(b"m"))
    assert lab.place.find(uri).public == key.public
    with pytest.raises(KeyExistsError):
        lab.place.make(uri, 2048)


def test_a_key_is_brought_and_signs_the_same_bytes(lab: Lab, tmp_path: Path) -> None:
    """As openssl with the key's file."""
    lab.unlock()
    own = make_private_key(2048)
    pem = tmp_path / "key.pem"
    pem.write_text(own.private_pem().reveal())
    command = ["openssl", "dgst", "-sha1", "-sign", str(pem)]

    key = lab.place.take(lab.hsm.uri("brought"), own)

    assert key.public == own.public
    assert key.sign_sha1(b"message") == subprocess.run(command, input=b"message", capture_output=True, check=True).stdout
    with pytest.raises(KeyExistsError):
        lab.place.take(lab.hsm.uri("brought"), own)


def test_a_key_of_another_program_signs_the_same_bytes(lab: Lab, tmp_path: Path) -> None:
    """One that softhsm2-util brought there."""
    pem = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pem], check=True)
    lab.hsm.import_key(pem, "theirs")
    lab.unlock()

    key = lab.place.find(lab.hsm.uri("theirs"))

    assert key.public == load_private_key(Secret(pem.read_text())).public
    done = subprocess.run(["openssl", "dgst", "-sha1", "-sign", pem], input=b"message", capture_output=True, check=True)
    assert key.sign_sha1(b"message") == done.stdout


def test_a_key_that_wants_its_pin_each_time_is_refused(lab: Lab) -> None:
    """With the advice which one to take."""
    lab.hsm.add_key("always", "--always-auth", id="03")
    lab.unlock()

    with pytest.raises(BadRequestError, match="wants the PIN for each signature") as refused:
        lab.place.find(lab.hsm.uri("always"))

    assert "9a" in str(refused.value.hint)


def test_of_two_tokens_with_one_label_the_serial_number_chooses(lab: Lab) -> None:
    """Neither is taken by chance."""
    lab.hsm.add_token("atl", pin="another-pin")

    with pytest.raises(BadRequestError, match="2 tokens are named like that") as refused:
        lab.place.find(lab.hsm.uri())
    serials = str(refused.value.hint).rpartition(": ")[2].split(", ")

    outcomes = []
    for serial in serials:
        uri = lab.hsm.uri().replace("token=atl", f"token=atl;serial={serial}")
        try:
            lab.place.unlock(uri, Passphrase(PIN.encode()), may_be_last=False)
            outcomes.append(lab.place.find(uri).state())
        except WrongPassphraseError:
            outcomes.append("locked")
    assert sorted(outcomes) == ["locked", "ready"]


def test_of_two_keys_with_one_label_the_id_chooses(lab: Lab) -> None:
    """Neither is taken by chance."""
    lab.hsm.add_key("key", id="0a0b")
    lab.unlock()

    with pytest.raises(BadRequestError, match="2 keys") as refused:
        lab.place.find(lab.hsm.uri())

    assert "id=%0a%0b" in str(refused.value.hint)
    assert lab.place.find(lab.hsm.uri().replace("object=key", "object=key;id=%0a%0b")).state() == "ready"


def test_another_key_under_the_name_is_noticed(lab: Lab) -> None:
    """Before a provider is: the token has another key than the one that was taken into use."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    lab.hsm.delete_key("01")
    lab.hsm.add_key("key", id="01")
    os.kill(module_of(lab), signal.SIGKILL)

    with pytest.raises(KeyUnavailableError, match="another key key than the one that providers know"):
        key.sign_sha1(b"m")


def test_a_key_that_is_gone_is_missing(lab: Lab) -> None:
    """In a token that is there."""
    lab.unlock()
    key = lab.place.find(lab.hsm.uri())
    lab.hsm.delete_key("01")

    with pytest.raises(KeyMissingError):
        key.sign_sha1(b"m")
    with pytest.raises(KeyMissingError, match="the token atl has no RSA key other that signs"):
        lab.place.find(lab.hsm.uri("other"))


def test_without_module_or_token_that_is_said(lab: Lab, tmp_path: Path) -> None:
    """A path that does not exist, a library that is no module, and a token that is not there."""
    other = tmp_path / "other.so"
    other.write_bytes(b"no library")
    for uri, words in (
        (f"pkcs11:token=atl;object=key?module-path={tmp_path}/none.so", "there is no PKCS#11 module"),
        (f"pkcs11:token=atl;object=key?module-path={other}", "cannot be loaded"),
        (lab.hsm.uri(token="none"), "the token none is not there"),
    ):
        with pytest.raises(KeyUnavailableError, match=words):
            lab.place.find(uri)
    lab.unlock()
    assert lab.place.find(lab.hsm.uri()).state() == "ready"


def test_without_a_module_path_p11_kit_knows_the_modules(lab: Lab) -> None:
    """Those that are registered on this machine, as Debian's package does with SoftHSM."""
    uri = "pkcs11:token=atl;object=key"
    lab.place.unlock(uri, Passphrase(PIN.encode()), may_be_last=False)

    assert lab.place.find(uri).state() == "ready"
