"""The store's file: what every store promises, its format, and whatever can be done to a file."""

import hashlib
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.base.errors import (
    BadFieldsError,
    DaemonError,
    StoreExistsError,
    StoreLockedError,
    StoreMissingError,
    StoreUnavailableError,
    TooManyTriesError,
    WrongPassphraseError,
)
from atl_sign.custody.stores import file as store_file
from atl_sign.custody.stores import sealing
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.file import FileStore
from atl_sign.custody.stores.key_file import read_key
from atl_sign.custody.stores.sealing import ARGON2ID, SCRYPT, Cost
from tests.lab import REPOSITORY
from tests.store.contract import StoreContract
from tests.store.readers import read_file, write_file

WORD = b"correct horse battery staple"
CHEAP = {ARGON2ID: Cost(ARGON2ID, 64, 1, 1), SCRYPT: Cost(SCRYPT, 1 << 4, 8, 1)}
CALLS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("token:jira"),
    "write": lambda store: store.write("token:jira", Secret("new")),
    "delete": lambda store: store.delete("token:jira"),
}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation of a tenth of a second is for real passphrases; one test here pays it."""
    monkeypatch.setattr(store_file, "best_cost", lambda: CHEAP[ARGON2ID])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state/atl-sign/store"


@pytest.fixture
def store(path: Path) -> FileStore:
    """A store that holds the item `token:jira` with the text `old`."""
    made = FileStore(path)
    made.unlock(None, Passphrase(WORD))
    made.write("token:jira", Secret("old"))
    return made


def opened(path: Path) -> FileStore:
    store = FileStore(path)
    store.unlock(Passphrase(WORD), None)
    return store


def text_of(store: Store, name: str = "token:jira") -> str | None:
    item = store.read(name)
    return None if item is None else item.value.reveal()


class TestFileStore(StoreContract):
    """What every store promises, kept by a file."""

    @pytest.fixture
    def store(self, path: Path) -> Store:
        made = FileStore(path)
        made.unlock(None, Passphrase(WORD))
        return made

    @pytest.fixture
    def another(self, store: Store, path: Path) -> Store:
        return opened(path)


class TestReopenedFileStore(StoreContract):
    """The same after a new start."""

    @pytest.fixture
    def store(self, path: Path) -> Store:
        FileStore(path).unlock(None, Passphrase(WORD))
        return opened(path)


# --- the format ---


def test_another_implementation_reads_it(store: FileStore, path: Path) -> None:
    """With the real cost, by the document alone; the twin: not with another passphrase."""
    store.write("token:odd", Secret('{"user":"Łucja 🔑"}\n'))
    store.unlock(Passphrase(WORD), Passphrase("пароль".encode()))

    assert read_file(path.read_bytes(), "пароль".encode()) == {"token:jira": "old", "token:odd": '{"user":"Łucja 🔑"}\n'}
    with pytest.raises(AssertionError):
        read_file(path.read_bytes(), WORD)


def test_another_implementation_reads_what_a_user_gets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cost that is really paid: 32 MiB and six passes, or scrypt where Argon2id is missing."""
    for cost in (sealing.ARGON2ID_COST, sealing.SCRYPT_COST):
        monkeypatch.setattr(store_file, "best_cost", lambda cost=cost: cost)
        path.unlink(missing_ok=True)
        FileStore(path).unlock(None, Passphrase(WORD))

        assert read_file(path.read_bytes(), WORD) == {}


@pytest.mark.parametrize("kdf", [ARGON2ID, SCRYPT])
def test_what_another_implementation_wrote_is_read(path: Path, kdf: int) -> None:
    """Both ways to derive the key, and it can be written to."""
    cost = CHEAP[kdf]
    content = write_file(
        {"token:jira": "theirs"}, WORD, kdf, (cost.first, cost.second, cost.third), salt=b"s" * 16, nonce=b"n" * 12
    )
    place(path, content)

    store = opened(path)

    assert text_of(store) == "theirs"
    store.write("token:wiki", Secret("ours"))
    assert read_file(path.read_bytes(), WORD) == {"token:jira": "theirs", "token:wiki": "ours"}


