"""Grants that end at a provider of each flavour: what signers see, and that a dance (or the right secret) heals it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import (
    DaemonError,
    DanceNeededError,
    ProviderBusyError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from atl_sign.custody.items import place_of, token_item
from atl_sign.grants import renewal
from atl_sign.grants.states import Granted
from tests.agent_lab import CALLER, link_of
from tests.agent_machine import Machine
from tests.lab import send
from tests.oauth2_providers import KEEPS_USED, KINDS, Provider, provider_of
from tests.unit.provider_lab import everything_shown


class World(Machine):
    """A machine with the link `app`, which has danced."""

    offset_s = 0.0  # the provider's clock less ours
    provider: Provider

    def provider_clock(self) -> float:
        return self.now + self.offset_s

    def begin(self, provider: Provider) -> None:
        self.provider = provider
        self.put("app", provider.settings, provider.app.client_secret)
        assert isinstance(self.dance("app", provider.approve), Granted)

    @property
    def life_s(self) -> float:
        return self.provider.server.access_token_life_s

    def sign(self) -> str:
        return self.header(self.provider.who, "app")

    def get(self) -> int:
        """Sign and send; returns the provider's status."""
        return send(self.provider.who, self.sign())[0]

    def item(self) -> str:
        return token_item(place_of(link_of(self.agent, "app")).name)

    def fail(self) -> DaemonError:
        with pytest.raises(DaemonError) as caught:
            self.sign()
        shown = everything_shown(caught.value)
        tokens = (
            *self.provider.server.access_tokens,
            *self.provider.server.refresh_tokens,
            self.provider.app.client_secret or "x" * 9,
        )
        assert not any(token in shown for token in tokens)
        return caught.value


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    made = World(tmp_path)
    with provider_of(request.param, made.provider_clock) as provider:
        made.begin(provider)
        yield made


def test_a_living_grant_is_refreshed_again_and_again(world: World) -> None:
    """The twin of all that follows: nothing is asked of the user for a month."""
    for count in range(1, 6):
        world.now += 6 * 86_400
        assert world.get() == 200
        assert world.provider.server.refreshes == count
        world.restart()
    assert world.get() == 200


def test_a_dead_refresh_token_needs_a_dance_and_nothing_else(world: World) -> None:
    """The record stays in the store; the hint's command heals it at once."""
    world.provider.server.revoke_all()
    world.now += 0.9 * world.life_s + 1
    before = world.stored(world.item())

    for _ in range(2):
        world.begin_renewal(world.provider.who, "app")  # whose old token may serve on meanwhile
        error = world.fail()
        assert isinstance(error, DanceNeededError)
        assert error.hint == "atl-sign dance app"
        assert "its refresh token is no longer good" in error.message
        world.restart()

    after = world.stored(world.item())
    assert after is not None
    assert after == before
    assert world.agent.links.show(CALLER, "app").token is not None
    assert isinstance(world.dance("app", world.provider.approve), Granted)
    assert world.get() == 200


def test_a_refresh_token_that_is_too_old_needs_a_dance(world: World) -> None:
    """Nobody used the link for longer than the provider keeps it."""
    server = world.provider.server
    if server.refresh_token_life_s is None:
        server.refresh_token_life_s = 90 * 86_400.0
        world.dance("app", world.provider.approve)
    if world.provider.kind == "bitbucket-cloud, old":  # whose refresh tokens have no end
        server.revoke_all()
    world.now += server.refresh_token_life_s + 1

    assert isinstance(world.fail(), DanceNeededError)

    assert isinstance(world.dance("app", world.provider.approve), Granted)
    assert world.get() == 200


def test_a_wrong_secret_is_the_secrets_fault(world: World) -> None:
    """No dance is asked for: the access token serves to its end, and then the hint names the secret, which heals it at once."""
    app = world.provider.app
    right, app.client_secret = app.client_secret, "another-secret"
    assert right is not None
    world.now += 0.9 * world.life_s + 1
    assert [world.get() for _ in range(2)] == [200] * 2

    world.now += world.life_s
    world.try_again_at_once()
    error = world.fail()

    assert isinstance(error, ProviderRefusedError)
    assert "atl-sign link secret app" in (error.hint or "")
    assert world.stored(world.item()) is not None
    world.agent.links.put_secret(CALLER, "app", Secret("another-secret"))
    assert world.get() == 200


