"""Lock, unlock, the lock that comes by itself, and moving with a crash at every point."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atl_sign.access.audit import AuditLog
from atl_sign.access.recording import Records
from atl_sign.agent.build import make_agent
from atl_sign.agent.leases import Leases
from atl_sign.agent.lookup import Lookup
from atl_sign.agent.store import StoreKeeper
from atl_sign.base.clock import now_s
from atl_sign.base.credentials import GitRecord, GitToken, Secret
from atl_sign.base.errors import (
    BadRequestError,
    ConfigBrokenError,
    ConfigUnwritableError,
    DanceRefusedError,
    StoreConflictError,
    StoreLockedError,
    StoreMissingError,
    StoreUnavailableError,
)
from atl_sign.config.file import ConfigFile
from atl_sign.custody.items import items_of_link
from atl_sign.custody.keys.software import load_private_key, make_private_key
from atl_sign.custody.moving import StoreMover
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Item, Store
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.grants.live import Grants
from atl_sign.grants.renewal import Renewals
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifests
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.registry import SCHEME_SETTINGS, SCHEMES
from tests.agent_lab import CALLER
from tests.audit_lab import MemorySink, make_audit
from tests.unit.provider_lab import make_grant, make_link, private_key

LINK = make_link("https://h/jira", "jira")
GIT_RECORD = GitRecord(GitToken("git on h", Secret("t"), "alice", "read", datetime(2031, 1, 1, tzinfo=UTC)), ("left over",))
CONFIG = (
    '# mine\n[links.jira]\nurl = "https://h/jira"\nconsumer_key = "unit-tests"\n[links.broken]\nurl = "x"\nconsumer_key = "k"\n'
)


class Keyring(MemoryStore):
    """A store that outlives its object, as a keyring does, and fails as a test says."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        self.backend = backend
        self.failure: Callable[[str, str], None] = lambda call, name: None
        self.is_discarded = False

    def read(self, name: str) -> Item | None:
        self.failure("read", name)
        return super().read(name)

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        self.failure("write", name)
        return super().write(name, value, if_version)

    def delete(self, name: str) -> None:
        self.failure("delete", name)
        super().delete(name)

    def lock(self) -> None:
        pass

    def survives_restart(self) -> bool:
        return True

    def discard(self) -> None:
        self.is_discarded = True

    @property
    def texts(self) -> dict[str, str]:
        return {name: item.reveal() for name, item in self._items.items()}


def make_records() -> Records:
    return Records(make_audit(), lambda: "on")


def make_leases(config: ConfigFile, safe: Safe) -> Leases:
    grants = Grants(safe, SCHEMES, Clocks(), Manifests(), on_renewal=lambda link, outcome: None)
    return Leases(Lookup(config, grants), SCHEMES, make_records())


def make_renewals(safe: Safe) -> Renewals:
    return Renewals(safe, lambda link, outcome: None, Clocks())


class Lab:
    """A safe with a key, jira's token and a broken link's, a second store, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.config = ConfigFile(folder / "config.toml", SCHEME_SETTINGS)
        self.config.path.write_text(CONFIG)
        self.one, self.two = Keyring("one"), Keyring("two")
        self.safe = Safe(self.one)
        self.dances = Dances()
        self.now = 1000.0
        self.start()
        self.safe.put_key(load_private_key(private_key().private_pem()))  # an object of its own, which a lock empties
        self.safe.put_token(LINK, make_grant())
        self.safe.replace_git_record(LINK, None, GIT_RECORD)
        self.one.write("token:broken", Secret("kept all the same"))
        self.before = dict(self.one.texts)

    def start(self) -> None:
        """Make the parts, as a daemon's start does."""
        self.mover = self.make_mover()
        self.keeper = StoreKeeper(
            self.config,
            self.safe,
            self.dances,
            make_renewals(self.safe),
            make_records(),
            mover=self.mover,
            leases=make_leases(self.config, self.safe),
            clock=lambda: self.now,
        )

    def make_mover(self, pinned_by: str | None = None) -> StoreMover:
        return StoreMover(self.config, self.safe, self.open_store, pinned_by)

    def open_store(self, name: str) -> Store:
        return {"one": self.one, "two": self.two, "memory": MemoryStore()}[name]

    def move(self, backend: str = "two") -> tuple[str, ...]:
        return self.keeper.move(CALLER, backend, passphrase=None, new=None, volatile=False).left

    def named(self) -> Keyring:
        """The store that the next start would take."""
        return self.two if self.config.settings().store_backend == "two" else self.one


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def set_lifetime(lab: Lab, minutes: str) -> None:
    lab.config.path.write_text(f"{CONFIG}[store]\nlock_after_minutes = {minutes}\n")


