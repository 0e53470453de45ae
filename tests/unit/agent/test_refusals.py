"""The refusals that are kept: bounded, clean, and with hints for the owner."""

import threading
from pathlib import Path

import pytest

from atl_sign.access.caller import Caller
from atl_sign.agent.build import Agent, make_agent
from atl_sign.agent.refusals import REFUSALS_MAX, Address, Meaning, split_address
from atl_sign.base.errors import BadUrlError
from atl_sign.base.lease_errors import UnknownLeaseError
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER
from tests.audit_lab import make_audit


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return make_agent(ConfigFile(tmp_path / "config.toml", SCHEME_SETTINGS), Safe(MemoryStore()), Dances(), make_audit())


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://jira.example.com/rest/a?b=canary#canary", "jira.example.com", "/rest/a"),
        ("https://jira.example.com:8443?canary", "jira.example.com:8443", "/"),
        ("https://ann:canary@jira.example.com/x", "jira.example.com", "/x"),
        ("https://jira.example.com/a#canary?b", "jira.example.com", "/a"),
        ("https://jira.example.com/\x1b[2J", "jira.example.com", "/\\u001b[2J"),
        ("not a URL", "", "/"),
    ],
)
def test_an_address_has_neither_query_nor_password(agent: Agent, url: str, host: str, path: str) -> None:
    agent.refusals.add(CALLER, BadUrlError(f"this is not a URL: {url}"), split_address("GET", url))

    (kept,) = agent.refusals.list_all(CALLER)

    assert (kept.address.host, kept.address.path) == (host, path)
    assert "canary" not in kept.message


def test_what_is_no_method_is_not_kept(agent: Agent) -> None:
    """It may be anything that a program wrote by mistake."""
    agent.refusals.add(CALLER, BadUrlError("x"), Address("canary canary", "h", "/"))

    assert agent.refusals.list_all(CALLER)[0].address.method is None


def test_many_threads_may_add(agent: Agent) -> None:
    def add(name: str) -> None:
        for number in range(200):
            agent.refusals.add_meaning(
                Caller(None), "jira", Meaning("forbidden", f"{name} {number} " + "x" * 2_000, None), Address()
            )
            agent.refusals.list_all(CALLER)

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept = agent.refusals.list_all(CALLER)
    assert len(kept) == REFUSALS_MAX
    assert {len(each.message) for each in kept} == {1_000}
    with pytest.raises(UnknownLeaseError):
        agent.refusals.list_all(CALLER, "nobody")
