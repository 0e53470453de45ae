"""The agent where the real daemon is hard to bring: a store whose items are broken, or which locks on the way."""

from pathlib import Path

import pytest

from atl_sign.agent.agent import Agent
from atl_sign.base.credentials import AccessToken, Secret
from atl_sign.base.errors import (
    ConfigBrokenError,
    DanceNeededError,
    KeyExistsError,
    LinkExistsError,
    StoreLockedError,
    StoreUnavailableError,
)
from atl_sign.config.file import ConfigFile
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.custody.vault import Vault
from atl_sign.grants.dance import Dances
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.registry import SCHEMES
from tests.audit_lab import PEER, make_audit

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
    return Agent(ConfigFile(folder / "config.toml", SCHEMES), Vault(store), Dances(), make_audit(), clock=lambda: now)


def test_a_broken_key_item_can_be_replaced(agent: Agent, store: LockableStore) -> None:
    """The hint says `--replace`, so that must work; without it the item stays."""
    store.write("consumer-key", Secret("{}"))

    with pytest.raises(StoreUnavailableError, match="consumer-key") as caught:
        agent.get_key()
    assert caught.value.hint == "atl-sign key new --replace"
    with pytest.raises(StoreUnavailableError):
        agent.make_key(2048, replace=False)
    assert agent.make_key(2048, replace=True).bits == 2048
    with pytest.raises(KeyExistsError):
        agent.make_key(2048, replace=False)


def test_a_broken_token_item_can_be_danced_over(agent: Agent, store: LockableStore, sandbox: Sandbox) -> None:
    """The hint says `atl-sign dance`, so that must work."""
    url = sandbox.base_url("jira")
    store.write("token:jira", Secret("nonsense"))
    agent.links.put_link("jira", {"url": url, "consumer_key": "agent-test"})
    sandbox.register_consumer("jira", "agent-test", agent.make_key(2048, replace=False).public_pem())
    with pytest.raises(StoreUnavailableError) as caught:
        agent.sign("GET", f"{url}/x", None, None, PEER)
    assert caught.value.hint == "atl-sign dance jira"
    assert agent.links.show_link("jira").token_state == "unknown"

    agent = make_agent_now(agent, store)
    dance = agent.begin_dance("jira", "oob", PEER)
    dance.finish(Secret(sandbox.approve("jira", dance.authorize_url)))

    assert agent.sign("GET", f"{url}/x", None, None, PEER)[0].startswith("OAuth ")


def make_agent_now(agent: Agent, store: MemoryStore) -> Agent:
    """The same with the machine's own clock, which the sandbox has too."""
    return Agent(agent.links._config, Vault(store), Dances(), make_audit())


def test_a_locked_store_is_told_before_the_user_consents(agent: Agent, store: LockableStore, sandbox: Sandbox) -> None:
    """Also when the key is in memory already: the token could not be kept."""
    agent.links.put_link("jira", {"url": sandbox.base_url("jira")})
    agent.make_key(2048, replace=False)
    store.is_locked = True

    with pytest.raises(StoreLockedError):
        agent.begin_dance("jira", "oob", PEER)
    assert agent.dances.count_waiting() == 0


def test_a_store_that_locks_stops_no_signature_whose_secrets_were_read(agent: Agent, store: LockableStore) -> None:
    """Read once and kept; what was not read is refused."""
    for name in ("read", "unread"):
        agent.links.put_link(name, {"url": f"http://127.0.0.1:1/{name}"})
        agent._vault.put_token(agent.links.get_link(name), AccessToken(Secret("t"), Secret("s")))
    agent.make_key(2048, replace=False)
    agent = make_agent(Path(agent.links._config.path).parent, store)
    agent.sign("GET", "http://127.0.0.1:1/read/x", None, None, PEER)
    store.is_locked = True

    assert agent.sign("GET", "http://127.0.0.1:1/read/x", None, None, PEER)[1].name == "read"
    with pytest.raises(StoreLockedError):
        agent.sign("GET", "http://127.0.0.1:1/unread/x", None, None, PEER)
    assert [report.token_state for report in agent.links.list_links()] == ["active", "unknown"]


def test_a_link_can_be_changed_while_the_store_is_locked(agent: Agent, store: LockableStore) -> None:
    """The old grant is forgotten later; until then the vault gives it to no other address."""
    agent.links.put_link("jira", {"url": NOBODY_THERE})
    store.is_locked = True

    changed = agent.links.put_link("jira", {"url": "http://127.0.0.1:1/other"})

    assert any("still in the store" in warning for warning in changed.warnings)
    with pytest.raises(StoreLockedError):
        agent.links.remove_link("jira")
    assert agent.links.get_link("jira").url.path == "/other"


def test_an_expired_token_needs_a_dance(tmp_path: Path, store: LockableStore) -> None:
    """At the second that the provider named."""
    from datetime import UTC, datetime

    agent = make_agent(tmp_path, store)
    agent.links.put_link("jira", {"url": NOBODY_THERE})
    agent.make_key(2048, replace=False)
    end = datetime.fromtimestamp(1_700_000_000, UTC)
    agent._vault.put_token(agent.links.get_link("jira"), AccessToken(Secret("t"), Secret("s"), expires_at=end))

    with pytest.raises(DanceNeededError, match="has expired"):
        agent.sign("GET", f"{NOBODY_THERE}/x", None, None, PEER)
    assert agent.links.show_link("jira").token_state == "expired"
    before = make_agent(tmp_path, store, now=1_699_999_999)
    assert before.sign("GET", f"{NOBODY_THERE}/x", None, None, PEER)[1].name == "jira"


def test_what_stands_in_a_broken_part_is_not_overwritten(agent: Agent, tmp_path: Path) -> None:
    """Its consumer key may be registered somewhere."""
    text = '[links.jira]\nurl = 5\nconsumer_key = "precious"\n[links.good]\nurl = "http://127.0.0.1:1/good"\nconsumer_key = "x"\n'
    (tmp_path / "config.toml").write_text(text)

    for only_new in (False, True):
        with pytest.raises(ConfigBrokenError, match=r"line 1, links\.jira: url is not a text"):
            agent.links.put_link("jira", {"url": NOBODY_THERE}, only_new=only_new)
    with pytest.raises(ConfigBrokenError):
        agent.links.get_link("jira")
    with pytest.raises(ConfigBrokenError):
        agent.sign("GET", f"{NOBODY_THERE}/x", None, None, PEER)
    assert (tmp_path / "config.toml").read_text() == text
    with pytest.raises(LinkExistsError):
        agent.links.put_link("good", {"url": NOBODY_THERE}, only_new=True)
