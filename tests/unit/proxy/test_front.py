"""The ways in: curl and raw sockets at real entries, in front of a provider that counts."""

import json
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atl_sign.proxy import front, reading, tunnel
from atl_sign.proxy.certificates import Authority
from tests.listener import Listener
from tests.unit.proxy.front_lab import (
    SECRET,
    TOKEN,
    Provider,
    ProxyLab,
    code_of,
    connect,
    curl,
    read_all,
    status_of,
    talk,
    tls_provider,
)

BASIC = b64encode(f"x:{SECRET}".encode()).decode()


@pytest.fixture
def authority() -> Authority:
    return Authority(["127.0.0.1"], 3600, lambda: datetime.now(UTC))


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    """The file that a program is given."""
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.certificate_pem)
    return path


@pytest.fixture
def https(tmp_path: Path, lab: ProxyLab) -> Iterator[Provider]:
    """A provider over TLS, and its link jira."""
    with tls_provider(tmp_path) as (provider, certificate):
        lab.add_link("jira", f"{provider.origin}/jira", ca_bundle=str(certificate))
        yield provider


def signed(provider: Provider) -> list[list[str]]:
    return [seen.find_all("authorization") for seen in provider.seen]


class Echo(Listener):
    """What a tunnel may lead to."""

    def __init__(self) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.port = int(self.listener.getsockname()[1])

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65_536):
            connection.sendall(data)


# --- SOCKS5 and CONNECT


def test_curl_by_socks_keeps_its_command_line(lab: ProxyLab, https: Provider, authority: Authority, trusted: Path) -> None:
    """TLS ends here with a certificate that curl checks; two requests on one connection, each signed. Twin: no authority."""
    entry = lab.open(authority=authority)
    proxied = ("-x", f"socks5h://localhost{entry}", "-w", "%{num_connects},")
    urls = [f"{https.origin}/jira/rest/{name}" for name in ("a", "b")]

    done = curl(*proxied, "--cacert", str(trusted), *urls)
    twin = curl(*proxied, urls[0])

    assert (done.returncode, done.stdout) == (0, b"ok1,ok0,")
    assert twin.returncode == 60
    assert [seen.line for seen in https.seen] == ["GET /jira/rest/a HTTP/1.1", "GET /jira/rest/b HTTP/1.1"]
    assert signed(https) == [[f"Bearer {TOKEN}"]] * 2


