"""A hundred callers when a token of OAuth 2.0 ends: one refresh, and nobody fails, at `/sign` or through the proxy."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon, wait_for
from tests.oauth2_daemon import LinkedProvider, linked_provider

pytestmark = pytest.mark.slow

CALLERS = 100
LIFE_S = 6.0  # so a refresh is due after three seconds


@pytest.fixture(params=["datacenter", "atlassian-cloud"])
def provider(request: pytest.FixtureRequest) -> Iterator[LinkedProvider]:
    with linked_provider(request.param) as provider:
        yield provider


@pytest.fixture
def danced(fork_server: ForkServer, provider: LinkedProvider) -> Iterator[Daemon]:
    """A daemon whose token has a long life; the next one's is short."""
    with Daemon(fork_server) as daemon:
        provider.add_to(daemon)
        provider.server.access_token_life_s = LIFE_S
        yield daemon


def by_sign(daemon: Daemon, provider: LinkedProvider) -> str:
    """Sign and send; returns the provider's status, or the code of the daemon's error."""
    reply = provider.sign(daemon)
    return str(provider.send(reply)) if reply.status == 200 else reply.code


def by_proxy(daemon: Daemon, provider: LinkedProvider) -> str:
    """Send through the daemon's own proxy; returns the status, and the daemon's code if it answered itself."""
    entry = daemon.request("GET", "/proxy").json["socket"]
    there = urlsplit(provider.who)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(Path(entry)))
        connection.sendall(b"\x05\x01\x00")
        _read(connection, 2)
        host = str(there.hostname).encode()
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + (there.port or 0).to_bytes(2, "big"))
        assert _read(connection, 10)[1] == 0
        connection.sendall(f"GET {there.path} HTTP/1.1\r\nHost: {there.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    head = answer.partition(b"\r\n\r\n")[0].decode()
    code = [line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith("x-atl-sign:")]
    return " ".join([head.split()[1], *code])


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += connection.recv(count - len(data))
    return data


def call_at_once(count: int, call: Callable[[], str]) -> Counter[str]:
    """Let so many callers call at the same moment; returns how often each outcome came."""
    outcomes: Counter[str] = Counter()
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            outcome = call()
        except OSError as exc:
            outcome = repr(exc)
        outcomes[outcome] += 1

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def let_it_end(provider: LinkedProvider) -> None:
    """Wait until the token that was given last has ended; the next one lives long."""
    time.sleep(LIFE_S + 0.1)
    provider.server.access_token_life_s = 3600.0


@pytest.mark.parametrize("call", [by_sign, by_proxy])
@pytest.mark.parametrize("delay_s", [0.0, 2.0], ids=["", "slow"])
def test_at_the_end(
    provider: LinkedProvider, danced: Daemon, call: Callable[[Daemon, LinkedProvider], str], delay_s: float
) -> None:
    """Everybody waits for the one refresh, also of an endpoint that takes two seconds."""
    provider.dance(danced)
    let_it_end(provider)
    provider.server.faults.delay_s = delay_s

    outcomes = call_at_once(CALLERS, lambda: call(danced, provider))

    assert outcomes == {"200": CALLERS}
    assert provider.server.refreshes == 1
    assert len(provider.token_requests()) == 2  # the first is the dance's


@pytest.mark.parametrize("call", [by_sign, by_proxy])
def test_a_dead_refresh_token_is_everybodys(
    provider: LinkedProvider, danced: Daemon, call: Callable[[Daemon, LinkedProvider], str]
) -> None:
    """The twin: the provider is asked once, all the same."""
    provider.dance(danced)
    let_it_end(provider)
    provider.server.revoke_all()

    outcomes = call_at_once(20, lambda: call(danced, provider))

    (outcome,) = outcomes
    assert "dance_needed" in outcome
    assert len(provider.token_requests()) == 2


def test_a_busy_endpoint_is_noticed_by_nobody(provider: LinkedProvider, danced: Daemon) -> None:
    """It answers 503 twice: the old token serves on while it lives, and the third try brings a new one."""
    provider.server.access_token_life_s = 20.0
    provider.dance(danced)
    provider.server.access_token_life_s = 3600.0
    faults = provider.server.faults
    faults.token, faults.times, faults.retry_after = "503", 2, None
    end = time.monotonic() + 22
    outcomes: Counter[str] = Counter()

    while time.monotonic() < end:
        outcomes += call_at_once(10, lambda: by_sign(danced, provider))
        time.sleep(0.2)

    assert set(outcomes) == {"200"}, outcomes
    assert provider.server.refreshes == 1
    assert len(provider.token_requests()) == 4


@pytest.mark.parametrize("fault", ["500", "hang up"])
def test_the_old_token_serves_to_its_end(provider: LinkedProvider, danced: Daemon, fault: str) -> None:
    """Whatever fails for a passing reason; after the end, the failure is passed on, and passes."""
    provider.server.access_token_life_s = 16.0  # so a refresh is due after eight seconds
    provider.dance(danced)
    given_at = time.monotonic()
    provider.server.faults.token = fault  # type: ignore[assignment]  # one of the words

    while time.monotonic() < given_at + 12:  # a try may take two seconds, for headers under way
        assert by_sign(danced, provider) == "200"
        time.sleep(0.1)

    assert len(provider.token_requests()) > 1
    wait_for(lambda: by_sign(danced, provider) == ("provider_busy" if fault == "500" else "provider_unreachable"))
    provider.server.faults.clear()
    wait_for(lambda: by_sign(danced, provider) == "200")


def test_nobody_waits_for_an_endpoint_that_hangs(fork_server: ForkServer) -> None:
    """Where a refresh leaves the old access token alone, that one serves meanwhile: clients give up after five seconds."""
    with linked_provider("atlassian-cloud") as provider, Daemon(fork_server) as daemon:
        provider.add_to(daemon, timeout_s=300)
        provider.server.access_token_life_s = 8.0  # so a refresh is due after four seconds
        provider.dance(daemon)
        given_at = time.monotonic()
        provider.server.faults.delay_s = 60.0
        slowest_s = 0.0

        while time.monotonic() < given_at + 7:
            began_at = time.monotonic()
            assert by_sign(daemon, provider) == "200"
            slowest_s = max(slowest_s, time.monotonic() - began_at)
            time.sleep(0.1)

        assert len(provider.token_requests()) == 2  # the dance's, and the one that hangs
        assert slowest_s < 2
