"""
The cost of the proxy, each figure beside its yardstick in the same run: `python -m tests.benchmarks.proxy`, part of `make bench`.

The provider is an HTTPS server in a process of its own that does little; the link signs with a real key of 2048 bits.
"""

import os
import selectors
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.benchmarks.provider import provider
from tests.clients.tls.front import make_authority
from tests.lab import Daemon
from tests.lease_lab import MYSELF, open_lease

CLIENTS = 16
CLIENTS_A_LEASE = 8  # a lease has no more requests at the same time
MEGABYTE = 1_000_000
TRANSFER_BYTES = 200 * MEGABYTE
GREAT_BYTES = 1 << 30
MEMORY_MB_MAX = 16.0
# Flags short and long, headers, and a form's fields in two spellings: 200 options.
OPTIONS = [
    word
    for number in range(40)
    for word in (
        "-s",
        "--show-error",
        "-H",
        f"X-Number-{number}: {number}",
        "--data",
        f"field{number}=value",
        f"-dmore{number}=x",
    )
]
WARM_UP = 3

Row = tuple[str, str, str, bool]  # name, what was measured, the aim, and whether it is met


@dataclass(frozen=True, slots=True)
class ProxyLab:
    """A daemon with a token for a link to an HTTPS provider, and an environment in which plain curl trusts that provider."""

    daemon: Daemon
    port: int
    environment: Mapping[str, str]
    trust: Path  # the provider's CA certificate

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/jira{MYSELF}"

    def status_mb(self, name: str) -> float:
        """Return a field of the daemon's /proc/PID/status in megabytes of 1,048,576 bytes."""
        assert self.daemon.process is not None
        lines = Path(f"/proc/{self.daemon.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024

    def forget_peak(self) -> None:
        """Let VmHWM begin again at what is resident now."""
        assert self.daemon.process is not None
        Path(f"/proc/{self.daemon.process.pid}/clear_refs").write_text("5")


@contextmanager
def proxy_lab() -> Iterator[ProxyLab]:
    """Give a lab; the CA certificate of the provider stands beside the system's, as a company's does."""
    with Daemon() as daemon:
        authority = make_authority(daemon.folder, "authority")
        system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        trusted = daemon.folder / "trusted.pem"
        trusted.write_bytes(Path(system).read_bytes() + authority.path.read_bytes())
        with provider(authority.issue("server")) as port:
            lab = ProxyLab(daemon, port, {**daemon.environment, "CURL_CA_BUNDLE": str(trusted)}, authority.path)
            daemon.make_key()
            fields = {"url": f"https://127.0.0.1:{port}/jira", "consumer_key": "x", "ca_bundle": str(authority.path)}
            reply = daemon.request("PUT", "/links/jira", fields)
            assert reply.status in (200, 201), reply.text
            begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"})
            assert begun.status == 201, begun.text
            reply = daemon.request("POST", f"/dance/{begun.json['id']}", {"verifier": "x"})
            assert reply.json["state"] == "granted", reply.text
            yield lab


def proxy_rows() -> Iterator[Row]:
    """Give the rows for the table."""
    with proxy_lab() as lab:
        yield from _whole_process_rows(lab)
        yield from _transfer_rows(lab)
        yield from _kept_rows(lab)


def _whole_process_rows(lab: ProxyLab, rounds: int = 60) -> Iterator[Row]:
    atl_sign, curl = (shutil.which(name, path=lab.environment["PATH"]) for name in ("atl-sign", "curl"))
    assert atl_sign is not None
    assert curl is not None
    line = ["-q", "-sS", lab.url]
    commands = [[atl_sign, "curl", *line], [curl, *line], [atl_sign, "curl", *line, *OPTIONS], [curl, *line, *OPTIONS]]
    ours, plain, ours_long, plain_long = _by_turns(lab, commands, rounds)
    yield (
        "`atl-sign curl` against plain curl to the same HTTPS server",
        f"{ours:.1f} ms / {plain:.1f} ms = {ours / plain:.2f}",
        "≤ 1.2",
        ours <= 1.2 * plain,
    )
    extra = (ours_long - ours) - (plain_long - plain)
    yield "200 options of `atl-sign curl`, beyond what curl itself takes for them", f"{extra:.1f} ms", "≤ 10 ms", extra <= 10


def _by_turns(lab: ProxyLab, commands: Sequence[Sequence[str]], rounds: int) -> list[float]:
    """Return each command's median milliseconds from start to end."""
    times: list[list[float]] = [[] for _ in commands]
    for number in range(rounds + WARM_UP):
        for command, taken in zip(commands, times, strict=True):
            started_at = time.perf_counter_ns()
            subprocess.run(command, env=lab.environment, stdout=subprocess.DEVNULL, check=True)
            if number >= WARM_UP:
                taken.append((time.perf_counter_ns() - started_at) / 1e6)
    return [statistics.median(taken) for taken in times]


def _transfer_rows(lab: ProxyLab, rounds: int = 5) -> Iterator[Row]:
    """200 MB both ways by turns, then a GiB; what is resident after a small request is idle."""
    shown = lab.daemon.request("GET", "/proxy").json
    proxied = ["--proxy", f"socks5h://localhost{shown['socket']}", "--cacert", shown["ca_file"]]
    source = lab.daemon.folder / "source"
    for way, verb in (("down", "to"), ("up", "from")):
        ours: list[float] = []
        plain: list[float] = []
        _transfer(lab, way, source, proxied, 1_000)
        idle = lab.status_mb("VmRSS")
        lab.forget_peak()
        for _ in range(rounds):
            ours.append(_transfer(lab, way, source, proxied, TRANSFER_BYTES))
            plain.append(_transfer(lab, way, source, [], TRANSFER_BYTES))
        our_rate, plain_rate = (TRANSFER_BYTES / MEGABYTE / statistics.median(taken) for taken in (ours, plain))
        yield (
            f"200 MB {way} through the proxy, {verb} curl, against plain curl",
            f"{our_rate:.0f} MB/s / {plain_rate:.0f} MB/s = {our_rate / plain_rate:.2f}",
            "≥ 0.3",
            our_rate >= 0.3 * plain_rate,
        )
        more = lab.status_mb("VmHWM") - idle
        yield f"the daemon's highest memory meanwhile, above {idle:.1f} MB", f"{more:+.1f} MB", "≤ 16 MB", more <= MEMORY_MB_MAX
        lab.forget_peak()
        _transfer(lab, way, source, proxied, GREAT_BYTES)
        more = lab.status_mb("VmHWM") - idle
        yield f"the same with 1 GiB {way}", f"{more:+.1f} MB", "≤ 16 MB", more <= MEMORY_MB_MAX


def _transfer(lab: ProxyLab, way: str, source: Path, options: Sequence[str], count: int) -> float:
    """Return the seconds that curl with *options* takes for *count* bytes."""
    base = f"https://127.0.0.1:{lab.port}/jira"
    if way == "up":
        with source.open("wb") as file:
            file.truncate(count)
    asked = ["-T", str(source), f"{base}/attachment"] if way == "up" else [f"{base}/down/{count}"]
    command = ["curl", "-q", "-sS", "--fail", *options, "-o", "/dev/null", "-w", "%{size_download} %{size_upload}", *asked]
    started_at = time.perf_counter()
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, check=True)
    taken = time.perf_counter() - started_at
    assert str(count) in done.stdout.split(), done.stdout
    return taken


