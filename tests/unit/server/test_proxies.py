"""The proxy's own socket: its files, its certificates, systemd's sockets, and the idle exit that waits for it."""

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from atl_sign.server import connections
from atl_sign.server.proxies import Proxies
from tests.daemon.activation import Activator
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon, wait_for
from tests.lease_lab import open_lease

NOBODY_THERE = "https://127.0.0.1:1/jira"


@pytest.fixture
def linked(daemon: Daemon) -> Daemon:
    assert daemon.request("PUT", "/links/jira", {"url": NOBODY_THERE, "scheme": "bearer"}).status == 201
    return daemon


def files_of(daemon: Daemon) -> set[str]:
    return {each.name for each in daemon.socket.parent.iterdir()}


def show(daemon: Daemon, *, port: bool = False) -> dict[str, Any]:
    reply = daemon.request("GET", "/proxy?port=true" if port else "/proxy")
    assert reply.status == 200, reply.text
    return dict(reply.json)


def own_hosts(path: str) -> set[str]:
    """The hosts that the last certificate of the bundle, the proxy's own, is for."""
    begin, last = b"-----BEGIN CERTIFICATE-----", Path(path).read_bytes().rpartition(b"-----BEGIN CERTIFICATE-----")[2]
    certificate = x509.load_pem_x509_certificate(begin + last)
    permitted = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    return {str(each.value).removesuffix("/32") for each in permitted} - {"invalid"}  # which stands for no name at all


def test_the_socket_and_its_files_come_and_go(linked: Daemon) -> None:
    """The socket for the owner alone; the bundle with the first question for it; all gone after an orderly end."""
    path = linked.socket.with_name("proxy.sock")
    wait_for(path.is_socket)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(name.endswith(".pem") for name in files_of(linked))

    place = show(linked)

    assert (place["socket"], place["port"]) == (str(path), None)
    assert stat.S_IMODE(Path(place["ca_file"]).stat().st_mode) == 0o644
    assert own_hosts(place["ca_file"]) == {"127.0.0.1"}
    linked.stop()
    assert files_of(linked) <= {"agent.sock.lock"}


def test_what_a_killed_daemon_left_is_not_trusted(linked: Daemon) -> None:
    """Nobody has that authority's key; the socket is made anew."""
    stale = Path(show(linked)["ca_file"])
    before = stale.read_bytes()
    linked.stop(signal.SIGKILL)
    assert stale.exists()

    linked.start()
    linked.request("GET", "/status")
    wait_for(lambda: not stale.exists())
    assert show(linked)["ca_file"] == str(stale)
    assert stale.read_bytes() != before
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(linked.socket.with_name("proxy.sock")))


def test_other_hosts_are_another_authority(linked: Daemon) -> None:
    """The same hosts are the same one; a file that a cleaner took is there again."""
    first = Path(show(linked)["ca_file"])
    content = first.read_bytes()
    show(linked)
    assert first.read_bytes() == content
    first.unlink()
    show(linked)
    assert first.read_bytes() == content

    linked.request("PUT", "/links/wiki", {"url": "https://wiki.example.com", "scheme": "bearer"})
    assert own_hosts(show(linked)["ca_file"]) == {"127.0.0.1", "wiki.example.com"}
    linked.request("DELETE", "/links/wiki")
    assert own_hosts(show(linked)["ca_file"]) == {"127.0.0.1"}
    assert first.read_bytes() != content


def test_tls_is_ended_for_a_link_by_the_bundle(linked: Daemon) -> None:
    """By Python's own TLS, which trusts nothing else; another name is not certified."""
    place = show(linked)

    for host, is_served in (("127.0.0.1", True), ("localhost", False)):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(place["socket"])
            connection.sendall(f"CONNECT {host}:1 HTTP/1.1\r\nHost: {host}:1\r\n\r\n".encode())
            answer = connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 ") == is_served, answer
            if is_served:
                context = ssl.create_default_context(cafile=place["ca_file"])
                with context.wrap_socket(connection, server_hostname=host) as inside:
                    assert inside.version() == "TLSv1.3"


