"""Who waits for a token: for the same flight, for another one after it, and not for ever; and for what nobody has to wait."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atl_sign.agent import git as git_credential
from atl_sign.agent.build import make_agent
from atl_sign.agent.git import GitCredentials
from atl_sign.agent.git_request import GitRequest, parse_git_request
from atl_sign.base.credentials import GitToken, Secret
from atl_sign.base.errors import DanceNeededError, ProviderUnreachableError
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, safe_of
from tests.audit_lab import make_audit
from tests.unit.provider_lab import private_key

TOKEN = GitToken("name", Secret("canary"), "alice", "write", datetime.fromtimestamp(1_900_000_000, UTC))


def ask(path: str = "") -> GitRequest:
    return parse_git_request(f"protocol=https\nhost=h\npath={path}\n".encode())


class Slow:
    """The agent's git credentials, whose tokens take until a test lets them go."""

    def __init__(self, answer: Callable[[GitRequest], GitToken | None], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.answer = answer
        self.may_answer = threading.Event()
        self.asked: list[GitRequest] = []
        self.memory: dict[GitRequest, GitToken | None] = {}
        monkeypatch.setattr(GitCredentials, "_peek", lambda _, asked: self.memory.get(asked))
        monkeypatch.setattr(GitCredentials, "_load", lambda _, asked: self.load(asked))
        config = ConfigFile(folder / "config.toml", SCHEME_SETTINGS)
        self.git = make_agent(config, Safe(MemoryStore()), Dances(), make_audit()).git

    def load(self, asked: GitRequest) -> GitToken | None:
        self.asked.append(asked)
        assert self.may_answer.wait(10)
        self.memory[asked] = self.answer(asked)
        return self.memory[asked]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[GitRequest], GitToken | None]], Slow]:
    return lambda answer: Slow(answer, monkeypatch, tmp_path)


Make = Callable[[Callable[[GitRequest], GitToken | None]], Slow]


async def gather(slow: Slow, *requests: GitRequest) -> list[GitToken | BaseException | None]:
    tasks = [asyncio.create_task(slow.git.get(CALLER, each)) for each in requests]
    await asyncio.sleep(0)
    slow.may_answer.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert slow.git._flights == {}
    return found


def test_the_same_wait_for_one(make: Make) -> None:
    """A hundred ask, one is made."""
    agent = make(lambda _: TOKEN)

    found = asyncio.run(gather(agent, *[ask()] * 100))

    assert found == [TOKEN] * 100
    assert len(agent.asked) == 1


def test_who_asks_for_something_else_comes_after(make: Make) -> None:
    """Another path on the host may be another link: it is asked for by itself, once the first is there."""
    agent = make(lambda asked: TOKEN if asked == ask("a") else None)

    found = asyncio.run(gather(agent, ask("a"), ask("b"), ask("a"), ask("b")))

    assert found == [TOKEN, None, TOKEN, None]
    assert agent.asked == [ask("a"), ask("b")]


def test_a_failure_is_everybodys(make: Make) -> None:
    """Nobody tries anew what has just failed for the same request."""

    def fail(_: GitRequest) -> GitToken:
        raise DanceNeededError("no access token")

    agent = make(fail)

    found = asyncio.run(gather(agent, *[ask()] * 5))

    assert [type(each) for each in found] == [DanceNeededError] * 5
    assert len(agent.asked) == 1


def test_nobody_waits_for_ever(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is on its way goes on: the next who asks may find it in memory."""
    monkeypatch.setattr(git_credential, "WAIT_S_MAX", 0.01)
    agent = make(lambda _: TOKEN)

    async def wait() -> None:
        with pytest.raises(ProviderUnreachableError, match="takes long"):
            await agent.git.get(CALLER, ask())
        agent.may_answer.set()
        (_, task) = agent.git._flights[next(iter(agent.git._flights))]
        assert await task == TOKEN
        assert await agent.git.get(CALLER, ask()) == TOKEN

    asyncio.run(wait())


def test_a_token_that_the_store_has_is_given_without_asking_the_product(tmp_path: Path) -> None:
    """After a restart too, when nobody knows yet what the product is: it may be slow, and the event loop would wait for it."""
    config, store = ConfigFile(tmp_path / "config.toml", SCHEME_SETTINGS), MemoryStore()
    with Sandbox(["bitbucket"]) as sandbox:
        host, _, path = sandbox.base_url("bitbucket").removeprefix("http://").partition("/")
        asked = parse_git_request(f"protocol=http\nhost={host}\npath={path}/scm/web/shop.git\n".encode())
        safe = Safe(store)
        safe.put_key(private_key())
        agent = make_agent(config, safe, Dances(), make_audit())
        link = agent.links.put(CALLER, "bb", {"url": sandbox.base_url("bitbucket")}).report.link
        sandbox.register_consumer("bitbucket", link.consumer_key, private_key().public.pem)
        dance = agent.dances.begin(CALLER, "bb", "oob")
        dance.finish(Secret(sandbox.approve("bitbucket", dance.authorize_url)))
        made = asyncio.run(agent.git.get(CALLER, asked))
        known = len(sandbox.state.requests)

        again = make_agent(config, Safe(store), Dances(), make_audit())
        found = [asyncio.run(again.git.get(CALLER, asked)) for _ in range(3)]

        assert made is not None
        assert [each and each.name for each in found] == [made.name] * 3
        assert len(sandbox.state.requests) == known
        safe_of(again).forget_git_record(link)
        assert asyncio.run(again.git.get(CALLER, asked)) is not None  # made anew
        assert len(sandbox.state.requests) > known
