"""One request and its answer: what goes out, what comes back, and what is sent again."""

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atl_sign.base.credentials import Grant, Secret
from atl_sign.proxy import relay
from atl_sign.proxy.certificates import Authority
from atl_sign.schemes.static import StaticToken
from tests.unit.proxy.front_lab import (
    OK,
    TOKEN,
    Provider,
    ProxyLab,
    Seen,
    code_of,
    connect,
    curl,
    read_all,
    status_of,
    talk,
    talk_in_turn,
    tls_provider,
)

NONCE_USED = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: OAuth realm="x",oauth_problem="nonce_used"\r\nContent-Length: 4\r\n\r\nused'
)
MIB = 1 << 20


def refusal_of(answer: bytes) -> str:
    """Return what a tool prints of a refusal; check that it stands wherever one of them looks."""
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["errorMessages"] == [body["message"]] == [body["errors"][0]["message"]]
    return str(body["message"])


# --- what goes out


def test_the_target_goes_out_byte_for_byte(lab: ProxyLab, provider: Provider) -> None:
    """In every form; a query keeps its order, repetitions and escapes (attack 36)."""
    target = '/jira/rest/%7Eme/a%2fb;c=d?b=2&a=1&a=%C3%a4&c=[]{}|^"<>`\\&d=+%20&=&&e'
    lab.add_link("jira", f"{provider.origin}/jira")
    here = f"127.0.0.1:{provider.port}"
    entry = lab.open()
    heads = [f"GET {target} HTTP/1.1\r\nHost: {here}", f"GET http://{here}{target} HTTP/1.1\r\nHost: {here}"]

    answers = [talk(entry, f"{head}\r\nConnection: close\r\n\r\n".encode()) for head in heads]

    assert list(map(status_of, answers)) == [200, 200]
    assert [seen.line.encode("latin-1").decode() for seen in provider.seen] == [f"GET {target} HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/jira/../admin", "bad_url"),
        ("/jira/%2e%2e/admin", "bad_url"),
        ("/jira/x%", "bad_url"),
        ("/jira/[x]", "bad_url"),
        ("/jira/x#y", "bad_url"),
        ("/jira-test/x", "unknown_link"),
        ("/jira/x?a=\xff", "bad_url"),
    ],
)
def test_what_cannot_be_signed_exactly_is_not_sent(lab: ProxyLab, provider: Provider, target: str, code: str) -> None:
    """Promise 2."""
    lab.add_link("jira", f"{provider.origin}/jira")
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{provider.port}\r\nConnection: close\r\n\r\n"

    answer = talk(lab.open(), head.encode("latin-1"))

    assert (status_of(answer), code_of(answer)) == (403, code)
    assert provider.connections == 0


def test_headers_that_would_change_the_request_do_not_go_out(lab: ProxyLab, provider: Provider) -> None:
    """Attacks 7, 8, 18, 19, 20 on the wire; twin: others do."""
    lab.add_link("jira", f"{provider.origin}/jira")
    lines = [
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /admin",
        "X-Forwarded-Host: evil",
        "Cookie: JSESSIONID=1",
        "X-AppId: 1",
        "Connection: X-Named",
        "X-Named: 1",
        "Proxy-Authorization: Basic eDp5",
        "X-Kept: 1",
        "TE: trailers",
    ]

    for lease in (lab.make_lease("jira"), None):
        curl("--unix-socket", lab.open(lease), *(part for line in lines for part in ("-H", line)), f"{provider.origin}/jira/x")

    leased, own = ([line.partition(":")[0] for line in seen.head.decode().split("\r\n")[1:]] for seen in provider.seen)
    assert leased == ["Host", "User-Agent", "Accept", "X-Kept", "Authorization"]
    assert own == ["Host", "User-Agent", "Accept", "Cookie", "X-Kept", "Authorization"]  # the owner's cookies are the owner's


