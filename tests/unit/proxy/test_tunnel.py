"""Targets that are not a link's: carried for the owner, and for a lease with a tunnel."""

import socket
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from atl_sign.proxy import front, tunnel
from atl_sign.proxy.certificates import Authority
from tests.lab import wait_for
from tests.unit.proxy.front_lab import (
    Echo,
    Provider,
    ProxyLab,
    authorizations,
    code_of,
    connect,
    curl,
    read_all,
    status_of,
    talk,
)


def test_the_owner_is_carried_to_other_hosts(lab: ProxyLab, provider: Provider) -> None:
    """Bytes go both ways as they are, by SOCKS5 and CONNECT: what is behind a redirect is the program's own business."""
    other = f"http://127.0.0.1:{provider.port}/x"

    by_socks = curl("-x", f"socks5h://localhost{lab.open()}", other)

    assert by_socks.stdout == b"ok"
    assert authorizations(provider) == [[]]


def test_a_tunnel_holds_back_and_ends_with_both_sides(lab: ProxyLab) -> None:
    """32 MiB into an echo before a byte of them is read back; the end of one side is passed on."""
    sent = bytes(range(256)) * (1 << 17)
    with Echo() as echo, connect(lab.open()) as connection:
        connection.sendall(f"CONNECT 127.0.0.1:{echo.port} HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\n\r\n".encode())
        assert connection.recv(100) == b"HTTP/1.1 200 Connection established\r\n\r\n"

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.2)
        held_back = sender.is_alive()
        got = read_all(connection)
        sender.join()

    assert held_back
    assert got == sent


def test_a_lease_goes_nowhere_else(lab: ProxyLab, provider: Provider) -> None:
    """Without a tunnel; its refusal says nothing of other links."""
    lab.add_link("jira", "http://127.0.0.1:1/jira")
    entry = lab.open(lab.make_lease("jira"))

    by_socks = curl("-x", f"socks5h://localhost{entry}", f"{provider.origin}/x")
    by_connect = talk(entry, f"CONNECT 127.0.0.1:{provider.port} HTTP/1.1\r\nHost: 127.0.0.1:{provider.port}\r\n\r\n".encode())

    assert by_socks.returncode == 97
    assert (status_of(by_connect), code_of(by_connect)) == (403, "lease_denied")
    assert provider.connections == 0


def test_a_lease_with_a_tunnel_does_not_reach_this_machine(
    lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs may be in a container. Twin: the same address, were it elsewhere."""
    lease = lab.make_lease(may_tunnel=True)
    request = f"CONNECT localhost:{provider.port} HTTP/1.1\r\nHost: localhost:{provider.port}\r\n\r\n".encode()

    refused = talk(lab.open(lease), request)
    monkeypatch.setattr(tunnel, "is_of_this_machine", lambda address: False)
    with connect(lab.open(lease)) as connection:
        connection.sendall(request)
        taken = connection.recv(100)

    assert (status_of(refused), code_of(refused)) == (403, "lease_denied")
    assert status_of(taken) == 200


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
        ("fe80::1%lo", True),
        ("192.0.2.7", False),
    ],
)
def test_addresses_of_this_machine(address: str, is_ours: bool) -> None:
    assert tunnel.is_of_this_machine(address) is is_ours


def test_a_links_host_is_never_tunnelled_to(lab: ProxyLab, https: Provider, authority: Authority) -> None:
    """Also for a lease without that link, and whatever the host is written like: a program would see the provider unsigned."""
    lease = lab.make_lease(may_tunnel=True)
    host = f"127.0.0.1:{https.port}"
    foreign = Authority(["jira.example.com"], 3600, lambda: datetime.now(UTC))

    answer = talk(lab.open(lease, foreign), f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert (status_of(answer), code_of(answer)) == (403, "lease_denied")
    assert https.connections == 0


def test_nobody_there_is_an_answer(lab: ProxyLab) -> None:
    answer = talk(lab.open(), b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")

    assert (status_of(answer), code_of(answer)) == (502, "provider_unreachable")
    assert curl("-x", f"socks5h://localhost{lab.open()}", "http://127.0.0.1:1/").returncode == 97


def test_tunnels_are_counted(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "TUNNELS_MAX", 0)

    answer = talk(lab.open(), b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")

    assert code_of(answer) == "proxy_busy"


def test_a_tunnel_that_is_being_made_counts_too(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a server that takes no connection: the program may be gone long before that is known."""
    monkeypatch.setattr(front, "TUNNELS_MAX", 1)
    entry, elsewhere = lab.open(), b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"
    assert code_of(talk(entry, elsewhere)) == "provider_unreachable"
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting, connect(entry) as first:
        place = "{}:{}".format(*full.getsockname())
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())

        first.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())

        wait_for(lambda: code_of(talk(entry, elsewhere)) == "proxy_busy")


def test_an_idle_tunnel_ends(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "IDLE_S", 0.2)
    with Echo() as echo:
        answer = talk(lab.open(), f"CONNECT 127.0.0.1:{echo.port} HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\n\r\n".encode())

    assert status_of(answer) == 200


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([b"\x05", b"\x01", b"\x00"], b"\x05\x00"),  # and then nothing more
        ([b"\x05\x02\x00\x02", b"\x01\x04no/t", b"\x00"], b"\x05\x02\x01\x01"),
        ([b"\x05\x01\x00", b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50"], b"\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"),
        ([b"\x05\x01\x00", b"\x05\x01\x00\x03\x03a@b\x00\x50"], b"\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"),
        ([b"\x05\x01\x00", b"GET / HTTP/1.1\r\n\r\n"], b"\x05\x00"),
    ],
)
def test_socks_that_does_not_go_on_ends(lab: ProxyLab, pieces: list[bytes], answer: bytes) -> None:
    with connect(lab.open()) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02)
        connection.shutdown(socket.SHUT_WR)

        assert read_all(connection) == answer