def test_every_write_has_a_nonce_of_its_own(store: FileStore, path: Path) -> None:
    """Two files under one key and nonce would give both away."""
    nonces = set()
    for _ in range(50):
        store.write("token:jira", Secret("same"))
        nonces.add(path.read_bytes()[80:92])

    assert len(nonces) == 50


def test_every_store_has_a_salt_of_its_own(store: FileStore, path: Path, tmp_path: Path) -> None:
    """Also after a change of the passphrase to the same one."""
    before = path.read_bytes()[24:40]

    store.unlock(Passphrase(WORD), Passphrase(WORD))

    assert path.read_bytes()[24:40] != before


def test_no_secret_stands_in_the_file(store: FileStore, path: Path) -> None:
    """Neither text nor name."""
    store.write("token:canary-name", Secret("canary-text"))

    assert b"canary" not in path.read_bytes()


# --- what is done to a file ---


def place(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


def mended(content: bytes) -> bytes:
    """With the checksum that fits again, as somebody would do it on purpose."""
    return content[:-32] + hashlib.sha256(content[:-32]).digest()


def test_a_flipped_bit_in_any_byte_is_refused(store: FileStore, path: Path) -> None:
    """An accident: named as damage before any key is derived; nothing is overwritten; the file put back is read."""
    content = path.read_bytes()
    for place_of in range(len(content)):
        broken = bytearray(content)
        broken[place_of] ^= 1 << (place_of % 8)
        path.write_bytes(broken)
        for each in (store, FileStore(path)):
            with pytest.raises(StoreUnavailableError, match=r"cannot be opened: it is (damaged|not a store)"):
                each.unlock(Passphrase(WORD), None)
        with pytest.raises(StoreUnavailableError):
            store.write("token:jira", Secret("new"))
        assert path.read_bytes() == bytes(broken)

    path.write_bytes(content)
    assert text_of(store) == text_of(opened(path)) == "old"


def test_a_change_on_purpose_is_refused(store: FileStore, path: Path) -> None:
    """With the checksum mended: a broken seal, or a key that does not come out; never another item."""
    content = path.read_bytes()
    for place_of in range(len(content) - 32):
        broken = bytearray(content)
        broken[place_of] ^= 1
        path.write_bytes(mended(bytes(broken)))
        with pytest.raises((StoreUnavailableError, WrongPassphraseError)):
            FileStore(path).unlock(Passphrase(WORD), None)
        with pytest.raises((StoreUnavailableError, StoreLockedError)):
            store.write("token:jira", Secret("new"))
        if store.state() == "locked":  # salt, cost or check: as when another process has changed the passphrase
            path.write_bytes(content)
            store = opened(path)

    path.write_bytes(content)
    assert text_of(opened(path)) == "old"


def test_every_truncation_is_refused(store: FileStore, path: Path) -> None:
    """To any length, zero too; longer as well."""
    content = path.read_bytes()
    for broken in (*(content[:length] for length in range(len(content))), content + b"\0", content + content):
        path.write_bytes(broken)
        with pytest.raises(StoreUnavailableError, match="cannot be opened: it is"):
            FileStore(path).unlock(Passphrase(WORD), None)
        assert store.state() == "unavailable"

    path.write_bytes(content)
    assert store.state() == "ready"


def test_an_older_file_is_refused_until_it_is_unlocked(store: FileStore, path: Path) -> None:
    """Who puts an old one in its place brings back a token that was logged out; a backup is taken by typing the passphrase."""
    older = path.read_bytes()
    store.write("token:jira", Secret("newer"))
    newest = path.read_bytes()
    path.write_bytes(older)

    for call in CALLS.values():
        with pytest.raises(StoreUnavailableError, match="older than it was a moment ago"):
            call(store)

    assert path.read_bytes() == older
    path.write_bytes(newest)
    assert text_of(store) == "newer"
    path.write_bytes(older)
    store.lock()
    store.unlock(Passphrase(WORD), None)
    assert text_of(store) == "old"


@pytest.mark.parametrize(
    "cost",
    [
        (ARGON2ID, 100 << 20, 1, 1),  # 100 GB
        (ARGON2ID, 1 << 18, 5, 1),  # 256 MiB, and a second
        (ARGON2ID, 64, 1 << 31, 1),
        (ARGON2ID, 64, 0, 1),
        (ARGON2ID, 64, 1, 0),
        (ARGON2ID, 64, 1, 1 << 20),
        (ARGON2ID, 8, 1, 2),
        (SCRYPT, 1 << 30, 8, 1),
        (SCRYPT, 1 << 15, 1 << 30, 1),
        (SCRYPT, 1 << 15, 8, 1 << 30),
        (SCRYPT, 1 << 18, 8, 3),
        (SCRYPT, 3, 8, 1),
        (SCRYPT, 0, 8, 1),
        (SCRYPT, 1, 8, 1),
        (SCRYPT, 16, 0, 1),
    ],
)
def test_a_file_cannot_ask_for_memory_or_time(store: FileStore, path: Path, cost: tuple[int, int, int, int]) -> None:
    """A hostile header, its checksum right: refused by name, at once."""
    kdf, *numbers = cost
    content = bytearray(path.read_bytes())
    content[10:24] = struct.pack(">BBIII", kdf, 0, *numbers)
    path.write_bytes(mended(bytes(content)))

    started_at = time.process_time()
    with pytest.raises(StoreUnavailableError, match="more memory or time than is allowed"):
        FileStore(path).unlock(Passphrase(WORD), None)

    assert time.process_time() - started_at < 0.5


@pytest.mark.parametrize(("place_of", "value"), [(9, 2), (10, 3), (10, 0), (11, 1)], ids=["version", "kdf", "no kdf", "zero"])
def test_an_unknown_version_is_named(store: FileStore, path: Path, place_of: int, value: int) -> None:
    """A newer atl-sign's file is not damaged, and stays."""
    content = bytearray(path.read_bytes())
    content[place_of] = value
    path.write_bytes(mended(bytes(content)))

    with pytest.raises(StoreUnavailableError, match="which this atl-sign does not know") as refused:
        FileStore(path).unlock(Passphrase(WORD), None)
    assert refused.value.hint == "open it with the atl-sign that wrote it, or a newer one"


@pytest.mark.parametrize("plain", [b"canary", b"[]", b"null", b'{"a":1}', b"[" * 100_000, b"\xff"])
def test_content_that_is_no_items_is_refused(path: Path, plain: bytes) -> None:
    """Sealed with the right passphrase, and still none of ours; no word of it is shown."""
    place(path, write_file(plain, WORD, ARGON2ID, (64, 1, 1), salt=b"s" * 16, nonce=b"n" * 12))

    with pytest.raises(StoreUnavailableError, match="it holds something else than items") as refused:
        FileStore(path).unlock(Passphrase(WORD), None)

    assert refused.value.__suppress_context__
    assert "canary" not in str(refused.value)


# --- whose file it is ---


def test_the_file_and_its_folder_are_ours_alone(store: FileStore, path: Path) -> None:
    """0600 in 0700, after every write, and nothing else lies there than the lock."""
    store.write("token:jira", Secret("new"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(each.name for each in path.parent.iterdir()) == ["store", "store.lock"]


def replaced_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced_by_link, "is a symbolic link"),
        (replaced_by_pipe, "is not a regular file"),
        (replaced_by_folder, "is not a regular file"),
        (lambda path: path.chmod(0o640), "is open to other users"),
        (lambda path: path.chmod(0o604), "is open to other users"),
        (lambda path: path.unlink(), "is gone"),
        (lambda path: os.truncate(path, sealing.SEALED_BYTES_MAX + 1), "is larger than 64 MiB"),
        pytest.param(
            lambda path: os.chown(path, 12345, 12345),
            "belongs to another user",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away"),
        ),
    ],
)
def test_a_file_that_is_not_ours_alone_is_refused(
    store: FileStore, path: Path, change: Callable[[Path], object], words: str
) -> None:
    """By name and at once; what was unlocked neither reads nor writes it."""
    change(path)

    for call in CALLS.values():
        with pytest.raises(StoreUnavailableError, match=words) as refused:
            call(store)
        assert refused.value.hint
    with pytest.raises((StoreUnavailableError, StoreMissingError)):
        FileStore(path).unlock(Passphrase(WORD), None)
    assert store.state() == "unavailable"


