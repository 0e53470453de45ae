"""What is kept for `atl-sign why` of a product's answers, and of requests that came in one of the proxy's forms."""

import socket
import threading
from contextlib import suppress

import pytest

from tests.agent_lab import CALLER
from tests.lab import DEADLINE_S, wait_for
from tests.unit.proxy.front_lab import OK, TOKEN, Provider, ProxyLab, Seen, code_of, connect, status_of, talk

EMPTY = b"Content-Length: 0\r\n\r\n"
PROBLEM = b'WWW-Authenticate: OAuth realm="x",oauth_problem="token_revoked"\r\n'


@pytest.mark.parametrize(
    ("scheme", "answer", "meaning"),
    [
        ("bearer", b"HTTP/1.1 403 Forbidden\r\n" + EMPTY, ("forbidden", "atl-sign check jira prints the user")),
        ("bearer", b"HTTP/1.1 401 Unauthorized\r\n" + EMPTY, ("unauthorized", "atl-sign check jira")),
        ("bearer", b"HTTP/1.1 200 OK\r\nX-AUSERNAME: anonymous\r\n" + EMPTY, ("anonymous", "atl-sign check jira")),
        (
            "oauth1",
            b"HTTP/1.1 401 Unauthorized\r\nX-AUSERNAME: anonymous\r\n" + PROBLEM + EMPTY,
            ("token_revoked", "atl-sign dance jira"),
        ),
        (
            "oauth1",
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: OAuth realm=x\r\n" + EMPTY,
            ("unauthorized", "atl-sign check"),
        ),
    ],
)
def test_a_products_refusal_has_a_meaning(
    lab: ProxyLab, provider: Provider, scheme: str, answer: bytes, meaning: tuple[str, str]
) -> None:
    """One for each answer, with link, lease and address; the answer itself passes unchanged."""
    code, hint = meaning
    provider.answer_with(answer)
    lab.add_link("jira", f"{provider.origin}/jira", scheme)
    lease = lab.make_lease("jira")

    told = talk(lab.open(lease), b"GET /jira/rest/x?canary=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    (kept,) = lab.agent.refusals.list_all(CALLER)
    assert status_of(told) == status_of(answer)
    assert (kept.by, kept.code, kept.link, kept.leases) == ("product", code, "jira", ("aa",))
    assert (kept.hint or "").startswith(hint)
    assert (kept.address.method, kept.address.host, kept.address.path) == ("GET", f"127.0.0.1:{provider.port}", "/jira/rest/x")
    assert TOKEN not in repr(kept)
    assert "canary" not in repr(kept)


def test_what_is_no_refusal_is_not_kept(lab: ProxyLab, provider: Provider) -> None:
    """Neither what works, nor what is not there, nor an error of the product's own."""
    provider.answer_with(OK, b"HTTP/1.1 404 Not Found\r\n" + EMPTY, b"HTTP/1.1 500 Internal Server Error\r\n" + EMPTY)
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira"))

    for _ in range(3):
        talk(entry, b"GET /jira/rest/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert len(provider.seen) == 3
    assert lab.agent.refusals.list_all(CALLER) == []


def test_a_socks_target_that_is_refused_is_kept(lab: ProxyLab, provider: Provider) -> None:
    """It is no HTTP, and is listed as CONNECT."""
    lab.add_link("jira", f"{provider.origin}/jira")

    talk(lab.open(lab.make_lease("jira")), b"\x05\x01\x00\x05\x01\x00\x03\x15elsewhere.example.com\x01\xbb")

    (kept,) = lab.agent.refusals.list_all(CALLER)
    assert (kept.code, kept.address.method, kept.address.host) == ("lease_denied", "CONNECT", "elsewhere.example.com:443")


SCOPE = b'{"code":401,"message":"Unauthorized; scope does not match"}'
JSON = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
GET = b"GET /jira/rest/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_a_missing_scope_is_read_in_the_body(lab: ProxyLab, provider: Provider) -> None:
    """Which passes all the same, to the byte, and the connection can be used again; the twins: to a HEAD, and in a page."""
    answer = JSON + b"Content-Length: %d\r\n\r\n%b" % (len(SCOPE), SCOPE)
    page = answer.replace(b"application/json", b"text/html")
    provider.answer_with(answer, answer[: -len(SCOPE)], page, OK)
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira"))

    get = GET.replace(b" /", f" {provider.origin}/".encode(), 1).replace(b"localhost", provider.origin[7:].encode())
    answers = [talk(entry, get), talk(entry, get.replace(b"GET", b"HEAD", 1)), talk(entry, get), talk(entry, get)]

    assert [status_of(each) for each in answers] == [401, 401, 401, 200]
    assert [each.partition(b"\r\n\r\n")[2] for each in answers] == [SCOPE, b"", SCOPE, b"ok"]
    kept = [(each.code, each.address.method) for each in reversed(lab.agent.refusals.list_all(CALLER))]
    assert kept == [("insufficient_scope", "GET"), ("unauthorized", "HEAD"), ("unauthorized", "GET")]


def test_a_body_that_breaks_off_before_its_words(lab: ProxyLab, provider: Provider) -> None:
    """Nothing has been passed on yet, so that it is an error of the proxy's with a name."""

    def cut(stream: socket.socket, _: Seen) -> None:
        stream.sendall(JSON + b"Content-Length: 100\r\n\r\n{")
        stream.shutdown(socket.SHUT_RDWR)

    provider.answer_with(cut, OK)
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira"))

    answer = talk(entry, GET)

    assert (status_of(answer), code_of(answer)) == (502, "provider_unreachable")
    assert status_of(talk(entry, GET)) == 200


def test_a_client_that_leaves_before_the_words(lab: ProxyLab, provider: Provider) -> None:
    """The connection to the provider is given up, and the place of the request is free again."""
    has_ended = threading.Event()

    def wait(stream: socket.socket, _: Seen) -> None:
        stream.sendall(JSON + b"Content-Length: 100\r\n\r\n{")
        with suppress(OSError):
            assert stream.recv(1) == b""
        has_ended.set()

    provider.answer_with(wait, OK)
    lab.add_link("jira", f"{provider.origin}/jira")
    lease = lab.make_lease("jira")
    entry = lab.open(lease)
    with connect(entry) as connection:
        connection.sendall(GET)
        wait_for(lambda: provider.seen)

    assert has_ended.wait(DEADLINE_S)
    wait_for(lambda: not lab.tasks)
    for _ in range(9):  # one more than the places of a lease
        assert status_of(talk(entry, GET)) == 200


def test_an_endless_refusal_streams(lab: ProxyLab, provider: Provider) -> None:
    """Only its beginning is held back."""
    is_read = threading.Event()

    def trickle(stream: socket.socket, _: Seen) -> None:
        stream.sendall(JSON + b"\r\n" + b" " * 8_192)
        is_read.wait(DEADLINE_S)
        stream.shutdown(socket.SHUT_RDWR)

    provider.answer_with(trickle)
    lab.add_link("jira", f"{provider.origin}/jira")
    with connect(lab.open(lab.make_lease("jira"))) as connection:
        connection.sendall(GET)
        got = b""
        while got.count(b" ") < 8_192:
            got += connection.recv(65_536)
        is_read.set()

    assert status_of(got) == 401
