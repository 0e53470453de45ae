"""A link whose account is changed: the grant of another user does not sign for it any more, and none is left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DanceNeededError, UnknownLinkError
from atl_sign.custody.items import app_item, place_of, token_item
from atl_sign.grants.states import Granted
from tests.agent_lab import CALLER, link_of
from tests.agent_machine import Machine
from tests.oauth2_providers import Provider, provider_of

KINDS = ("datacenter", "atlassian-cloud", "bitbucket-cloud", "gitlab", "generic")


class World(Machine):
    """A machine with the link `app`, by which alice has danced."""

    provider: Provider

    def begin(self, provider: Provider) -> None:
        self.provider = provider
        who = {"who_field": "preferred_username"} if provider.kind == "generic" else {}
        self.settings = {**provider.settings, **who}
        self.put("app", self.settings, provider.app.client_secret)
        state = self.dance("app", provider.approve)
        assert isinstance(state, Granted)
        assert state.user is not None
        self.alice = state.user
        self.bob = self.alice.replace("alice", "bob")

    def change(self, **settings: object) -> list[str]:
        report = self.agent.links.put(CALLER, "app", {"scheme": "oauth2", **self.settings, **settings})
        return list(report.warnings)

    def signs(self) -> bool:
        try:
            return self.header(self.provider.who, "app").startswith("Bearer ")
        except (DanceNeededError, UnknownLinkError):  # without a grant a gateway's address is no link's
            return False

    def items(self) -> set[str]:
        """Return the names of what the store has of the link."""
        place = place_of(link_of(self.agent, "app")).name
        return {name for name in (token_item(place), app_item(place)) if self.store.read(name) is not None}


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with provider_of(request.param, made.clock) as provider:
        made.begin(provider)
        yield made


def test_the_grant_of_another_user_signs_no_more(world: World) -> None:
    """The link is for bob now; alice's token would do his work in her name."""
    before = world.items()
    assert len(before) == 2

    world.change(account=world.bob)

    assert not world.signs()
    assert not any(world.store.read(item) is not None for item in before if item.startswith("token:"))
    if place_of(link_of(world.agent, "app")).name != "app":  # at Atlassian Cloud each account has a place of its own
        world.agent.links.put_secret(CALLER, "app", Secret(str(world.provider.app.client_secret)))
    state = world.dance("app", lambda address: world.provider.approve(address, user="bob"))
    assert isinstance(state, Granted)
    assert state.user == world.bob
    assert world.signs()


def test_the_grant_of_the_same_user_signs_on(world: World) -> None:
    """Named for the first time, in another case, and no longer named; where an account has no place of its own."""
    if world.provider.kind == "atlassian-cloud":
        return
    for account in (world.alice, world.alice.upper(), None):
        world.change(account=account)
        assert world.signs()


def test_a_link_that_is_removed_leaves_nothing(world: World) -> None:
    """Whatever its account was before."""
    items = world.items()
    world.change(account=world.bob)
    items |= world.items()

    world.agent.links.remove(CALLER, "app")

    assert [item for item in items if world.store.read(item) is not None] == []