def test_a_folder_that_others_may_write_into_is_refused(store: FileStore, path: Path) -> None:
    """They could put another file in its place; the twin: when it is ours alone again, it works."""
    path.parent.chmod(0o770)
    with pytest.raises(StoreUnavailableError, match="others may write into"):
        store.write("token:jira", Secret("new"))

    path.parent.chmod(0o700)

    store.write("token:jira", Secret("new"))
    assert text_of(store) == "new"


def test_a_link_in_the_place_of_the_next_file_is_not_followed(store: FileStore, path: Path, tmp_path: Path) -> None:
    """Nor in the place of the lock."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path.with_name(".store.new").symlink_to(victim)

    store.write("token:jira", Secret("new"))

    assert victim.read_text() == "untouched"
    path.with_name("store.lock").unlink()
    path.with_name("store.lock").symlink_to(victim)
    with pytest.raises(StoreUnavailableError):
        store.write("token:jira", Secret("newer"))
    assert text_of(store) == "new"


# --- passphrases ---


def test_without_a_passphrase_it_is_locked(path: Path) -> None:
    """The hint says how to make it, and later how to open it."""
    store = FileStore(path)
    for hint in ("atl-sign unlock --new", "atl-sign unlock"):
        for call in CALLS.values():
            with pytest.raises(StoreLockedError) as refused:
                call(store)
            assert refused.value.hint == hint
        assert store.state() == "locked"
        with pytest.raises((StoreMissingError, StoreLockedError)):
            store.unlock(None, None)
        FileStore(path).unlock(None, Passphrase(WORD)) if not path.exists() else None


def test_unlocking_what_is_not_there_and_making_what_is(path: Path) -> None:
    """Each is told by a code of its own, and nothing is made or overwritten."""
    with pytest.raises(StoreMissingError):
        FileStore(path).unlock(Passphrase(WORD), None)
    assert not path.exists()
    FileStore(path).unlock(None, Passphrase(WORD))
    content = path.read_bytes()

    with pytest.raises(StoreExistsError):
        FileStore(path).unlock(None, Passphrase(b"other"))

    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [0, 1025])
def test_a_passphrase_without_or_of_too_many_bytes_is_refused(store: FileStore, path: Path, size: int) -> None:
    """Before anything is derived."""
    passphrase = Passphrase(b"x" * size)
    for given in ((passphrase, None), (None, passphrase), (Passphrase(WORD), passphrase)):
        with pytest.raises(BadFieldsError):
            store.unlock(*given)

    assert text_of(opened(path)) == "old"


def test_a_wrong_passphrase_is_told_and_must_wait_longer_each_time(store: FileStore, path: Path) -> None:
    """1 s, 2, 4 … 60; whoever comes earlier is sent away without a try; the right one ends it; reads go on meanwhile."""
    now = 0.0
    closed = FileStore(path, clock=lambda: now)
    waits = []
    for _ in range(8):
        with pytest.raises(WrongPassphraseError) as wrong:
            closed.unlock(Passphrase(b"guess"), None)
        with pytest.raises(TooManyTriesError) as early:
            closed.unlock(Passphrase(WORD), None)
        assert wrong.value.retry_after_s == early.value.retry_after_s
        assert wrong.value.retry_after_s is not None
        waits.append(wrong.value.retry_after_s)
        now += wrong.value.retry_after_s - 0.5
        with pytest.raises(TooManyTriesError, match="a moment ago"):
            closed.unlock(Passphrase(WORD), None)
        now += 0.5

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert text_of(store) == "old"
    closed.unlock(Passphrase(WORD), None)
    with pytest.raises(WrongPassphraseError) as wrong:
        closed.unlock(Passphrase(b"guess"), None)
    assert wrong.value.retry_after_s == 1
    assert text_of(closed) == "old", "what is open stays open"


def test_of_ten_tries_at_once_one_is_tried(store: FileStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 32 MiB; the others do not wait, and reads of another go on."""
    closed, may_derive, is_deriving = FileStore(path), threading.Event(), threading.Event()
    derived = []

    def derive(*arguments: object) -> sealing.StoreKey:
        is_deriving.set()
        assert may_derive.wait(10)
        derived.append(1)
        return sealing.derive_key(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(store_file, "derive_key", derive)
    first = threading.Thread(target=closed.unlock, args=(Passphrase(WORD), None))
    first.start()
    assert is_deriving.wait(10)

    for _ in range(9):
        with pytest.raises(TooManyTriesError, match="being tried"):
            closed.unlock(Passphrase(WORD), None)
    assert text_of(store) == "old"
    with pytest.raises(StoreLockedError):
        closed.read("token:jira")

    may_derive.set()
    first.join()
    assert text_of(closed) == "old"
    assert derived == [1]


def test_a_changed_passphrase_is_the_only_one(store: FileStore, path: Path) -> None:
    """The items stay; the old one opens nothing; a wrong old one changes nothing."""
    with pytest.raises(WrongPassphraseError):
        FileStore(path).unlock(Passphrase(b"guess"), Passphrase(b"new"))

    store.unlock(Passphrase(WORD), Passphrase(b"new"))

    assert text_of(store) == "old"
    with pytest.raises(WrongPassphraseError):
        FileStore(path).unlock(Passphrase(WORD), None)
    again = FileStore(path)
    again.unlock(Passphrase(b"new"), None)
    assert text_of(again) == "old"


def test_lock_forgets_and_unlock_brings_back(store: FileStore) -> None:
    """The key's buffer is overwritten; without the passphrase nothing comes back."""
    key = store._key
    assert key is not None

    store.lock()

    assert bytes(key._key) == bytes(32)
    assert store._items == {}
    assert store.state() == "locked"
    with pytest.raises(StoreLockedError):
        store.unlock(None, None)
    store.unlock(Passphrase(WORD), None)
    assert text_of(store) == "old"
    store.unlock(None, None)
    store.lock()
    store.lock()


def test_without_argon2id_scrypt_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the OpenSSL of an older system; a file that needs Argon2id is named there."""
    from cryptography.exceptions import UnsupportedAlgorithm

    place(path, write_file({}, WORD, ARGON2ID, (64, 1, 1), salt=b"s" * 16, nonce=b"n" * 12))

    def is_missing(**_: object) -> None:
        raise UnsupportedAlgorithm("no")

    monkeypatch.setattr(sealing, "Argon2id", is_missing)

    assert sealing.best_cost() == sealing.SCRYPT_COST
    with pytest.raises(StoreUnavailableError, match="OpenSSL lacks"):
        FileStore(path).unlock(Passphrase(WORD), None)


def test_too_little_memory_is_told(store: FileStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a crash nor a wrong passphrase, for opening and for making."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sealing, "_kdf", fail)

    with pytest.raises(StoreUnavailableError, match="not enough memory"):
        FileStore(path).unlock(Passphrase(WORD), None)
    path.unlink()
    with pytest.raises(StoreUnavailableError, match="not enough memory"):
        FileStore(path).unlock(None, Passphrase(WORD))


# --- key files ---


@pytest.mark.parametrize(
    ("content", "key"), [(b"word", b"word"), (b"word\n", b"word"), (b"a\n\n", b"a\n"), (b"\xff\0\n x", b"\xff\0\n x")]
)
def test_a_key_is_what_the_file_holds_less_a_newline(tmp_path: Path, content: bytes, key: bytes) -> None:
    """From a file and from a descriptor."""
    (tmp_path / "key").write_bytes(content)
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)

    assert read_key(tmp_path / "key").reveal() == key
    assert read_key(reader).reveal() == key
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reader)


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 1025])
def test_a_key_without_or_of_too_many_bytes_is_refused(tmp_path: Path, content: bytes) -> None:
    """The twin; and one that is not there."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(BadFieldsError, match="1 to 1024 bytes"):
        read_key(tmp_path / "key")

    with pytest.raises(StoreUnavailableError, match="No such file"):
        read_key(tmp_path / "none")


def test_with_a_key_file_nobody_is_asked(path: Path, tmp_path: Path) -> None:
    """It makes the store, opens it again after a lock, and lets the daemon end when it is idle; without it nobody may."""
    key_file = tmp_path / "key"
    key_file.write_bytes(WORD)
    store = FileStore(path, key_file=key_file)
    assert not store.survives_restart()

    store.unlock(None, None)
    store.write("token:jira", Secret("kept"))
    assert store.survives_restart()
    store.lock()
    store.unlock(None, None)

    assert text_of(store) == "kept"
    assert not opened(path).survives_restart()
    store.lock()
    store.unlock(Passphrase(WORD), Passphrase(b"another"))
    assert not store.survives_restart()  # what the key file holds opens it no more
    store.unlock(Passphrase(b"another"), Passphrase(WORD))
    store.lock()
    store.unlock(None, None)
    assert store.survives_restart()
    key_file.unlink()
    assert not store.survives_restart()


@pytest.mark.usefixtures("store")
def test_a_key_file_that_does_not_fit_leaves_a_lock_like_any_other(path: Path, tmp_path: Path) -> None:
    """Told apart from a wrong passphrase, and nobody who types one has to wait for it; the twin: wrong ones that were typed."""
    key_file = tmp_path / "key"
    store = FileStore(path, key_file=key_file)
    for content, words in ((None, "No such file"), (b"", "1 to 1024 bytes"), (b"stale", "another passphrase than key")):
        if content is not None:
            key_file.write_bytes(content)
        for _ in range(3):
            with pytest.raises(StoreLockedError, match=words) as refused:
                store.unlock(None, None)
            assert refused.value.hint == "atl-sign unlock"

    store.unlock(Passphrase(WORD), None)

    store.lock()
    with pytest.raises(WrongPassphraseError):
        store.unlock(Passphrase(b"wrong"), None)
    with pytest.raises(TooManyTriesError):
        store.unlock(Passphrase(WORD), None)
    key_file.write_bytes(WORD)
    store.unlock(None, None)
    assert store.state() == "ready"


def test_a_new_store_is_not_made_while_the_one_that_is_gone_is_open(store: FileStore, path: Path) -> None:
    """Key and tokens that were read would sign on, and be in no store; the twin: after a lock it is."""
    path.unlink()

    with pytest.raises(StoreUnavailableError, match="is gone") as refused:
        store.unlock(None, Passphrase(b"next"))

    assert "atl-sign lock, then atl-sign unlock --new" in str(refused.value.hint)
    assert not path.exists()
    store.lock()
    store.unlock(None, Passphrase(b"next"))
    assert store.state() == "ready"


# --- two processes, crashes, full disks ---


def test_two_processes_see_each_other_and_lose_nothing(store: FileStore, path: Path) -> None:
    """Four processes write items of their own at once; all are there, and a store that was open sees them."""
    code = (
        "import sys; from pathlib import Path; from atl_sign.base.credentials import Passphrase, Secret;"
        "from atl_sign.custody.stores.file import FileStore; store = FileStore(Path(sys.argv[1]), timeout_s=30);"
        f"store.unlock(Passphrase({WORD!r}), None);"
        "[store.write(f'token:{sys.argv[2]}-{n}', Secret(str(n))) for n in range(25)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4

    for each in (store, opened(path)):
        assert {text_of(each, f"token:{number}-{n}") for number in range(4) for n in range(25)} == {str(n) for n in range(25)}
    assert text_of(store) == "old"


def test_a_passphrase_that_another_process_changed_is_asked_for(store: FileStore, path: Path) -> None:
    """The old key opens nothing any more, and must not overwrite what the new one wrote."""
    other = opened(path)
    other.unlock(Passphrase(WORD), Passphrase(b"new"))

    with pytest.raises(StoreLockedError, match="changed the store's passphrase"):
        store.write("token:jira", Secret("lost"))

    assert text_of(other) == "old"
    store.unlock(Passphrase(b"new"), None)
    assert text_of(store) == "old"


def test_who_holds_the_file_too_long_is_not_waited_for(store: FileStore, path: Path) -> None:
    """A stopped process: an answer in time; reading needs no turn."""
    import fcntl

    waiting = FileStore(path, timeout_s=0.05)
    waiting.unlock(Passphrase(WORD), None)
    with path.with_name("store.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailableError, match="locked against other processes"):
            waiting.write("token:jira", Secret("new"))
        assert text_of(waiting) == "old"

    waiting.write("token:jira", Secret("new"))
    assert text_of(store) == "new"


def test_of_two_that_make_it_at_once_one_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is there first stays."""

    def derive(*arguments: object) -> sealing.StoreKey:
        monkeypatch.undo()
        place(path, write_file({"token:jira": "theirs"}, WORD, ARGON2ID, (64, 1, 1), salt=b"s" * 16, nonce=b"n" * 12))
        return sealing.derive_key(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(store_file, "derive_key", derive)

    with pytest.raises(StoreExistsError):
        FileStore(path).unlock(None, Passphrase(b"mine"))

    assert text_of(opened(path)) == "theirs"


@pytest.mark.slow
def test_a_kill_during_a_write_leaves_the_old_or_the_new(store: FileStore, path: Path) -> None:
    """SIGKILL at any time of a write, 60 times: the file is whole, and the next start needs no repair."""
    began_at = time.monotonic()
    store.write("token:jira", Secret("old".ljust(60_000, "x")))
    span_s = 4 * (time.monotonic() - began_at)  # the child's start takes as long again, or longer
    old, kept = text_of(store), {"old": 0, "new": 0}
    for number in range(60):
        new = f"{number}-".ljust(60_000, "x")
        child = os.fork()
        if child == 0:
            store.write("token:jira", Secret(new))
            signal.pause()
        time.sleep(span_s * (number % 20) / 20)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = text_of(opened(path))
        assert found in (old, new)
        kept["new" if found == new else "old"] += 1
        span_s *= 0.9 if found == new else 1.1  # the machine's speed drifts: the kills stay about the end of the write
        old = str(found)

    assert min(kept.values()) > 0, kept
    store.write("token:jira", Secret("after"))
    assert sorted(each.name for each in path.parent.iterdir()) == ["store", "store.lock"]


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """What is in *folder*, on a disk of 64 KB with no room left."""
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", folder], check=True)
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)
        with pytest.raises(OSError, match="No space left"):
            fill(folder / "rest")
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the small disk")
def test_a_full_disk_is_an_error_and_the_old_value_stays(store: FileStore, path: Path) -> None:
    """Neither a write nor a change of the passphrase counts as done, and nothing half-written is left."""
    with full_disk(path.parent):
        for call in (
            CALLS["write"],
            lambda store: store.write("token:jira", Secret("x" * 100_000)),
            lambda store: store.unlock(Passphrase(WORD), Passphrase(b"new")),
        ):
            with pytest.raises(StoreUnavailableError, match="No space left") as refused:
                call(store)
            assert "room" in str(refused.value.hint)

        assert text_of(store) == text_of(opened(path)) == "old"
        assert sorted(each.name for each in path.parent.iterdir()) == ["rest", "store", "store.lock"]
        (path.parent / "rest").unlink()
        store.write("token:jira", Secret("new"))
        assert text_of(opened(path)) == "new"


def test_a_file_is_not_made_larger_than_can_be_read(store: FileStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, and the old one stays."""
    monkeypatch.setattr(store_file, "SEALED_BYTES_MAX", 4096)

    with pytest.raises(StoreUnavailableError, match="would be larger"):
        store.write("token:jira", Secret("x" * 4096))

    assert text_of(opened(path)) == "old"


def test_an_empty_store_is_removed_and_a_full_one_stays(store: FileStore, path: Path) -> None:
    """`discard`, after a move."""
    store.discard()
    assert text_of(store) == "old"
    store.delete("token:jira")

    store.discard()

    assert not path.exists()
    assert store.state() == "locked"


def test_nothing_shows_a_secret(store: FileStore, path: Path) -> None:
    """Not the repr of what holds it, nor any error's."""
    passphrase = Passphrase(b"canary")
    assert "canary" not in f"{passphrase} {passphrase!r} {passphrase:>20}"
    with pytest.raises(TypeError):
        passphrase.__reduce__()
    with pytest.raises(DaemonError) as refused:
        store.unlock(passphrase, None)
    assert "canary" not in repr(refused.value) + str(refused.value.hint) + repr(refused.value.__context__)
    assert repr(store._key) == "<store key>"
    passphrase.wipe()
    assert passphrase.reveal() == bytes(6)


def test_a_vector_is_read(path: Path) -> None:
    """The file that docs/store-file.md shows in full, made by other implementations."""
    text = (REPOSITORY / "docs/store-file.md").read_text().partition("```text\n")[2].partition("```")[0]
    place(path, bytes.fromhex("".join(text.split())))

    assert text_of(opened(path)) == "an example"