def test_a_wrong_secret_in_a_dance_is_the_secrets_fault(world: World) -> None:
    """The grant that is there stays; the next dance with the right one is granted."""
    world.agent.links.put_secret(CALLER, "app", Secret("wrong-secret"))

    with pytest.raises(ProviderRefusedError) as caught:
        world.dance("app", world.provider.approve)

    assert "atl-sign link secret app" in (caught.value.hint or "")
    assert world.get() == 200
    world.agent.links.put_secret(CALLER, "app", Secret(str(world.provider.app.client_secret)))
    assert isinstance(world.dance("app", world.provider.approve), Granted)


def test_a_provider_that_is_away_stops_nobody_before_the_end(world: World) -> None:
    """After it, it is the error; when the provider is back, all goes on."""
    world.now += 0.9 * world.life_s + 1
    world.provider.sandbox.stop()
    assert [world.sign() != "" for _ in range(2)] == [True] * 2
    world.now += world.life_s
    world.try_again_at_once()
    assert isinstance(world.fail(), ProviderUnreachableError)

    world.provider.sandbox.start()
    world.try_again_at_once()

    assert world.get() == 200
    assert world.provider.server.refreshes == 1


@pytest.mark.parametrize("fault", ["429", "503", "500", "408", "html", "shape", "redirect"])
def test_a_passing_fault_passes(fault: str, world: World) -> None:
    """Whatever it looks like, the grant is as it was."""
    world.provider.server.faults.token, world.provider.server.faults.retry_after = fault, None  # type: ignore[assignment]
    world.now += world.life_s + 1
    assert isinstance(world.fail(), ProviderBusyError | ProviderRefusedError | ProviderUnreachableError)

    world.provider.server.faults.clear()
    world.try_again_at_once()

    assert world.get() == 200


def test_errors_with_status_200_are_errors(world: World) -> None:
    """Facts oauth2.md section 11: the body decides."""
    world.provider.server.faults.errors_with_200 = True
    world.provider.server.revoke_all()
    world.now += world.life_s + 1

    # Atlassian's words for two different things differ only by their status (section 3).
    expected = ProviderRefusedError if world.provider.kind == "atlassian-cloud, otherwise" else DanceNeededError
    assert isinstance(world.fail(), expected)


def test_an_answer_that_is_lost_before_the_work_costs_nothing(world: World) -> None:
    """The refresh is tried once more."""
    world.provider.server.faults.token, world.provider.server.faults.times = "hang up", 1
    world.now += world.life_s + 1

    assert world.get() == 200

    assert world.provider.server.refreshes == 1


def test_an_answer_that_is_lost_after_the_work(world: World) -> None:
    """With a leeway for used refresh tokens nothing is lost; without one the message says what happened."""
    world.provider.server.faults.token, world.provider.server.faults.times = "lost answer", 1
    world.now += world.life_s + 1

    if world.provider.kind in KEEPS_USED:
        assert world.get() == 200
        assert world.provider.server.refreshes == 2
        return
    error = world.fail()

    assert isinstance(error, DanceNeededError)
    assert "was lost in a renewal that was cut off" in error.message
    assert world.provider.server.refreshes == 1
    assert isinstance(world.dance("app", world.provider.approve), Granted)
    assert world.get() == 200


@pytest.mark.parametrize("offset_s", [3_600.0, -3_600.0])
def test_a_providers_clock_that_is_an_hour_off(offset_s: float, world: World) -> None:
    """Lives are counted by our own clock from the moment of the request, so the other one's makes no difference."""
    world.offset_s = offset_s
    assert isinstance(world.dance("app", world.provider.approve), Granted)
    before = world.provider.server.refreshes
    assert world.get() == 200

    world.now += 0.9 * world.life_s - 5
    assert world.get() == 200
    assert world.provider.server.refreshes == before
    world.now += 10
    world.begin_renewal(world.provider.who, "app")

    assert world.get() == 200
    assert world.provider.server.refreshes == before + 1


def test_a_refresh_token_that_never_comes_is_missed_at_the_end_alone(world: World) -> None:
    """Cloud without offline_access, say."""
    world.provider.server.faults.omits_refresh_token = True
    assert isinstance(world.dance("app", world.provider.approve), Granted)
    world.now += world.life_s - 5
    assert world.get() == 200

    world.now += 10

    assert isinstance(world.fail(), DanceNeededError)


def test_the_old_refresh_token_works_on_when_none_comes(world: World) -> None:
    """Where the provider lets it: at a server that does not rotate, or for the time of its leeway."""
    world.provider.server.leeway_s = 10**9
    world.provider.server.faults.omits_refresh_token = True
    for _ in range(3):
        world.now += world.life_s + 1
        assert world.get() == 200
