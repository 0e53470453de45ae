"""The agent where the real daemon is hard to bring: a store whose items are broken, or which locks on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atl_sign.agent import build
from atl_sign.agent.build import Agent
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import (
    ConfigBrokenError,
    DanceNeededError,
    KeyExistsError,
    LinkExistsError,
    StoreLockedError,
    StoreNewerError,
    StoreUnavailableError,
)
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, link_of, safe_of, sign
from tests.audit_lab import make_audit
from tests.unit.provider_lab import make_grant

NOBODY_THERE = "http://127.0.0.1:1/jira"


class LockableStore(MemoryStore):
    """A memory store that can be locked, as a keyring can."""

    is_locked = False

    def read(self, name: str) -> Item | None:
        self._check()
        return super().read(name)

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        self._check()
        return super().write(name, value, if_version)

    def delete(self, name: str) -> None:
        self._check()
        super().delete(name)

    def _check(self) -> None:
        if self.is_locked:
            raise StoreLockedError("the keyring is locked", "unlock it")


@pytest.fixture
def store() -> LockableStore:
    return LockableStore()


@pytest.fixture
def agent(tmp_path: Path, store: LockableStore) -> Agent:
    return make_agent(tmp_path, store)


def make_agent(folder: Path, store: MemoryStore, now: float = 1_700_000_000.0) -> Agent:
    return build.make_agent(
        ConfigFile(folder / "config.toml", SCHEME_SETTINGS), Safe(store), Dances(), make_audit(), clock=lambda: now
    )


def test_a_broken_key_item_can_be_replaced(agent: Agent, store: LockableStore) -> None:
    """The hint says `--replace`, so that must work; without it the item stays."""
    store.write("consumer-key", Secret("{}"))

    with pytest.raises(StoreUnavailableError, match="consumer-key") as caught:
        agent.keys.show(CALLER)
    assert caught.value.hint == "atl-sign key new --replace"
    with pytest.raises(StoreUnavailableError):
        agent.keys.make(CALLER, 2048, replace=False)
    assert agent.keys.make(CALLER, 2048, replace=True).public.bits == 2048
    with pytest.raises(KeyExistsError):
        agent.keys.make(CALLER, 2048, replace=False)


def test_a_broken_token_item_can_be_danced_over(agent: Agent, store: LockableStore, sandbox: Sandbox) -> None:
    """The hint says `atl-sign dance`, so that must work."""
    url = sandbox.base_url("jira")
    store.write("token:jira", Secret("nonsense"))
    agent.links.put(CALLER, "jira", {"url": url, "consumer_key": "agent-test"})
    sandbox.register_consumer("jira", "agent-test", agent.keys.make(CALLER, 2048, replace=False).public.pem)
    with pytest.raises(StoreUnavailableError) as caught:
        sign(agent, "GET", f"{url}/x")
    assert caught.value.hint == "atl-sign dance jira"
    assert agent.links.show(CALLER, "jira").token_state == "unknown"

    agent = make_agent_now(agent, store)
    dance = agent.dances.begin(CALLER, "jira", "oob")
    dance.finish(Secret(sandbox.approve("jira", dance.authorize_url)))

    assert sign(agent, "GET", f"{url}/x")[0].startswith("OAuth ")


def test_what_a_newer_atl_sign_wrote_is_neither_danced_over_nor_logged_out(
    agent: Agent, store: LockableStore, sandbox: Sandbox
) -> None:
    """Each verb says so before the provider is asked; key, token and git's record stay, and so does the link."""
    url, names = sandbox.base_url("jira"), ("consumer-key", "token:jira", "git:jira")
    agent.links.put(CALLER, "jira", {"url": url, "consumer_key": "agent-test"})
    sandbox.register_consumer("jira", "agent-test", agent.keys.make(CALLER, 2048, replace=False).public.pem)
    for name in names[1:]:
        store.write(name, Secret('{"v":3,"kept":"as it is"}'))
    asked_before = len(sandbox.state.requests)
    agent = make_agent_now(agent, store)

    calls: list[Callable[[], object]] = [
        lambda: sign(agent, "GET", f"{url}/x"),
        lambda: agent.dances.begin(CALLER, "jira", "oob"),
        lambda: agent.links.log_out(CALLER, "jira"),
        lambda: agent.links.remove(CALLER, "jira"),
    ]
    for call in calls:
        with pytest.raises(StoreNewerError, match="was written by a newer atl-sign"):
            call()

    assert len(sandbox.state.requests) == asked_before
    assert agent.links.show(CALLER, "jira").token_state == "unknown"
    store.write("consumer-key", Secret('{"v":3,"kept":"as it is"}'))
    with pytest.raises(StoreNewerError):
        make_agent_now(agent, store).keys.make(CALLER, 2048, replace=True)
    for name in names:
        item = store.read(name)
        assert item is not None
        assert item.value.reveal() == '{"v":3,"kept":"as it is"}'