# --- lock and unlock ---


def test_lock_leaves_no_secret_in_the_safe(lab: Lab) -> None:
    """Who still holds the key's object can sign nothing with it; unlock reads everything anew."""
    key = make_private_key(2048)
    lab.safe.put_key(key)
    lab.safe.put_token(LINK, make_grant())
    assert lab.safe.token(LINK) is not None
    stored = dict(lab.one.texts)

    lab.keeper.lock(CALLER)

    assert lab.safe.is_unread
    with pytest.raises(StoreLockedError):
        key.sign_sha1(b"x")
    asked = (lab.safe.key, lambda: lab.safe.token(LINK), lambda: lab.safe.git_record(LINK), lab.safe.check_store)
    for call in asked:
        with pytest.raises(StoreLockedError, match="the store is locked") as refused:
            call()
        assert refused.value.hint == "atl-sign unlock"
    assert lab.safe.peek_key() is None
    assert lab.safe.peek_git_record(LINK) is None
    with pytest.raises(StoreLockedError):
        lab.safe.put_token(LINK, make_grant())
    with pytest.raises(StoreLockedError):
        lab.safe.replace_git_record(LINK, GIT_RECORD, GIT_RECORD)
    assert lab.one.texts == stored
    assert lab.keeper.report().state == "locked"
    assert not lab.keeper.survives_restart()
    lab.keeper.unlock(CALLER)
    assert lab.safe.key() is not None
    assert lab.safe.token(LINK) is not None
    assert lab.safe.git_record(LINK) is not None
    assert lab.keeper.survives_restart()


def test_what_a_lock_kept_from_being_forgotten_can_be_forgotten_after_it(lab: Lab) -> None:
    """The refusal told so: the store has it still, also what a second logout needs to revoke git's token at the provider."""
    lab.keeper.lock(CALLER)
    for forget in (lab.safe.forget_token, lab.safe.forget_git_record):
        with pytest.raises(StoreLockedError):
            forget(LINK)
    lab.keeper.unlock(CALLER)
    assert lab.safe.token(LINK) is not None

    for forget in (lab.safe.forget_token, lab.safe.forget_git_record):
        forget(LINK)

    assert lab.safe.token(LINK) is None
    assert lab.safe.git_record(LINK) is None
    lab.keeper.lock(CALLER)
    lab.keeper.unlock(CALLER)
    assert lab.safe.token(LINK) is None


def test_a_store_that_would_lose_its_items_is_not_locked(tmp_path: Path) -> None:
    """Nor by itself; its dances go on."""
    safe = Safe(MemoryStore())
    config = ConfigFile(tmp_path / "config.toml", SCHEME_SETTINGS)
    config.path.write_text("[store]\nlock_after_minutes = 1\n")
    keeper = StoreKeeper(
        config,
        safe,
        Dances(),
        make_renewals(safe),
        make_records(),
        mover=StoreMover(config, safe, lambda name: MemoryStore(), None),
        leases=make_leases(config, safe),
        clock=lambda: 0.0,
    )
    safe.put_key(private_key())

    with pytest.raises(BadRequestError, match="would lose"):
        keeper.lock(CALLER)

    assert safe.key() is private_key()
    assert not keeper.is_due()
    assert not keeper.survives_restart()