def test_a_link_without_tls_is_served_in_the_clear(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    done = curl("-x", f"socks5h://localhost{lab.open()}", f"{provider.origin}/jira/x")

    assert done.stdout == b"ok"
    assert signed(provider) == [[f"Bearer {TOKEN}"]]


def test_the_user_name_chooses_the_link(lab: ProxyLab, provider: Provider) -> None:
    """Two links with one address; twin: without a choice the request is refused, and the provider sees nothing."""
    lab.add_link("one", f"{provider.origin}/jira")
    lab.add_link("two", f"{provider.origin}/jira", scheme="basic", user="me")
    entry = lab.open()

    done = curl("-x", f"socks5h://two@localhost{entry}", f"{provider.origin}/jira/x")
    twin = curl("-i", "-x", f"socks5h://localhost{entry}", f"{provider.origin}/jira/x")

    assert done.stdout == b"ok"
    assert code_of(twin.stdout) == "ambiguous_link"
    assert signed(provider) == [[f"Basic {b64encode(f'me:{TOKEN}'.encode()).decode()}"]]


def test_a_dry_run_sends_nothing(lab: ProxyLab, provider: Provider) -> None:
    """It shows what would be signed, a form with it; an address that is not a link's is not even connected to."""
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    proxy = f"socks5h://:dry-run@localhost{lab.open()}"

    with Echo() as elsewhere:
        shown = curl("-x", proxy, "-d", "a=b&c=%20", f"{provider.origin}/jira/x")
        twin = curl("-x", proxy, f"http://127.0.0.1:{elsewhere.port}/")

    assert shown.stdout.startswith(b"method: POST\n")
    assert b"%26a%3Db%26c%3D%2520%26" in shown.stdout or b"&a%3Db%26c%3D%2520%26" in shown.stdout
    assert twin.returncode == 97
    assert (provider.seen, elsewhere.connections) == ([], 0)


def test_connect_ends_tls_too(lab: ProxyLab, https: Provider, authority: Authority, trusted: Path) -> None:
    """By the port, with the secret as the proxy's password, as HTTPS_PROXY has it."""
    port = lab.open_port(lab.make_lease("jira"), authority)

    done = curl("-x", f"http://x:{SECRET}@127.0.0.1:{port}", "--cacert", str(trusted), f"{https.origin}/jira/x")

    assert done.stdout == b"ok"
    assert signed(https) == [[f"Bearer {TOKEN}"]]


def test_a_tunnel_inside_a_tunnel_is_refused(lab: ProxyLab, provider: Provider) -> None:
    """Attack 32."""
    lab.add_link("jira", f"{provider.origin}/jira")
    host = f"127.0.0.1:{provider.port}"
    request = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    with connect(lab.open()) as connection:
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        connection.sendall(request)
        answer = read_all(connection)

    assert (status_of(answer), code_of(answer)) == (403, "upgrade_refused")
    assert provider.seen == []


@pytest.mark.parametrize(
    "lines",
    [
        "CONNECT h:443 HTTP/1.1\r\nHost: other:443",
        "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nContent-Length: 3",
        "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nTransfer-Encoding: chunked",
        "CONNECT http://h/ HTTP/1.1\r\nHost: h",
        "CONNECT /x HTTP/1.1\r\nHost: h",
        "CONNECT h HTTP/1.1\r\nHost: h",
        "CONNECT h:0 HTTP/1.1\r\nHost: h:0",
        "CONNECT h:99999 HTTP/1.1\r\nHost: h:99999",
        "CONNECT user@h:443 HTTP/1.1\r\nHost: h:443",
    ],
)
def test_a_connect_that_lies_is_refused(lab: ProxyLab, lines: str) -> None:
    assert status_of(talk(lab.open(), f"{lines}\r\n\r\n".encode())) == 400


# --- targets that are not a link's


def test_the_owner_is_carried_to_other_hosts(lab: ProxyLab, provider: Provider) -> None:
    """Bytes go both ways as they are, by SOCKS5 and CONNECT: what is behind a redirect is the program's own business."""
    other = f"http://127.0.0.1:{provider.port}/x"

    by_socks = curl("-x", f"socks5h://localhost{lab.open()}", other)

    assert by_socks.stdout == b"ok"
    assert signed(provider) == [[]]


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


def test_an_idle_tunnel_ends(lab: ProxyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "IDLE_S", 0.2)
    with Echo() as echo:
        answer = talk(lab.open(), f"CONNECT 127.0.0.1:{echo.port} HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\n\r\n".encode())

    assert status_of(answer) == 200


# --- the clear


def test_the_real_address_in_the_clear_on_a_unix_socket(lab: ProxyLab, https: Provider) -> None:
    """By Host, and as a URL (go-jira): the link is https all the same."""
    entry = lab.open()
    host = f"127.0.0.1:{https.port}"

    by_host = curl("--unix-socket", entry, f"http://{host}/jira/rest/x")
    as_http = talk(entry, f"GET http://{host}/jira/a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    as_https = talk(entry, f"GET https://{host}/jira/b HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    assert by_host.stdout == b"ok"
    assert (status_of(as_http), status_of(as_https)) == (200, 200)
    assert [seen.line.split()[1] for seen in https.seen] == ["/jira/rest/x", "/jira/a", "/jira/b"]
    assert signed(https) == [[f"Bearer {TOKEN}"]] * 3


def test_a_links_name_is_the_first_part_of_the_path(lab: ProxyLab, provider: Provider) -> None:
    """What is behind it goes out as it is: nothing is joined (attack 35)."""
    lab.add_link("work", f"{provider.origin}/jira")
    entry = lab.open()

    for path in ("/work/rest/x?a=%2f&a=[]", "/work", "/work/", "/work?x", "/work/https://evil.example/", "/work//evil.example/"):
        assert curl("-g", "--unix-socket", entry, f"http://localhost{path}").stdout == b"ok"

    assert [seen.line.split()[1] for seen in provider.seen] == [
        "/jira/rest/x?a=%2f&a=[]",
        "/jira",
        "/jira/",
        "/jira?x",
        "/jira/https://evil.example/",
        "/jira//evil.example/",
    ]
    assert {seen.find_all("host")[0] for seen in provider.seen} == {f"127.0.0.1:{provider.port}"}


def test_a_path_that_means_two_things_is_refused(lab: ProxyLab, provider: Provider) -> None:
    """Twin: with another Host only one of them is meant; and where both mean the same, it goes."""
    lab.add_link("rest", f"{provider.origin}/jira")
    lab.add_link("all", provider.origin)
    entry = lab.open()

    both = curl("-i", "--unix-socket", entry, f"http://127.0.0.1:{provider.port}/rest/x")
    one = curl("-i", "--unix-socket", entry, "http://localhost/rest/x")

    assert code_of(both.stdout) == "ambiguous_link"
    assert status_of(one.stdout) == 200
    assert [seen.line.split()[1] for seen in provider.seen] == ["/jira/x"]


def test_a_path_that_means_the_same_either_way_goes(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    assert curl("--unix-socket", lab.open(), f"http://127.0.0.1:{provider.port}/jira/x").stdout == b"ok"


@pytest.mark.parametrize("host", ["localhost", "other.example.com", "127.0.0.1"])
def test_what_means_no_link_is_refused(lab: ProxyLab, provider: Provider, host: str) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    answer = curl("-i", "--unix-socket", lab.open(), f"http://{host}/rest/x").stdout

    assert (status_of(answer), code_of(answer)) == (403, "unknown_link")
    assert provider.connections == 0


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("*", "localhost"),
        ("rest/x", "localhost"),
        ("ftp://127.0.0.1/", "127.0.0.1"),
        ("http://other.example.com/", "localhost"),
        ("http://{here}/jira/x", "other.example.com"),
        ("/jira/x", "two hosts"),
    ],
)
def test_a_target_that_lies_is_refused(lab: ProxyLab, provider: Provider, target: str, host: str) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    line = target.format(here=f"127.0.0.1:{provider.port}")

    answer = talk(lab.open(), f"GET {line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    assert status_of(answer) == 400
    assert provider.connections == 0


@pytest.mark.parametrize(
    "lines",
    [
        "GET /jira/x HTTP/1.1\r\nHost: other.example.com",
        "GET http://other.example.com/jira/x HTTP/1.1\r\nHost: {here}",
        "GET http://other.example.com/jira/x HTTP/1.1\r\nHost: other.example.com",
    ],
)
def test_a_host_that_lies_inside_a_connection_is_refused(lab: ProxyLab, provider: Provider, lines: str) -> None:
    """Twin: the truth, also as a URL."""
    here = f"127.0.0.1:{provider.port}"
    lab.add_link("jira", f"{provider.origin}/jira")
    begin = f"CONNECT {here} HTTP/1.1\r\nHost: {here}\r\n\r\n".encode()

    lie = talk(lab.open(), begin + lines.format(here=here).encode() + b"\r\nConnection: close\r\n\r\n")
    twin = talk(lab.open(), begin + f"GET http://{here}/jira/x HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n".encode())

    assert status_of(lie.partition(b"\r\n\r\n")[2]) == 400
    assert status_of(twin.partition(b"\r\n\r\n")[2]) == 200
    assert len(provider.seen) == 1


# --- credentials, and the port


@pytest.mark.parametrize("line", ["Authorization: Basic eDp5", "authorization: Bearer x", f"Authorization: Bearer {SECRET}"])
def test_the_owners_own_credentials_are_refused_by_name(lab: ProxyLab, provider: Provider, line: str) -> None:
    """Attack 19; a program would believe that they had been used."""
    lab.add_link("jira", f"{provider.origin}/jira")

    answer = curl("-i", "--unix-socket", lab.open(), "-H", line, "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (403, "own_credentials")
    assert provider.seen == []


def test_a_tools_placeholder_is_taken_on_a_leases_socket(lab: ProxyLab, provider: Provider) -> None:
    """Attack 19: it does not go out, however often it is there."""
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira"))

    done = curl("--unix-socket", entry, "-H", "Authorization: Bearer x", "-H", "Authorization: y", "http://localhost/jira/x")

    assert done.stdout == b"ok"
    assert signed(provider) == [[f"Bearer {TOKEN}"]]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-H", f"Authorization: Bearer {SECRET}"], ""),
        (["-u", f"anybody:{SECRET}"], ""),
        ([], "secret_needed"),
        (["-H", "Authorization: Bearer wrong"], "own_credentials"),
        (["-u", f"{SECRET}:wrong"], "own_credentials"),
        (["-H", f"Authorization: {SECRET}"], "own_credentials"),
        (["-H", "Authorization: Basic !!!"], "own_credentials"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Authorization: Bearer x"], "own_credentials"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Origin: http://evil.example"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-e", "http://evil.example"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Sec-Fetch-Site: cross-site"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Host: evil.example"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Host: localhost"], "browser_refused"),
    ],
)
def test_a_port_wants_the_secret_and_no_browser(lab: ProxyLab, provider: Provider, arguments: list[str], code: str) -> None:
    """Attacks 23 and 24; never 401, at which tools ask again. The first two are the twins."""
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira"))

    answer = curl("-i", *arguments, f"http://127.0.0.1:{port}/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == ((403, code) if code else (200, ""))
    assert signed(provider) == ([] if code else [[f"Bearer {TOKEN}"]])


@pytest.mark.parametrize("form", ["CONNECT {here}", "GET http://{here}/jira/x"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"Proxy-Authorization: Basic {BASIC}", 200),
        ("X: y", 407),
        ("Proxy-Authorization: Basic eDp5", 403),
        (f"Proxy-Authorization: Basic {BASIC}\r\nProxy-Authorization: Basic {BASIC}", 403),
        (f"Proxy-Authorization: Basic {BASIC}\r\nOrigin: null", 403),
    ],
)
def test_a_port_as_a_proxy_wants_the_secret_as_its_password(
    lab: ProxyLab, provider: Provider, form: str, line: str, status: int
) -> None:
    """The one 407, at which programs that have the password send it."""
    here = f"127.0.0.1:{provider.port}"
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira"))
    first = form.format(here=here)

    answer = talk(port, f"{first} HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n{line}\r\n\r\n".encode(), ends=True)

    assert status_of(answer) == status
    assert (b"\r\nProxy-Authenticate: Basic " in answer) is (status == 407)
    assert len(provider.seen) == (1 if status == 200 and form.startswith("GET") else 0)


def test_credentials_inside_a_ports_connection_must_be_the_secret(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira"))
    proxied = ("-i", "-p", "-x", f"http://x:{SECRET}@127.0.0.1:{port}", "--suppress-connect-headers", f"{provider.origin}/jira/x")

    answers = [curl("-H", f"Authorization: Bearer {word}", *proxied).stdout for word in ("wrong", SECRET)]

    assert list(map(code_of, answers)) == ["own_credentials", ""]
    assert signed(provider) == [[f"Bearer {TOKEN}"]]


def test_socks_is_not_for_a_leases_port(lab: ProxyLab) -> None:
    assert talk(lab.open_port(lab.make_lease()), b"\x05\x01\x00") == b"\x05\xff"


def test_a_port_of_the_owners_takes_only_socks(lab: ProxyLab, provider: Provider) -> None:
    """Its peer's uid was checked by the server, but a page in the owner's browser has that too, and can send HTTP."""
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(None)

    by_http = curl("-i", f"http://127.0.0.1:{port}/jira/x").stdout
    by_socks = curl("-x", f"socks5h://127.0.0.1:{port}", f"{provider.origin}/jira/x").stdout

    assert (status_of(by_http), by_socks) == (403, b"ok")


# --- heads on the wire


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nX: y\r\n Content-Length: 3", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nX: y\nContent-Length: 3", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nContent-Length : 3", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nHost: h", 400),
        ("POST /jira/x HTTP/1.1\r\nX: y", 400),
        ("POST /jira/x HTTP/2.0\r\nHost: h", 400),
        ("P(ST /jira/x HTTP/1.1\r\nHost: h", 400),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket", 403),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", 403),
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nX: " + "y" * 40_000, 431),
    ],
)
def test_nothing_follows_a_head_that_is_refused(lab: ProxyLab, provider: Provider, head: str, status: int) -> None:
    """Attacks 20 and 32: what may be its body or the next request is read by nobody. Twin: the same without the fault."""
    lab.add_link("jira", f"{provider.origin}/jira")
    smuggled = "GET /jira/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

    answer = talk(lab.open(), f"{head}\r\n\r\n{smuggled}".encode())

    assert status_of(answer) == status
    assert b"\r\nConnection: close\r\n" in answer
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1
    assert provider.connections == 0


