"""Third parties' keyring back ends: the stores' contract on pass with gpg, and back ends that fail, hang or keep nothing."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keyring.backend import KeyringBackend
from keyring.backends import null
from keyring.errors import InitError, KeyringLocked

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.base.errors import BadRequestError, DaemonError, StoreLockedError, StoreUnavailableError
from atl_sign.base.files import locked
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.keyring import KeyringStore
from atl_sign.custody.stores.opening import open_store
from tests.store.contract import StoreContract

PASS = "keyring:keyring_pass.PasswordStoreBackend"
CALLS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("token:jira"),
    "write": lambda store: store.write("token:jira", Secret("canary-text")),
    "delete": lambda store: store.delete("token:jira"),
    "unlock": lambda store: store.unlock(None, None),
}


@pytest.fixture(scope="module")
def pass_home() -> Iterator[Path]:
    """A password store of its own, for a key without a passphrase; gpg's sockets want a short path."""
    home = Path(tempfile.mkdtemp(prefix="atlp-"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GNUPGHOME": str(home / "gpg"), "LC_ALL": "C.UTF-8"}
    (home / "gpg").mkdir(mode=0o700)
    for command in (
        ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "tests@example.com", "default", "default", "never"],
        ["pass", "init", "tests@example.com"],
    ):
        subprocess.run(command, env=environment, check=True, capture_output=True)
    yield home
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)
    shutil.rmtree(home)


def enter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOME": str(home),
        "GNUPGHOME": str(home / "gpg"),
        "PASSWORD_STORE_DIR": str(home / ".password-store"),
        "LC_ALL": "C.UTF-8",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