def test_a_body_goes_out_as_it_came(lab: ProxyLab, provider: Provider) -> None:
    """With its length when the client knows it, in chunks when not; empty is not the same as none."""
    lab.add_link("jira", f"{provider.origin}/jira")
    entry, body = lab.open(), bytes(range(256)) * 1000

    for arguments in (["-X", "PUT", "--data-binary", "@-"], ["-T", "-"], ["-X", "PUT", "-d", ""], ["-X", "PUT"]):
        assert curl("--unix-socket", entry, *arguments, "http://localhost/jira/x", stdin=body).stdout == b"ok"

    framing = [(seen.find_all("content-length"), seen.find_all("transfer-encoding")) for seen in provider.seen]
    assert framing == [(["256000"], []), ([], ["chunked"]), (["0"], []), ([], [])]
    assert [seen.body for seen in provider.seen] == [body, body, b"", b""]


def test_a_form_is_signed_and_goes_out_as_it_is_written(lab: ProxyLab, provider: Provider) -> None:
    """Whatever its framing was; JSON is not held back. Another form has another signature (promise 2)."""
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    entry, form = lab.open(), "b=2&a=%7E+1&b=%c3%a4"

    curl("--unix-socket", entry, "-d", form, "http://localhost/jira/x")
    curl("--unix-socket", entry, "-d", form, "-H", "Transfer-Encoding: chunked", "http://localhost/jira/x")
    curl(
        "--unix-socket",
        entry,
        "-d",
        form,
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Content-Type: application/json",
        f"{provider.origin}/jira/x",
    )

    assert [seen.body.decode() for seen in provider.seen] == [form] * 3
    assert [seen.find_all("content-length") for seen in provider.seen] == [["20"], ["20"], []]
    assert [seen.find_all("x-atlassian-token") for seen in provider.seen] == [["no-check"], ["no-check"], []]
    nonces = {
        match[0] for seen in provider.seen if (match := re.search(r'oauth_nonce="[^"]+"', seen.find_all("authorization")[0]))
    }
    assert len(nonces) == 3


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ([], 413, "too_large"),
        (["-H", "Transfer-Encoding: chunked"], 413, "too_large"),
        (["-H", "Content-Encoding: gzip"], 403, "bad_request"),
    ],
)
def test_a_form_that_cannot_be_signed_is_not_sent(
    lab: ProxyLab, provider: Provider, arguments: list[str], status: int, code: str
) -> None:
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    body = b"a=" + b"x" * (MIB if status == 413 else 10)

    done = curl("-i", "--unix-socket", lab.open(), "--data-binary", "@-", *arguments, "http://localhost/jira/x", stdin=body)

    answer = done.stdout.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (status_of(answer), code_of(answer)) == (status, code)
    assert provider.connections == 0


@pytest.mark.parametrize("form", ["a=%", "a=%ff", "=x", "\xff=1"])
def test_a_form_that_cannot_be_read_is_not_sent(lab: ProxyLab, provider: Provider, form: str) -> None:
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")

    answer = curl(
        "-i", "--unix-socket", lab.open(), "--data-binary", "@-", "http://localhost/jira/x", stdin=form.encode("latin-1")
    ).stdout

    assert (status_of(answer), code_of(answer)) == (403, "bad_url")
    assert provider.connections == 0


