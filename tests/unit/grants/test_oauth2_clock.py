"""Refreshes with clocks that are wrong or are set: no header is dead, and none of the refreshes is for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.grants import renewal
from tests.unit.grants.oauth2_world import KINDS, World, make_world

HOUR_S = 3600.0


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    with make_world(tmp_path, request.param) as world:
        yield world


def use(world: World, lives: float) -> None:
    """Sign and send twenty times in each of so many lives of a token; every header is good."""
    for _ in range(round(20 * lives)):
        assert world.get() == 200
        world.now += 0.05 * world.life_s


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_is_an_hour_wrong(world: World, ahead_s: float) -> None:
    """A life is counted by one clock alone, whatever time that has."""
    world.ahead_s = ahead_s
    world.consent()

    use(world, 3)

    assert world.server.refreshes == 3


@pytest.mark.parametrize("starts_anew", [False, True], ids=["the same process", "a new one"])
def test_a_clock_that_jumps_an_hour_ahead_and_back(world: World, starts_anew: bool) -> None:
    """A token that came meanwhile would seem to live an hour too long: it is renewed."""
    world.now += world.life_s - HOUR_S  # so that it seems to have ended
    world.ahead_s = HOUR_S
    assert world.get() == 200
    assert world.server.refreshes == 1
    world.ahead_s = 0.0
    if starts_anew:
        world.restart()

    use(world, 2)

    assert world.server.refreshes == 1 + 1 + 2  # for each jump, and in each life


def test_a_clock_that_goes_back_and_stays_there(world: World) -> None:
    """The same for a token of before; and once the clock is right again."""
    world.now += 1800
    world.ahead_s = -HOUR_S
    use(world, 2)
    assert world.server.refreshes == 1 + 2

    world.ahead_s = 0.0
    use(world, 1)

    assert world.server.refreshes <= 1 + 2 + 2


def test_a_clock_that_is_corrected_costs_nothing(world: World) -> None:
    """The twin: some seconds are no jump."""
    world.ahead_s = -20.0

    assert world.get() == 200

    assert world.server.refreshes == 0
