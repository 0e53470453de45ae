"""Heads and bodies that two servers could read differently, slow ones and large ones, on the wire."""

import re
import time

import pytest

from atl_sign.proxy import front, reading
from tests.unit.proxy.front_lab import (
    Provider,
    ProxyLab,
    code_of,
    connect,
    curl,
    read_all,
    status_of,
    talk,
    talk_in_turn,
)


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
        ("POST /jira/x HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, foo\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", 403),
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


def test_requests_can_follow_each_other(lab: ProxyLab, provider: Provider) -> None:
    """The twin: a length once, a body, and the next request after the answer."""
    lab.add_link("jira", f"{provider.origin}/jira")
    first = "POST /jira/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    second = "PUT /jira/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\ndef\r\n0\r\nX-Trailer: x\r\n\r\n"
    third = "GET /jira/c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

    answer = talk_in_turn(lab.open(), first.encode(), second.encode(), third.encode())

    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert [(seen.line.split()[1], seen.body) for seen in provider.seen] == [
        ("/jira/a", b"abc"),
        ("/jira/b", b"def"),
        ("/jira/c", b""),
    ]
    assert b"X-Trailer" not in b"".join(seen.head for seen in provider.seen)


@pytest.mark.parametrize("length", [0, 3])
def test_a_request_before_the_answer_to_the_one_before_is_not_sent(lab: ProxyLab, provider: Provider, length: int) -> None:
    """
    A line break in a value that a script puts into a header makes two requests of one, and both would be signed.

    Behind a body it is seen when the body has been sent; then the first one is answered.
    """
    lab.add_link("jira", f"{provider.origin}/jira")
    first = f"POST /jira/a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{'abc'[:length]}"
    second = "DELETE /jira/b HTTP/1.1\r\nHost: h\r\n\r\n"

    answer = talk(lab.open(), f"{first}{second}".encode())

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n" if length else b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert [seen.line.split()[0] for seen in provider.seen] == ["POST"] * bool(length)


def test_http_1_0_gets_an_answer_and_no_second_one(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    provider.answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")

    answer = talk(lab.open(), b"GET /jira/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")

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


def test_a_head_can_come_in_pieces(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    with connect(lab.open()) as connection:
        for byte in b"GET /jira/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(0.001)
        answer = read_all(connection)

    assert status_of(answer) == 200


def test_a_head_of_bare_line_feeds_is_not_waited_for(lab: ProxyLab) -> None:
    """Its end, as other servers see it, never comes."""
    assert status_of(talk(lab.open(), b"GET / HTTP/1.1\nHost: h\n\n")) == 400