def test_a_dance_that_ended_signs_nothing_after_a_lock(tmp_path: Path, sandbox: Sandbox) -> None:
    """Its provider's object lives on for ten minutes, and holds the key's object: that one has forgotten the key."""
    store = Keyring("one")
    agent = make_agent(ConfigFile(tmp_path / "config.toml", SCHEME_SETTINGS), Safe(store), Dances(), make_audit())
    key = agent.keys.make(CALLER, 2048, replace=False)
    agent.links.put(CALLER, "jira", {"url": sandbox.base_url("jira"), "consumer_key": "storekeeper"})
    sandbox.register_consumer("jira", "storekeeper", key.public.pem, name="unit tests")
    dance = agent.dances.begin(CALLER, "jira", "oob")

    agent.store.lock(CALLER)

    assert dance.state.word == "cancelled"
    with pytest.raises(DanceRefusedError):
        dance.finish(Secret("abcdef"))
    with pytest.raises(StoreLockedError):
        key.sign_sha1(b"x")
    with pytest.raises(StoreLockedError):
        agent.dances.begin(CALLER, "jira", "oob")
    agent.store.unlock(CALLER)
    assert agent.dances.begin(CALLER, "jira", "oob").state.word == "waiting"
    agent.life.close()


def test_it_locks_after_its_lifetime(lab: Lab) -> None:
    """Counted from the start, then from the last unlock; read anew from the file; the twin: without the setting never."""
    lab.now += 1e9
    assert not lab.keeper.is_due()
    lab.now -= 1e9
    set_lifetime(lab, "10")

    lab.now += 599
    assert not lab.keeper.is_due()
    lab.now += 1
    assert lab.keeper.is_due()
    lab.keeper.lock(CALLER)
    assert not lab.keeper.is_due()

    lab.now += 1e6
    lab.keeper.unlock(CALLER)
    assert not lab.keeper.is_due()
    lab.now += 600
    assert lab.keeper.is_due()


@pytest.mark.parametrize("minutes", ["0", "-5", "525_601", '"10"', "true", "nan", "inf"])
def test_a_lifetime_that_is_none_is_told_and_the_shortest(lab: Lab, minutes: str) -> None:
    """Whoever wanted a lock gets one."""
    set_lifetime(lab, minutes)

    problems = [str(problem) for problem in lab.config.settings().problems]

    assert any("store.lock_after_minutes: not a number of minutes from 1" in problem for problem in problems)
    lab.now += 60
    assert lab.keeper.is_due()


def test_who_is_to_lock_is_not_replaced(lab: Lab) -> None:
    """Another process would count from its own start, and never lock."""
    assert lab.keeper.survives_restart()

    set_lifetime(lab, "10")

    assert not lab.keeper.survives_restart()


def test_a_lock_that_comes_by_itself_is_recorded(tmp_path: Path) -> None:
    """With no peer; the twin: before its time nothing is."""
    sink = MemorySink()
    config = ConfigFile(tmp_path / "config.toml", SCHEME_SETTINGS)
    agent = make_agent(config, Safe(Keyring("one")), Dances(), AuditLog(sink))
    agent.life.lock_when_due()
    config.path.write_text("[store]\nlock_after_minutes = 1\n")
    agent.life.lock_when_due()
    assert sink.lines == []

    agent.store._open_since -= 61
    agent.life.lock_when_due()
    agent.life.lock_when_due()

    assert agent.store.report().state == "locked"
    (line,) = [json.loads(line) for line in sink.lines]
    assert (line["action"], line["outcome"], line.get("pid")) == ("lock", "ok", None)


