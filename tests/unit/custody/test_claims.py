"""One machine at a time renews a token that several share, and what the provider gave is never thrown away."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import DanceNeededError, ProviderUnreachableError, StoreUnavailableError
from atl_sign.custody import claims
from atl_sign.custody.safe import Safe
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.lab import wait_for
from tests.unit.custody.shared_store import SharedStore
from tests.unit.provider_lab import make_link, token_of

LINK = make_link("https://h/jira", "tools")
ENDS = datetime(2031, 11, 23, 12, tzinfo=UTC)


def grant(key: str) -> Grant:
    return Grant(AccessToken(Secret(key), Secret("s"), Secret("handle")), user="alice", expires_at=ENDS)


OLD, NEW = grant("old"), grant("new")


class Clock:
    """The clock of all machines here, which a test moves; waiting moves it too."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.on_wait: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_wait()


class World:
    """Two machines with one store, which holds an old token."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = SharedStore()
        self.one, self.other = Safe(self.store), Safe(self.store)
        self.one.put_token(LINK, OLD)
        self.one.token(LINK)
        self.other.token(LINK)

    def claim(self, safe: Safe) -> Grant | None:
        with safe.renewed.renewing(LINK, OLD, 1) as token:
            return token

    def stored(self) -> str:
        token = Safe(self.store).token(LINK)
        assert token is not None
        return token_of(token).key.reveal()

    def save(self, safe: Safe) -> bool:
        """Store the new token in place of the old one, as after the provider's answer."""
        if not safe.renewed.renew(LINK, OLD, NEW):
            return False
        safe.renewed.save(LINK, NEW)
        return True


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    clock = Clock()
    monkeypatch.setattr(claims, "now_s", lambda: clock.now)
    monkeypatch.setattr(claims, "time", SimpleNamespace(sleep=clock.sleep))
    return World(clock)


def test_the_other_machine_waits_for_the_new_token(world: World) -> None:
    """And never asks the provider: it finds another token than the one that it wanted to renew."""
    assert world.claim(world.one) is not None
    world.clock.on_wait = lambda: world.save(world.one)

    assert world.claim(world.other) is None

    token = world.other.token(LINK)
    assert token is not None
    assert token.is_same_as(NEW)
    assert world.clock.now < 1_002


def test_a_claim_that_was_taken_back_is_free_at_once(world: World) -> None:
    """As when the provider could not be reached; the twin above: a claim that stands is waited for."""
    token = world.claim(world.one)
    assert token is not None
    assert world.one.renewed.mark(LINK, token, is_in_doubt=False)

    claimed = world.claim(world.other)

    assert claimed is not None
    assert not claimed.is_in_doubt
    assert world.clock.now == 1_000


def test_a_dead_machine_loses_its_claim(world: World) -> None:
    """After the patience of the others, on their own clock; and they know that the provider may have been asked."""
    assert world.claim(world.one) is not None

    claimed = world.claim(world.other)

    assert claimed is not None
    assert claimed.is_in_doubt
    assert 1_000 + claims.PATIENCE_S <= world.clock.now < 1_000 + claims.PATIENCE_S + 2


def test_a_machine_that_claims_again_and_again_leaves_the_others_their_turn(world: World) -> None:
    """One that does not reach the provider waits as long as they do."""
    assert world.claim(world.one) is not None
    began = world.clock.now

    assert world.claim(world.one) is not None

    assert world.clock.now - began >= claims.PATIENCE_S


def test_a_machine_that_slept_sends_nothing(world: World) -> None:
    """Another one may have taken its claim over; the twin: at once it may send."""
    world.claim(world.one)
    world.one.renewed.check_claim(LINK)

    world.clock.now += claims.LEASE_S - claims.EXCHANGE_S_MAX

    with pytest.raises(ProviderUnreachableError, match="held up on this machine"):
        world.one.renewed.check_claim(LINK)


