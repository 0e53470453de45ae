"""A token's renewal at the real sandbox: once for everybody, before and after the end, and nothing lost on the way."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from atl_sign.agent.build import Agent, make_agent
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import (
    DanceNeededError,
    InternalError,
    ProviderBusyError,
    ProviderRefusedError,
    ProviderUnreachableError,
    StoreLockedError,
    StoreUnavailableError,
)
from atl_sign.config.file import ConfigFile
from atl_sign.custody.keys.software import load_private_key
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.renewed import RenewedTokens
from atl_sign.custody.safe import Safe
from atl_sign.grants import renewal
from atl_sign.grants.dances import Dances
from atl_sign.sandbox import Sandbox, server
from atl_sign.sandbox.call import Call
from atl_sign.sandbox.wire import Answer
from atl_sign.schemes.oauth1.legs import Legs
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, grants_of, link_of, safe_of, sign
from tests.audit_lab import make_audit
from tests.lab import send, wait_for
from tests.unit.grants.failing_store import FailingStore
from tests.unit.provider_lab import private_key, token_of

LIFE_S = 1000.0  # so a renewal is due at 900
SESSION_S = LIFE_S + 30 * 86_400


class World:
    """One user's machine and the provider, with a clock that both share; `restart` is a new process on the same store."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.0
        self.folder = folder
        self.store = FailingStore()
        self.sandbox = Sandbox(["jira"], clock=lambda: self.now, token_life_s=LIFE_S)

    def restart(self) -> None:
        config = ConfigFile(self.folder / "config.toml", SCHEME_SETTINGS)
        self.agent = make_agent(config, Safe(self.store), Dances(), make_audit(), clock=lambda: self.now)

    def begin(self) -> None:
        self.restart()
        self.url = f"{self.sandbox.base_url('jira')}/rest/api/2/myself"
        self.agent.links.put(CALLER, "jira", {"url": self.sandbox.base_url("jira"), "consumer_key": "renewals", "timeout_s": 3})
        safe_of(self.agent).put_key(load_private_key(private_key().private_pem()))  # an object of its own, which a lock empties
        self.sandbox.register_consumer("jira", "renewals", private_key().public.pem)
        dance = self.agent.dances.begin(CALLER, "jira", "oob")
        dance.finish(Secret(self.sandbox.approve("jira", dance.authorize_url)))
        wait_for(lambda: self.token.user == "alice")

    @property
    def token(self):  # type: ignore[no-untyped-def]  # the safe's
        token = safe_of(self.agent).token(link_of(self.agent, "jira"))
        assert token is not None
        return token

    @property
    def tokens_at_provider(self):  # type: ignore[no-untyped-def]  # the sandbox's
        return self.sandbox.state.sites["jira"].state.access_tokens

    def header(self) -> str:
        return sign(self.agent, "GET", self.url)[0]

    def get(self) -> int:
        """Sign and send; returns the provider's status."""
        return send(self.url, self.header())[0]

    def renewals(self) -> int:
        """How many the provider was asked for: every POST there but the dance's swap."""
        return sum(each.target.endswith(b"/access-token") for each in self.sandbox.state.requests) - 1


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    world = World(tmp_path)
    with world.sandbox:
        world.begin()
        yield world


def test_a_token_is_renewed_before_its_end(world: World) -> None:
    """In the last tenth of its life; the user stays known, and the next process finds the new one in the store."""
    old = token_of(world.token)
    world.now += 0.9 * LIFE_S - 1
    assert world.get() == 200
    assert world.renewals() == 0

    world.now += 2
    assert world.get() == 200

    assert world.renewals() == 1
    assert token_of(world.token).key.reveal() != old.key.reveal()
    assert world.token.user == "alice"
    assert set(world.tokens_at_provider) == {token_of(world.token).key.reveal()}
    world.restart()
    assert world.get() == 200
    assert world.renewals() == 1


