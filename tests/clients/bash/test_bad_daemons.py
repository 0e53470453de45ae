"""`atl-sign header` and `atl-sign curl` against what is no daemon: status, message, and nothing sent to the provider."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.bad_daemons import INJECTED, KINDS, BadDaemon, foreign_socket, foreign_symlink, long_path
from tests.lab import REPOSITORY
from tests.unit.raw_server import RawServer, reply

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
LOCAL_S = 15.0  # the command's own deadline
SPARE_S = 10.0  # for a busy computer
# An answer that came whole, in the daemon's shape, and says no; that its words are odd is not the command's to judge.
_REFUSALS = {"html_error", "error_without_shape", "error_of_numbers"}
_SILENT = [name for name, kind in KINDS.items() if kind.visible == "silent" and name != "queue_full"]
_QUICK = [name for name in KINDS if name not in _SILENT]


@pytest.fixture
def provider() -> Iterator[RawServer]:
    """A provider that writes down what reaches it."""
    with RawServer(reply("recorded")) as server:
        yield server


def start(command: str, socket: Path, provider: RawServer) -> subprocess.Popen[str]:
    url = f"{provider.url}/rest?a=b"
    arguments = ["header", "GET", url] if command == "header" else ["curl", "-sS", "-d", "a=b", url]
    return subprocess.Popen(
        [ATL_SIGN, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "ATL_SIGN_SOCK": str(socket)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def check(command: str, kind: str, process: subprocess.Popen[str], provider: RawServer) -> None:
    printed, said = process.communicate(timeout=LOCAL_S + SPARE_S)
    no_daemon = {"header": {1} if kind in _REFUSALS else {3}, "curl": {125}}[command]

    assert process.returncode in no_daemon, (printed, said)
    assert printed == ""
    assert said.startswith("atl-sign: ")
    if kind not in _REFUSALS:
        assert "\nhint: " in said
    assert INJECTED not in printed + said
    assert provider.requests == []


def cases() -> Iterator[object]:
    """Every kind with both commands."""
    for kind in _QUICK:
        for command in ("header", "curl"):
            if (command, kind) == ("header", "zero_byte"):
                continue  # bash drops the byte, so that what is printed is a whole header
            yield pytest.param(command, kind, id=f"{command}-{kind}")


@pytest.mark.parametrize(("command", "kind"), list(cases()))
def test_what_is_no_daemon_is_said_at_once(command: str, kind: str, provider: RawServer) -> None:
    before = time.monotonic()
    with BadDaemon(kind) as bad:
        check(command, kind, start(command, bad.socket, provider), provider)

    assert time.monotonic() - before < SPARE_S


@pytest.mark.slow
@pytest.mark.parametrize("command", ["header", "curl"])
def test_a_hanging_daemon_is_left_at_the_deadline(command: str, provider: RawServer) -> None:
    """All at once, since each waits."""
    started = []
    try:
        for kind in _SILENT:
            bad = BadDaemon(kind)
            bad.__enter__()
            started.append((kind, bad, start(command, bad.socket, provider)))
        for kind, _, process in started:
            check(command, kind, process, provider)
    finally:
        for _, bad, process in started:
            process.kill()
            bad.__exit__(None, None, None)


@pytest.mark.parametrize("command", ["header", "curl"])
def test_a_socket_path_may_be_too_long(command: str, tmp_path: Path, provider: RawServer) -> None:
    check(command, "absent", start(command, long_path(tmp_path), provider), provider)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
@pytest.mark.parametrize("command", ["header", "curl"])
@pytest.mark.parametrize("place", [foreign_socket, foreign_symlink])
def test_another_users_socket_is_not_asked(command: str, place: object, provider: RawServer) -> None:
    assert callable(place)
    with place() as path:
        check(command, "absent", start(command, path, provider), provider)