class TestPass(StoreContract):
    """What every store promises, kept by pass."""

    @pytest.fixture
    def store(self, pass_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
        enter(pass_home, monkeypatch)
        store = self.make(tmp_path)
        yield store
        for name in ("token:jira", "token:jira-test", "token:other", "consumer-key"):
            store.delete(name)

    @pytest.fixture
    def another(self, store: Store, tmp_path: Path) -> Store:
        return self.make(tmp_path)

    def make(self, folder: Path) -> KeyringStore:
        # The contract's threads wait for each other's gpg.
        return KeyringStore(PASS.removeprefix("keyring:"), timeout_s=30, lock_file=folder / "state/keyring.lock")

    def test_pass_itself_shows_what_was_written(self, store: Store) -> None:
        """One line of JSON, under the service and the name."""
        store.write("token:jira", Secret('{"v":1}'))

        done = subprocess.run(["pass", "show", "python-keyring/atl-sign/token:jira"], capture_output=True, text=True, check=True)

        assert done.stdout == '"{\\"v\\":1}"\n'

    def test_it_answers_after_a_restart_and_keeps_no_passphrase(self, store: Store) -> None:
        """gpg-agent decides; `lock` and `discard` leave it alone."""
        store.write("token:jira", Secret("there"))
        store.unlock(None, None)
        store.lock()
        store.discard()

        assert store.survives_restart()
        item = store.read("token:jira")
        assert item is not None
        assert item.value.reveal() == "there"
        with pytest.raises(BadRequestError):
            store.unlock(Passphrase(b"x"), None)


@pytest.mark.slow
def test_without_its_gpg_key_pass_fails_by_name(pass_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never taken for "there is none", and no word of the item is shown."""
    enter(pass_home, monkeypatch)
    store = open_store(PASS)
    store.write("token:jira", Secret("canary-text"))
    (pass_home / "other").mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(pass_home / "other"))
    try:
        for name in ("read", "write"):
            with pytest.raises(StoreUnavailableError, match="failed with CalledProcessError") as refused:
                CALLS[name](store)
            assert "canary" not in everything(refused.value)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=True)
        monkeypatch.setenv("GNUPGHOME", str(pass_home / "gpg"))
        store.delete("token:jira")


class Fake(KeyringBackend):
    """A back end that does what a test says."""

    priority = 1
    kept: dict[str, str] = {}  # noqa: RUF012 - of the class, as each test's store makes its own object
    action: Callable[[], object] = staticmethod(lambda: None)

    def get_password(self, service: str, username: str) -> str | None:
        type(self).action()
        return self.kept.get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        type(self).action()
        self.kept[username] = password

    def delete_password(self, service: str, username: str) -> None:
        type(self).action()
        del self.kept[username]


class Forgetful(Fake):
    """A back end that takes everything and changes nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass

    def delete_password(self, service: str, username: str) -> None:
        pass


class Hidden(null.Keyring):
    """keyring's null back end under another name."""


class NoBackend:
    """Of another kind."""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    Fake.kept, Fake.action = {}, staticmethod(lambda: None)
    yield
    Fake.action = staticmethod(lambda: None)


def fake(name: str = "Fake", timeout_s: float = 3.0, lock_file: Path | None = None) -> KeyringStore:
    return KeyringStore(f"{__name__}.{name}", timeout_s, lock_file)


def everything(error: BaseException) -> str:
    shown = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{error!r} {error.__dict__}" + (everything(shown) if shown else "")


class TestFake(StoreContract):
    """The contract on a back end in memory."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return fake(lock_file=tmp_path / "state/keyring.lock")

    @pytest.fixture
    def another(self, store: Store, tmp_path: Path) -> Store:
        return fake(lock_file=tmp_path / "state/keyring.lock")


def test_what_another_daemon_changes_is_waited_for(tmp_path: Path) -> None:
    """Each change takes its turn, for a bounded time; reading needs none, and where there can be no lock nobody waits."""
    lock = tmp_path / "keyring.lock"
    store = fake(timeout_s=0.3, lock_file=lock)
    version = store.write("token:jira", Secret("old"))
    changes: list[Callable[[], object]] = [
        lambda: store.write("token:jira", Secret("new"), version),
        lambda: store.write("token:jira", Secret("new")),
        lambda: store.delete("token:jira"),
    ]
    with locked(lock, 0):
        for change in changes:
            with pytest.raises(StoreLockedError, match="another daemon is changing the keyring"):
                change()
        item = store.read("token:jira")
        assert item is not None
        assert item.value.reveal() == "old"

    changes[0]()
    (tmp_path / "file").write_text("")
    elsewhere = fake(lock_file=tmp_path / "file/keyring.lock")
    elsewhere.write("token:jira", Secret("newer"), store.write("token:jira", Secret("new")))


@pytest.mark.parametrize(
    ("failure", "expected", "state"),
    [
        (KeyringLocked("canary"), StoreLockedError, "locked"),
        (InitError("canary"), StoreUnavailableError, "unavailable"),
        (RuntimeError("canary"), StoreUnavailableError, "unavailable"),
        (subprocess.CalledProcessError(2, ["pass"], "canary"), StoreUnavailableError, "unavailable"),
    ],
)
def test_a_failure_is_named_and_not_shown(failure: Exception, expected: type[DaemonError], state: str) -> None:
    """By its class; the twin: when it is over, the next call works."""
    store = fake()

    def fail() -> None:
        raise failure

    Fake.action = staticmethod(fail)
    for call in CALLS.values():
        with pytest.raises(expected) as refused:
            call(store)
        assert "canary" not in everything(refused.value)
    assert store.state() == state
    assert not store.survives_restart()

    Fake.action = staticmethod(lambda: None)
    assert store.read("token:jira") is None


def test_one_that_waits_holds_nobody_longer_than_its_time() -> None:
    """It may be asking the user: `store_locked`, one thread however many ask; once it goes on, so does the store."""
    may_go_on = threading.Event()
    store = fake(timeout_s=0.1)
    Fake.action = staticmethod(lambda: may_go_on.wait(10))
    threads = threading.active_count()
    try:
        for _ in range(3):
            for call in CALLS.values():
                with pytest.raises(StoreLockedError, match="does not answer"):
                    call(store)
        assert threading.active_count() == threads + 1
        assert store.state() == "locked"
    finally:
        may_go_on.set()

    deadline = time.monotonic() + 10
    while store.state() != "ready":
        assert time.monotonic() < deadline
    store.write("token:jira", Secret("there"))


def test_one_that_keeps_or_removes_nothing_is_found() -> None:
    """A write that is not there is none, and neither is a deletion."""
    store = fake("Forgetful")
    with pytest.raises(StoreUnavailableError, match="does not give it back"):
        store.write("token:jira", Secret("lost"))
    Fake.kept["token:jira"] = '"still there"'

    with pytest.raises(StoreUnavailableError, match="did not remove"):
        store.delete("token:jira")


@pytest.mark.parametrize("text", ["canary", "5", "[]", "[" * 100_000])
def test_an_item_of_somebody_else_is_named_and_not_shown(text: str) -> None:
    """Not what we write."""
    Fake.kept["token:jira"] = text

    with pytest.raises(StoreUnavailableError, match="item token:jira") as refused:
        fake().read("token:jira")

    assert "canary" not in everything(refused.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module_anywhere.Keyring", "module no_such_module_anywhere is missing"),
        (f"{__name__}.NoSuchClass", "is not a keyring back end"),
        (f"{__name__}.NoBackend", "is not a keyring back end"),
        (f"{__name__}.Hidden", "keeps nothing by itself"),
    ],
)
def test_a_class_that_is_none_or_keeps_nothing_is_refused_when_it_is_loaded(name: str, words: str) -> None:
    """At the first call; nothing is stored anywhere."""
    store = open_store(f"keyring:{name}")

    for call in CALLS.values():
        with pytest.raises(StoreUnavailableError, match=words):
            call(store)
    assert store.state() == "unavailable"
