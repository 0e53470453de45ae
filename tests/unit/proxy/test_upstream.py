"""Requests out to the providers: what leaves byte for byte, what comes back, and what becomes of connections that fail."""

import asyncio
import contextlib
import http.server
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from atl_sign.config.links import Link
from atl_sign.proxy.upstream import NotSentError, StaleConnectionError, UnansweredError, UnsendableError
from tests.clients.tls.front import read_request
from tests.lab import REPOSITORY, wait_for
from tests.unit.provider_lab import everything_shown, make_link
from tests.unit.proxy.upstream_lab import Client, Talker, length, run
from tests.unit.raw_server import RawServer, make_certificate, reply, serve_tls

CANARY = b"canary-header-5d21"
SIGNED = (b"Authorization", b"OAuth " + CANARY)
MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def drip(count: int, size: int = 65_536, pause_s: float = 0.0) -> AsyncGenerator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause_s)
        yield b"x" * size


def refusal(link: Link, **request: object) -> UnansweredError:
    """Return the error of a request that is not answered; it never shows what was signed."""
    found: list[UnansweredError] = []

    async def work(client: Client) -> None:
        with pytest.raises(UnansweredError) as refused:
            await client.ask(link, headers=[SIGNED], **request)  # type: ignore[arg-type]  # a test's own
        found.append(refused.value)

    run(work)
    assert CANARY.decode() not in everything_shown(found[0])
    return found[0]


# what goes out


@pytest.mark.parametrize(
    "target",
    [b"/", b"/a//b/../%2e%2E/;x=1", b"/x?", b"/x?a=%zz&b+c&&=&a", b"/\"<>\\^`{|}'[]?\"<>\\^`{|}'[]", b"/" + b"a" * 30_000],
)
def test_a_target_goes_out_byte_for_byte(target: bytes) -> None:
    """However odd: it is what was signed."""

    async def work(client: Client) -> None:
        await client.ask(make_link(server.url), target)

    with RawServer(reply()) as server:
        run(work)

    assert server.requests[0].startswith(b"GET " + target + b" HTTP/1.1\r\n")