def test_the_clock_goes_on_in_sleep() -> None:
    """It is the kernel's that counts suspended time, and nobody can set it."""
    import time

    assert abs(now_s() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


# --- moving ---


def test_a_move_takes_everything_and_keeps_the_comments(lab: Lab) -> None:
    """Git's token too, and the token of a link that the file spells wrongly; the old store is empty, and was told so."""
    assert lab.move() == ()

    assert lab.two.texts.keys() == {"consumer-key", "token:jira", "git:jira", "token:broken"}
    assert lab.two.texts == lab.before
    assert lab.one.texts == {}
    assert lab.one.is_discarded
    assert lab.config.path.read_text() == f'{CONFIG}\n[store]\nbackend = "two"\n'
    assert lab.safe.backend == "two"
    lab.safe.put_token(LINK, make_grant())
    assert lab.one.texts == {}


def test_every_item_of_a_link_is_named() -> None:
    """What the safe writes for a link, and the key."""
    assert items_of_link("a") == ["token:a", "app:a", "git:a"]


class CrashError(BaseException):
    """The end of the process, at this point."""


def crash_in_a_move(lab: Lab, at: int) -> bool:
    """End the process at call *at* of the stores, the note and the configuration; returns whether the move got so far."""
    calls = 0

    def crash(call: str, name: str) -> None:
        nonlocal calls
        calls += 1
        if calls > at:
            raise CrashError

    def crashing(write: Callable[[Any], None]) -> Callable[[Any], None]:
        def written(value: Any) -> None:
            crash("write", "before")
            write(value)
            crash("write", "after")

        return written

    lab.one.failure = lab.two.failure = crash
    lab.config.put_store = crashing(lab.config.put_store)  # type: ignore[assignment, method-assign]
    lab.mover._notes.write = crashing(lab.mover._notes.write)  # type: ignore[assignment, method-assign]
    try:
        lab.move()
        assert calls <= at
    except CrashError:
        pass
    lab.one.failure = lab.two.failure = lambda call, name: None
    return calls > at


def restart(lab: Lab) -> None:
    lab.config = ConfigFile(lab.config.path, SCHEME_SETTINGS)
    lab.safe = Safe(lab.named())
    lab.start()


POINTS = range(40)  # of a crash; the last one comes after the end


@pytest.mark.parametrize("at", POINTS)
def test_a_crash_at_any_point_leaves_the_named_store_whole(lab: Lab, at: int) -> None:
    """Whatever call never returns, nothing is lost; the next start removes the copies in the other store, and says nothing."""
    assert crash_in_a_move(lab, at) is (at < POINTS[-1])
    restart(lab)
    assert lab.named().texts == lab.before
    other = lab.one if lab.named() is lab.two else lab.two
    assert bool(lab.mover.warnings()) >= bool(other.texts)

    lab.mover.clear_up()

    assert (lab.named().texts, other.texts, lab.mover.warnings()) == (lab.before, {}, [])
    assert not lab.mover._notes.path.exists()


@pytest.mark.parametrize("backend", ["one", "two"])
@pytest.mark.parametrize("at", POINTS)
def test_after_a_crash_the_same_move_or_one_back_can_be_made(lab: Lab, at: int, backend: str) -> None:
    """Though a token has changed and another was forgotten since: neither comes back, and no copy stays anywhere."""
    crash_in_a_move(lab, at)
    restart(lab)
    changed = make_grant(key="changed")
    lab.safe.put_token(LINK, changed)
    lab.safe.forget_git_record(LINK)
    wanted = dict(lab.named().texts)
    assert wanted.keys() == {"consumer-key", "token:jira", "token:broken"}

    if lab.safe.backend == backend and not lab.mover.warnings():
        with pytest.raises(BadRequestError, match="is the store already"):
            lab.move(backend)
    else:
        lab.move(backend)

    here, other = (lab.one, lab.two) if backend == "one" else (lab.two, lab.one)
    assert lab.named() is here
    assert (here.texts, other.texts, lab.mover.warnings()) == (wanted, {}, [])
    assert not lab.mover._notes.path.exists()


def test_a_move_that_was_cut_off_is_told_with_the_command_that_ends_it(lab: Lab) -> None:
    """A third store has to wait for that; whoever has edited the configuration meanwhile loses nothing by it."""
    crash_in_a_move(lab, 20)  # all is copied, and the configuration names the old one
    restart(lab)
    assert lab.named() is lab.one
    assert lab.two.texts
    words = "a move of the store was cut off, and two may still hold copies of secrets: atl-sign store move one"
    assert [*map(str, lab.mover.warnings())] == [words]
    assert lab.make_mover("ATL_SIGN_STORE").warnings() == []
    lab.make_mover("ATL_SIGN_STORE").clear_up()
    with pytest.raises(BadRequestError, match="two may still hold copies") as refused:
        lab.keeper.move(CALLER, "memory", passphrase=None, new=None, volatile=True)
    assert str(refused.value.hint).startswith("atl-sign store move one; ")
    assert lab.two.texts

    lab.config.put_store("two")  # though not everything is there, for all we know
    lab.two.delete("token:jira")
    restart(lab)
    lab.mover.clear_up()

    assert lab.one.texts == lab.before
    with pytest.raises(BadRequestError, match="already"):
        lab.move("two")
    assert lab.move("one") == ()
    assert lab.one.texts == lab.before


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (StoreLockedError("the keyring is locked", "log in"), "one still holds copies, and is locked"),
        (StoreUnavailableError("no bus"), "no bus"),
        (StoreMissingError("there is no store"), None),
    ],
    ids=["locked", "gone for now", "not there any more"],
)
def test_what_cannot_be_cleared_up_stays_noted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str | None
) -> None:
    """The start goes on without a word, the command says why; the twin: of a store that is not there nothing is left."""
    crash_in_a_move(lab, 27)
    restart(lab)
    assert lab.named() is lab.two
    assert lab.mover.warnings()

    def unlock(passphrase: object, new: object) -> None:
        raise failure

    monkeypatch.setattr(lab.one, "unlock", unlock)
    lab.mover.clear_up()

    assert lab.one.texts == lab.before
    assert bool(lab.mover.warnings()) is (words is not None)
    if words is not None:
        with pytest.raises(type(failure), match=words):
            lab.move("two")
        monkeypatch.undo()
        assert lab.move("two") == ()
        assert lab.one.texts == {}
    assert not lab.mover._notes.path.exists()