def test_another_daemon_waits_until_the_new_token_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the new token is on its way into a slow store: it must neither renew the void one nor write it back."""

    def start() -> Agent:
        safe = Safe(world.store, Neighbours(world.folder / "state"))
        return make_agent(
            ConfigFile(world.folder / "config.toml", SCHEME_SETTINGS), safe, Dances(), make_audit(), clock=lambda: world.now
        )

    one, other = start(), start()
    for agent in (one, other):
        sign(agent, "GET", world.url)
    void = token_of(world.token).key.reveal()
    is_writing = threading.Event()
    write = world.store.write

    def write_slowly(name: str, value: Secret, if_version: str | None = None) -> str:
        if name == "token:jira" and void not in value.reveal():
            is_writing.set()
            time.sleep(0.5)
        return write(name, value, if_version)

    monkeypatch.setattr(world.store, "write", write_slowly)
    world.now += LIFE_S + 1
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(sign, one, "GET", world.url)
        assert is_writing.wait(10)
        second = pool.submit(sign, other, "GET", world.url)
        headers = [each.result()[0] for each in (first, second)]

    (kept,) = world.tokens_at_provider
    assert all(f'oauth_token="{kept}"' in header for header in headers)
    assert world.renewals() == 1
    stored = world.store.read("token:jira")
    assert stored is not None
    assert kept in stored.value.reveal()


def test_a_token_is_renewed_after_its_end(world: World) -> None:
    """As long as the session lasts, and it counts as active until then."""
    world.now += SESSION_S - 1
    assert world.agent.links.show(CALLER, "jira").token_state == "active"

    assert world.get() == 200

    assert world.renewals() == 1


def test_after_the_session_only_a_dance_helps(world: World) -> None:
    """Nobody is asked."""
    world.now += SESSION_S + 1
    assert world.agent.links.show(CALLER, "jira").token_state == "expired"

    with pytest.raises(DanceNeededError, match="has expired"):
        world.header()

    assert world.renewals() == 0


def test_a_hundred_signers_see_one_renewal(world: World) -> None:
    """And every header is good."""
    world.now += LIFE_S + 1

    with ThreadPoolExecutor(100) as pool:
        statuses = [each.result() for each in [pool.submit(world.get) for _ in range(100)]]

    assert statuses == [200] * 100
    assert world.renewals() == 1


def test_who_cannot_wait_is_given_what_to_wait_for(world: World) -> None:
    """The event loop awaits the renewal instead of a thread that blocks."""
    world.now += LIFE_S + 1

    grants, link = grants_of(world.agent), link_of(world.agent, "jira")
    assert grants.peek(link) is None
    waiting = grants.find_renewal(link)

    assert waiting is not None
    waiting.result(10)
    assert grants.peek(link) is not None
    assert grants.find_renewal(link) is None
    assert world.renewals() == 1


@pytest.mark.parametrize("later_s", [2, 100.5])  # the latter: when the store's copy, in whole seconds, has ended already
def test_headers_under_way_arrive_before_the_old_token_dies(
    world: World, monkeypatch: pytest.MonkeyPatch, later_s: float
) -> None:
    """The renewal waits for what was signed a moment before."""
    monkeypatch.setattr(renewal, "DRAIN_S", 1.5)
    world.now += 0.9
    world.begin()
    before = world.renewals()
    world.now += 0.9 * LIFE_S - 1
    on_its_way = world.header()
    world.now += later_s
    renewed = threading.Thread(target=world.header)

    renewed.start()
    wait_for(lambda: "jira" in grants_of(world.agent).renewals._attempts)
    renewed.join(0.5)  # long enough for one that does not wait
    assert send(world.url, on_its_way)[0] == 200
    assert world.renewals() == before
    renewed.join()

    assert world.renewals() == before + 1


def test_a_process_that_ends_before_the_answer_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note in the store makes the next one ask again, at once."""
    world.now += 0.9 * LIFE_S + 1
    monkeypatch.setattr(Legs, "renew_access_token", _never_asked)
    world.header()  # the old token still holds
    monkeypatch.undo()
    world.restart()

    assert world.token.is_in_doubt
    assert world.get() == 200
    assert world.renewals() == 1
    assert not world.token.is_in_doubt


