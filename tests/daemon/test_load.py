"""Peers that ask for more than anybody needs: connections by the thousand, requests that never end, floods, strange starts."""

import http.client
import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.lab import DEADLINE_S, Daemon, UnixConnection, wait_for

pytestmark = pytest.mark.slow

HALVES = {
    "silent": b"",
    "half a head": b"GET /status HTTP/1.1\r\nX-",
    "half a body": b"POST /sign HTTP/1.1\r\nContent-Length: 50\r\n\r\nmethod=",
}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon in an interpreter of its own, as users have it: its memory is measured."""
    with Daemon() as started:
        yield started


def connect(daemon: Daemon, sent: bytes = b"") -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(str(daemon.socket))  # with a deadline it would not wait for a place in the queue
    peer.settimeout(DEADLINE_S)
    with suppress(BrokenPipeError):
        peer.sendall(sent)
    return peer


def pid_of(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


def resident_kb(daemon: Daemon) -> int:
    lines = Path(f"/proc/{pid_of(daemon)}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def open_files(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{pid_of(daemon)}/fd").iterdir()))


@contextmanager
def soft_limit(files: int) -> Iterator[None]:
    """What is started inside begins with a soft limit of *files* open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def read_all(peer: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while chunk := peer.recv(65_536):
            received += chunk
    return received


def test_the_limit_of_open_files_is_raised() -> None:
    """Most sessions begin with 1,024, as far as select(2) can count."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with soft_limit(1024), Daemon() as daemon:
        assert resource.prlimit(pid_of(daemon), resource.RLIMIT_NOFILE)[0] == min(hard, 65_536)


@pytest.mark.parametrize("files", [256, None])
@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_idle_connections_lock_nobody_out(daemon: Daemon, sent: bytes, files: int | None) -> None:
    """Whatever the limit: others are answered, and the log does not fill the disk (it grew by 7 MB a second)."""
    if files is not None:
        resource.prlimit(pid_of(daemon), resource.RLIMIT_NOFILE, (files, files))
    with ExitStack() as stack:
        for _ in range(1_100 if files is None else 300):
            stack.enter_context(connect(daemon, sent))

        assert daemon.request("GET", "/status").status == 200

        assert open_files(daemon) < (files or 1_100)
        assert daemon.log.stat().st_size < 10_000


def test_the_longest_idle_connection_is_closed_first(daemon: Daemon) -> None:
    """Those in use stay: a request is asked again on one that was opened before the flood."""
    resource.prlimit(pid_of(daemon), resource.RLIMIT_NOFILE, (256, 256))
    oldest = connect(daemon)
    used = UnixConnection(daemon.socket)
    with ExitStack() as stack:
        stack.enter_context(oldest)
        stack.callback(used.close)
        for _ in range(200):
            stack.enter_context(connect(daemon))
            used.request("GET", "/status")
            assert used.getresponse().read()

        assert read_all(oldest) == b""  # hung up on


def endless_head() -> Iterator[bytes]:
    yield b"GET /status HTTP/1.1\r\n"
    while True:
        yield b"X-a: " + b"y" * 65_000 + b"\r\n"


def endless_header() -> Iterator[bytes]:
    yield b"GET /status HTTP/1.1\r\nX-a: "
    while True:
        yield b"y" * 65_000


def endless_url() -> Iterator[bytes]:
    yield b"GET /"
    while True:
        yield b"y" * 65_000


def endless_trailers() -> Iterator[bytes]:
    yield b"GET /status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    while True:
        yield b"X-a: " + b"y" * 65_000 + b"\r\n"


@pytest.mark.parametrize("flood", [endless_head, endless_header, endless_url, endless_trailers])
def test_a_flood_is_cut_off(daemon: Daemon, flood: Callable[[], Iterator[bytes]]) -> None:
    """Headers without an end were all kept: 200 MB and more."""
    before = resident_kb(daemon)
    with connect(daemon) as peer:
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in flood():
                peer.sendall(piece)
                sent += len(piece)
                assert sent < 50_000_000

    assert resident_kb(daemon) - before < 12_000
    assert daemon.request("GET", "/status").status == 200


def test_connections_that_were_closed_take_nothing(daemon: Daemon) -> None:
    """Fifteen thousand of them, one after another: each leaves a kilobyte until the garbage collector comes."""
    daemon.request("GET", "/status")
    before = resident_kb(daemon)

    for _ in range(15_000):
        connect(daemon).close()
    daemon.request("GET", "/status")

    assert resident_kb(daemon) - before < 6_000


@pytest.mark.parametrize("size", [33_000, 150_000])
def test_a_head_over_32_kib_is_told_as_that(daemon: Daemon, size: int) -> None:
    """In the one shape, whether it comes in one piece or not; a little less is served."""
    for length, status in ((size, b"400"), (31_000, b"200")):
        head = b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-a: " + b"y" * length + b"\r\n\r\n"
        with connect(daemon, head) as peer:
            answer = read_all(peer)

        assert answer.split()[1] == status
        if status == b"400":
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert (error["code"], error["message"]) == ("bad_request", "the request's head is over 32768 bytes")


def test_a_long_body_behind_a_short_head_is_served(daemon: Daemon) -> None:
    """The URL to sign travels in the body: that may be long, and may come in chunks of one byte."""
    body = b'{"method": "GET", "url": "https://a.example/' + b"x" * 60_000 + b'"}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = b"POST /sign HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for request in (b"Content-Length: %d\r\n\r\n%b" % (len(body), body), b"Transfer-Encoding: chunked\r\n\r\n" + chunks):
        with connect(daemon, head + request) as peer:
            assert b"unknown_link" in read_all(peer)


def test_answers_that_are_under_way_come_before_the_refusal(daemon: Daemon) -> None:
    """Two requests, then garbage, in one write: each gets its answer."""
    request = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(daemon, request * 2 + b"\x16\x03\x01 hello\r\n\r\n") as peer:
        answer = read_all(peer)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"400"]


def test_an_upgrade_is_ignored_without_a_word(daemon: Daemon) -> None:
    """The log had advice to install websockets; the answer is the last, as the parser is of no use for what follows."""
    with connect(daemon, b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") as peer:
        answer = read_all(peer)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert "pgrade" not in daemon.log.read_text()


def test_a_peer_that_hangs_up_in_mid_body_is_no_internal_error(daemon: Daemon) -> None:
    """It was logged as one."""
    before = open_files(daemon)
    connect(daemon, HALVES["half a body"]).close()
    wait_for(lambda: open_files(daemon) == before)

    assert daemon.request("GET", "/status").status == 200
    assert "internal" not in daemon.log.read_text()


def test_leading_zeros_make_no_body_long(daemon: Daemon) -> None:
    """The number counts, not its digits; one byte over 4 MiB is the twin."""
    for length, code in (
        (b"0000000000002", b"bad_request"),
        (b"0" * 5_000 + b"2", b"bad_request"),
        (b"00004194305", b"too_large"),
    ):
        request = b"POST /sign HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %b\r\n\r\n{}" % length
        with connect(daemon, request) as peer:
            assert code in read_all(peer)


def test_a_signal_ends_the_daemon_though_a_provider_is_silent(daemon: Daemon) -> None:
    """Whoever starts the next daemon must not be kept from it by the link's timeout_s; who waits is told."""
    daemon.make_key()
    answers = []

    def put(port: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            answers.append(daemon.request("PUT", "/links/l", {"url": f"http://127.0.0.1:{port}/x", "timeout_s": 60}))

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(DEADLINE_S)
        waiter = threading.Thread(target=put, args=(silent.getsockname()[1],))
        waiter.start()
        provider, _ = silent.accept()
        with provider:
            started_at = time.monotonic()

            assert daemon.stop() == 0

            assert time.monotonic() - started_at < 5
        waiter.join(DEADLINE_S)
    assert not daemon.socket.exists()
    assert "Traceback" not in daemon.log.read_text()
    assert [(answer.status, answer.message) for answer in answers] == [(500, "the daemon is ending")]


@pytest.mark.parametrize("kind", ["nothing", "file", "datagram", "connected", "tcp"])
def test_what_systemd_hands_over_is_looked_at(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """Everything but a Unix socket that listens is refused in words, not with a traceback."""
    code = (
        "import os, socket, sys\n"
        "kind = sys.argv[1]\n"
        "given = {'file': lambda: open('/dev/null'), 'datagram': lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),\n"
        "         'connected': lambda: socket.socketpair()[0], 'tcp': socket.socket}.get(kind, lambda: None)()\n"
        "os.closerange(3, 4) if given is None else given.fileno() == 3 or os.dup2(given.fileno(), 3)\n"
        "given is None or os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'atl_sign.commands.cli', 'serve'])\n"
    )

    refused = subprocess.run(
        [sys.executable, "-c", code, kind],
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=tmp_path,
    )

    assert refused.returncode == 1, refused.stderr
    assert refused.stderr.startswith("atl-signd: systemd handed over ")
    assert "Traceback" not in refused.stderr
