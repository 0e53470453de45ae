"""Git's token of a link of OAuth 2.0, with a clock that is set: the grant's own, with enough life left."""

import asyncio
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.agent.build import make_agent
from atl_sign.agent.git_request import parse_git_request
from atl_sign.base.credentials import GitToken, Secret
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants import renewal
from atl_sign.grants.dances import Dances
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER
from tests.audit_lab import make_audit
from tests.oauth2_lab import PORT, redirect_of

LIFE_S = 3600


class World:
    """A Bitbucket and an agent, with one clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000.0
        self.sandbox = Sandbox(["bitbucket"], clock=lambda: self.now)
        config = ConfigFile(folder / "config.toml", SCHEME_SETTINGS)
        self.agent = make_agent(config, Safe(MemoryStore()), Dances(), make_audit(), clock=lambda: self.now)

    def begin(self, **settings: object) -> None:
        url = self.sandbox.base_url("bitbucket")
        app = self.sandbox.register_app("bitbucket", redirect_uris=[redirect_of(url)])
        fields = {"url": url, "client_id": app.client_id, "redirect_port": PORT, **settings}
        self.agent.links.put(CALLER, "bb", fields)
        self.agent.links.put_secret(CALLER, "bb", Secret(str(app.client_secret)))
        dance = self.agent.dances.begin(CALLER, "bb", "loopback")
        with urllib.request.urlopen(self.sandbox.approve("bitbucket", dance.authorize_url), timeout=10):
            pass
        dance.settled.result(10)

    @property
    def refreshes(self) -> int:
        found: int = self.sandbox.oauth2("bitbucket").refreshes
        return found

    def get(self) -> GitToken:
        host = self.sandbox.base_url("bitbucket").split("/")[2]
        asked = parse_git_request(f"protocol=http\nhost={host}\npath=bitbucket/scm/web/shop.git\n".encode())
        token = asyncio.run(self.agent.git.get(CALLER, asked))
        assert token is not None
        return token

    def erase(self, secret: str) -> bool:
        host = self.sandbox.base_url("bitbucket").split("/")[2]
        asked = parse_git_request(f"protocol=http\nhost={host}\npath=bitbucket/scm/web/shop.git\n".encode())
        return self.agent.git.erase(CALLER, asked, secret)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    world = World(tmp_path)
    with world.sandbox:
        yield world


@pytest.mark.parametrize(("settings", "minutes"), [({}, 15), ({"git_minutes": 20}, 20), ({"git_minutes": 120}, 30)])
def test_a_token_that_ends_soon_is_renewed_first(world: World, settings: dict[str, int], minutes: int) -> None:
    """15 minutes before its end, or as the link says; but never in the first half of its life, or each call would renew it."""
    world.begin(**settings)
    first = world.get()
    assert first.expires_at is not None
    assert first.expires_at.timestamp() == world.now + LIFE_S
    world.now += LIFE_S - (minutes + 1) * 60
    assert world.get().secret.reveal() == first.secret.reveal()
    assert world.refreshes == 0

    world.now += 2 * 60
    second = world.get()

    assert second.secret.reveal() != first.secret.reveal()
    assert second.expires_at is not None
    assert second.expires_at.timestamp() == world.now + LIFE_S
    assert world.refreshes == 1
    assert world.get().secret.reveal() == second.secret.reveal()
    assert world.refreshes == 1


def test_a_refused_token_is_renewed_once(world: World) -> None:
    """Git erases what met a 401; another password than ours is no reason."""
    world.begin()
    first = world.get()
    assert not world.erase("another")
    assert world.get().secret.reveal() == first.secret.reveal()

    assert world.erase(first.secret.reveal())
    second = world.get()

    assert second.secret.reveal() != first.secret.reveal()
    assert not world.erase(first.secret.reveal())
    assert world.get().secret.reveal() == second.secret.reveal()
    assert world.refreshes == 1


def test_git_wants_to_be_somebody_else(world: World) -> None:
    """Then it gets nothing from us."""
    world.begin()
    host = world.sandbox.base_url("bitbucket").split("/")[2]
    for user, is_there in (("alice", True), ("Alice", True), ("bob", False)):
        asked = parse_git_request(f"protocol=http\nhost={host}\npath=bitbucket/scm/web/shop.git\nusername={user}\n".encode())
        assert (asyncio.run(world.agent.git.get(CALLER, asked)) is not None) == is_there


def test_a_token_that_the_provider_calls_invalid_is_renewed_before_the_next_request(world: World) -> None:
    """As the proxy reads it in an answer (RFC 6750 §3.1); not again at once, and not for another word or a lease's hearsay."""
    world.begin()
    first = world.get().secret.reveal()
    for challenge in ('Bearer realm="x", error="insufficient_scope"', 'Bearer realm="x"', 'Basic realm="invalid_token"'):
        world.agent.checks.explain_problem(CALLER, "bb", challenge)
        assert world.get().secret.reveal() == first

    world.agent.checks.explain_problem(CALLER, "bb", 'Bearer realm="x", error="invalid_token"')
    second = world.get().secret.reveal()
    world.agent.checks.explain_problem(CALLER, "bb", 'Bearer realm="x", error="invalid_token"')

    assert second != first
    assert world.get().secret.reveal() == second
    assert world.refreshes == 1