def test_requests_can_follow_each_other_at_once(lab: ProxyLab, provider: Provider) -> None:
    """The twin: a length once, a body, and the next request behind it."""
    lab.add_link("jira", f"{provider.origin}/jira")
    first = "POST /jira/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    second = "PUT /jira/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\ndef\r\n0\r\nX-Trailer: x\r\n\r\n"
    third = "GET /jira/c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

    answer = talk(lab.open(), f"{first}{second}{third}".encode())

    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert [(seen.line.split()[1], seen.body) for seen in provider.seen] == [
        ("/jira/a", b"abc"),
        ("/jira/b", b"def"),
        ("/jira/c", b""),
    ]
    assert b"X-Trailer" not in b"".join(seen.head for seen in provider.seen)


def test_http_1_0_gets_an_answer_and_no_second_one(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")

    answer = talk(
        lab.open(), b"GET /jira/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\nGET /jira/y HTTP/1.0\r\nHost: h\r\n\r\n"
    )

    assert answer.endswith(b"\r\n\r\nok")
    assert b"chunked" not in answer
    assert len(provider.seen) == 1


@pytest.mark.parametrize(
    "chunks", ["3\r\nabcd\r\n0\r\n\r\n", "g\r\nabc\r\n", "3\r\nab", "-3\r\nabc\r\n", "3 3\r\nabc\r\n0\r\n\r\n"]
)
def test_a_body_that_does_not_end_well_is_no_request(lab: ProxyLab, provider: Provider, chunks: str) -> None:
    """The provider must not take what it got for the whole."""
    lab.add_link("jira", f"{provider.origin}/jira")

    answer = talk(
        lab.open(), f"PUT /jira/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}".encode(), ends=True
    )

    assert status_of(answer) == 400
    assert not any(seen.is_whole for seen in provider.seen)


@pytest.mark.parametrize("arguments", [["-F", "file=@-"], ["--data-binary", "@-", "-H", "Content-Type: text/x"]])
def test_a_body_waits_for_the_decision_on_its_head(lab: ProxyLab, provider: Provider, arguments: list[str]) -> None:
    """Attack 31: curl waits a while with a large body; refused, none of it is sent. Twin: allowed, it is asked for."""
    lab.add_link("jira", f"{provider.origin}/jira")
    lease = lab.make_lease("jira", allow=("POST /ok",))
    body = b"x" * 2_000_000
    waits = ("-i", "-H", "Expect: 100-continue", "--expect100-timeout", "15", "--unix-socket", lab.open(lease))

    refused = curl(*waits, *arguments, "-w", "%{size_upload}", "http://localhost/jira/no", stdin=body)
    allowed = curl(*waits, *arguments, "http://localhost/jira/ok", stdin=body)

    assert (status_of(refused.stdout), code_of(refused.stdout)) == (403, "lease_denied")
    assert refused.stdout.endswith(b"}0")
    assert allowed.stdout.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert [seen.line.split()[1] for seen in provider.seen] == ["/jira/ok"]
    assert len(provider.seen[0].body) >= 2_000_000
    assert provider.seen[0].find_all("expect") == []


def test_a_refusal_reaches_a_client_that_is_sending(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira", allow=("GET /**",)))

    done = curl("-i", "-H", "Expect:", "-T", "-", "--unix-socket", entry, "http://localhost/jira/x", stdin=b"x" * 5_000_000)

    assert (status_of(done.stdout), code_of(done.stdout)) == (403, "lease_denied")
    assert provider.seen == []


@pytest.mark.parametrize("sent", [b"GET /jira/x HTTP/1.1\r\nHost: h\r\n", b"\x05", b"\x05\x01\x02\x01\x04ji"])
def test_a_slow_head_is_not_waited_for(lab: ProxyLab, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twin: nothing at all is an idle connection, which may last longer."""
    monkeypatch.setattr(reading, "HEAD_S", 0.2)
    monkeypatch.setattr(front, "HEAD_S", 0.2)
    entry = lab.open()
    with connect(entry) as idle:
        answer = talk(entry, sent)

        assert answer == b"" or sent[0] == 5 or status_of(answer) == 400
        idle.settimeout(0.2)
        with pytest.raises(TimeoutError):
            idle.recv(1)


def test_an_idle_connection_ends(lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "IDLE_S", 0.2)
    monkeypatch.setattr(front, "IDLE_S", 0.2)
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open()

    assert talk(entry, b"") == b""
    assert talk(entry, b"GET /jira/x HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"\r\n\r\nok")


def test_a_head_that_breaks_off_is_answered(lab: ProxyLab) -> None:
    assert status_of(talk(lab.open(), b"GET / HTTP/1.1\r\nHo", ends=True)) == 400


# --- what an entry answers itself


async def own_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    if scope["path"] == "/~/fails":
        raise RuntimeError("canary")
    lease = scope["state"]["lease"]
    shown = [
        scope["method"],
        scope["path"],
        scope["query_string"].decode(),
        body.decode(),
        lease.id,
        scope["state"]["peer"] is not None,
    ]
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(shown).encode(), "more_body": True})
    await send({"type": "http.response.body"})


def test_a_leases_entry_answers_below_its_own_path(tmp_path: Path) -> None:
    """Twins: the owner's entry has none; a port wants the secret there too; a failure says nothing of itself."""
    with ProxyLab(tmp_path, own_app) as lab:
        lease = lab.make_lease()
        entry, port = lab.open(lease), lab.open_port(lease)

        own = curl("--unix-socket", entry, "-d", "a=b", "http://localhost/~/leases?x")
        fails = curl("-i", "--unix-socket", entry, "http://localhost/~/fails").stdout
        owners = curl("-i", "--unix-socket", lab.open(), "http://localhost/~/lease").stdout
        at_port = [
            curl("-i", *arguments, f"http://127.0.0.1:{port}/~/lease").stdout
            for arguments in ([], ["-H", f"Authorization: Bearer {SECRET}"])
        ]

    assert json.loads(own.stdout) == ["POST", "/~/leases", "x", "a=b", "aa", True]
    assert (status_of(fails), b"canary" in fails) == (500, False)
    assert (status_of(owners), code_of(owners)) == (404, "not_found")
    assert list(map(status_of, at_port)) == [403, 201]


# --- the end


def test_the_end_of_a_lease_cuts_both_sides(lab: ProxyLab) -> None:
    """A transfer that runs, a tunnel, and TLS that has not begun."""
    gone = threading.Event()

    def trickle(connection: socket.socket, _: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        try:
            while connection.recv(1):
                pass
        except OSError:
            pass
        gone.set()

    with Provider(trickle) as provider, Echo() as echo:
        lab.add_link("jira", f"{provider.origin}/jira")
        entry = lab.open()
        with connect(entry) as transfer, connect(entry) as tunnelled:
            transfer.sendall(b"GET /jira/x HTTP/1.1\r\nHost: h\r\n\r\n")
            tunnelled.sendall(f"CONNECT 127.0.0.1:{echo.port} HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\n\r\n".encode())
            while not transfer.recv(1000).endswith(b"x"):
                pass
            assert tunnelled.recv(100)

            lab.cancel_all()

            assert read_all(transfer) == b""
            assert read_all(tunnelled) == b""
            assert gone.wait(5)


def test_tls_that_begins_before_the_answer_is_not_lost(
    lab: ProxyLab, https: Provider, authority: Authority, trusted: Path
) -> None:
    """A client may send its first message of TLS right behind its request."""
    context = ssl.create_default_context(cafile=str(trusted))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    here = f"127.0.0.1:{https.port}"
    with connect(lab.open(authority=authority)) as connection:
        connection.sendall(f"CONNECT {here} HTTP/1.1\r\nHost: {here}\r\n\r\n".encode() + outgoing.read())
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2]:
            answer += connection.recv(65_536)
        incoming.write(answer.partition(b"\r\n\r\n")[2])
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(connection.recv(65_536))

    assert client.version() in ("TLSv1.2", "TLSv1.3")