def test_a_form_of_a_scheme_that_signs_nothing_streams(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    done = curl("--unix-socket", lab.open(), "--data-binary", "@-", "http://localhost/jira/x", stdin=b"x" * 3 * MIB)

    assert done.stdout == b"ok"
    assert len(provider.seen[0].body) == 3 * MIB


def test_a_leases_rules_see_the_form(lab: ProxyLab, provider: Provider) -> None:
    """Attack 7: a method override in it is refused whatever the scheme. Twin: without it."""
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira", allow=("POST /x",)))

    answers = [
        curl("-i", "--unix-socket", entry, "-d", form, "http://localhost/jira/x").stdout for form in ("a=1&_method=DELETE", "a=1")
    ]

    assert list(map(code_of, answers)) == ["lease_denied", ""]
    assert [seen.body for seen in provider.seen] == [b"a=1"]


def test_a_gateways_address_takes_the_place_of_the_links(lab: ProxyLab, provider: Provider) -> None:
    with Provider() as gateway:
        lab.add_link("jira", f"{provider.origin}/jira", scheme="basic", user="me")
        link = lab.config.settings().links.get("jira")
        lab.safe.put_token(link, Grant(StaticToken(Secret(TOKEN), "me", base_url=f"{gateway.origin}/ex/jira/7")))

        done = curl("--unix-socket", lab.open(), "http://localhost/jira/rest/x?a=%7e")

        assert done.stdout == b"ok"
        assert [seen.line for seen in gateway.seen] == ["GET /ex/jira/7/rest/x?a=%7e HTTP/1.1"]
        assert gateway.seen[0].find_all("host") == [f"127.0.0.1:{gateway.port}"]
    assert provider.seen == []


# --- what comes back


def test_an_answer_comes_back_without_its_session(lab: ProxyLab, provider: Provider) -> None:
    """Attack 18; an interim answer is dropped, the coding of the body stays."""
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 418 I am a teapot\r\nSet-Cookie: JSESSIONID=canary\r\nX-AUSERNAME: me\r\nAlt-Svc: h3\r\n"
        b"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\n\x1f\x8b\x08\r\n0\r\nX-T: 1\r\n\r\n"
    )

    answer = talk(lab.open(lab.make_lease("jira")), b"GET /jira/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[:3] == [b"HTTP/1.1 418 I am a teapot", b"X-AUSERNAME: me", b"Content-Encoding: gzip"]
    assert {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[3:]} == {b"transfer-encoding", b"connection"}
    assert body == b"3\r\n\x1f\x8b\x08\r\n0\r\n\r\n"


def test_the_owner_has_a_session(lab: ProxyLab, provider: Provider) -> None:
    """The twin: `curl -c` keeps what the product sets, as without us."""
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n")

    answer = talk(lab.open(), b"GET /jira/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")

    assert answer.count(b"Set-Cookie: ") == 2


def test_a_provider_that_ends_its_connection_ends_the_clients(lab: ProxyLab, provider: Provider) -> None:
    """curl -X HEAD waits for a body that does not come, until the connection ends; so it is without us."""
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\n")

    done = curl("--unix-socket", lab.open(), "-X", "HEAD", "-m", "10", "http://localhost/jira/x")

    assert done.returncode == 18  # the transfer ended too early


def test_two_types_of_a_body_are_refused(lab: ProxyLab, provider: Provider) -> None:
    """A product may read it as a form that no rule and no signature has seen; so it may with another encoding."""
    lab.add_link("jira", f"{provider.origin}/jira")
    types = ("-H", "Content-Type: application/json", "-H", "content-type: application/x-www-form-urlencoded")
    latin = ("-H", "Content-Type: application/x-www-form-urlencoded; charset=ISO-8859-1")

    lab.add_link("signed", f"{provider.origin}/signed", scheme="oauth1")
    for arguments in (types, latin):
        done = curl(
            "--unix-socket",
            lab.open(),
            *arguments,
            "-d",
            "a=1",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "http://localhost/signed/x",
        )
        assert done.stdout in (b"400", b"403")

    assert provider.seen == []


@pytest.mark.parametrize(
    ("answer", "method", "lengths"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", []),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "GET", [b"7"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD", [b"7"]),
    ],
)
def test_an_answer_without_a_body_leaves_the_connection(
    lab: ProxyLab, provider: Provider, answer: bytes, method: str, lengths: list[bytes]
) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(answer, OK)
    second = "GET /jira/y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

    both = talk_in_turn(lab.open(), f"{method} /jira/x HTTP/1.1\r\nHost: h\r\n\r\n".encode(), second.encode())

    first, _, rest = both.partition(b"\r\n\r\n")
    assert re.findall(rb"(?i)content-length: (\d+)", first) == lengths
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_answer_that_ends_with_its_connection_is_whole(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    def answer(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        connection.shutdown(socket.SHUT_RDWR)

    provider.answer_with(answer)

    assert curl("--unix-socket", lab.open(), "http://localhost/jira/x").stdout == b"all of it"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz",
    ],
)
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_provider_that_dies_does_not_end_the_answer_well(lab: ProxyLab, head: bytes, is_tls: bool, tmp_path: Path) -> None:
    """curl must not take the half for the whole."""

    def die(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        connection.shutdown(socket.SHUT_RDWR)

    authority = Authority(["127.0.0.1"], 3600, lambda: datetime.now(UTC))
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    with tls_provider(tmp_path, die) as (tls, certificate), Provider(die) as clear:
        provider = tls if is_tls else clear
        lab.add_link("jira", f"{provider.origin}/jira", ca_bundle=str(certificate))
        proxied = ("--cacert", str(tmp_path / "ca.pem"), "-x", f"socks5h://localhost{lab.open(authority=authority)}")

        done = curl(*proxied, f"{provider.origin}/jira/x")

    assert done.returncode in (18, 56)
    assert done.stdout in (b"", b"half")


def test_a_refusal_of_the_providers_comes_back_unchanged(lab: ProxyLab, provider: Provider) -> None:
    """What is not of time or nonce is not sent again."""
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    provider.answer_with(NONCE_USED.replace(b"nonce_used", b"token_rejected"))

    answer = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout

    assert status_of(answer) == 401
    assert b'oauth_problem="token_rejected"' in answer
    assert len(provider.seen) == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 8", b"Transfer-Encoding: chunked"])
def test_neither_the_head_nor_a_piece_waits_for_what_follows(lab: ProxyLab, framing: bytes) -> None:
    """A stream of events may have its first one in an hour; and what has come whole goes out whole."""
    frame = "%b" if framing.startswith(b"Content") else "4\r\n%b\r\n"
    go_on = threading.Semaphore(0)

    def drip(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        for piece in (b"abcd", b"efgh"):
            go_on.acquire(timeout=10)
            connection.sendall(frame.encode() % piece)
        connection.sendall(b"" if framing.startswith(b"Content") else b"0\r\n\r\n")

    with Provider(drip) as provider:
        lab.add_link("jira", f"{provider.origin}/jira")
        with connect(lab.open()) as client:
            client.sendall(b"GET /jira/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            received = [client.recv(65_536)]
            for _ in range(2):
                go_on.release()
                received.append(client.recv(65_536))
            received.append(read_all(client))

    assert received[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert received[0].endswith(b"\r\n\r\n")
    assert b"abcd" in received[1]
    assert b"efgh" in received[2]


def answer_early(answer: bytes) -> Callable[[socket.socket, Seen], None]:
    """Return a provider that answers before it reads the request's body, and takes what follows for another request."""

    def talk(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(answer)
        left = int(seen.find_all("content-length")[0])
        while left and (data := connection.recv(left)):
            left -= len(data)

    return talk


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"], ids=["body", "empty"])
def test_an_early_answer_is_the_last_one(lab: ProxyLab, answer: bytes) -> None:
    """It comes at once and says close; what follows the body is no other request, though the body has come whole by then."""
    with Provider(answer_early(answer), OK, reads_body=False) as provider:
        lab.add_link("jira", f"{provider.origin}/jira")
        with connect(lab.open()) as client:
            client.sendall(b"PUT /jira/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
            received = client.recv(65_536)
            client.sendall(b"worldDELETE /jira/evil HTTP/1.1\r\nHost: h\r\n\r\n")
            began_at = time.monotonic()
            rest = read_all(client)

    assert received.startswith(answer.partition(b"\r\n")[0])
    assert b"\r\nConnection: close\r\n" in received
    assert b"HTTP/1.1" not in rest
    assert time.monotonic() - began_at < 5
    assert [seen.line for seen in provider.seen] == ["PUT /jira/x HTTP/1.1"]


def test_an_answer_that_breaks_at_once_has_a_head(lab: ProxyLab) -> None:
    """On a kept connection without a byte of an answer, curl would send the POST again."""
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n"
    with Provider(OK, broken) as provider:
        lab.add_link("jira", f"{provider.origin}/jira")
        entry = ("-sSi", "-m", "10", "--unix-socket", lab.open())
        done = curl(*entry, "http://h/jira/a", "--next", *entry, "--json", "{}", "http://h/jira/create")

    assert done.returncode == 18  # the transfer ended too early
    assert [seen.line for seen in provider.seen] == ["GET /jira/a HTTP/1.1", "POST /jira/create HTTP/1.1"]


def test_bytes_move_both_ways_and_hold_back(lab: ProxyLab) -> None:
    """33 MB in and out come out right; a client that does not read stops the provider."""
    block = hashlib.sha256(b"x").digest() * 2048
    sent = threading.Event()

    def pour(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (500 * len(block)))
        for _ in range(500):
            connection.sendall(block)
        sent.set()

    with Provider(pour) as provider:
        lab.add_link("jira", f"{provider.origin}/jira")
        entry = lab.open()
        done = curl("--unix-socket", entry, "-T", "-", "http://localhost/jira/x", stdin=block * 500)
        sent.clear()
        with connect(entry) as slow:
            slow.sendall(b"GET /jira/y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            is_held_back = not sent.wait(0.5)
            got = len(read_all(slow).partition(b"\r\n\r\n")[2])

    assert (
        hashlib.sha256(done.stdout).digest()
        == hashlib.sha256(provider.seen[0].body).digest()
        == hashlib.sha256(block * 500).digest()
    )
    assert is_held_back
    assert got == 500 * len(block)


def test_a_client_that_is_gone_is_not_waited_for(lab: ProxyLab) -> None:
    """Its place among the lease's eight is free long before the provider's time is over. Twin: one that only ended its side."""
    gone = threading.Event()

    def wait(connection: socket.socket, seen: Seen) -> None:
        if seen.line.split()[1] == "/jira/slow":
            time.sleep(1.5)
            connection.sendall(OK)
        else:
            with suppress(ConnectionResetError):
                connection.recv(1)
            gone.set()

    with Provider(wait) as provider:
        lab.add_link("jira", f"{provider.origin}/jira")
        lease = lab.make_lease("jira")
        entry = lab.open(lease)
        with connect(entry) as connection:
            connection.sendall(b"GET /jira/x HTTP/1.1\r\nHost: h\r\n\r\n")
            deadline = time.monotonic() + 10
            while not provider.seen and time.monotonic() < deadline:
                time.sleep(0.01)
        is_noticed = gone.wait(5)
        twin = talk(entry, b"GET /jira/slow HTTP/1.1\r\nHost: h\r\n\r\n", ends=True)

    assert is_noticed
    assert status_of(twin) == 200


# --- what is sent again


@pytest.mark.parametrize("problem", [b"nonce_used", b"timestamp_refused"])
@pytest.mark.parametrize("arguments", [[], ["-d", "a=b"]])
def test_a_refusal_of_time_or_nonce_is_tried_once_more(
    lab: ProxyLab, provider: Provider, problem: bytes, arguments: list[str]
) -> None:
    """Signed afresh (promise 3), a held form with it; and only once."""
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    refused = NONCE_USED.replace(b"nonce_used", problem)
    provider.answer_with(refused, OK, refused)
    entry = lab.open()

    first = curl("-i", "--unix-socket", entry, *arguments, "http://localhost/jira/x").stdout
    provider.answer_with(refused)
    second = curl("-i", "--unix-socket", entry, *arguments, "http://localhost/jira/x").stdout

    assert (status_of(first), status_of(second)) == (200, 401)
    assert len(provider.seen) == 4
    assert len({seen.find_all("authorization")[0] for seen in provider.seen}) == 4
    assert len({seen.body for seen in provider.seen}) == 1


def test_a_streamed_body_is_not_sent_again(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    provider.answer_with(NONCE_USED, OK)

    done = curl("-i", "--unix-socket", lab.open(), "-X", "PUT", "--json", "{}", f"{provider.origin}/jira/x")

    assert status_of(done.stdout) == 401
    assert len(provider.seen) == 1


def test_a_header_for_many_requests_is_not_tried_again(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(NONCE_USED)

    assert status_of(curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout) == 401
    assert len(provider.seen) == 1


def hang_up(connection: socket.socket, seen: Seen) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("arguments", "status", "count"), [([], 200, 3), (["-d", "a=b"], 200, 3), (["-T", "-"], 502, 2)])
def test_a_kept_connection_that_was_closed_is_replaced(
    lab: ProxyLab, provider: Provider, arguments: list[str], status: int, count: int
) -> None:
    """Closed by the provider with the request in it; a body that streamed is gone."""
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    provider.answer_with(OK, hang_up, OK)
    entry = lab.open()
    curl("--unix-socket", entry, "http://localhost/jira/first")

    answer = curl("-i", "--unix-socket", entry, *arguments, "http://localhost/jira/x", stdin=b"body").stdout

    assert status_of(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")) == status
    assert len(provider.seen) == count
    assert len({seen.find_all("authorization")[0] for seen in provider.seen}) == count


def test_a_fresh_connection_that_is_closed_is_not_tried_again(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    provider.answer_with(hang_up, OK)

    answer = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (502, "provider_unreachable")
    assert len(provider.seen) == 1


def test_a_provider_that_is_late_has_a_status_of_its_own(lab: ProxyLab, provider: Provider) -> None:
    """504, which proxies answer with when a limit of time ran out; its use counts, for the provider has the request."""
    lab.add_link("jira", f"{provider.origin}/jira", timeout_s=1)
    lease = lab.make_lease("jira", uses=1)
    provider.answer_with(lambda connection, seen: time.sleep(2))

    answer = curl("-i", "--unix-socket", lab.open(lease), "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (504, "provider_unreachable")
    assert lease.uses_left == 0


# --- redirects


def redirect(place: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {place}\r\nContent-Length: 3\r\n\r\nold".encode()


@pytest.mark.parametrize("place", ["/jira/y?a=%7e", "y?a=%7e", "{origin}/jira/y?a=%7e#part"])
def test_a_program_that_knows_only_our_address_gets_what_a_redirect_leads_to(
    lab: ProxyLab, provider: Provider, place: str
) -> None:
    """Attack 21: each hop is signed afresh, and counted."""
    lab.add_link("jira", f"{provider.origin}/jira", scheme="oauth1")
    provider.answer_with(redirect(place.format(origin=provider.origin)), OK)
    lease = lab.make_lease("jira", uses=5)

    done = curl("--unix-socket", lab.open(lease), "http://localhost/jira/x")

    assert done.stdout == b"ok"
    assert [seen.line.split()[1] for seen in provider.seen] == ["/jira/x", "/jira/y?a=%7e"]
    assert len({seen.find_all("authorization")[0] for seen in provider.seen}) == 2
    assert lease.uses_left == 3


def test_a_redirect_is_checked_by_the_leases_rules(lab: ProxyLab, provider: Provider) -> None:
    """Attack 21."""
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(redirect("/jira/secure"), OK)

    answer = curl(
        "-i", "--unix-socket", lab.open(lab.make_lease("jira", allow=("GET /rest/**",))), "http://localhost/jira/rest/x"
    ).stdout

    assert (status_of(answer), code_of(answer)) == (403, "lease_denied")
    assert len(provider.seen) == 1


@pytest.mark.parametrize(
    ("place", "arguments", "url"),
    [
        ("http://other.example.com/jira/y", [], "http://localhost/jira/x"),
        ("/jira-test/y", [], "http://localhost/jira/x"),
        ("/jira/y", ["-d", "a=b"], "http://localhost/jira/x"),
        ("/jira/y", ["-X", "GET", "-d", "a=b"], "http://localhost/jira/x"),
        ("/jira/y", [], "http://{here}/jira/../jira/x"),  # by Host
        ("//[", [], "http://localhost/jira/x"),
    ],
)
def test_other_redirects_are_passed_on(lab: ProxyLab, provider: Provider, place: str, arguments: list[str], url: str) -> None:
    """To another origin or link, of another method, or to a program that knows the real address and follows itself."""
    lab.add_link("jira", f"{provider.origin}/jira")
    lab.add_link("all", provider.origin)
    provider.answer_with(redirect(place))

    answer = curl("-i", "--unix-socket", lab.open(), *arguments, url.format(here=f"127.0.0.1:{provider.port}")).stdout

    assert status_of(answer) == 302
    assert f"\r\nLocation: {place}\r\n".encode() in answer
    assert len(provider.seen) == 1


def test_redirects_end(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(redirect("/jira/x"))

    answer = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout

    assert status_of(answer) == 302
    assert len(provider.seen) == 6


# --- leases


def test_a_use_is_given_back_only_when_nothing_was_sent(lab: ProxyLab, provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    lab.add_link("nobody", f"http://127.0.0.1:{nobody}")
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(hang_up, OK)
    lease = lab.make_lease("jira", "nobody", uses=2)
    entry = lab.open(lease)

    answers, left = [], []
    for path in ("nobody/x", "jira/x", "jira/x", "jira/x"):
        answers.append(curl("-i", "--unix-socket", entry, f"http://localhost/{path}").stdout)
        left.append(lease.uses_left)

    assert list(map(status_of, answers)) == [502, 502, 200, 403]
    assert left == [2, 1, 0, 0]
    assert code_of(answers[-1]) == "lease_used_up"
    assert len(provider.seen) == 2


def test_a_lease_has_eight_requests_at_once(lab: ProxyLab) -> None:
    """The ninth is refused, and sent when one of them has ended."""
    go_on = threading.Event()

    def wait(connection: socket.socket, seen: Seen) -> None:
        go_on.wait(10)
        connection.sendall(OK)

    with Provider(wait) as provider:
        lab.add_link("jira", f"{provider.origin}/jira")
        entry = lab.open(lab.make_lease("jira"))
        request = b"GET /jira/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        waiting = [connect(entry) for _ in range(8)]
        for connection in waiting:
            connection.sendall(request)
        deadline = time.monotonic() + 10
        while len(provider.seen) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        ninth = talk(entry, request)
        go_on.set()
        others = [read_all(connection) for connection in waiting]
        for connection in waiting:
            connection.close()
        tenth = talk(entry, request)

    assert (status_of(ninth), code_of(ninth)) == (403, "lease_busy")
    assert [status_of(answer) for answer in (*others, tenth)] == [200] * 9
    assert len(provider.seen) == 9


def test_all_together_have_a_number_of_requests_at_once(
    lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More wait for a moment, and are refused; never by 429 or 503, at which tools ask again."""
    lab.add_link("jira", f"{provider.origin}/jira")
    monkeypatch.setattr(relay, "WAIT_S", 0.1)
    for _ in range(relay.REQUESTS_MAX):
        lab.run(lab.proxy.relay._places.acquire())

    answer = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout
    lab.proxy.relay._places.release()
    twin = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (403, "proxy_busy")
    assert status_of(twin) == 200


def test_a_refusal_can_be_read_by_every_tool(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    lease = lab.make_lease("jira", allow=("GET /rest/**",))

    answer = curl("-i", "-X", "DELETE", "--unix-socket", lab.open(lease), "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (403, "lease_denied")
    assert refusal_of(answer).startswith("atl-sign: the lease does not allow DELETE /x")
    assert provider.connections == 0


def test_a_link_without_a_token_says_what_to_do(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    lab.safe.forget_token(lab.config.settings().links.get("jira"))

    answer = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (403, "dance_needed")
    assert "atl-sign" in refusal_of(answer)
    assert provider.connections == 0


def test_what_nobody_foresaw_is_not_shown(lab: ProxyLab, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")

    async def fail(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(lab.agent.signing, "sign", fail)

    answer = curl("-i", "--unix-socket", lab.open(), "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (500, "internal")
    assert b"canary" not in answer