def test_a_start_makes_no_strangers_back_end_ask_somebody(lab: Lab) -> None:
    """What is left there is told, and removed by the command."""
    note = {"stores": ["keyring:x.Y", "one"], "whole": ["one"], "items": ["token:jira"]}
    lab.mover._notes.path.write_text(json.dumps(note))

    lab.mover.clear_up()

    assert "keyring:x.Y may still hold copies" in lab.mover.warnings()[0].message
    lab.mover._notes.path.write_text(json.dumps({**note, "whole": ["keyring:x.Y"]}))
    assert [*map(str, lab.mover.warnings())] == [
        "the secrets were moved to keyring:x.Y, and config.toml names one: atl-sign store move keyring:x.Y"
    ]


def test_a_note_that_is_none_counts_for_nothing(lab: Lab) -> None:
    """Whatever stands there, a move can be made, and leaves no note."""
    notes = lab.mover._notes
    for content in (b"", b"null", b'{"stores": ["one"]}', b'{"stores": 5}', b"[" * 100_000, b"\xff"):
        notes.path.write_bytes(content)
        assert notes.read() is None
        assert lab.mover.warnings() == []
        lab.mover.clear_up()

    assert lab.move() == ()

    assert not notes.path.exists()
    notes.path.mkdir()
    with pytest.raises(ConfigUnwritableError, match=r"store-move\.json cannot be written"):
        lab.move("one")
    assert (lab.two.texts, lab.one.texts) == (lab.before, {})


@pytest.mark.parametrize("call", ["read", "write"])
@pytest.mark.parametrize("name", ["consumer-key", "token:jira", "git:jira", "token:broken"])
def test_a_store_that_fails_on_the_way_is_left_as_it_was(lab: Lab, call: str, name: str) -> None:
    """The target's failure: the old one is whole and in use, the configuration untouched, and what was copied is taken out."""

    def fail(asked: str, item: str) -> None:
        if (asked, item) == (call, name):
            raise StoreUnavailableError("the disk is full")

    lab.two.failure = fail
    with pytest.raises(StoreUnavailableError):
        lab.move()

    assert lab.one.texts == lab.before
    assert lab.two.texts == {}
    assert lab.config.path.read_text() == CONFIG
    assert lab.safe.backend == "one"
    lab.two.failure = lambda asked, item: None
    assert lab.move() == ()


