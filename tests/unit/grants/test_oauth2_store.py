"""Refreshes with a store that fails, and in two processes: a refresh token is spent once, and for something that is kept."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from atl_sign.base.errors import StoreLockedError
from atl_sign.grants import renewal
from tests.lab import wait_for
from tests.unit.grants.oauth2_world import KINDS, World, make_world


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    with make_world(tmp_path, request.param) as world:
        yield world


def test_a_store_that_cannot_be_written_spends_nothing(world: World) -> None:
    """The note is the probe: the provider is not asked, and the old token serves to its end."""
    old = world.access()
    world.store.writes_left = 0
    world.now += 0.95 * world.life_s
    assert world.access() == old
    world.now += world.life_s

    world.try_again_at_once()
    with pytest.raises(StoreLockedError):
        world.access()

    assert world.server.refreshes == 0
    world.store.writes_left = None
    world.try_again_at_once()
    assert world.get() == 200
    assert world.server.refreshes == 1


def test_a_store_that_breaks_after_the_note_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new token signs from memory, and is stored when that can be; the next process has it."""
    monkeypatch.setattr(renewal, "_SAVE_PAUSES_S", (0.05,))
    world.now += world.life_s + 1
    world.store.writes_left = 1

    new = world.access()

    assert world.get() == 200
    stored = world.stored(world.item)
    assert stored is not None
    assert stored["access_token"] != new
    world.store.writes_left = None
    wait_for(lambda: (world.stored(world.item) or {})["access_token"] == new)
    world.restart()
    assert world.access() == new
    assert world.server.refreshes == 1


def test_two_processes_refresh_once(world: World) -> None:
    """Both have the old token in memory when it ends."""
    one, other = (world.start_another(world.folder / "state") for _ in range(2))
    for agent in (one, other):
        world.access(agent)
    world.now += world.life_s + 1

    with ThreadPoolExecutor(20) as pool:
        tokens = {each.result() for each in [pool.submit(world.access, agent) for agent in (one, other) * 10]}

    assert len(tokens) == 1
    assert world.server.refreshes == 1
    assert world.get(other) == 200


def test_another_process_waits_as_long_as_a_refresh_can_take(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link's time for the first question, and for the second one: a server may end the grant whose token comes once more."""
    monkeypatch.setattr(renewal, "_NEIGHBOURS_S", 0.5)
    one, other = (world.start_another(world.folder / "state") for _ in range(2))
    for agent in (one, other):
        world.access(agent)
    world.server.flavour = replace(world.server.flavour, reuse_ends_grant=True)  # as RFC 9700 §4.14.2 wants it
    world.now += world.life_s + 1
    world.server.faults.token, world.server.faults.times, world.server.faults.delay_s = "hang up", 1, 2.4
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(world.access, one)
        wait_for(lambda: world.server.faults.times == 0)
        second = pool.submit(world.access, other)
        tokens = {first.result(), second.result()}

    assert len(tokens) == 1
    assert world.server.refreshes == 1
    assert world.get(one) == 200
