"""
Peers that ask for more than anybody needs, for as long as somebody else measures how long an ordinary signature takes.

Each attack is a function that goes on until it is told to stop, and counts what its peers got: an answer, a clean close,
or nothing within the deadline.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.lab import DEADLINE_S, REPOSITORY, Daemon

_Share = TypeVar("_Share")
Outcomes = Counter[str]
Attack = Callable[[Path, str, threading.Event, Outcomes], None]

MEMORY_KB_MAX = 96 * 1024
P99_MS_MAX = 50.0
BURST = 500  # requests in one moment
_LATE_IN_BURST = 2  # who asks one after another meets its connections being taken, and then its requests being answered
_REQUEST_S = 10.0  # the daemon's own deadline for a request to come in
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """What others saw during an attack."""

    outcomes: Outcomes  # of the attackers
    peak_kb: int
    p99_ms: float
    yardstick_p99_ms: float  # the same, at a daemon that nobody attacked, in the same seconds
    late: int  # how many waited longer than `_late_after_ms`
    bursts: int
    errors: tuple[str, ...]  # what others got instead of a signature
    asked: int

    @property
    def is_fast(self) -> bool:
        """
        Tell whether others were answered in time, as far as this machine has it to give now: 99 of 100.

        In a burst they wait for their turn, however long the machine takes for it, and are asking rarely then; so each may
        bring two late ones, and no more, also where these are over one in a hundred.
        """
        return self.p99_ms <= _late_after_ms(self.yardstick_p99_ms) or self.late <= _LATE_IN_BURST * self.bursts


def measure(daemon: Daemon, other: Daemon, url: str, attack: Attack, seconds: float) -> Measured:
    """Attack *daemon* while a process of its own asks it, and *other*, to sign *url*."""
    outcomes: Outcomes = Counter()
    is_over = threading.Event()
    attacking = threading.Thread(target=attack, args=(daemon.socket, url, is_over, outcomes))
    attacking.start()
    try:
        command = [sys.executable, "-m", "tests.reliability.probe", str(seconds), str(daemon.socket), url, str(other.socket), url]
        probe = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds + 120, check=True)
    finally:
        is_over.set()
        attacking.join()
    ours, theirs = json.loads(probe.stdout.splitlines()[-1])
    waited_ms = [each for each in ours if isinstance(each, float)]
    yardstick_ms = _p99([each for each in theirs if isinstance(each, float)])
    return Measured(
        outcomes=outcomes,
        peak_kb=peak_kb(daemon),
        p99_ms=_p99(waited_ms),
        yardstick_p99_ms=yardstick_ms,
        late=sum(each > _late_after_ms(yardstick_ms) for each in waited_ms),
        bursts=outcomes.total() // BURST if attack is ask_500_at_once else 0,
        errors=tuple(each for each in ours if isinstance(each, str)),
        asked=len(ours),
    )


def _late_after_ms(yardstick_p99_ms: float) -> float:
    return max(P99_MS_MAX, 3 * yardstick_p99_ms)


def peak_kb(daemon: Daemon) -> int:
    """Return the most memory that the process ever had (VmHWM)."""
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def sit_idle(path: Path, url: str, is_over: threading.Event, outcomes: Outcomes) -> None:
    """A thousand connections that say nothing; those that the daemon closes are opened again."""
    del url
    peers = [_connect(path) for _ in range(1_000)]
    while not is_over.wait(0.05):
        for place, peer in enumerate(peers):
            peer.settimeout(0)
            with suppress(BlockingIOError):
                outcomes["closed" if _receive(peer) == b"" else "other"] += 1
                peer.close()
                peers[place] = _connect(path)
    outcomes["open to the end"] += len(peers)
    for peer in peers:
        peer.close()


def ask_500_at_once(path: Path, url: str, is_over: threading.Event, outcomes: Outcomes) -> None:
    """Five hundred peers with a request each, sent in the same moment, once in two seconds."""
    request = _sign_request(url)
    while not is_over.is_set():
        peers = [_connect(path) for _ in range(BURST)]
        for peer in peers:
            peer.sendall(request)
        for peer in peers:
            outcomes[_read_status(peer)] += 1
            peer.close()
        is_over.wait(2.0)


def keep_500_clients(path: Path, url: str, is_over: threading.Event, outcomes: Outcomes) -> None:
    """Five hundred open connections, each of which signs about once in two seconds."""
    request = _sign_request(url, close=False)
    peers = [_connect(path) for _ in range(500)]

    def ask(ours: list[socket.socket]) -> None:
        while not is_over.is_set():
            started_at = time.monotonic()
            for peer in ours:
                peer.sendall(request)
                outcomes[_read_status(peer, to_end=False)] += 1
                if is_over.wait(2.0 / len(ours) / 2):
                    return
            is_over.wait(max(0.0, 2.0 - (time.monotonic() - started_at)))

    _in_threads(ask, [peers[number::_THREADS] for number in range(_THREADS)])
    for peer in peers:
        peer.close()


def send_slowly(path: Path, url: str, is_over: threading.Event, outcomes: Outcomes) -> None:
    """Three hundred peers that send a byte of their request now and then; the daemon ends each in about ten seconds."""
    request = _sign_request(url)
    peers: dict[socket.socket, int] = {_connect(path): 0 for _ in range(300)}
    started_at = {peer: time.monotonic() for peer in peers}
    while peers and not (is_over.is_set() and time.monotonic() - max(started_at.values()) > _REQUEST_S + 5):
        for peer, position in list(peers.items()):
            peer.settimeout(0)
            with suppress(OSError):
                peer.sendall(request[position : position + 1])
                peers[peer] = position + 1
            try:
                answer = _receive(peer)
            except BlockingIOError:
                continue
            outcomes["timed out" if b"did not come in within" in answer else f"other: {answer[:40]!r}"] += 1
            peer.close()
            del peers[peer]
            if not is_over.is_set():
                again = _connect(path)
                peers[again], started_at[again] = 0, time.monotonic()
        time.sleep(0.2)
    outcomes["nothing within the deadline"] += len(peers)
    for peer in peers:
        peer.close()


def half_close(path: Path, url: str, is_over: threading.Event, outcomes: Outcomes) -> None:
    """Peers that end their side at once: after a whole request, or after half of one."""
    request = _sign_request(url)
    while not is_over.wait(0.05):
        for sent in (request, request[:-5], request[:30], b""):
            with _connect(path) as peer:
                peer.sendall(sent)
                peer.shutdown(socket.SHUT_WR)
                outcomes[f"{'whole' if sent == request else 'half' if sent else 'nothing'} sent: {_read_status(peer)}"] += 1


def flood_headers(path: Path, url: str, is_over: threading.Event, outcomes: Outcomes) -> None:
    """Heads without an end, from eight peers at a time."""
    del url

    def flood(_: int) -> None:
        while not is_over.wait(0.02):
            with _connect(path) as peer:
                with suppress(BrokenPipeError, ConnectionResetError):
                    peer.sendall(b"GET /status HTTP/1.1\r\n")
                    for _ in range(100):
                        peer.sendall(b"X-a: " + b"y" * 60_000 + b"\r\n")
                    outcomes["taken whole"] += 1
                outcomes["cut off"] += 1

    _in_threads(flood, list(range(8)))


ATTACKS: dict[str, Attack] = {
    "1,000 idle connections": sit_idle,
    "500 requests in one moment, every 2 s": ask_500_at_once,
    "500 clients, each signs every 2 s": keep_500_clients,
    "300 slow senders": send_slowly,
    "half-closed sockets": half_close,
    "heads without an end": flood_headers,
}


@contextmanager
def many_links(daemon: Daemon, count: int) -> Iterator[None]:
    """Give the configuration of *daemon* so many links more, as a person with an editor would."""
    before = daemon.config.read_text()
    more = "".join(
        f'\n[links.more{number}]\nurl = "https://h{number % 100}.example/c{number}"\nconsumer_key = "k"\n'
        for number in range(count)
    )
    daemon.config.write_text(before + more)
    try:
        yield
    finally:
        daemon.config.write_text(before)


def _in_threads(run: Callable[[_Share], None], shares: list[_Share]) -> None:
    threads = [threading.Thread(target=run, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _connect(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(str(path))  # blocking: it waits for a place in the queue
    peer.settimeout(DEADLINE_S)
    return peer


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65_536)
    except ConnectionResetError:
        return b""


def _read_status(peer: socket.socket, *, to_end: bool = True) -> str:
    """Return the answer's status, "closed" when there was none, and "late" when nothing came in time."""
    received = b""
    try:
        while chunk := _receive(peer):
            received += chunk
            if not to_end and received.endswith(b"}"):
                break
    except TimeoutError:
        return "late"
    return received.split(b" ", 2)[1].decode() if received else "closed"


def _sign_request(url: str, *, close: bool = True) -> bytes:
    body = json.dumps({"method": "GET", "url": url}).encode()
    head = f"POST /sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{'Connection: close' if close else 'X-x: y'}\r\n\r\n".encode() + body


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if values else float("inf")
