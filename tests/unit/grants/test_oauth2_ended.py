"""A refresh token that the provider takes no more: a dance is needed, the link's state says so, and nothing is thrown away."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.base.errors import DanceNeededError, ProviderBusyError
from atl_sign.grants import renewal
from tests.agent_lab import CALLER, grants_of, link_of
from tests.unit.grants.oauth2_world import KINDS, World, make_world


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    with make_world(tmp_path, request.param) as world:
        yield world


def asked(world: World) -> int:
    """How often the token endpoint was asked."""
    path = world.server.flavour.endpoints.token.format(version="latest").encode()
    return sum(each.target.endswith(path) for each in world.provider.sandbox.state.requests)


def test_the_state_says_that_a_dance_is_needed(world: World) -> None:
    """For links and status alike; the record stays, and within a minute nobody asks the provider again."""
    kept = world.stored(world.item)
    assert world.state() == "active"
    world.end_refresh_tokens()
    world.now += world.life_s + 1
    before = asked(world)

    for _ in range(3):
        with pytest.raises(DanceNeededError, match="no longer good"):
            world.access()

    assert asked(world) == before + 1
    assert world.state() == "expired"
    assert [each.token_state for each in world.agent.status.show(CALLER).links] == ["expired"]
    assert world.stored(world.item) == kept


def test_the_provider_is_asked_again_and_may_change_its_mind(world: World) -> None:
    """A proxy's hiccup is no end for ever."""
    world.end_refresh_tokens()
    world.now += world.life_s + 1
    with pytest.raises(DanceNeededError):
        world.access()
    before = asked(world)

    world.try_again_at_once()
    with pytest.raises(DanceNeededError):
        world.access()
    assert asked(world) == before + 1
    assert world.state() == "expired"
    for token in world.server.refresh_tokens.values():
        token.has_ended = False
    world.try_again_at_once()

    assert world.get() == 200
    assert world.state() == "active"


def test_a_dance_mends_it(world: World) -> None:
    """At once, for what failed belongs to the grant before."""
    world.end_refresh_tokens()
    world.now += world.life_s + 1
    with pytest.raises(DanceNeededError):
        world.access()
    assert world.state() == "expired"

    world.consent()

    assert world.state() == "active"
    assert world.get() == 200


def test_a_new_process_asks_before_it_says_so(world: World) -> None:
    """What is in the store may be good again: nobody but the provider knows better."""
    world.end_refresh_tokens()
    world.now += world.life_s + 1
    with pytest.raises(DanceNeededError):
        world.access()

    world.restart()

    assert world.state() == "active"
    with pytest.raises(DanceNeededError):
        world.access()
    assert world.state() == "expired"


def test_a_failure_that_may_pass_is_no_end(world: World) -> None:
    """The twin: nothing is wrong with the grant."""
    world.server.faults.token = "500"
    world.now += world.life_s + 1

    with pytest.raises(ProviderBusyError):
        world.access()

    assert world.state() == "active"
    world.server.faults.clear()
    world.try_again_at_once()
    assert world.get() == 200


def test_a_busy_endpoint_is_asked_again_before_the_end(world: World) -> None:
    """Also in a life of a hundred seconds, of which the refresh has fifty: twice 503, then a token, and nobody notices."""
    world.server.access_token_life_s = 100.0
    world.consent()
    old = world.access()
    world.server.faults.token, world.server.faults.times, world.server.faults.retry_after = "503", 2, None
    before = asked(world)
    world.now += 51
    waits = []
    while True:
        world.begin_renewal(world.provider.who, "app")
        if world.access() != old:
            break
        waits.append(world.wait_s(time.monotonic()))
        world.now += waits[-1]
        world.try_again_at_once()

    assert world.get() == 200
    assert asked(world) == before + 3
    assert sum(waits) < 48
    assert min(waits) > 8  # and the provider is not asked all the time


def test_a_busy_endpoint_at_the_end(world: World) -> None:
    """The twin: without an old token, the provider's wish for patience is passed on."""
    world.server.faults.token = "503"
    world.now += world.life_s + 1

    with pytest.raises(ProviderBusyError) as caught:
        world.access()

    assert caught.value.retry_after_s == 7


def test_all_who_ask_wait_for_another_token_than_the_refused_one(world: World) -> None:
    """Also who asks after the first one, whose question has begun the renewal; the twin: without a refusal nobody waits."""
    link, old = link_of(world.agent, "app"), world.grant
    grants = grants_of(world.agent)
    assert grants.renewals.ask(grants.of(link), old) is None
    grants.refuse(link, old)

    waits = [grants.renewals.ask(grants.of(link), old) for _ in range(3)]

    for wait in waits:
        assert wait is not None
        wait.result(timeout=10)
    assert not world.grant.is_same_as(old)
    assert world.get() == 200
    assert world.server.refreshes == 1
