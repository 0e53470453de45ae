"""
The figures of docs/performance.md: `make bench`.

Everything is measured in one run on one machine, and what counts are the ratios: the machine's speed drifts, its ratios hardly.
"""

import argparse
import json
import os
import selectors
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from atl_sign.sandbox import Sandbox
from atl_sign_client import AtlSign
from tests.benchmarks.git_fill import git_fill_rows
from tests.benchmarks.proxy import proxy_rows
from tests.benchmarks.vault import vault_rows
from tests.daemon.activation import Activator, end_autostarted
from tests.keyring_lab import KeyringLab
from tests.lab import REPOSITORY, Daemon, wait_for
from tests.oauth2_daemon import access_of, linked_provider

ROUNDS = 2_000
CONNECTIONS = 16
SSH_AGENTC_SIGN_REQUEST = 13  # draft-miller-ssh-agent §6.1
SSH_AGENT_SIGN_RESPONSE = 14
SSH_AGENT_RSA_SHA2_256 = 2


def median_us(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median time of *call*, in microseconds, after a warm-up of a tenth."""
    for _ in range(rounds // 10):
        call()
    times = []
    for _ in range(rounds):
        started_at = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - started_at)
    return statistics.median(times) / 1000


def in_turn(first: Callable[[], object], second: Callable[[], object], rounds: int = 20) -> tuple[float, float]:
    """Return the medians of `median_us` of both, measured by turns, so that a drift of the machine meets both."""
    times = [(median_us(first, 200), median_us(second, 200)) for _ in range(rounds)]
    return statistics.median(time[0] for time in times), statistics.median(time[1] for time in times)


class SignConnection:
    """A connection to the daemon that asks for the same signature again and again, with as little work of its own as can be."""

    def __init__(self, path: Path, url: str, end: bytes = b'"\n') -> None:
        """Ask the daemon at *path* for a header for *url*; an answer has *end* at its end, and nowhere else."""
        self.end = end
        body = urlencode({"method": "GET", "url": url}).encode()
        self.request = (
            b"POST /sign HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))

    def sign(self) -> None:
        self.socket.sendall(self.request)
        self.read()

    def read(self) -> None:
        answer = self.socket.recv(65_536)
        while not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(self.end)):
            more = self.socket.recv(65_536)
            assert more, answer
            answer += more


def throughput(path: Path, url: str, seconds: float = 4.0) -> float:
    """Return signatures a second over `CONNECTIONS` connections that each wait for their answer before they ask again."""
    selector = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        connection = SignConnection(path, url)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.socket.sendall(connection.request)
    count, started_at = 0, time.perf_counter()
    while time.perf_counter() - started_at < seconds:
        for key, _ in selector.select(1):
            key.data.read()
            key.data.socket.sendall(key.data.request)
            count += 1
    elapsed = time.perf_counter() - started_at
    for key in list(selector.get_map().values()):
        key.data.socket.close()
    return count / elapsed


def oauth2_rows(daemon: Daemon, oauth1: SignConnection) -> Iterator[tuple[str, str, str, bool]]:
    """Give the rows for links of OAuth 2.0 with their token in memory, against *oauth1*, which asks the same daemon."""
    for kind, words in (("datacenter", "Data Center"), ("atlassian-cloud", "Cloud, whose address becomes the gateway's")):
        with linked_provider(kind) as provider:
            provider.add_to(daemon, kind)
            provider.dance(daemon, kind)
            base_url = daemon.request("GET", f"/links/{kind}").json["url"]
            url = f"{base_url}/rest/api/3/search?jql=project%20%3D%20WEB&maxResults=5"
            access = access_of(daemon.request("POST", "/sign", {"method": "GET", "url": url}))
            connection = SignConnection(daemon.socket, url, f"{access}\n".encode())
            ours, theirs = in_turn(connection.sign, oauth1.sign)
            connection.socket.close()
            assert daemon.request("DELETE", f"/links/{kind}").status == 200
        yield (
            f"one /sign of a link of OAuth 2.0 ({words}) against OAuth 1.0a",
            f"{ours:.0f} µs / {theirs:.0f} µs = {ours / theirs:.2f}",
            "≤ 0.6",
            ours <= 0.6 * theirs,
        )


@contextmanager
def ssh_agent() -> Iterator[Callable[[], None]]:
    """Give a call that lets ssh-agent sign with an RSA-2048 key over an open connection (rsa-sha2-256)."""
    folder = Path(tempfile.mkdtemp(prefix="atls-"))
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(folder / "key")], check=True)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(folder / "agent")], stdout=subprocess.DEVNULL)
    try:
        wait_for((folder / "agent").is_socket)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(folder / "agent")}
        subprocess.run(["ssh-add", "-q", str(folder / "key")], env=environment, check=True, stderr=subprocess.DEVNULL)
        import base64

        blob = base64.b64decode((folder / "key.pub").read_text().split()[1])
        data = b"x" * 400  # as long as a base string
        body = bytes([SSH_AGENTC_SIGN_REQUEST]) + _string(blob) + _string(data) + struct.pack(">I", SSH_AGENT_RSA_SHA2_256)
        request = _string(body)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(folder / "agent"))

            def sign() -> None:
                peer.sendall(request)
                answer = peer.recv(65_536)
                while len(answer) < 5 or len(answer) < 4 + struct.unpack(">I", answer[:4])[0]:
                    answer += peer.recv(65_536)
                assert answer[4] == SSH_AGENT_SIGN_RESPONSE

            yield sign
    finally:
        agent.terminate()
        agent.wait()
        shutil.rmtree(folder)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def openssl_signs_per_s() -> float:
    """Return what `openssl speed` says of RSA-2048 private operations on one core."""
    done = subprocess.run(["openssl", "speed", "-seconds", "3", "rsa2048"], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("rsa 2048"))
    return float(line.split()[5])


@contextmanager
def static_server() -> Iterator[Path]:
    """Give a Unix socket that answers every request with the same header line, from a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="atls-"))
    path = folder / "static"
    code = (
        "import socket\n"
        f"s = socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); s.listen(64)\n"
        "body = b'Authorization: OAuth ' + b'x' * 700 + b'\\n'\n"
        "answer = b'HTTP/1.1 200 OK\\r\\ncontent-type: text/plain\\r\\ncontent-length: %d\\r\\n\\r\\n%b' % (len(body), body)\n"
        "while True:\n"
        "    c, _ = s.accept()\n"
        "    c.recv(65536); c.sendall(answer); c.close()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(path.is_socket)
        yield path
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def whole_processes(daemon: Daemon, url: str, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds of `atl-sign header` and of curl with a static answer, run in turn."""
    atl_sign = shutil.which("atl-sign", path=daemon.environment["PATH"])
    assert atl_sign is not None
    ours: list[float] = []
    theirs: list[float] = []
    with static_server() as static:
        for number in range(rounds + 3):
            for command, times in (
                ([atl_sign, "header", "GET", url], ours),
                (["curl", "-q", "-sS", "--unix-socket", str(static), "http://x/"], theirs),
            ):
                started_at = time.perf_counter_ns()
                subprocess.run(command, env=daemon.environment, stdout=subprocess.DEVNULL, check=True)
                if number >= 3:
                    times.append((time.perf_counter_ns() - started_at) / 1e6)
    return statistics.median(ours), statistics.median(theirs)


def node_sign_us(daemon: Daemon, url: str, rounds: int = 2_000) -> tuple[float, float]:
    """Return the median microseconds of the Node client's `sign` and of a bare socket client in Node, by turns."""
    script = Path(__file__).with_name("node_sign.mjs")
    done = subprocess.run(["node", str(script), str(daemon.socket), url, str(rounds)], capture_output=True, text=True, check=True)
    ours, bare = json.loads(done.stdout)
    return float(ours), float(bare)


def first_answers_ms(rounds: int = 7) -> tuple[float, float, float]:
    """Return median milliseconds to the first answer: of a process, of one that the socket starts, and that `atl-sign` starts."""
    command = [str(REPOSITORY / "clients/bash/atl-sign"), "status"]
    times: list[tuple[float, ...]] = []
    for _ in range(rounds):
        plain, activated, autostarted = Daemon(), Daemon(), Daemon(ATL_SIGN_AUTOSTART="1")
        taken = []
        for daemon in (plain, activated, autostarted):
            with Activator(daemon) if daemon is activated else nullcontext():
                started_at = time.perf_counter_ns()
                if daemon is autostarted:
                    subprocess.run(command, env=daemon.environment, stdout=subprocess.DEVNULL, check=True)
                else:
                    if daemon is plain:
                        daemon.start()
                    daemon.request("GET", "/status")
                taken.append((time.perf_counter_ns() - started_at) / 1e6)
            end_autostarted(daemon) if daemon is autostarted else daemon.close()
        times.append(tuple(taken))
    one, two, three = (statistics.median(each) for each in zip(*times[1:], strict=True))
    return one, two, three


def resident_mb(daemon: Daemon) -> float:
    """Return the daemon's resident memory in megabytes (VmRSS)."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


def add_links(daemon: Daemon, count: int) -> None:
    lines = [
        f'[links.other{number}]\nurl = "https://host{number}.example.com/jira"\nconsumer_key = "x"\n' for number in range(count)
    ]
    daemon.config.write_text(daemon.config.read_text() + "\n" + "\n".join(lines))


def row(name: str, value: str, aim: str, is_met: bool) -> None:
    print(f"| {name} | {value} | {aim} | {'yes' if is_met else 'NO'} |", flush=True)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--long", action="store_true", help="100,000 signatures for the growth of memory, instead of 20,000")
    chosen = parser.parse_args()
    growth_rounds = 100_000 if chosen.long else 20_000
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    print("| figure | measured | aim | met |\n| --- | --- | --- | --- |")
    with Sandbox() as sandbox, Daemon() as daemon:
        daemon.dance(sandbox, "jira")
        url = f"{sandbox.base_url('jira')}/rest/api/2/search?jql=project%20%3D%20WEB&maxResults=5"
        key = rsa.generate_private_key(65_537, 2048)
        bare = median_us(lambda: key.sign(b"x" * 400, padding.PKCS1v15(), hashes.SHA1()))
        connection = SignConnection(daemon.socket, url)
        sign = median_us(connection.sign)
        with ssh_agent() as agent_sign:
            agent = median_us(agent_sign)
        row(
            "one /sign, open connection, against the bare RSA-2048 operation",
            f"{sign:.0f} µs / {bare:.0f} µs = {sign / bare:.2f}",
            "≤ 3",
            sign <= 3 * bare,
        )
        row("the same against ssh-agent, RSA-2048", f"{sign:.0f} µs / {agent:.0f} µs = {sign / agent:.2f}", "≤ 1", sign <= agent)
        for oauth2_row in oauth2_rows(daemon, connection):
            row(*oauth2_row)
        python = AtlSign(daemon.socket)
        bare_client, python_client = in_turn(connection.sign, lambda: python.sign("GET", url))
        row(
            "Python `sign`, open connection, against a bare socket client",
            f"{python_client:.0f} µs / {bare_client:.0f} µs = {python_client / bare_client:.2f}",
            "≤ 1.5",
            python_client <= 1.5 * bare_client,
        )
        openssl = openssl_signs_per_s()
        many = throughput(daemon.socket, url)
        row(
            f"{CONNECTIONS} connections against `openssl speed rsa2048` on one core",
            f"{many:.0f}/s / {openssl:.0f}/s = {many / openssl:.2f}",
            "≥ 0.5",
            many >= openssl / 2,
        )
        node, bare_node = node_sign_us(daemon, url)
        row(
            "Node: `sign` on an open connection against a bare socket client",
            f"{node:.0f} µs / {bare_node:.0f} µs = {node / bare_node:.2f}",
            "≤ 1.5",
            node <= 1.5 * bare_node,
        )
        ours, theirs = whole_processes(daemon, url, 60)
        row(
            "`atl-sign header` against curl with a static answer",
            f"{ours:.1f} ms / {theirs:.1f} ms = {ours / theirs:.2f}",
            "≤ 2",
            ours <= 2 * theirs,
        )
        for name, measured, other, aim in git_fill_rows():
            row(name, f"{measured:.1f} ms / {other:.1f} ms = {measured / other:.2f}", f"≤ {aim}", measured <= aim * other)
        for proxy_row in proxy_rows():
            row(*proxy_row)
        for vault_row in vault_rows():
            row(*vault_row)
        started, activated, autostarted = first_answers_ms()
        row("process start to first answer", f"{started:.0f} ms", "≤ 350 ms", started <= 350)
        ratio = activated / started
        row("the same by systemd's socket", f"{activated:.0f} ms / {started:.0f} ms = {ratio:.2f}", "≤ 1.25", ratio <= 1.25)
        ratio = autostarted / started
        row(
            "`atl-sign` that starts the daemon", f"{autostarted:.0f} ms / {started:.0f} ms = {ratio:.2f}", "≤ 1.75", ratio <= 1.75
        )
    with Sandbox() as sandbox, Daemon() as few, Daemon() as many_links:
        url = f"{sandbox.base_url('jira')}/x"
        for daemon in (few, many_links):
            daemon.dance(sandbox, "jira")
        add_links(many_links, 999)
        one, thousand = in_turn(SignConnection(few.socket, url).sign, SignConnection(many_links.socket, url).sign)
        row(
            "1,000 links against 1",
            f"{thousand:.0f} µs / {one:.0f} µs = {thousand / one:.2f}",
            "0.9 to 1.1",
            0.9 <= thousand / one <= 1.1,
        )
    # As after a login: the key and the token come out of the real keyring, and nothing but signatures is asked for.
    with KeyringLab() as keyring, Sandbox() as sandbox, Daemon(ATL_SIGN_STORE="secret-service", **keyring.env) as daemon:
        daemon.dance(sandbox, "jira")
        daemon.stop()
        daemon.start()
        url = f"{sandbox.base_url('jira')}/x"
        connection = SignConnection(daemon.socket, url)
        for _ in range(1_000):
            connection.sign()
        before = resident_mb(daemon)
        row("resident memory after 1,000 signatures", f"{before:.1f} MB", "≤ 55 MB", before <= 55)
        for _ in range(growth_rounds):
            connection.sign()
        after = resident_mb(daemon)
        row(f"its growth over {growth_rounds:,} more", f"{after - before:+.1f} MB", "none (< 1 MB)", after - before < 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
