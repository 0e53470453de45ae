"""The rules of the process that need no process: where the configuration is, open files, and the look at connections."""

import asyncio
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn

from atl_sign.config.file import config_path
from atl_sign.config.settings import Settings
from atl_sign.config.table import LinkTable
from atl_sign.server.connections import Connection
from atl_sign.server.idle import IdleWatch
from atl_sign.server.listening import open_listener
from atl_sign.server.loop import Server
from atl_sign.server.process import allow_open_files
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

    allow_open_files()

    assert found == ([] if wanted is None else [wanted])


def test_connections_are_looked_at_once_a_second() -> None:
    """uvicorn ticks ten times a second; each look gets the event loop's time, as the connections' own clocks do."""
    seen: list[float] = []
    connection: Any = Mock(drop_when_late=seen.append)
    life: Any = Mock()
    life.is_lock_due.return_value = False
    config = uvicorn.Config(lambda: None, lifespan="off", log_config=None)
    config.load()
    server = Server(config, life, {connection})

    async def tick() -> float:
        for counter in range(20):
            assert not await server.on_tick(counter)
        return asyncio.get_running_loop().time()

    now = asyncio.run(tick())

    assert len(seen) == 2
    assert all(0 <= now - each < 5 for each in seen)
    life.lock_when_due.assert_not_called()
    life.is_lock_due.return_value = True
    asyncio.run(tick())
    wait_for(lambda: life.lock_when_due.called)


@pytest.mark.parametrize("moment", ["before", "in the very turn of the loop"])
def test_who_comes_while_it_leaves_is_served(tmp_path: Path, moment: str) -> None:
    """The client connects between the store's yes and the end: this daemon goes on, or the next one answers."""
    path = tmp_path / "s"
    listener = open_listener({"ATL_SIGN_SOCK": str(path)})
    answers: list[bytes] = []
    clients: list[threading.Thread] = []
    servers: list[Server] = []

    def come() -> bool:
        if clients:
            return True
        if moment != "before":
            hold_loop(servers[0].servers[0].get_loop())
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))

        def ask() -> None:
            with client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answers.append(client.makefile("rb").read())

        clients.append(threading.Thread(target=ask))
        clients[0].start()
        if moment == "before":
            wait_for(lambda: servers[0].server_state.connections or answers)
        return True

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    life: Any = Mock(may_be_replaced=come)
    life.is_lock_due.return_value = False
    life.read_settings.return_value = Settings(LinkTable([]))
    while not answers and len(servers) < 3:
        config = uvicorn.Config(app, http=Connection, lifespan="off", log_config=None)
        servers.append(Server(config, life, set(), None, IdleWatch(lambda: 0.01, lambda: (1, 1, 1, 1))))

        asyncio.run(asyncio.wait_for(servers[-1].serve([listener.socket]), 20))
        assert servers[-1].has_left

    clients[0].join(20)
    assert answers[0].startswith(b"HTTP/1.1 204 ")
    assert len(servers) <= (1 if moment == "before" else 2)
    listener.remove()


def hold_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Hold *loop* up until what happens in the next moment has happened: it finds all of it in one turn."""
    is_held = threading.Event()

    def hold() -> None:
        is_held.set()
        time.sleep(0.3)

    loop.call_soon_threadsafe(hold)
    assert is_held.wait(20)
