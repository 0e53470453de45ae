"""One connection without a process: deadlines by a clock that the test moves, and which one goes when there are too many."""

import asyncio
import errno
import json
import logging
import resource
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from atl_sign.server import connections
from atl_sign.server.connections import IDLE_S, REQUEST_S, UNREAD_S, AcceptFailures, Connection, connections_max, drop_waiting

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BODY_HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf"


class Lab:
    """Connections to an application that answers `ok` when `may_answer` is set, and has read the body unless told not to."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.reads_body = True
        self.answer = b"ok"
        self.seen: list[str] = []  # the types of the messages that the application received
        self._config = uvicorn.Config(
            self._app, interface="asgi3", proxy_headers=False, ws="none", lifespan="off", log_config=None
        )
        self._config.load()
        self._peers: list[socket.socket] = []

    async def connect(self, sent: bytes = b"") -> tuple[Connection, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._peers.append(theirs)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self._config, self.state, {}), sock=ours)
        if sent:
            await loop.sock_sendall(theirs, sent)
        await self.settle()
        return connection, theirs

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def look(self, connection: Connection, seconds: float) -> None:
        """Look at *connection* as the server does now and then, with a clock that is *seconds* further."""
        connection.drop_when_late(asyncio.get_running_loop().time() + seconds)
        await self.settle()

    async def close(self) -> None:
        for connection in list(self.state.connections):
            connection.transport.abort()
        await self.settle()
        for peer in self._peers:
            peer.close()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        while self.reads_body:
            message = await receive()
            self.seen.append(message["type"])
            if message["type"] == "http.disconnect":
                return
            if not message["more_body"]:
                break
        await self.may_answer.wait()
        headers = [(b"content-length", b"%d" % len(self.answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer})


def in_lab(test: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        lab = Lab()
        try:
            await test(lab)
        finally:
            await lab.close()

    asyncio.run(run())


def received(peer: socket.socket) -> bytes | None:
    """What came; with None at its end when the connection is open, nothing came."""
    try:
        return peer.recv(1 << 20)
    except BlockingIOError:
        return None


def test_a_connection_that_says_nothing_is_closed() -> None:
    """After REQUEST_S, and not before."""

    async def test(lab: Lab) -> None:
        connection, peer = await lab.connect()
        await lab.look(connection, REQUEST_S - 1)
        assert received(peer) is None

        await lab.look(connection, REQUEST_S + 1)

        assert received(peer) == b""

    in_lab(test)


@pytest.mark.parametrize("first", [b"", REQUEST])
@pytest.mark.parametrize("half", [b"GE", REQUEST[:-2], BODY_HALF])
def test_half_a_request_is_told_and_closed(first: bytes, half: bytes) -> None:
    """uvicorn's own timeout ends with the first byte; the application stops waiting for the rest."""

    async def test(lab: Lab) -> None:
        connection, peer = await lab.connect(first)
        assert received(peer) == (ANSWER if first else None)
        await asyncio.get_running_loop().sock_sendall(peer, half)
        await lab.settle()
        await lab.look(connection, REQUEST_S - 1)
        assert received(peer) is None

        await lab.look(connection, REQUEST_S + 1)

        answer = received(peer)
        assert answer is not None
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"
        assert received(peer) == b""
        assert ("http.disconnect" in lab.seen) == (half is BODY_HALF)

    in_lab(test)


def test_between_two_requests_it_may_wait_longer() -> None:
    """A client's pool keeps its connections; for IDLE_S."""

    async def test(lab: Lab) -> None:
        connection, peer = await lab.connect(REQUEST)
        assert received(peer) == ANSWER
        await lab.look(connection, IDLE_S - 1)
        assert received(peer) is None

        await lab.look(connection, IDLE_S + 1)

        assert received(peer) == b""

    in_lab(test)


def test_a_request_that_is_being_answered_is_never_late() -> None:
    """A dance is waited for up to a minute; another request may stand behind it meanwhile, whole or half."""

    async def test(lab: Lab) -> None:
        for behind in (b"", REQUEST, b"GET", BODY_HALF):
            lab.may_answer.clear()
            connection, peer = await lab.connect(REQUEST + behind)
            await lab.look(connection, 500)
            assert received(peer) is None
            assert drop_waiting([connection], 1) == 0

            lab.may_answer.set()
            await lab.settle()

            answer = received(peer)
            assert answer is not None
            assert answer.startswith(ANSWER)

    in_lab(test)


def test_a_peer_that_ends_its_side_gets_its_answers() -> None:
    """As `nc -N` and shutdown(2) do it, with one request or two, at once or later; then the connection ends."""

    async def test(lab: Lab) -> None:
        for requests, answers in ((REQUEST, ANSWER), (REQUEST * 2, ANSWER * 2)):
            lab.may_answer.clear()
            connection, peer = await lab.connect(requests)
            peer.shutdown(socket.SHUT_WR)
            await lab.settle()
            await lab.look(connection, 500)
            assert received(peer) is None

            lab.may_answer.set()
            await lab.settle()

            assert received(peer) == answers
            assert received(peer) == b""
            assert connection not in lab.state.connections

    in_lab(test)


@pytest.mark.parametrize("first", [b"", REQUEST])
def test_a_peer_that_ends_its_side_without_a_request_is_closed(first: bytes) -> None:
    """It can ask for nothing any more."""

    async def test(lab: Lab) -> None:
        connection, peer = await lab.connect(first)
        peer.shutdown(socket.SHUT_WR)
        await lab.settle()

        assert received(peer) == (ANSWER if first else b"")
        assert connection not in lab.state.connections

    in_lab(test)


