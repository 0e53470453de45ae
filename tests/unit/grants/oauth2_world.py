"""A machine with links of OAuth 2.0 to a provider of the sandbox, whose store and whose clock go wrong as a test says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atl_sign.agent.build import Agent, make_agent
from atl_sign.base.credentials import Grant
from atl_sign.config.file import ConfigFile
from atl_sign.custody.items import place_of, token_item
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.safe import Safe
from atl_sign.grants.dances import Dances
from atl_sign.grants.states import Granted
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, grants_of, link_of, safe_of, sign
from tests.agent_machine import Machine
from tests.audit_lab import make_audit
from tests.lab import send
from tests.oauth2_providers import Provider, provider_of
from tests.unit.grants.failing_store import FailingStore

KINDS = ("datacenter", "atlassian-cloud", "gitlab")


class World(Machine):
    """A machine with the link `app`, which has danced; its clock differs from the provider's when a test says so."""

    ahead_s = 0.0
    provider: Provider

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store: FailingStore = FailingStore()
        self.restart()

    def clock(self) -> float:
        return self.now + self.ahead_s

    def begin(self, provider: Provider) -> None:
        self.provider = provider
        self.server = provider.server
        self.put("app", {"timeout_s": 3, **provider.settings}, provider.app.client_secret)
        self.consent()

    def consent(self, name: str = "app") -> None:
        assert isinstance(self.dance(name, self.provider.approve), Granted)

    def start_another(self, state: Path | None = None) -> Agent:
        """Return another agent on the same store; those with the same folder *state* know of each other."""
        safe = Safe(self.store, Neighbours(state))
        config = ConfigFile(self.folder / "config.toml", SCHEME_SETTINGS)
        return make_agent(config, safe, Dances(), make_audit(), clock=self.clock)

    @property
    def life_s(self) -> float:
        return self.server.access_token_life_s

    @property
    def grant(self) -> Grant:
        """As the safe gives it."""
        grant = safe_of(self.agent).token(link_of(self.agent, "app"))
        assert grant is not None
        return grant

    @property
    def item(self) -> str:
        return token_item(place_of(link_of(self.agent, "app")).name)

    def access(self, agent: Agent | None = None) -> str:
        """Return the access token in a header; raises what stands in its way."""
        return sign(agent or self.agent, "GET", self.provider.who, link="app")[0].removeprefix("Bearer ")

    def get(self, agent: Agent | None = None) -> int:
        """Sign and send; returns the provider's status."""
        return send(self.provider.who, f"Bearer {self.access(agent)}")[0]

    def state(self, name: str = "app") -> str:
        return self.agent.links.show(CALLER, name).token_state

    def end_refresh_tokens(self) -> None:
        for token in self.server.refresh_tokens.values():
            token.has_ended = True

    def wait_s(self, now_s: float) -> float:
        """Return how long the last renewal's failure keeps the next one off, by the monotonic clock *now_s*."""
        (attempt,) = grants_of(self.agent).renewals._attempts.values()
        assert attempt.again_at is not None
        return attempt.again_at - now_s


@contextmanager
def make_world(folder: Path, kind: str) -> Iterator[World]:
    world = World(folder)
    with provider_of(kind, lambda: world.now) as provider:
        world.begin(provider)
        yield world
