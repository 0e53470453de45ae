"""Tunnels behind a company's proxy, which the environment names; and the line that each tunnel leaves in the log."""

import base64
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from atl_sign.proxy import tunnel
from tests.clients.tls.front import TunnelProxy, field_of
from tests.unit.proxy.front_lab import Echo, Provider, ProxyLab, code_of, connect, curl, read_all, status_of, talk
from tests.unit.proxy.upstream_lab import Talker, TlsTunnelProxy
from tests.unit.raw_server import make_certificate, serve_tls


def ask(entry: str, port: int, host: str = "127.0.0.1") -> bytes:
    return talk(entry, f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode(), ends=True)


def refuse_with(answer: bytes) -> Talker:
    """A proxy that answers each connection like this."""

    def serve(connection: socket.socket, number: int) -> None:
        if answer:
            connection.recv(65_536)
            connection.sendall(answer)

    return Talker(serve)


def lines_of(lab: ProxyLab) -> list[dict[str, Any]]:
    sink: Any = lab.audit._sink
    return [json.loads(line) for line in sink.lines]


# --- the way


def test_a_tunnel_goes_through_the_proxy_of_the_environment(
    lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By CONNECT, with the proxy's own password; by SOCKS5 and CONNECT alike."""
    with TunnelProxy() as proxy:
        address = f"http://me:p%40ss@127.0.0.1:{proxy.port}"
        monkeypatch.setenv("https_proxy", address)
        monkeypatch.setenv("http_proxy", address)

        by_socks = curl("-x", f"socks5h://localhost{lab.open()}", f"{provider.origin}/x")
        by_connect = ask(lab.open(), provider.port)

    assert by_socks.stdout == b"ok"
    assert status_of(by_connect) == 200
    assert [head.split("\r\n")[0] for head in proxy.heads] == [f"CONNECT 127.0.0.1:{provider.port} HTTP/1.1"] * 2
    assert field_of(proxy.heads[0], "Proxy-Authorization") == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


def test_a_host_of_no_proxy_is_gone_to_directly(lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    refused = ask(lab.open(), provider.port)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    taken = ask(lab.open(), provider.port)

    assert (status_of(refused), status_of(taken)) == (502, 200)


def test_a_name_that_only_the_proxy_knows_is_left_to_it(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in many companies; also for a lease, whose addresses are looked at. Twin: without the proxy."""
    lease = lab.make_lease(may_tunnel=True)
    monkeypatch.setattr(tunnel, "LOOK_UP_S", 5)
    with refuse_with(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nX: y\r\n\r\n220 hello") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        answers = [ask(lab.open(each), 25, "mail.invalid") for each in (None, lease)]
        monkeypatch.delenv("https_proxy")
        without = ask(lab.open(), 25, "mail.invalid")

    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"220 hello"] * 2  # a server that speaks first
    assert status_of(without) == 502


def test_a_lease_does_not_reach_this_machine_by_a_proxy(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    with TunnelProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)

        answer = ask(lab.open(lab.make_lease(may_tunnel=True)), 8080, "localhost")

        assert (status_of(answer), code_of(answer)) == (403, "lease_denied")
        assert proxy.heads == []


def test_a_proxy_behind_tls(lab: ProxyLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate must be trusted; bytes go both ways, until both sides have ended."""
    certificate = make_certificate(tmp_path, "proxy")
    with Echo() as echo, TlsTunnelProxy(serve_tls(certificate)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        refused = ask(lab.open(), echo.port)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with connect(lab.open()) as connection:
            connection.sendall(f"CONNECT 127.0.0.1:{echo.port} HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\n\r\n".encode())
            assert status_of(connection.recv(100)) == 200
            connection.sendall(b"there and back")
            came = connection.recv(100)

    assert status_of(refused) == 502
    assert came == b"there and back"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy does not let us through (status 407)"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy does not let us through (status 403)"),
        (b"SSH-2.0-x\r\n\r\n", "the proxy does not let us through"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "the proxy does not let us through"),
        (b"", "the proxy does not let us through"),
    ],
)
def test_a_proxy_that_makes_no_connection(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str) -> None:
    """The refusal says so, and which proxy; it does not repeat the address, which can hold a password."""
    with refuse_with(answer) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:canary-proxy-password@"))

        refused = ask(lab.open(), 443, "example.com")

    body = json.loads(refused.partition(b"\r\n\r\n")[2])
    assert (status_of(refused), code_of(refused)) == (502, "provider_unreachable")
    assert body["message"] == (
        f"atl-sign: example.com port 443 cannot be reached: {words} (check the proxies in the daemon's environment)"
    )
    assert b"canary" not in refused


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "http://127.0.0.1:1", "http://nobody.invalid:8080", "http://[::1"])
def test_a_proxy_that_cannot_be_used(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("https_proxy", address)

    answer = ask(lab.open(), 443, "example.com")

    assert (status_of(answer), code_of(answer)) == (502, "provider_unreachable")
    assert b"check the proxies in the daemon's environment" in answer


def test_a_proxy_that_says_nothing_is_not_waited_for(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "CONNECT_S", 0.5)
    with Talker(lambda connection, number: time.sleep(2)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)

        answer = ask(lab.open(), 443, "example.com")

    assert status_of(answer) == 504


# --- the log


def test_each_tunnel_leaves_a_line(lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """With host and lease, whether it was opened or not; one to a link's host is no tunnel, and leaves none."""
    lab.add_link("jira", f"{provider.origin}/jira")
    monkeypatch.setattr(tunnel, "is_of_this_machine", lambda address: False)
    with Echo() as echo:
        ask(lab.open(), echo.port)
        ask(lab.open(lab.make_lease("jira", may_tunnel=True)), echo.port)
        ask(lab.open(lab.make_lease("jira")), 443, "example.com")
        ask(lab.open(), 1)
        ask(lab.open(), provider.port)

    lines = [(line["action"], line["outcome"], line["host"], line.get("lease")) for line in lines_of(lab)]
    assert lines == [
        ("tunnel", "ok", f"127.0.0.1:{echo.port}", None),
        ("tunnel", "ok", f"127.0.0.1:{echo.port}", "aa"),
        ("tunnel", "lease_denied", "example.com", "aa"),
        ("tunnel", "provider_unreachable", "127.0.0.1:1", None),
    ]
    assert all(line["program"] == "/usr/bin/curl" for line in lines_of(lab))


def test_a_tunnel_that_cannot_be_recorded_and_must_be_is_not_made(lab: ProxyLab) -> None:
    """The connection is closed again. Twin: the owner has not asked for that."""
    sink: Any = lab.audit._sink
    sink.failure = OSError(28, "No space left on device")
    with Echo() as echo:
        taken = ask(lab.open(), echo.port)
        lab.config.path.write_text('audit = "required"\n')
        lab.config.forget()
        refused = ask(lab.open(), echo.port)

    assert status_of(taken) == 200
    assert (status_of(refused), code_of(refused)) == (403, "audit_unavailable")


def test_an_ipv6_host_is_asked_for_in_brackets(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    with TunnelProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with connect(lab.open()) as connection:
            connection.sendall(b"\x05\x01\x00\x05\x01\x00\x04" + bytes(15) + b"\x01" + (1).to_bytes(2))
            read_all(connection)

    assert [head.split(" ")[1] for head in proxy.heads] == ["[::1]:1"]
