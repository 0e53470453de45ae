"""The ways in: curl and raw sockets at real entries, in front of a provider that counts."""

import json
import socket
import ssl
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from atl_sign.proxy.certificates import Authority
from tests.unit.proxy.front_lab import (
    SECRET,
    TOKEN,
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
    assert authorizations(https) == [[f"Bearer {TOKEN}"]] * 2


def test_a_link_without_tls_is_served_in_the_clear(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    done = curl("-x", f"socks5h://localhost{lab.open()}", f"{provider.origin}/jira/x")

    assert done.stdout == b"ok"
    assert authorizations(provider) == [[f"Bearer {TOKEN}"]]


def test_the_user_name_chooses_the_link(lab: ProxyLab, provider: Provider) -> None:
    """Two links with one address; twin: without a choice the request is refused, and the provider sees nothing."""
    lab.add_link("one", f"{provider.origin}/jira")
    lab.add_link("two", f"{provider.origin}/jira", scheme="basic", user="me")
    entry = lab.open()

    done = curl("-x", f"socks5h://two@localhost{entry}", f"{provider.origin}/jira/x")
    twin = curl("-i", "-x", f"socks5h://localhost{entry}", f"{provider.origin}/jira/x")

    assert done.stdout == b"ok"
    assert code_of(twin.stdout) == "ambiguous_link"
    assert authorizations(provider) == [[f"Basic {b64encode(f'me:{TOKEN}'.encode()).decode()}"]]


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
    assert authorizations(https) == [[f"Bearer {TOKEN}"]]


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
    assert authorizations(https) == [[f"Bearer {TOKEN}"]] * 3


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


def test_an_upload_in_tls_comes_out_right(
    lab: ProxyLab, https: Provider, authority: Authority, trusted: Path, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(bytes(range(256)) * 20_000)
    proxied = ("-x", f"socks5h://localhost{lab.open(authority=authority)}", "--cacert", str(trusted))

    done = curl(*proxied, "-T", str(tmp_path / "body"), f"{https.origin}/jira/x")

    assert done.stdout == b"ok"
    assert https.seen[0].body == bytes(range(256)) * 20_000


def test_python_programs_use_the_port(lab: ProxyLab, https: Provider, authority: Authority, trusted: Path) -> None:
    """requests and httpx, unmodified: with the port as their proxy, and as a base URL with the secret as the token."""
    port = lab.open_port(lab.make_lease("jira"), authority)
    proxy, url = f"http://x:{SECRET}@127.0.0.1:{port}", f"{https.origin}/jira/rest/x"
    token = {"Authorization": f"Bearer {SECRET}"}

    answers = [
        requests.get(url, proxies={"https": proxy}, verify=str(trusted), timeout=10).text,
        requests.post(url, json={}, proxies={"https": proxy}, verify=str(trusted), timeout=10).text,
        requests.get(f"http://127.0.0.1:{port}/jira/rest/x", headers=token, timeout=10).text,
        httpx.get(url, proxy=proxy, verify=ssl.create_default_context(cafile=str(trusted))).text,
        httpx.get(f"http://127.0.0.1:{port}/jira/rest/x", headers=token).text,
    ]
    with httpx.Client(transport=httpx.HTTPTransport(uds=lab.open(lab.make_lease("jira")))) as client:
        answers.append(client.get(f"http://127.0.0.1:{https.port}/jira/rest/x").text)

    assert answers == ["ok"] * 6
    assert {seen.line.split()[1] for seen in https.seen} == {"/jira/rest/x"}
    assert authorizations(https) == [[f"Bearer {TOKEN}"]] * 6


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("GET http://other.example.com/x HTTP/1.1\r\nHost: other.example.com", "unknown_link"),
        ("GET http://{here} HTTP/1.1\r\nHost: {here}", "bad_url"),
        ("GET http://{here}?x HTTP/1.1\r\nHost: {here}", "bad_url"),
        ("GET http://user:word@{here}/jira/x HTTP/1.1\r\nHost: {here}", "bad_url"),
        ("GET /rest/x HTTP/1.0", "unknown_link"),
    ],
)
def test_other_targets_are_refused_by_name(lab: ProxyLab, provider: Provider, line: str, code: str) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    head = line.format(here=f"127.0.0.1:{provider.port}")

    answer = talk(lab.open(), f"{head}\r\nConnection: close\r\n\r\n".encode())

    assert (status_of(answer), code_of(answer)) == (403, code)
    assert provider.connections == 0


def test_http_1_0_needs_no_host_where_the_path_names_the_link(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    assert status_of(talk(lab.open(), b"GET /jira/x HTTP/1.0\r\n\r\n")) == 200


def test_a_host_with_links_of_two_schemes_is_not_chosen_by(lab: ProxyLab) -> None:
    """They could be two servers."""
    lab.add_link("clear", "http://jira.example.com/a")
    lab.add_link("tls", "https://jira.example.com/a")

    answer = talk(lab.open(), b"GET /a/x HTTP/1.1\r\nHost: jira.example.com\r\nConnection: close\r\n\r\n")

    assert (status_of(answer), code_of(answer)) == (403, "ambiguous_link")


def test_a_lease_does_not_learn_of_other_links(lab: ProxyLab, provider: Provider) -> None:
    """Their hosts are answered as all others are: with a path that names the lease's own link, and without."""
    with Provider() as foreign:
        lab.add_link("jira", f"{provider.origin}/jira")
        lab.add_link("other", foreign.origin)
        entry = lab.open(lab.make_lease("jira"))
        hosts = (f"127.0.0.1:{foreign.port}", "127.0.0.1:9", "elsewhere.example.com")

        below = [curl("-i", "--unix-socket", entry, f"http://{host}/jira/x").stdout for host in hosts]
        beside = [curl("-i", "--unix-socket", entry, f"http://{host}/rest/x").stdout for host in hosts]

    assert [status_of(answer) for answer in below] == [200] * 3
    assert {code_of(answer) for answer in beside} == {"lease_denied"}
    assert len(set(beside)) == 1
    assert foreign.connections == 0