def test_headers_go_out_as_they_are() -> None:
    """Names in their case, values in their bytes, twice what comes twice, in their order, and nothing that was not given."""
    headers = [(b"x-B", b"1"), (b"ACCEPT", b"*/*"), (b"X-b", b"2"), (b"X-Name", "ä\xa0".encode()), (b"X-Empty", b""), SIGNED]

    async def work(client: Client) -> None:
        await client.ask(make_link(server.url), headers=headers)

    with RawServer(reply()) as server:
        run(work)

    lines = server.requests[0].split(b"\r\n")
    assert lines[1] == f"Host: 127.0.0.1:{server.port}".encode()
    assert lines[2:] == [*(name + b": " + value for name, value in headers), b"", b""]


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/a b", ()),
        (b"/a\r\nX: y", ()),
        (b"/a\0b", ()),
        (b"", ()),
        (b"/", [(b"X", b"a\r\nY: b")]),
        (b"/", [(b"X Y", b"a")]),
        (b"/", [(b"Content-Length", b"1"), (b"Content-Length", b"2")]),
        (b"/", [(b"Transfer-Encoding", b"gzip")]),
    ],
)
def test_what_is_not_http_does_not_go_out(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Nobody is even connected to."""

    async def work(client: Client) -> None:
        with pytest.raises(UnsendableError):
            await client.ask(make_link(server.url), target, headers=[*headers, SIGNED])

    with RawServer(reply()) as server:
        run(work)

    assert server.connections == 0


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_goes_out_whole(size: int, is_stream: bool, is_chunked: bool) -> None:
    """Held or streamed, counted or in chunks; Python's own server reads it."""
    body = bytes(range(256)) * (size // 256) + b"y" * (size % 256)

    async def stream() -> AsyncGenerator[bytes]:
        for start in range(0, size, 100_000):
            yield body[start : start + 100_000]

    async def work(client: Client) -> None:
        framing = [(b"Transfer-Encoding", b"chunked")] if is_chunked else length(size)
        got = await client.ask(make_link(url), method="POST", headers=framing, body=stream() if is_stream else body)
        assert (got.status, got.body) == (200, b"%d" % size)
        assert received == [body]

    received: list[bytes] = []
    with python_server(received) as url:
        run(work)


@pytest.mark.parametrize("given", [5, 15])
def test_a_body_that_is_not_as_long_as_it_says_breaks_off(given: int) -> None:
    """What follows could be taken for a request of its own."""

    async def work(client: Client) -> None:
        with pytest.raises(UnsendableError):
            await client.ask(make_link(server.url), method="POST", headers=length(10), body=drip(1, given))

    with Talker(lambda connection, _: drain(connection)) as server:
        run(work)


# what comes back


def test_an_answer_comes_as_it_was_sent() -> None:
    """Names, order, repetitions, reason and coded body; interim answers do not count."""
    raw = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 299 All Sorts\r\nset-COOKIE: a\r\nX-B: \xe4\r\nContent-Encoding: gzip\r\nSet-Cookie: b\r\n"
        b"Content-Length: 3\r\n\r\n\x1f\x8bx"
    )

    async def work(client: Client) -> None:
        got = await client.ask(make_link(server.url))
        assert (got.status, got.reason, got.body) == (299, b"All Sorts", b"\x1f\x8bx")
        assert list(got.headers) == [
            (b"set-COOKIE", b"a"),
            (b"X-B", b"\xe4"),
            (b"Content-Encoding", b"gzip"),
            (b"Set-Cookie", b"b"),
            (b"Content-Length", b"3"),
        ]

    with RawServer(raw) as server:
        run(work)


@pytest.mark.parametrize(
    ("method", "raw", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nX: y\r\n\r\n", b"abc"),
        ("GET", b"HTTP/1.1 200 OK\r\n\r\nup to the end", b"up to the end"),
        ("GET", b"HTTP/1.0 200 OK\r\n\r\nup to the end", b"up to the end"),
    ],
)
@pytest.mark.parametrize("is_tls", [True, False])
def test_every_framing_is_understood(method: str, raw: bytes, body: bytes, is_tls: bool, tmp_path: Path) -> None:
    """With and without TLS, whose end is said."""
    certificate = make_certificate(tmp_path, "authority")

    def talk(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(raw)
        if isinstance(connection, ssl.SSLSocket):
            connection.unwrap()

    async def work(client: Client) -> None:
        assert (await client.ask(make_link(server.url, ca_bundle=certificate), method=method)).body == body

    with Talker(talk, serve_tls(certificate) if is_tls else None) as server:
        run(work)


def test_an_end_that_tls_did_not_announce_is_no_end(tmp_path: Path) -> None:
    """Somebody in between may have cut it off; a counted body is whole all the same."""
    certificate = make_certificate(tmp_path, "authority")

    def talk(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nup to the" if number == 0 else OK)
        connection.shutdown(socket.SHUT_WR)

    async def work(client: Client) -> None:
        link = make_link(server.url, ca_bundle=certificate)
        with pytest.raises(UnansweredError, match="the connection broke in the middle of an answer"):
            await client.ask(link)
        assert (await client.ask(link)).body == b"ok"

    with Talker(talk, serve_tls(certificate)) as server:
        run(work)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX-Half",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_no_answer(raw: bytes) -> None:
    """The words are those for every provider."""
    with RawServer(raw) as server:
        error = refusal(make_link(server.url))

    assert (error.message.partition("cannot be reached: ")[2], error.hint) == (
        "the connection broke, or what answers there does not speak HTTP",
        "check the base URL and its port",
    )
    assert not error.nothing_sent
    assert not isinstance(error, StaleConnectionError)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 10\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_an_error_after_what_came(rest: bytes) -> None:
    """The head is there, and the body up to the break."""

    async def work(client: Client) -> None:
        incoming = await client.send(make_link(server.url))
        body = incoming.stream()
        if b"abc" in rest:
            assert await anext(body) == b"abc"
        with pytest.raises(UnansweredError, match="the connection broke in the middle of an answer"):
            await anext(body)
        await incoming.aclose()

    with RawServer(b"HTTP/1.1 200 OK\r\n" + rest) as server:
        run(work)


# answers before the end of the request


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers a POST without reading its body and closes: as something has not been read, the kernel resets the connection."""

    def do_POST(self) -> None:
        self.send_error(413)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Reading(http.server.BaseHTTPRequestHandler):
    """Reads a POST's whole body, and answers how long it was."""

    protocol_version = "HTTP/1.1"
    received: list[bytes]

    def do_POST(self) -> None:
        if self.headers["Transfer-Encoding"] == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(body)
        answer = b"%d" % len(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def python_server(
    received: list[bytes] | None = None, certificate: Path | None = None, kind: type[http.server.BaseHTTPRequestHandler] = Reading
) -> Iterator[str]:
    """Run Python's own HTTP server with *kind*, and give its URL."""
    handler = type("Handler", (kind,), {"received": received})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if certificate is not None:
            server.socket = serve_tls(certificate).wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # it writes about every reset connection
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize("is_tls", [True, False])
@pytest.mark.parametrize("pause_s", [0.0, 0.01])
def test_a_refusal_comes_through_while_the_body_is_being_sent(is_tls: bool, pause_s: float, tmp_path: Path) -> None:
    """Fast and slow bodies, many times over: the answer races against the reset of the connection."""
    certificate = make_certificate(tmp_path, "authority") if is_tls else None

    async def work(client: Client) -> None:
        for _ in range(20):
            got = await client.ask(
                make_link(url, ca_bundle=certificate),
                method="POST",
                headers=length(1600 * 65_536),
                body=drip(1600, pause_s=pause_s),
            )
            assert got.status == 413
            assert b"</html>" in got.body

    with python_server(certificate=certificate, kind=Refusing) as url:
        run(work)


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_a_refusal_ends_the_body_of_a_provider_that_does_not_close(pause_s: float) -> None:
    """It reads no more and waits: the answer is there at once, and the body is closed."""
    is_closed = threading.Event()

    async def body() -> AsyncGenerator[bytes]:
        try:
            async for piece in drip(10_000, pause_s=pause_s):
                yield piece
        finally:
            is_closed.set()

    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope")
        server.stopping.wait(10)

    async def work(client: Client) -> None:
        began_at = time.monotonic()
        got = await client.ask(make_link(server.url), method="POST", headers=length(10_000 * 65_536), body=body())
        assert (got.status, got.body) == (403, b"nope")
        assert time.monotonic() - began_at < 2
        assert is_closed.is_set()

    with Talker(talk) as server:
        run(work)


def test_a_success_does_not_end_the_body() -> None:
    """A provider may say 200 and read on: as with curl, it gets all; the next request goes on the same connection."""
    size = 40 * 65_536
    read: list[int] = []

    def talk(connection: socket.socket, _: int) -> None:
        for _ in range(2):
            data = connection.recv(1000)
            connection.sendall(OK)
            total = len(data.partition(b"\r\n\r\n")[2])
            while total < size:
                total += len(connection.recv(65_536))
            read.append(total)

    async def work(client: Client) -> None:
        for _ in range(2):
            got = await client.ask(make_link(server.url), method="POST", headers=length(size), body=drip(40, pause_s=0.01))
            assert got.body == b"ok"

    with Talker(talk) as server:
        run(work)
        wait_for(lambda: read == [size, size])

    assert server.connections == 1


def test_an_answer_can_come_while_the_request_still_goes() -> None:
    """Both ways at once: what was sent comes back before the rest is sent."""

    def talk(connection: socket.socket, _: int) -> None:
        head = connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + head.partition(b"\r\n\r\n")[2])
        while data := connection.recv(1000):
            connection.sendall(data)

    async def work(client: Client) -> None:
        go_on = asyncio.Event()
        go_on.set()

        async def body() -> AsyncGenerator[bytes]:
            for letter in b"abc":
                await go_on.wait()
                go_on.clear()
                yield bytes([letter]) * 100

        incoming = await client.send(make_link(server.url), method="POST", headers=length(300), body=body())
        found = b""
        async for part in incoming.stream():
            found += part
            if len(found) % 100 == 0:
                go_on.set()
        await incoming.aclose()
        assert found == b"a" * 100 + b"b" * 100 + b"c" * 100

    with Talker(talk) as server:
        run(work)


# time


def test_a_slow_sender_is_no_slow_provider() -> None:
    """The provider's time begins when it has the whole request; the twin answers too late."""

    async def work(client: Client) -> None:
        got = await client.ask(make_link(url, timeout_s=0.3), method="POST", headers=length(100), body=drip(10, 10, 0.1))
        assert got.status == 200

    with python_server([]) as url:
        run(work)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_head_that_does_not_come_in_time_is_not_waited_for(beginning: bytes) -> None:
    """Silence, or a byte now and then."""

    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(beginning)
        server.trickle(b"X" if beginning else b"", connection)

    with RawServer(talk) as server:
        began_at = time.monotonic()
        error = refusal(make_link(server.url, timeout_s=0.3))

        assert time.monotonic() - began_at < 2
        assert "no whole answer within 0.3 s" in error.message
        assert error.is_timeout
        assert not error.nothing_sent
        wait_for(server.is_hung_up_on.is_set)


def test_a_flood_of_interim_answers_holds_nothing_up() -> None:
    """The loop goes on for others, and the time for the head ends."""

    def talk(connection: socket.socket, _: bytes) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000)

    with RawServer(talk) as server:
        began_at = time.monotonic()
        error = refusal(make_link(server.url, timeout_s=0.3))

        assert time.monotonic() - began_at < 2
        assert error.is_timeout


def test_a_body_that_stops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a minute, here less; the twin says a byte now and then, and may take longer altogether than the link's time-out."""
    monkeypatch.setattr("atl_sign.proxy.connection.STALL_S", 0.4)

    def stop(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        server.hang(connection)

    def go_on(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for byte in b"xxxxxxxxxx":
            time.sleep(0.1)
            connection.sendall(bytes([byte]))

    async def work(client: Client) -> None:
        link = make_link(server.url, timeout_s=0.3)
        with pytest.raises(UnansweredError, match="nothing went on for 60 s in the middle of an exchange"):
            await client.ask(link)
        assert (await client.ask(link)).body == b"x" * 10

    with RawServer(stop, go_on) as server:
        run(work)


def test_a_provider_that_takes_no_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a minute, here less, and some seconds for an answer, here none."""
    monkeypatch.setattr("atl_sign.proxy.connection.STALL_S", 0.3)
    monkeypatch.setattr("atl_sign.proxy.connection.AFTERWORD_S", 0.1)

    def talk(*_: object) -> None:
        server.stopping.wait(10)

    with Talker(talk) as server:
        error = refusal_of_upload(make_link(server.url))

    assert "nothing went on for 60 s in the middle of an exchange" in error.message


def refusal_of_upload(link: Link) -> UnansweredError:
    found: list[UnansweredError] = []

    async def work(client: Client) -> None:
        with pytest.raises(UnansweredError) as refused:
            await client.ask(link, method="POST", headers=length(1600 * 65_536), body=drip(1600))
        found.append(refused.value)

    run(work)
    return found[0]


# what the caller does


def test_a_body_that_cannot_be_read_ends_the_request() -> None:
    """The caller's own error comes out, and the provider sees that the request is not whole."""

    async def body() -> AsyncGenerator[bytes]:
        yield b"half"
        raise ConnectionResetError("the program has gone")

    ends: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        try:
            while connection.recv(1000):
                pass
        except ConnectionResetError:
            ends.append(b"reset")

    async def work(client: Client) -> None:
        with pytest.raises(ConnectionResetError, match="the program has gone"):
            await client.ask(make_link(server.url), method="POST", headers=length(10), body=body())
        await asyncio.to_thread(wait_for, lambda: ends == [b"reset"])

    with Talker(talk) as server:
        run(work)


@pytest.mark.parametrize("moment", ["head", "upload", "download"])
def test_a_cancelled_request_leaves_nothing_open(moment: str) -> None:
    """The connection is reset at once: not a byte of what was written and not sent yet goes out."""
    ends: list[str] = []

    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(1000)
        if moment == "download":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        try:
            while connection.recv(65_536):
                pass
        except ConnectionResetError:
            ends.append("reset")

    async def work(client: Client) -> None:
        request = {"method": "POST", "headers": length(10**9), "body": drip(10_000, pause_s=0.01)} if moment == "upload" else {}
        task = asyncio.create_task(client.ask(make_link(server.url, timeout_s=60), **request))  # type: ignore[arg-type]
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_for, lambda: ends == ["reset"])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Talker(talk) as server:
        run(work)


def test_an_answer_that_is_not_read_closes_its_connection() -> None:
    """The next request has another one; an answer without a body leaves it open."""

    def talk(connection: socket.socket, _: int) -> None:
        for answer in (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"):
            read_request(connection)
            connection.sendall(answer)
        drain(connection)

    async def work(client: Client) -> None:
        for expected in (1, 1, 2):
            await (await client.send(make_link(server.url))).aclose()
            assert server.connections == expected

    with Talker(talk) as server:
        run(work)


# kept connections


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
    ],
)
def test_bytes_behind_an_answer_are_not_the_next_one(method: str, head: bytes) -> None:
    """A provider that sends more than its head says poisons no later request, which may be another program's."""

    def talk(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(OK if number else head + OK.replace(b"ok", b"no"))
        drain(connection)

    async def work(client: Client) -> None:
        link = make_link(server.url)
        await client.ask(link, method=method)
        assert (await client.ask(link)).body == b"ok"
        assert server.connections == 2

    with Talker(talk) as server:
        run(work)


def drain(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65_536):
            pass


def answer_all(connection: socket.socket, _: int = 0) -> None:
    while read_request(connection)[0]:
        connection.sendall(OK)


@pytest.mark.parametrize("is_tls", [True, False])
def test_connections_are_kept(is_tls: bool, tmp_path: Path) -> None:
    """One is enough for requests that follow each other, and not for those at once."""
    certificate = make_certificate(tmp_path, "authority")

    async def work(client: Client) -> None:
        link = make_link(server.url, ca_bundle=certificate)
        for _ in range(5):
            assert (await client.ask(link)).body == b"ok"
            assert (await client.ask(link, method="POST", headers=length(3), body=b"abc")).body == b"ok"
        assert server.connections == 1
        answers = [await client.send(link) for _ in range(3)]
        assert server.connections == 3
        for answer in answers:
            await answer.aclose()

    with Talker(answer_all, serve_tls(certificate) if is_tls else None) as server:
        run(work)


@pytest.mark.parametrize("is_tls", [True, False])
def test_a_connection_that_is_over_is_closed_in_peace(is_tls: bool, tmp_path: Path) -> None:
    """Some providers log a reset; TLS has its own word for the end."""
    certificate = make_certificate(tmp_path, "authority")
    ends: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(reply("fine"))  # with Connection: close
        ends.append(connection.recv(100))

    async def work(client: Client) -> None:
        await client.ask(make_link(server.url, ca_bundle=certificate))
        await asyncio.to_thread(wait_for, lambda: ends == [b""])

    tls = serve_tls(certificate) if is_tls else None
    with Talker(talk, tls) as server:
        run(work)


def test_links_do_not_share_a_connection() -> None:
    """Some gateways know a user by the connection."""

    async def work(client: Client) -> None:
        for name in ("mine", "yours", "mine"):
            await client.ask(make_link(server.url, name))

    with Talker(answer_all) as server:
        run(work)

    assert server.connections == 2


def test_other_settings_are_other_connections(tmp_path: Path) -> None:
    """What was connected by a CA that the link no longer trusts is not used again, and closed; a time-out changes nothing."""
    certificate = make_certificate(tmp_path, "authority")
    ended: list[int] = []

    def talk(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            answer_all(connection)
        ended.append(number)

    async def work(client: Client) -> None:
        await client.ask(make_link(server.url, ca_bundle=certificate))
        await client.ask(make_link(server.url, ca_bundle=certificate, timeout_s=7))
        assert server.connections == 1
        with pytest.raises(NotSentError, match="its TLS certificate is not trusted"):
            await client.ask(make_link(server.url, ca_bundle=make_certificate(tmp_path, "other")))
        await asyncio.to_thread(wait_for, lambda: ended[:1] == [0])

    with Talker(talk, serve_tls(certificate)) as server:
        run(work)


def test_a_connection_that_the_provider_has_closed_is_not_used() -> None:
    """It says so before anything is sent, so nobody notices."""

    def talk(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(OK)

    async def work(client: Client) -> None:
        for expected in (1, 2, 3):
            await client.ask(make_link(server.url))
            assert server.connections == expected
            await asyncio.sleep(0.1)

    with Talker(talk) as server:
        run(work)


@pytest.mark.parametrize("is_tls", [True, False])
@pytest.mark.parametrize(
    ("last", "kind"), [(b"", StaleConnectionError), (b"HTTP/1.1 200 OK\r\nX-", UnansweredError), (b"H", UnansweredError)]
)
def test_a_kept_connection_that_ends_before_the_first_byte_is_stale(
    last: bytes, kind: type[UnansweredError], is_tls: bool, tmp_path: Path
) -> None:
    """The request can be sent again, as the provider may never have seen it; with a byte of an answer it has."""
    certificate = make_certificate(tmp_path, "authority")

    def talk(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(OK)
        read_request(connection)
        connection.sendall(last)

    async def work(client: Client) -> None:
        link = make_link(server.url, ca_bundle=certificate)
        await client.ask(link)
        with pytest.raises(UnansweredError) as refused:
            await client.ask(link, headers=[SIGNED])
        assert type(refused.value) is kind
        assert not refused.value.nothing_sent
        assert (await client.ask(link)).body == b"ok"

    with Talker(talk, serve_tls(certificate) if is_tls else None) as server:
        run(work)


def test_a_fresh_connection_is_never_stale() -> None:
    """A provider that closes it may have done what was asked."""
    with RawServer(b"") as server:
        assert type(refusal(make_link(server.url))) is UnansweredError


def test_a_body_that_streams_has_a_fresh_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be sent again; one that has been used a moment ago will do, and held bodies take any."""

    async def work(client: Client) -> None:
        link = make_link(server.url)
        await client.ask(link)
        await client.ask(link, method="POST", headers=length(10), body=drip(1, 10))
        assert server.connections == 1
        monkeypatch.setattr("atl_sign.proxy.upstream.KEPT_S_FOR_STREAMS", 0.0)
        await client.ask(link, method="POST", headers=length(10), body=drip(1, 10))
        assert server.connections == 2
        await client.ask(link, method="POST", headers=length(10), body=b"x" * 10)
        assert server.connections == 2

    with Talker(answer_all) as server:
        run(work)


def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a minute, here less; and there are never more than 32."""
    monkeypatch.setattr("atl_sign.proxy.pool.KEPT_S", 0.5)
    ended: list[int] = []

    def talk(connection: socket.socket, number: int) -> None:
        while read_request(connection)[0]:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        ended.append(number)

    async def work(client: Client) -> None:
        link = make_link(server.url)
        answers = await asyncio.gather(*(client.send(link) for _ in range(36)))
        for answer in answers:
            await answer.aclose()
        await asyncio.to_thread(wait_for, lambda: len(ended) == 4)
        await asyncio.to_thread(wait_for, lambda: len(ended) == 36)
        assert len(client.upstreams._pools) == 0

    with Talker(talk) as server:
        run(work)


def test_closing_ends_everything() -> None:
    """Also what is under way."""
    ended: list[int] = []

    def talk(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            answer_all(connection)
        ended.append(number)

    async def work(client: Client) -> None:
        link = make_link(server.url)
        await client.ask(link)
        under_way = [await client.send(link), await client.send(link)]
        await client.upstreams.aclose()
        await asyncio.to_thread(wait_for, lambda: sorted(ended) == [0, 1])
        for incoming in under_way:
            await incoming.aclose()

    with Talker(talk) as server:
        run(work)


# size

TRANSFERS = """
import asyncio, resource, sys
from pathlib import Path
from tests.unit.provider_lab import make_link
from tests.unit.proxy.upstream_lab import Client

SIZE = 200 << 20
down, up, certificate = sys.argv[1:]

async def body():
    for _ in range(SIZE >> 16):
        yield bytes(1 << 16)

async def main():
    async with Client() as client:
        for url, target, request in (
            (down, b"/small", {}),
            (down, b"/large", {}),
            (up, b"/", {"method": "POST", "headers": [(b"Content-Length", str(SIZE).encode())], "body": body()}),
        ):
            link, size = make_link(url, ca_bundle=Path(certificate), timeout_s=60), 0
            incoming = await client.send(link, target, **request)
            async for part in incoming.stream():
                size += len(part)
            await incoming.aclose()
            print(incoming.status, size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main())
"""


class Discarding(Reading):
    """Reads a body and keeps only its length."""

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.send_response(204)
        self.end_headers()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_200_mebibytes_pass_in_bounded_memory(tmp_path: Path) -> None:
    """OpenSSL's own server sends them, Python's takes them; the process grows by less than 8 MiB."""
    certificate = make_certificate(tmp_path, "authority")
    for name, size in (("small", 1), ("large", 200 * MIB)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-WWW"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sender:
        try:
            wait_for(lambda: listens(port))
            with python_server(certificate=certificate, kind=Discarding) as up:
                done = subprocess.run(
                    [sys.executable, "-c", TRANSFERS, f"https://127.0.0.1:{port}", up, str(certificate)],
                    cwd=REPOSITORY,
                    capture_output=True,
                    text=True,
                    timeout=100,
                )
        finally:
            sender.terminate()

    assert done.returncode == 0, done.stderr
    small, large, sent = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert (small[:2], large[:2], sent[:2]) == ([200, 1], [200, 200 * MIB], [204, 0])
    assert max(large[2], sent[2]) - small[2] < 8 * 1024