def test_the_port_is_for_the_owners_socks_alone(linked: Daemon) -> None:
    """The same one for every question; HTTP, which a page could send, is refused."""
    port = show(linked, port=True)["port"]

    assert show(linked, port=True)["port"] == port
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"\x05\x01\x00")
        assert connection.recv(2) == b"\x05\x00"
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"GET http://127.0.0.1:1/jira/x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 403 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_the_port_is_for_nobody_else(linked: Daemon) -> None:
    """The kernel names the user of the other end; nothing is answered."""
    port = show(linked, port=True)["port"]
    code = (
        f"import encodings.idna, os, socket; os.setuid(65534); s = socket.create_connection(('127.0.0.1', {port}), 20)\n"
        "try:\n s.sendall(bytes([5, 1, 0])); print(s.recv(2))\nexcept OSError: print(b'')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "b''\n"


@pytest.mark.parametrize("count", [1, 2])
def test_systemd_hands_over_one_or_two_sockets(count: int) -> None:
    """With one, as of a unit of an earlier version, we make the proxy's ourselves; one of systemd's is not ours to remove."""
    daemon = Daemon()
    daemon.socket.parent.mkdir(mode=0o700)
    proxy = daemon.socket.with_name("proxy.sock")
    command = ["systemd-socket-activate", "-l", str(daemon.socket), *(["-l", str(proxy)] if count == 2 else [])]
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "ATL_SIGN_STORE", "LANG", "PATH"):
        command += ["-E", f"{name}={daemon.environment[name]}"]
    try:
        with subprocess.Popen(
            [*command, sys.executable, "-m", "atl_sign.commands.cli", "serve"], env=daemon.environment, stderr=subprocess.DEVNULL
        ) as process:
            wait_for(daemon.socket.is_socket)
            assert daemon.request("GET", "/status").json["pid"] == process.pid
            daemon.request("PUT", "/links/jira", {"url": NOBODY_THERE, "scheme": "bearer"})
            wait_for(proxy.is_socket)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(DEADLINE_S)
                connection.connect(str(proxy))
                connection.sendall(b"\x05\x01\x00")
                assert connection.recv(2) == b"\x05\x00"
            ca_file = Path(show(daemon)["ca_file"])
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
        assert daemon.socket.is_socket()
        assert proxy.is_socket() == (count == 2)
        assert not ca_file.exists()
    finally:
        daemon.close()


@pytest.fixture
def idle(fork_server: ForkServer) -> Iterator[tuple[Daemon, Activator]]:
    """A daemon of systemd's that leaves after a second in which nobody needs it."""
    del fork_server
    daemon = Daemon(ATL_SIGN_STORE="file")
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(f'[daemon]\nidle_exit_minutes = 0.001\n[links.jira]\nurl = "{NOBODY_THERE}"\nscheme = "bearer"\n')
    try:
        with Activator(daemon) as activator:
            yield daemon, activator
    finally:
        daemon.close()


def pid_of(daemon: Daemon) -> int:
    return int(daemon.request("GET", "/status").json["pid"])


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["nothing", "lease", "suspended", "proxied", "http_socket"])
def test_the_daemon_does_not_leave_while_it_is_needed(idle: tuple[Daemon, Activator], reason: str) -> None:
    """By an open lease, suspended ones too, or by a connection to a proxy; the twin leaves, and the others after their end."""
    daemon, activator = idle
    pid = pid_of(daemon)
    lease, connection = None, socket.socket(socket.AF_UNIX)
    with closing(connection):
        if reason in ("lease", "suspended", "http_socket"):
            lease = open_lease(daemon)
        if lease is not None and reason == "suspended":
            daemon.request("POST", f"/leases/{lease['id']}/suspend")
        if reason == "proxied":
            connection.connect(str(daemon.socket.with_name("proxy.sock")))
            connection.sendall(b"GET")
        if lease is not None and reason == "http_socket":
            connection.connect(lease["sockets"]["http"])
            connection.sendall(b"GET")
        if reason != "nothing":
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                assert activator.statuses == []
                time.sleep(0.1)
            assert Path(f"/proc/{pid}").exists()
            if lease is not None:
                assert daemon.request("DELETE", f"/leases/{lease['id']}").status == 204
    wait_for(lambda: activator.statuses == [0], lambda: json.dumps(activator.statuses))
    assert pid_of(daemon) != pid


def test_connections_that_are_closed_have_a_bound_of_their_own() -> None:
    """Their work may go on, such as a tunnel that is being opened, and does not count twice as often as it may."""
    lease: Any = SimpleNamespace()
    lease.outermost = lease
    agent: Any = SimpleNamespace()
    ours, theirs = socket.socketpair()
    closed_one, other = socket.socketpair()
    other.close()
    gone = SimpleNamespace(get_extra_info=lambda _: closed_one)
    here = SimpleNamespace(get_extra_info=lambda _: ours)
    proxies: Any = Proxies(agent)

    for closed, still_open, is_crowded in ((127, 0, False), (128, 0, True), (64, 63, False), (63, 64, True), (0, 63, False)):
        proxies._streams = {number: (gone if number < closed else here, lease) for number in range(closed + still_open)}
        assert proxies._is_crowded(lease) == is_crowded, (closed, still_open)
        assert not proxies._is_crowded(None)
        kept = [SimpleNamespace(app_state={"lease": lease}, is_gone=lambda: True) for _ in range(closed)]
        kept += [SimpleNamespace(app_state={"lease": lease}, is_gone=lambda: False) for _ in range(still_open)]
        assert connections._is_crowded(kept, lease) == is_crowded, (closed, still_open)
    for each in (ours, theirs, closed_one):
        each.close()