def test_a_store_that_gives_something_else_back_is_found(lab: Lab) -> None:
    """Verified before anything is removed."""

    def change(call: str, name: str) -> None:
        if call == "read" and "token:jira" in lab.two._items:
            lab.two._items["token:jira"] = Secret("another")

    lab.two.failure = change
    with pytest.raises(StoreUnavailableError, match="does not give the item token:jira back"):
        lab.move()

    assert lab.one.texts == lab.before
    assert lab.named() is lab.one


def test_another_secret_in_the_target_is_not_overwritten(lab: Lab) -> None:
    """Refused by name before anything is copied; the twin: the same secret may be there, as after a move that was cut off."""
    lab.two.write("token:jira", Secret("of somebody else"))
    with pytest.raises(StoreConflictError, match="the store two holds another token:jira already"):
        lab.move()
    assert lab.two.texts == {"token:jira": "of somebody else"}
    assert lab.one.texts == lab.before

    lab.two.write("token:jira", Secret(lab.before["token:jira"]))

    assert lab.move() == ()
    assert lab.two.texts == lab.before


def test_what_the_old_store_keeps_is_told(lab: Lab) -> None:
    """The move is done; the rest is a warning, and the store is not discarded."""

    def fail(call: str, name: str) -> None:
        if (call, name) == ("delete", "token:jira"):
            raise StoreLockedError("the keyring is locked")

    lab.one.failure = fail

    assert lab.move() == ("token:jira",)

    assert lab.named().texts == lab.before
    assert lab.one.texts.keys() == {"token:jira"}
    assert not lab.one.is_discarded
    assert lab.move("two") == ("token:jira",)
    lab.one.failure = lambda call, name: None
    assert lab.move("two") == ()
    assert lab.one.texts == {}
    assert lab.one.is_discarded


@pytest.mark.parametrize(
    ("text", "error"), [("[store\n", ConfigBrokenError), ("store = 5\n", ConfigBrokenError)], ids=["no TOML", "no table"]
)
def test_a_file_that_cannot_name_the_store_stops_the_move(lab: Lab, text: str, error: type[Exception]) -> None:
    """Nothing is lost, and what was copied is not used."""
    lab.config.path.write_text(text)

    with pytest.raises(error):
        lab.move()

    assert lab.one.texts == lab.before
    assert lab.safe.backend == "one"


def test_a_locked_or_pinned_store_is_not_moved(lab: Lab) -> None:
    """Nor one to itself, nor to memory by chance."""
    lab.keeper.lock(CALLER)
    with pytest.raises(StoreLockedError):
        lab.move()
    lab.keeper.unlock(CALLER)
    with pytest.raises(BadRequestError, match="already"):
        lab.move("one")
    with pytest.raises(BadRequestError, match="ends with the daemon"):
        lab.move("memory")
    with pytest.raises(BadRequestError, match="ATL_SIGN_STORE names"):
        lab.make_mover("ATL_SIGN_STORE").move("two", passphrase=None, new=None, volatile=False)

    assert lab.one.texts == lab.before


def test_a_setting_is_put_beside_the_others(tmp_path: Path) -> None:
    """Comments, order and the other settings stay; an inline table too."""
    config = ConfigFile(tmp_path / "config.toml", SCHEME_SETTINGS)
    for before, after in (
        ("", '[store]\nbackend = "file"\n'),
        ("# a\n[store]\n# b\nlock_after_minutes = 5 # c\n", '# a\n[store]\n# b\nlock_after_minutes = 5 # c\nbackend = "file"\n'),
        ('[store] # x\nbackend = "memory" # y\n\n[links]\n', '[store] # x\nbackend = "file" # y\n\n[links]\n'),
        ('store = {backend = "memory"}\n', 'store = {backend = "file"}\n'),
        ("# only this", '# only this\n\n[store]\nbackend = "file"\n'),
    ):
        config.path.write_text(before)

        config.put_store("file")

        assert config.path.read_text() == after