def test_an_answer_lost_with_the_process_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider has replaced the token, the store has the old one: the message says so, and does not speak of revocation."""
    world.now += 0.9 * LIFE_S + 1
    _lose_answers(monkeypatch)
    world.header()
    assert world.renewals() == 1
    monkeypatch.undo()
    world.restart()

    with pytest.raises(DanceNeededError, match="lost in a renewal that was cut off") as caught:
        world.header()

    assert caught.value.hint == "atl-sign dance jira"
    assert world.agent.links.show(CALLER, "jira").token_state == "expired"


def test_an_answer_lost_on_the_way_is_named_by_the_same_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt meets token_rejected, and knows why."""
    world.now += LIFE_S + 1
    monkeypatch.setattr(renewal, "RETRY_EXPIRED_S", 0.0)
    _lose_answers(monkeypatch)
    with pytest.raises(ProviderUnreachableError):
        world.header()
    monkeypatch.undo()

    with pytest.raises(DanceNeededError, match="lost in a renewal"):
        world.header()


def test_a_dance_heals_a_lost_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed attempts belong to the old token."""
    world.now += LIFE_S + 1
    _lose_answers(monkeypatch)
    with pytest.raises(ProviderUnreachableError):
        world.header()
    monkeypatch.undo()

    dance = world.agent.dances.begin(CALLER, "jira", "oob")
    dance.finish(Secret(world.sandbox.approve("jira", dance.authorize_url)))

    assert world.get() == 200


def test_a_revoked_token_is_said_to_be_revoked(world: World) -> None:
    """No renewal was cut off, so the user did it; for a minute nobody asks again."""
    world.now += 0.9 * LIFE_S + 1
    world.tokens_at_provider.clear()

    for _ in range(3):
        with pytest.raises(DanceNeededError, match="revoked"):
            world.header()

    assert world.renewals() == 1


def test_a_provider_that_is_away_stops_nobody_before_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old token signs on, the renewal is tried again later; after the end the failure is told, and passes with its cause."""
    world.now += 0.9 * LIFE_S + 1
    world.sandbox.stop()
    assert world.header() != world.header()

    world.now += LIFE_S
    with pytest.raises(ProviderUnreachableError):
        world.header()
    world.sandbox.start()
    monkeypatch.setattr(renewal, "RETRY_EXPIRED_S", 0.0)
    wait_for(lambda: _is_signed(world))

    assert world.get() == 200
    assert world.renewals() == 1


def test_a_refused_renewal_stops_nobody_before_the_end(world: World) -> None:
    """The administrator has switched 3LO off for new tokens, or the session is over: the token is good until its own end."""
    world.now += 0.9 * LIFE_S + 1
    (token,) = world.tokens_at_provider.values()
    token.session_expires_at = world.now - 1  # the provider's word differs from what it said at first

    assert [world.get() for _ in range(3)] == [200] * 3

    assert world.renewals() == 1
    world.restart()
    assert not world.token.is_in_doubt
    world.now += LIFE_S
    with pytest.raises(DanceNeededError, match="no longer renews it"):
        world.header()


def test_a_strange_answer_leaves_the_matter_open(world: World) -> None:
    """A proxy's page says nothing about what the provider did."""
    world.now += LIFE_S + 1
    site = world.sandbox.state.sites["jira"]
    path, site.context_path = site.context_path, "/moved"
    with pytest.raises(ProviderRefusedError):
        world.header()
    site.context_path = path
    world.restart()

    assert world.token.is_in_doubt
    assert world.get() == 200


def test_a_provider_that_asks_for_patience_gets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Retry-After is told, and holds the next renewal off; the old token signs on until its end."""
    monkeypatch.setattr(renewal, "RETRY_S", 0.0)
    monkeypatch.setattr(renewal, "RETRY_EXPIRED_S", 0.0)
    monkeypatch.setattr(
        server, "answer", lambda site, request: (Answer(503, headers=(("Retry-After", "2"),)), Call(site, request, ""))
    )
    world.now += 0.9 * LIFE_S + 1
    assert [world.header() != "" for _ in range(3)] == [True] * 3
    assert world.renewals() == 1

    world.now += LIFE_S
    with pytest.raises(ProviderBusyError, match="not available at the moment") as busy:
        wait_for(lambda: world.header() == "")
    assert busy.value.hint == "try again in 2 s"
    with pytest.raises(ProviderBusyError):
        world.header()
    assert world.renewals() == 2

    monkeypatch.undo()
    wait_for(lambda: _is_signed(world))
    assert world.get() == 200
    assert world.renewals() == 3


def test_a_logout_during_a_renewal_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new token is kept nowhere."""
    world.now += LIFE_S + 1
    _run_after_answer(monkeypatch, lambda: world.agent.links.log_out(CALLER, "jira"))

    with pytest.raises(DanceNeededError, match="no access token"):
        world.header()

    assert world.store.read("token:jira") is None


