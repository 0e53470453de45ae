"""Refreshes of OAuth 2.0 in a real daemon whose clock is an hour wrong, jumps, or goes on over a sleep: every header is good."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.grants.renewal import DRAIN_S
from tests.daemon.wrong_clocks import HOUR_S, JumpingDaemon, SleepingDaemon
from tests.lab import Daemon, build_library
from tests.oauth2_daemon import LinkedProvider, access_of, linked_provider

pytestmark = pytest.mark.slow


class Clock:
    """The provider's."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["datacenter", "atlassian-cloud", "gitlab"])
def provider(request: pytest.FixtureRequest, clock: Clock) -> Iterator[LinkedProvider]:
    with linked_provider(request.param, clock) as provider:
        yield provider


@pytest.fixture
def jumping() -> Iterator[JumpingDaemon]:
    with JumpingDaemon() as started:
        yield started


def use(provider: LinkedProvider, daemon: Daemon) -> str:
    """Sign and send, which works; returns the token."""
    reply = provider.sign(daemon)
    access = access_of(reply)
    assert provider.send(reply) == 200
    return access


@pytest.mark.parametrize("wrong_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_is_wrong_all_the_time(jumping: JumpingDaemon, provider: LinkedProvider, clock: Clock, wrong_s: int) -> None:
    """The daemon's; the provider's differs from it by as much. A token is refreshed when its life is over, no sooner."""
    jumping.jump(wrong_s)
    provider.add_to(jumping)
    provider.dance(jumping)
    life_s = round(provider.server.access_token_life_s)

    for number in range(3):
        first = use(provider, jumping)
        later_s = number * life_s + life_s * 8 // 10
        jumping.jump(wrong_s + later_s)
        clock.ahead_s = later_s
        assert use(provider, jumping) == first
        jumping.jump(wrong_s + (number + 1) * life_s)
        clock.ahead_s = (number + 1) * life_s
        assert use(provider, jumping) != first

    assert provider.server.refreshes == 3


@pytest.mark.parametrize("wrong_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_jumps_an_hour_and_back(
    jumping: JumpingDaemon, provider: LinkedProvider, clock: Clock, wrong_s: int
) -> None:
    """Each jump costs a refresh at most, and afterwards no token is thought to live longer than it does."""
    provider.server.access_token_life_s = 1800.0
    provider.add_to(jumping)
    provider.dance(jumping)
    for jump in (wrong_s, 0):
        time.sleep(DRAIN_S)  # or the daemon sleeps, which libfaketime makes an error when its clock has gone back
        jumping.jump(jump)
        use(provider, jumping)
    assert provider.server.refreshes <= 2

    for later_s in range(0, 3 * HOUR_S, 600):
        clock.ahead_s = later_s
        jumping.jump(later_s)
        use(provider, jumping)

    assert provider.server.refreshes <= 2 + 3 * HOUR_S / 1200


def test_a_restart_after_a_jump_back(provider: LinkedProvider, clock: Clock) -> None:
    """What the store says of a token's end is by the clock of then: the next daemon does not believe it."""
    provider.server.access_token_life_s = 1800.0
    with JumpingDaemon() as daemon:
        daemon.stop()
        daemon.environment["ATL_SIGN_STORE"] = "file"
        (daemon.folder / "atl-sign-store-key").write_text("passphrase\n")
        daemon.environment["CREDENTIALS_DIRECTORY"] = str(daemon.folder)
        daemon.start()
        provider.add_to(daemon)
        daemon.jump(HOUR_S)
        provider.dance(daemon)
        first = use(provider, daemon)
        daemon.stop()
        daemon.jump(0)
        daemon.start()

        assert use(provider, daemon) != first

        clock.ahead_s = 1900
        daemon.jump(1900)
        use(provider, daemon)
    assert provider.server.refreshes == 2


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library("suspend", tmp_path_factory.mktemp("suspend"))


def test_a_sleep_longer_than_a_token(library: Path, provider: LinkedProvider, clock: Clock) -> None:
    """The first request after it is answered with a new token; nobody dances."""
    provider.server.access_token_life_s = 1200.0
    with SleepingDaemon(library) as sleeping:
        provider.add_to(sleeping)
        provider.dance(sleeping)
        first = use(provider, sleeping)

        sleeping.sleep(0.75)
        clock.ahead_s = 0.75 * HOUR_S

        assert use(provider, sleeping) != first
    assert provider.server.refreshes == 1


def test_a_sleep_that_is_shorter_costs_nothing(library: Path, provider: LinkedProvider, clock: Clock) -> None:
    """The twin."""
    provider.server.access_token_life_s = 3600.0
    with SleepingDaemon(library) as sleeping:
        provider.add_to(sleeping)
        provider.dance(sleeping)
        first = use(provider, sleeping)

        sleeping.sleep(0.5)
        clock.ahead_s = 0.5 * HOUR_S

        assert use(provider, sleeping) == first
    assert provider.server.refreshes == 0