def make_agent_now(agent: Agent, store: MemoryStore) -> Agent:
    """The same with the machine's own clock, which the sandbox has too."""
    return build.make_agent(agent.links._config, Safe(store), Dances(), make_audit())


def test_a_locked_store_is_told_before_the_user_consents(agent: Agent, store: LockableStore, sandbox: Sandbox) -> None:
    """Also when the key is in memory already: the token could not be kept."""
    agent.links.put(CALLER, "jira", {"url": sandbox.base_url("jira")})
    agent.keys.make(CALLER, 2048, replace=False)
    store.is_locked = True

    with pytest.raises(StoreLockedError):
        agent.dances.begin(CALLER, "jira", "oob")
    assert agent.life._dances.count_waiting() == 0


def test_a_store_that_locks_stops_no_signature_whose_secrets_were_read(agent: Agent, store: LockableStore) -> None:
    """Read once and kept; what was not read is refused."""
    for name in ("read", "unread"):
        agent.links.put(CALLER, name, {"url": f"http://127.0.0.1:1/{name}"})
        safe_of(agent).put_token(link_of(agent, name), make_grant())
    agent.keys.make(CALLER, 2048, replace=False)
    agent = make_agent(Path(agent.links._config.path).parent, store)
    sign(agent, "GET", "http://127.0.0.1:1/read/x")
    store.is_locked = True

    assert sign(agent, "GET", "http://127.0.0.1:1/read/x")[1].name == "read"
    with pytest.raises(StoreLockedError):
        sign(agent, "GET", "http://127.0.0.1:1/unread/x")
    assert [report.token_state for report in agent.links.list_all(CALLER)[0]] == ["active", "unknown"]


def test_a_link_can_be_changed_while_the_store_is_locked(agent: Agent, store: LockableStore) -> None:
    """The old grant is forgotten later; until then the safe gives it to no other address."""
    agent.links.put(CALLER, "jira", {"url": NOBODY_THERE})
    store.is_locked = True

    changed = agent.links.put(CALLER, "jira", {"url": "http://127.0.0.1:1/other"})

    assert any("still in the store" in warning for warning in changed.warnings)
    with pytest.raises(StoreLockedError):
        agent.links.remove(CALLER, "jira")
    assert link_of(agent, "jira").url.path == "/other"


def test_an_expired_token_needs_a_dance(tmp_path: Path, store: LockableStore) -> None:
    """At the second that the provider named."""
    from datetime import UTC, datetime

    agent = make_agent(tmp_path, store)
    agent.links.put(CALLER, "jira", {"url": NOBODY_THERE})
    agent.keys.make(CALLER, 2048, replace=False)
    end = datetime.fromtimestamp(1_700_000_000, UTC)
    safe_of(agent).put_token(link_of(agent, "jira"), make_grant(expires_at=end))

    with pytest.raises(DanceNeededError, match="has expired"):
        sign(agent, "GET", f"{NOBODY_THERE}/x")
    assert agent.links.show(CALLER, "jira").token_state == "expired"
    before = make_agent(tmp_path, store, now=1_699_999_999)
    assert sign(before, "GET", f"{NOBODY_THERE}/x")[1].name == "jira"


def test_what_stands_in_a_broken_part_is_not_overwritten(agent: Agent, tmp_path: Path) -> None:
    """Its consumer key may be registered somewhere."""
    text = '[links.jira]\nurl = 5\nconsumer_key = "precious"\n[links.good]\nurl = "http://127.0.0.1:1/good"\nconsumer_key = "x"\n'
    (tmp_path / "config.toml").write_text(text)

    for only_new in (False, True):
        with pytest.raises(ConfigBrokenError, match=r"line 1, links\.jira: url is not a text"):
            agent.links.put(CALLER, "jira", {"url": NOBODY_THERE}, only_new=only_new)
    with pytest.raises(ConfigBrokenError):
        link_of(agent, "jira")
    with pytest.raises(ConfigBrokenError):
        sign(agent, "GET", f"{NOBODY_THERE}/x")
    assert (tmp_path / "config.toml").read_text() == text
    with pytest.raises(LinkExistsError):
        agent.links.put(CALLER, "good", {"url": NOBODY_THERE}, only_new=True)