def test_a_logout_before_the_provider_is_asked_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked."""
    world.now += LIFE_S + 1
    renewing = RenewedTokens.renewing

    def log_out_first(renewed, link, token, timeout_s):  # type: ignore[no-untyped-def]
        world.agent.links.log_out(CALLER, "jira")
        return renewing(renewed, link, token, timeout_s)

    monkeypatch.setattr(RenewedTokens, "renewing", log_out_first)

    with pytest.raises(DanceNeededError, match="no access token"):
        world.header()

    assert world.renewals() == 0
    assert world.store.read("token:jira") is None


def test_a_store_that_fails_before_stops_the_renewal(world: World) -> None:
    """A new token could not be kept, so the old one is left alone."""
    world.now += LIFE_S + 1
    world.store.writes_left = 0

    with pytest.raises(StoreLockedError):
        world.header()
    assert world.renewals() == 0
    world.store.writes_left = None

    wait_for(lambda: _is_signed(world))
    assert world.renewals() == 1


def test_a_store_that_fails_after_loses_no_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one signs from memory, and is stored as soon as that can be."""
    monkeypatch.setattr(renewal, "_SAVE_PAUSES_S", (0.05,))
    world.now += LIFE_S + 1
    world.store.writes_left = 1  # the note
    assert world.get() == 200
    key = token_of(world.token).key.reveal()
    assert key not in _stored(world)

    world.store.writes_left = None

    wait_for(lambda: key in _stored(world))
    world.restart()
    assert world.get() == 200
    assert world.renewals() == 1


@pytest.mark.parametrize("closes", [False, True], ids=["a keyring", "a file"])
def test_a_lock_during_a_renewal_loses_no_token(world: World, monkeypatch: pytest.MonkeyPatch, closes: bool) -> None:
    """Nothing is signed with the new one before the unlock; a store that stays open has it by then, another one right after."""
    world.store.backend, world.store.closes = "lockable", closes
    world.now += LIFE_S + 1
    _run_after_answer(monkeypatch, lambda: world.agent.store.lock(CALLER))

    with pytest.raises(StoreLockedError, match="the store is locked"):
        world.header()

    (new,) = world.tokens_at_provider
    assert safe_of(world.agent)._tokens.is_empty
    with pytest.raises(StoreLockedError):
        world.header()
    if not closes:
        assert new in _stored(world)
        assert not safe_of(world.agent).has_unsaved
    world.agent.store.unlock(CALLER)
    assert new in _stored(world)
    assert not safe_of(world.agent).has_unsaved
    assert world.get() == 200
    assert world.renewals() == 1
    world.restart()
    assert world.get() == 200
    assert world.renewals() == 1


