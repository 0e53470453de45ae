"""The outermost handler: what nobody foresaw becomes `internal`, without a word of what it was."""

import asyncio
import json
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from atl_sign.agent.build import make_agent
from atl_sign.api.app import make_app
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.audit_lab import PEER, make_audit

CANARY = "canary-51b2"


class BrokenSafe(Safe):
    """A safe with a bug, whose error holds a secret."""

    def state(self) -> Any:
        raise ZeroDivisionError(CANARY)


def ask(safe: Safe, folder: Path, accept: str) -> list[dict[str, Any]]:
    """Send `GET /status` to the application as an ASGI server would; returns what it sends."""
    app = make_app(make_agent(ConfigFile(folder / "config.toml", SCHEME_SETTINGS), safe, Dances(), make_audit()))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/status",
        "raw_path": b"/status",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"accept", accept.encode())],
        "state": {"peer": PEER},
    }
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_an_unforeseen_error_is_internal_and_tells_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, accept: str) -> None:
    """Neither the answer nor the log holds the error's text; the log says where it was."""
    caplog.set_level(logging.DEBUG)

    start, body = ask(BrokenSafe(MemoryStore()), tmp_path, accept)

    assert start["status"] == 500
    if accept == "text/plain":
        assert body["body"] == b"the daemon failed\nhint: its log says where; please report it\n"
    else:
        assert json.loads(body["body"])["error"]["code"] == "internal"
    assert CANARY not in caplog.text + str(body)
    assert "ZeroDivisionError at " in caplog.text
    assert "status.py:" in caplog.text


class ReplacedSafe(Safe):
    """A safe that needs a module which another version no longer has."""

    def state(self) -> Any:
        return import_module("atl_sign.no_longer_there")


def test_a_module_of_another_version_is_named_as_the_cause(tmp_path: Path) -> None:
    """Modules are loaded when a call needs them first; after an upgrade that may be too late. The twin: a library's module."""
    start, body = ask(ReplacedSafe(MemoryStore()), tmp_path, "text/plain")

    assert start["status"] == 500
    assert body["body"] == b"another version of atl-sign was installed while this daemon runs\nhint: atl-sign restart\n"


def test_the_same_without_the_bug(tmp_path: Path) -> None:
    """The twin: status 200."""
    start, body = ask(Safe(MemoryStore()), tmp_path, "application/json")

    assert start["status"] == 200
    assert json.loads(body["body"])["store_state"] == "ready"
