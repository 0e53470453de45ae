"""Connections: each in a thread of its own, request after request, and all of them ended when the listener is."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from atl_sign.sandbox.wire import (
    Answer,
    Request,
    StreamedAnswer,
    WireError,
    format_answer,
    format_streamed,
    iterate_body,
    make_text,
    read_body,
    read_head,
)

HOST = "127.0.0.1"
StreamingHandler = Callable[[Request, Iterator[bytes]], Answer | StreamedAnswer]

_IDLE_S = 60.0  # an idle connection is closed after this
_DRAIN_S = 1.0  # how long the rest of a refused request is read, so that its sender gets to see the answer
_DRAIN_BYTES_MAX = 33_554_432


class Listener(socketserver.ThreadingTCPServer):
    """Takes connections, each in a thread, and knows the open ones so that its end is theirs."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        answer_request: Callable[[Request], Answer],
        format_date: Callable[[], str],
        find_streaming: Callable[[Request], StreamingHandler | None] = lambda request: None,  # noqa: ARG005 - nothing streams
    ) -> None:
        """
        Listen.

        Args:
            address: where.
            answer_request: answers a request that was read with its body.
            format_date: gives the Date header's value.
            find_streaming: gives, by a request's head, what answers it while its body comes; None: `answer_request` does.
        """
        super().__init__(address, _Connection)
        self.answer_request = answer_request
        self.find_streaming = find_streaming
        self.format_date = format_date
        self._open: set[socket.socket] = set()
        self._has_ended = threading.Event()

    def serve(self) -> None:
        """Take connections until `end`. Not `serve_forever`, which would poll."""
        while True:
            connection, address = self.get_request()
            if self._has_ended.is_set():
                connection.close()
                return
            self._open.add(connection)
            self.process_request(connection, address)

    def end(self) -> None:
        """Make `serve` return; for another thread to call."""
        self._has_ended.set()
        with suppress(OSError):  # the thread has been woken by somebody else
            socket.create_connection((str(self.server_address[0]), self.server_address[1]), timeout=1).close()

    def wait(self, delay_s: float) -> bool:
        """Return after *delay_s*, or when the listener ends; tells whether it has ended."""
        return self._has_ended.wait(delay_s)

    def close(self) -> None:
        """End every open connection, wait for their threads, and close the port; after `serve` has returned."""
        for connection in list(self._open):
            with suppress(OSError):  # the peer was faster
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection with its end."""
        self._open.discard(request)
        super().shutdown_request(request)


class ServedPort:
    """A listener in a thread of its own, which can be started again on the same port."""

    def __init__(
        self,
        port: int,
        answer_request: Callable[[Request], Answer],
        format_date: Callable[[], str],
        find_streaming: Callable[[Request], StreamingHandler | None] = lambda request: None,  # noqa: ARG005 - nothing streams
    ) -> None:
        """Prepare to listen on *port* of 127.0.0.1, or on any free one for 0; the other arguments are the listener's."""
        self.port = port
        self._answer_request = answer_request
        self._format_date = format_date
        self._find_streaming = find_streaming
        self._running: tuple[Listener, threading.Thread] | None = None

    @property
    def origin(self) -> str:
        """The address of this port, once it was started."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Listen and serve; returns once connections are taken. Raises OSError, whose `filename` names the port."""
        try:
            listener = Listener((HOST, self.port), self._answer_request, self._format_date, self._find_streaming)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, f"port {self.port}") from exc
        self.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve, name="sandbox")
        thread.start()
        self._running = listener, thread

    def stop(self) -> None:
        """Close every connection and the port; does nothing when it is not started."""
        if self._running is not None:
            listener, thread = self._running
            listener.end()
            thread.join()
            listener.close()
            self._running = None


class _Connection(socketserver.StreamRequestHandler):
    """One connection, request after request."""

    server: Listener
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until one side has had enough: also of waiting, or by vanishing."""
        with suppress(OSError):
            while self._handle_one():
                pass

    def _handle_one(self) -> bool:
        stream: Any = self.rfile  # a BufferedReader is enough
        try:
            head = read_head(stream, self.wfile.write)
            if head is None:
                return False
            handler = self.server.find_streaming(head)
            if handler is not None:
                return self._stream(head, handler, iterate_body(stream, head))
            request = read_body(stream, head)
        except WireError as exc:
            self.wfile.write(
                format_answer(make_text(exc.message + "\n", exc.status), self.server.format_date(), is_head=False, closes=True)
            )
            self._drain()
            return False
        found = self.server.answer_request(request)
        has_ended = found.delay_s > 0 and self.server.wait(found.delay_s)
        if found.is_lost or has_ended:
            return False
        closes = not request.keeps_alive
        self.wfile.write(format_answer(found, self.server.format_date(), is_head=request.method == "HEAD", closes=closes))
        return not closes

    def _stream(self, request: Request, handler: StreamingHandler, body: Iterator[bytes]) -> bool:
        """Answer while the body comes; raises WireError for a malformed one as long as nothing was answered."""
        found = handler(request, body)
        date = self.server.format_date()
        if isinstance(found, StreamedAnswer):
            for piece in format_streamed(found, date, is_chunked=request.version == b"HTTP/1.1"):
                self.wfile.write(piece)
        else:
            self.wfile.write(format_answer(found, date, is_head=request.method == "HEAD", closes=not request.keeps_alive))
        try:
            for _ in body:  # what the handler had no use for
                pass
        except WireError:
            return False
        return request.keeps_alive

    def _drain(self) -> None:
        """Read what still comes: closing over unread bytes resets the connection, and the answer would be lost."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_DRAIN_S)
        rest = _DRAIN_BYTES_MAX
        while rest > 0 and (piece := self.connection.recv(65_536)):
            rest -= len(piece)