class Kept:
    """A kept connection on which the same request is sent again and again."""

    def __init__(self, connected: socket.socket, request: bytes) -> None:
        """Send *request* on *connected*; each answer has a Content-Length."""
        self.socket = connected
        self.request = request

    def ask(self) -> None:
        self.socket.sendall(self.request)
        self.read()

    def read(self) -> None:
        """Read one answer; AssertionError if it is not a success."""
        answer = self.socket.recv(65_536)
        while not _is_whole(answer):
            more = self.socket.recv(65_536)
            assert more, answer
            answer += more
        assert answer.startswith(b"HTTP/1.1 200"), answer


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    _, has_length, length = head.lower().partition(b"\r\ncontent-length:")
    if has_length:
        return bool(end) and len(body) >= int(length.split(b"\r\n")[0])
    return body.endswith(b"0\r\n\r\n")


def _on_unix(path: str | Path, request: bytes) -> Kept:
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(str(path))
    return Kept(connected, request)


def _kept_rows(lab: ProxyLab) -> Iterator[Row]:
    leases = [open_lease(lab.daemon, links=["jira"], entries=["http"]) for _ in range(CLIENTS // CLIENTS_A_LEASE)]
    through = b"GET /jira%b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (MYSELF.encode(), lab.port)
    body = urlencode({"method": "GET", "url": lab.url}).encode()
    for_header = (
        b"POST /sign HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    context = ssl.create_default_context(cafile=str(lab.trust))
    direct = socket.create_connection(("127.0.0.1", lab.port))
    direct.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    asked = b"GET /jira%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % MYSELF.encode()
    one = [
        _on_unix(leases[0]["sockets"]["http"], through),
        _on_unix(lab.daemon.socket, for_header),
        Kept(context.wrap_socket(direct, server_hostname="127.0.0.1"), asked),
    ]
    relayed, signed, answered = _medians_us([each.ask for each in one])
    for each in one:
        each.socket.close()
    yield (
        "a request through a lease's http.sock, kept connection, against /sign and the provider's own answer",
        f"{relayed:.0f} µs / ({signed:.0f} + {answered:.0f}) µs = {relayed / (signed + answered):.2f}",
        "≤ 1.5",
        relayed <= 1.5 * (signed + answered),
    )
    sockets = [lease["sockets"]["http"] for lease in leases for _ in range(CLIENTS_A_LEASE)]
    rates: list[tuple[float, float]] = []
    for _ in range(5):
        rates.append(
            (
                _rate([_on_unix(each, through) for each in sockets]),
                _rate([_on_unix(lab.daemon.socket, for_header) for _ in sockets]),
            )
        )
    relayed, signed = (statistics.median(each) for each in zip(*rates, strict=True))
    yield (
        f"{CLIENTS} clients at once on http.sock against {CLIENTS} connections that call /sign",
        f"{relayed:.0f}/s / {signed:.0f}/s = {relayed / signed:.2f}",
        "≥ 0.75",
        relayed >= 0.75 * signed,
    )


def _medians_us(calls: Sequence[Callable[[], None]], rounds: int = 20, calls_a_round: int = 100) -> list[float]:
    """Return the median microseconds of each call, by turns."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, taken in zip(calls, times, strict=True):
            for _ in range(calls_a_round):
                started_at = time.perf_counter_ns()
                call()
                if number:
                    taken.append((time.perf_counter_ns() - started_at) / 1000)
    return [statistics.median(taken) for taken in times]


def _rate(kept: Sequence[Kept], seconds: float = 2.0) -> float:
    """Return answers a second, when each connection asks again as soon as it has its answer."""
    selector = selectors.DefaultSelector()
    for each in kept:
        selector.register(each.socket, selectors.EVENT_READ, each)
        each.socket.sendall(each.request)
    count, started_at = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started_at) < seconds:
        for key, _ in selector.select(1):
            key.data.read()
            key.data.socket.sendall(key.data.request)
            count += 1
    selector.close()
    for each in kept:
        each.socket.close()
    return count / elapsed


def main() -> int:
    """Print the proxy's part of the table."""
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}\n"
    )
    print("| figure | measured | aim | met |\n| --- | --- | --- | --- |")
    for name, value, aim, is_met in proxy_rows():
        print(f"| {name} | {value} | {aim} | {'yes' if is_met else 'NO'} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