@pytest.mark.parametrize("half", [b"GE", REQUEST[:-2], BODY_HALF])
def test_half_a_request_and_an_end_is_told(half: bytes) -> None:
    """The application stops waiting for the rest."""

    async def test(lab: Lab) -> None:
        _, peer = await lab.connect(half)
        peer.shutdown(socket.SHUT_WR)
        await lab.settle()

        answer = received(peer)
        assert answer is not None
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"] == "the request ended before it was whole"
        assert received(peer) == b""
        assert ("http.disconnect" in lab.seen) == (half is BODY_HALF)

    in_lab(test)


def test_a_peer_that_hangs_up_is_waited_for_no_more() -> None:
    """Its request is over at once; or, when it had ended its own side before, as soon as somebody looks."""

    async def test(lab: Lab) -> None:
        lab.may_answer.clear()
        for is_half_closed_before in (False, True):
            connection, peer = await lab.connect(REQUEST)
            if is_half_closed_before:
                peer.shutdown(socket.SHUT_WR)
                await lab.settle()
                assert connection in lab.state.connections
            peer.close()
            await lab.look(connection, 1)

            assert connection not in lab.state.connections

    in_lab(test)


def test_a_body_that_nobody_waits_for_is_cut_off_without_a_second_answer() -> None:
    """Answered before the body was whole (as `too_large` is): a further answer would belong to no request."""

    async def test(lab: Lab) -> None:
        lab.reads_body = False
        connection, peer = await lab.connect(BODY_HALF)
        assert received(peer) == ANSWER

        await lab.look(connection, REQUEST_S + 1)

        assert received(peer) == b""

    in_lab(test)


def test_a_body_that_comes_after_its_answer_leaves_the_connection_idle() -> None:
    """It is good for another request, and closed after IDLE_S."""

    async def test(lab: Lab) -> None:
        lab.reads_body = False
        connection, peer = await lab.connect(BODY_HALF)
        assert received(peer) == ANSWER
        await asyncio.get_running_loop().sock_sendall(peer, b"x" * 46)
        await lab.settle()
        await lab.look(connection, REQUEST_S + 1)
        assert received(peer) is None

        await lab.look(connection, IDLE_S + 1)

        assert received(peer) == b""

    in_lab(test)


def test_answers_that_nobody_reads_are_dropped() -> None:
    """They would stay in memory, and their connection open, for ever."""

    async def test(lab: Lab) -> None:
        lab.answer = b"x" * 3_000_000
        connection, _ = await lab.connect(REQUEST)
        await lab.look(connection, 0)
        await lab.look(connection, UNREAD_S - 1)
        assert connection in lab.state.connections

        await lab.look(connection, UNREAD_S + 1)

        assert connection not in lab.state.connections

    in_lab(test)


def test_an_answer_that_was_read_in_time_is_fine() -> None:
    """The twin: the clock of the one above starts anew."""

    async def test(lab: Lab) -> None:
        lab.answer = b"x" * 3_000_000
        connection, peer = await lab.connect(REQUEST)
        await lab.look(connection, 0)
        while received(peer):
            await lab.settle()

        await lab.look(connection, UNREAD_S + 1)

        assert connection in lab.state.connections

    in_lab(test)


def test_the_longest_waiting_is_dropped() -> None:
    """Not the one that asked lately, nor the one that is being answered."""

    async def test(lab: Lab) -> None:
        first, _ = await lab.connect(REQUEST)
        second, _ = await lab.connect()
        third, _ = await lab.connect(REQUEST)
        lab.may_answer.clear()
        await lab.connect(REQUEST)

        dropped = []
        while drop_waiting(lab.state.connections, 1):
            before = set(lab.state.connections)
            await lab.settle()
            dropped += list(before - set(lab.state.connections))

        assert dropped == [first, second, third]
        assert len(lab.state.connections) == 1

    in_lab(test)


def test_with_all_at_work_the_next_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words; those that wait for us lose nothing, and with one idle there is room."""

    async def test(lab: Lab) -> None:
        monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
        lab.may_answer.clear()
        _, first = await lab.connect(REQUEST)
        _, second = await lab.connect(REQUEST)

        _, third = await lab.connect()

        refusal = received(third)
        assert refusal is not None
        assert b"too many requests" in refusal
        assert received(third) == b""
        lab.may_answer.set()
        await lab.settle()
        assert (received(first), received(second)) == (ANSWER, ANSWER)
        _, fourth = await lab.connect(REQUEST)
        assert received(fourth) == ANSWER

    in_lab(test)


@pytest.mark.parametrize(("files", "expected"), [(1 << 16, 1000), (256, 128), (100, 8), (resource.RLIM_INFINITY, 1000)])
def test_the_limit_of_open_files_limits_connections(monkeypatch: pytest.MonkeyPatch, files: int, expected: int) -> None:
    """Some are kept for what the requests need."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))

    assert connections_max() == expected


def test_full_tables_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio logs a traceback with each try; other exceptions it tells as before."""

    async def test(lab: Lab) -> None:
        _, peer = await lab.connect()
        loop = asyncio.get_running_loop()
        failures = AcceptFailures(lab.state.connections)
        context = {
            "message": "socket.accept() out of system resource",
            "exception": OSError(errno.EMFILE, "Too many open files"),
        }

        for _ in range(3):
            failures(loop, context)
        await lab.settle()

        assert received(peer) == b""
        assert [record.name for record in caplog.records] == ["atl_sign"]
        failures(loop, {"message": "something else"})
        assert caplog.records[-1].name == "asyncio"

    with caplog.at_level(logging.WARNING):
        in_lab(test)