def test_the_answer_of_a_late_machine_counts(world: World) -> None:
    """Its claim was taken over, and the provider took the old token no more: what it was given is the only live token."""
    world.claim(world.one)
    world.claim(world.other)
    world.clock.on_wait = lambda: world.save(world.one)

    assert world.other.renewed.settle(LINK, OLD)

    assert world.stored() == "new"


def test_a_late_answer_counts_after_the_token_was_called_lost(world: World) -> None:
    """For no other machine has one."""
    world.claim(world.one)
    world.claim(world.other)
    assert not world.other.renewed.settle(LINK, OLD)

    assert world.save(world.one)

    assert world.stored() == "new"


def test_a_lost_token_is_lost_for_all(world: World) -> None:
    """Nobody asks the provider again; a dance ends it."""
    world.claim(world.one)
    assert not world.one.renewed.settle(LINK, OLD)
    assert world.clock.now >= 1_000 + claims.LEASE_S

    for safe in (world.other, world.one, Safe(world.store)):
        safe.token(LINK)
        with pytest.raises(DanceNeededError, match="no machine has stored the answer") as caught:
            world.claim(safe)
        assert caught.value.hint == "atl-sign dance tools"

    world.other.put_token(LINK, NEW)
    assert world.claim(world.one) is None


def test_two_that_find_it_dead_write_it_once(world: World) -> None:
    """The second one has lost its claim to the first, and waits for what comes of that."""
    world.claim(world.one)
    world.claim(world.other)

    assert world.one.renewed.settle(LINK, OLD)  # it is the other one's affair now
    assert not world.other.renewed.settle(LINK, OLD)


def test_a_store_that_takes_no_claim_keeps_the_provider_unasked(world: World) -> None:
    """A renewal whose outcome could not be stored would be lost."""
    world.store.is_read_only = True

    with pytest.raises(StoreUnavailableError):
        world.claim(world.one)


def test_a_token_that_is_not_stored_yet_is_not_renewed(world: World) -> None:
    """The other machines do not have it, and would see an older one."""
    world.claim(world.one)
    world.one.renewed.renew(LINK, OLD, NEW)
    world.store.is_away = True
    with pytest.raises(StoreUnavailableError):
        world.one.renewed.save(LINK, NEW)

    with pytest.raises(StoreUnavailableError, match="not in the store yet"), world.one.renewed.renewing(LINK, NEW, 1):
        pass

    world.store.is_away = False
    token = world.one.token(LINK)
    assert token is not None
    assert token.is_same_as(NEW)
    world.one.renewed.save(LINK, NEW)
    assert world.stored() == "new"


def test_a_claim_says_nothing_of_the_user(world: World) -> None:
    """Who is learned while a claim stands keeps the claim."""
    world.one.put_token(LINK, Grant(AccessToken(Secret("old"), Secret("s"), Secret("handle")), expires_at=ENDS))
    world.other.distrust(LINK)
    assert world.claim(world.one) is not None
    token = world.one.token(LINK)
    assert token is not None

    world.one.name_user(LINK, token, "alice")

    world.other.distrust(LINK)
    world.clock.on_wait = lambda: world.save(world.one)
    assert world.claim(world.other) is None


def test_a_hundred_machines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With real clocks and threads: one asks, and all have what it was given."""
    monkeypatch.setattr(claims, "_POLL_S", 0.01)
    store = SharedStore()
    Safe(store).put_token(LINK, OLD)
    safes = [Safe(store) for _ in range(100)]
    asked = []

    def renew(safe: Safe) -> None:
        with safe.renewed.renewing(LINK, OLD, 1) as token:
            if token is not None:
                asked.append(safe)
                safe.renewed.renew(LINK, OLD, NEW)
                safe.renewed.save(LINK, NEW)

    threads = [threading.Thread(target=renew, args=(safe,)) for safe in safes]
    for thread in threads:
        thread.start()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))

    assert len(asked) == 1
    tokens = [safe.token(LINK) for safe in safes]
    assert all(token is not None and token.is_same_as(NEW) for token in tokens)
