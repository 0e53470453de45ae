"""The rules of the process that need no process: where the configuration is, open files, and the look at connections."""

import asyncio
import resource
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn

from atl_sign.config import config_path
from atl_sign.server import _allow_open_files, _Server
from tests.lab import wait_for


def test_the_configuration_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CONFIG_HOME, else ~/.config."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert config_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/atl-sign/config.toml")
    assert config_path({}) == tmp_path / ".config/atl-sign/config.toml"


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 1 << 20), (65_536, 1 << 20)),
        ((1024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
        ((1 << 20, 1 << 20), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_limit_of_open_files_is_raised_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: tuple[int, int] | None
) -> None:
    """As far as the hard one lets it, and no further than anybody needs."""
    found = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: found.append(pair))

    _allow_open_files()

    assert found == ([] if wanted is None else [wanted])


def test_connections_are_looked_at_once_a_second() -> None:
    """uvicorn ticks ten times a second; each look gets the event loop's time, as the connections' own clocks do."""
    seen: list[float] = []
    connection: Any = Mock(drop_when_late=seen.append)
    agent: Any = Mock()
    agent.store.is_due.return_value = False
    config = uvicorn.Config(lambda: None, lifespan="off", log_config=None)
    config.load()
    server = _Server(config, agent)
    server.server_state.connections.add(connection)

    async def tick() -> float:
        for counter in range(20):
            assert not await server.on_tick(counter)
        return asyncio.get_running_loop().time()

    now = asyncio.run(tick())

    assert len(seen) == 2
    assert all(0 <= now - each < 5 for each in seen)
    agent.lock_when_due.assert_not_called()
    agent.store.is_due.return_value = True
    asyncio.run(tick())
    wait_for(lambda: agent.lock_when_due.called)