def test_a_lock_and_an_unlock_during_a_renewal_start_no_second_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store gives the old token, in doubt; who signs with it waits for the renewal under way, and gets the new one."""
    world.store.backend = "lockable"
    world.now += LIFE_S + 1
    waiting: list[Future[None] | None] = []

    def lock_and_sign() -> None:
        world.agent.store.lock(CALLER)
        world.agent.store.unlock(CALLER)
        assert world.token.is_in_doubt
        safe_of(world.agent).key()
        grants, link = grants_of(world.agent), link_of(world.agent, "jira")
        assert grants.peek(link) is None
        waiting.append(grants.find_renewal(link))

    _run_after_answer(monkeypatch, lock_and_sign)

    assert world.get() == 200

    assert waiting[0] is not None
    waiting[0].result(10)
    assert world.renewals() == 1
    assert set(world.tokens_at_provider) == {token_of(world.token).key.reveal()}
    assert token_of(world.token).key.reveal() in _stored(world)


@pytest.mark.parametrize("is_logout_refused", [False, True])
def test_a_token_that_the_store_did_not_take_outlives_a_lock(world: World, is_logout_refused: bool) -> None:
    """It is stored at the unlock and signs, also after a logout that the lock refused; the twin: one that is done ends it."""
    world.store.backend, world.store.closes = "lockable", True
    world.now += LIFE_S + 1
    world.store.writes_left = 1
    assert world.get() == 200
    key = token_of(world.token).key.reveal()
    world.agent.store.lock(CALLER)
    if is_logout_refused:
        with pytest.raises(StoreLockedError):
            world.agent.links.log_out(CALLER, "jira")
    world.store.writes_left = None

    world.agent.store.unlock(CALLER)

    assert key in _stored(world)
    assert world.get() == 200
    world.agent.links.log_out(CALLER, "jira")
    with pytest.raises(DanceNeededError):
        world.header()


def test_nobody_is_replaced_before_a_new_token_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while the provider is asked, nor while the store does not take the answer; the twin: before and after it may be."""
    monkeypatch.setattr(renewal, "_SAVE_PAUSES_S", (0.05,))
    monkeypatch.setattr(FailingStore, "survives_restart", lambda self: True)
    assert world.agent.life.may_be_replaced()
    seen: list[bool] = []
    _run_after_answer(monkeypatch, lambda: seen.append(world.agent.life.may_be_replaced()))
    world.now += LIFE_S + 1
    world.store.writes_left = 1

    assert world.get() == 200

    assert seen == [False]
    assert not world.agent.life.is_settled()
    world.store.writes_left = None
    wait_for(world.agent.life.may_be_replaced)


def test_a_lock_forgets_the_tokens_of_attempts(world: World) -> None:
    """A failed one still holds the token that it was made for."""
    world.store.backend = "lockable"
    world.now += 0.9 * LIFE_S + 1
    world.sandbox.stop()
    world.header()
    assert grants_of(world.agent).renewals._attempts.keys() == {"jira"}

    world.agent.store.lock(CALLER)

    assert grants_of(world.agent).renewals._attempts == {}


def test_a_note_that_cannot_be_taken_back_harms_nobody(world: World) -> None:
    """The next process asks once more."""
    world.now += 0.9 * LIFE_S + 1
    (token,) = world.tokens_at_provider.values()
    token.session_expires_at = world.now - 1
    world.store.writes_left = 1

    assert world.get() == 200
    world.restart()

    assert world.token.is_in_doubt
    assert world.get() == 200


def test_what_nobody_foresaw_is_an_error_for_everybody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    world.now += LIFE_S + 1
    monkeypatch.setattr(Legs, "renew_access_token", lambda *_: 1 / 0)

    with pytest.raises(InternalError):
        world.header()


def test_a_token_without_a_handle_is_not_renewed(world: World) -> None:
    """Other providers give none."""
    handle = token_of(world.token).session_handle
    assert handle is not None
    item = _stored(world).replace(handle.reveal(), "").replace('"session_handle":""', '"session_handle":null')
    world.store.write("token:jira", Secret(item))
    world.restart()
    world.now += LIFE_S + 1

    with pytest.raises(DanceNeededError, match="has expired"):
        world.header()
    assert world.renewals() == 0


def test_a_changed_item_is_refused(world: World) -> None:
    """The twin of the one above: what is not as it was written counts as nothing."""
    world.store.write("token:jira", Secret(_stored(world).replace('"renew_at":', '"renew_at":"x",')))
    world.restart()

    with pytest.raises(StoreUnavailableError):
        world.header()


def _stored(world: World) -> str:
    item = world.store.read("token:jira")
    assert item is not None
    return item.value.reveal()


def _is_signed(world: World) -> bool:
    try:
        world.header()
    except (ProviderBusyError, ProviderUnreachableError, StoreLockedError):
        return False
    return True


def _never_asked(*_: object) -> None:
    raise ProviderUnreachableError("link jira: cut off")


def _lose_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every renewal reach the provider, and nothing come back."""
    _run_after_answer(monkeypatch, _never_asked)


def _run_after_answer(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> None:
    renew = Legs.renew_access_token

    def renew_and_call(self, token):  # type: ignore[no-untyped-def]
        renewed = renew(self, token)
        call()
        return renewed

    monkeypatch.setattr(Legs, "renew_access_token", renew_and_call)
