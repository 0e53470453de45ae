"""Who waits for a token: for the same flight, for another one after it, and not for ever."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import pytest

from atl_sign.agent.agent import Agent
from atl_sign.agent.git_request import GitRequest, parse_git_request
from atl_sign.api import git as git_credential
from atl_sign.api.git import _Flights, format_token
from atl_sign.base.credentials import GitToken, Secret
from atl_sign.base.errors import DanceNeededError, ProviderUnreachableError
from atl_sign.custody.vault import NotInMemoryError

TOKEN = GitToken("name", Secret("canary"), "alice", "write", datetime.fromtimestamp(1_900_000_000, UTC))


def ask(path: str = "") -> GitRequest:
    return parse_git_request(f"protocol=https\nhost=h\npath={path}\n".encode())


class SlowAgent:
    """An agent whose tokens take until a test lets them go."""

    def __init__(self, answer: Callable[[GitRequest], GitToken | None]) -> None:
        self.answer = answer
        self.may_answer = threading.Event()
        self.asked: list[GitRequest] = []
        self.memory: dict[GitRequest, GitToken | None] = {}

    def get_git_token(self, asked: GitRequest, *, from_memory: bool = False) -> GitToken | None:
        if from_memory:
            if asked not in self.memory:
                raise NotInMemoryError
            return self.memory[asked]
        self.asked.append(asked)
        assert self.may_answer.wait(10)
        self.memory[asked] = self.answer(asked)
        return self.memory[asked]


async def gather(agent: SlowAgent, *requests: GitRequest) -> list[GitToken | BaseException | None]:
    flights = _Flights(cast(Agent, agent))
    tasks = [asyncio.create_task(flights.get(each)) for each in requests]
    await asyncio.sleep(0)
    agent.may_answer.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert flights._flights == {}
    return found


def test_the_same_wait_for_one() -> None:
    """A hundred ask, one is made."""
    agent = SlowAgent(lambda _: TOKEN)

    found = asyncio.run(gather(agent, *[ask()] * 100))

    assert found == [TOKEN] * 100
    assert len(agent.asked) == 1


def test_who_asks_for_something_else_comes_after() -> None:
    """Another path on the host may be another link: it is asked for by itself, once the first is there."""
    agent = SlowAgent(lambda asked: TOKEN if asked == ask("a") else None)

    found = asyncio.run(gather(agent, ask("a"), ask("b"), ask("a"), ask("b")))

    assert found == [TOKEN, None, TOKEN, None]
    assert agent.asked == [ask("a"), ask("b")]


def test_a_failure_is_everybodys() -> None:
    """Nobody tries anew what has just failed for the same request."""

    def fail(_: GitRequest) -> GitToken:
        raise DanceNeededError("no access token")

    agent = SlowAgent(fail)

    found = asyncio.run(gather(agent, *[ask()] * 5))

    assert [type(each) for each in found] == [DanceNeededError] * 5
    assert len(agent.asked) == 1


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is on its way goes on: the next who asks may find it in memory."""
    monkeypatch.setattr(git_credential, "WAIT_S_MAX", 0.01)
    agent = SlowAgent(lambda _: TOKEN)

    async def wait() -> None:
        flights = _Flights(cast(Agent, agent))
        with pytest.raises(ProviderUnreachableError, match="takes long"):
            await flights.get(ask())
        agent.may_answer.set()
        (_, task) = flights._flights[next(iter(flights._flights))]
        assert await task == TOKEN
        assert await flights.get(ask()) == TOKEN

    asyncio.run(wait())


def test_both_forms() -> None:
    """git-credential(1); what ends when."""
    assert format_token(TOKEN, can_authtype=False) == ["username=alice", "password=canary", "password_expiry_utc=1900000000"]
    assert format_token(TOKEN, can_authtype=True) == [
        "capability[]=authtype",
        "authtype=Bearer",
        "credential=canary",
        "ephemeral=1",
        "password_expiry_utc=1900000000",
    ]
