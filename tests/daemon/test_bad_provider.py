"""The whole daemon with a provider that hangs, trickles, pours, or turns in a circle, and without a network at all."""

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab import DEADLINE_S, Daemon, wait_for
from tests.reliability.attacks import peak_kb
from tests.unit.raw_server import RawServer, Script, reply

TIMEOUT_S = 1.0


def pour(connection: socket.socket, _: bytes) -> None:
    """A gigabyte, for as long as somebody takes it."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for __ in range(1 << 14):
        connection.sendall(b"x" * (1 << 16))


def hang(server: RawServer) -> Script:
    return lambda connection, _: server.hang(connection)


def trickle(server: RawServer) -> Script:
    return lambda connection, _: server.trickle(b"HTTP/1.1 200 " + b"OK" * 5_000, connection)


def turn(server: RawServer) -> Script:
    return lambda connection, _: connection.sendall(reply(status=302, headers={"Location": f"{server.url}/jira/around"}))


@pytest.mark.parametrize(
    ("behave", "code", "words"),
    [
        (hang, "provider_unreachable", "no whole answer within 1 s"),
        (trickle, "provider_unreachable", "no whole answer within 1 s"),
        (lambda _: pour, "provider_unreachable", "larger than any real one"),
        (turn, "provider_refused", "redirects to"),
    ],
    ids=["hangs", "trickles", "pours", "turns"],
)
def test_a_bad_provider_costs_its_own_callers_alone(
    daemon: Daemon, behave: Callable[[RawServer], Script], code: str, words: str
) -> None:
    """They are told within the link's timeout_s and a little; others are answered at once; nothing is left behind."""
    daemon.make_key()
    with RawServer(lambda connection, request: behave(server)(connection, request)) as server:  # noqa: PLW0108 - it is not there yet
        fields = {"url": f"{server.url}/jira", "timeout_s": TIMEOUT_S}
        assert daemon.request("PUT", "/links/bad", fields).json["warnings"] != []
        before, threads = peak_kb(daemon), thread_count(daemon)
        asked = len(server.requests)
        replies = []
        started_at = time.monotonic()
        begin = lambda: replies.append(daemon.request("POST", "/dance", {"link": "bad", "callback": "oob"}))  # noqa: E731
        begun = threading.Thread(target=begin)
        begun.start()

        others_started_at = time.monotonic()
        assert daemon.request("GET", "/key").status == 200
        others_s = time.monotonic() - others_started_at
        begun.join(DEADLINE_S)

        assert [(each.status, each.code) for each in replies] == [(502, code)]
        assert words in replies[0].message
        assert time.monotonic() - started_at < TIMEOUT_S + 4
        assert others_s < TIMEOUT_S
        assert len(server.requests) - asked == 1  # no redirect is followed, and nothing is sent twice
        wait_for(lambda: thread_count(daemon) <= threads + 2)  # those of the pool stay
        assert peak_kb(daemon) - before < 16_000


def thread_count(daemon: Daemon) -> int:
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Threads"))


@pytest.mark.slow
def test_without_dns_and_network_every_call_ends() -> None:
    """In a network namespace of its own, where not even loopback is up: names and addresses fail in words, at once."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a network namespace needs root")
    unshare = shutil.which("unshare")
    assert unshare is not None
    daemon = Daemon()
    try:
        with daemon.log.open("ab") as log:
            daemon.process = subprocess.Popen(
                [unshare, "-n", sys.executable, "-m", "atl_sign.commands.cli", "serve"],
                env=daemon.environment,
                stdout=log,
                stderr=log,
            )
        wait_for(daemon.socket.exists)
        wait_for(lambda: answers(daemon))
        daemon.make_key()
        for name, url in (
            ("name", "https://jira.example.invalid/jira"),
            ("address", "http://192.0.2.1/jira"),
            ("local", "http://127.0.0.1:1"),
        ):
            started_at = time.monotonic()
            assert daemon.request("PUT", f"/links/{name}", {"url": url, "timeout_s": 3}).status == 201
            reply = daemon.request("POST", "/dance", {"link": name, "callback": "oob"})
            assert (reply.status, reply.code) == (502, "provider_unreachable"), reply.text
            assert time.monotonic() - started_at < 10
        assert daemon.request("POST", "/dance", {"link": "name", "callback": "loopback"}).status in (400, 502)
        assert daemon.request("GET", "/status").status == 200
    finally:
        daemon.close()


def answers(daemon: Daemon) -> bool:
    with suppress(OSError):
        return daemon.request("GET", "/status").status == 200
    return False
