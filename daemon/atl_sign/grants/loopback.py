"""
The loopback edge: one listener on this machine that takes a dance's answer out of the user's browser, once.

Any program and any web page on this machine can knock here. Where the provider lets us choose, the address holds a random part;
the answer itself is bound to the dance, and a caller without it learns nothing and changes nothing. Requests are taken apart by
httptools, as those on the daemon's socket are: the standard library's http.server bounds each read but not the whole request in
size and time, and asks the DNS for its own name.
"""

import errno
import hmac
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus

from atl_sign.base.errors import BadRequestError
from atl_sign.grants.loopback_page import PAGE_HEADERS, CallbackPage, render_page
from atl_sign.schemes.base import NoAnswerError, OtherDanceError, RedirectPlace

__all__ = ["CallbackListener", "CallbackPage"]

ADDRESS = "127.0.0.1"
ADDRESS_6 = "::1"  # where a browser may look for "localhost" first
CONNECTIONS_MAX = 8  # a browser opens two or three, some of which it never uses
CONNECTION_S = 10.0  # for a whole request to come in, and for its answer to go out
CLOSE_WAIT_S = 2.0  # how long `close` waits for an answer that is on its way
HEAD_BYTES_MAX = 16_384  # the request line with its token has 200 bytes; cookies of other ports' pages come along

_POLL_S = 0.5
_log = logging.getLogger("atl_sign")

_WAITING = "The sign-in is still waiting."
_UNREADABLE = CallbackPage(
    "atl-sign cannot read this request", f"The browser sent something unexpected. {_WAITING}", is_good=False
)
_NOTHING_HERE = CallbackPage(
    "Nothing is at this address", f"Only the product can send a browser here, with its response. {_WAITING}", is_good=False
)
_NO_ANSWER = CallbackPage(
    "This response is incomplete",
    f"The address does not contain the product's answer. {_WAITING}\nOpen the address that your terminal shows.",
    is_good=False,
)
_OTHER_DANCE = CallbackPage(
    "This response belongs to a different sign-in",
    "The sign-in that you started last is still waiting.\nOpen the address that your terminal shows.",
    is_good=False,
)
_OVER = CallbackPage(
    "This sign-in is already over",
    "atl-sign has already received the response. Your terminal shows the result.",
    is_good=False,
    command="atl-sign status",
)


class _UnreadableError(Exception):
    """The bytes are not a request that we read."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__()
        self.status = status


class _Head:
    """A request's line and headers, as httptools reports them."""

    __slots__ = ("hosts", "is_complete", "method", "target")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.hosts: list[bytes] = []
        self.is_complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"host":
            self.hosts.append(value)

    def on_headers_complete(self) -> None:
        self.is_complete = True


class CallbackListener:
    """A listener for one dance's answer."""

    def __init__(self, place: RedirectPlace, receive: Callable[[str], CallbackPage], failed: CallbackPage) -> None:
        """
        Prepare a listener; `open` starts it.

        Args:
            place: where it listens.
            receive: takes the query that came, and returns the page to show. It runs in one of the listener's threads, one call
                at a time, and may take as long as it needs: the browser waits. When it has returned (or failed), nothing is
                received any more. It raises NoAnswerError and OtherDanceError for what does not belong to the dance.
            failed: the page to show when *receive* raises anything else.
        """
        self.url = ""  # where the provider shall send the browser; known once the listener is open
        self._place = place
        self._receive = receive
        self._failed = failed
        self._host = b""
        self._path = b""
        self._turn = threading.Lock()  # around `receive` and what follows from it: a second browser waits here
        self._is_over = False
        self._closing = threading.Event()
        self._listeners: list[tuple[socket.socket, threading.Thread]] = []
        self._changed = threading.Condition()  # around the next two
        self._reading: dict[socket.socket, None] = {}  # connections that have not said all yet, the oldest first
        self._answering: dict[socket.socket, threading.Thread] = {}

    def open(self) -> None:
        """Listen; raises BadRequestError when this machine does not let us listen there."""
        sockets = _listen(self._place)
        host = f"{self._place.host}:{sockets[0].getsockname()[1]}"
        path = self._place.path or f"/callback/{secrets.token_urlsafe(16)}"
        self.url = f"http://{host}{path}"
        self._host = host.encode()
        self._path = path.encode()
        for listener in sockets:
            listener.settimeout(_POLL_S)
            thread = threading.Thread(target=self._accept, args=(listener,), name="callback-listener", daemon=True)
            thread.start()
            self._listeners.append((listener, thread))

    def free_port(self) -> None:
        """Take no more connections; those that were taken go on. May be called more than once, and from within `receive`."""
        self._closing.set()
        for listener, _ in self._listeners:
            _cut(listener)  # wakes the thread in `accept` on Linux; elsewhere it looks up by itself
        for _, thread in self._listeners:
            thread.join()

    def close(self) -> None:
        """
        Free the port and cut off connections that have not sent a whole request.

        An answer on its way is waited for, CLOSE_WAIT_S at most; one that takes longer still goes out afterwards. May be called
        more than once and from within `receive`, whose own answer it doesn't wait for.
        """
        self.free_port()
        with self._changed:
            while self._reading:
                _cut(self._reading.popitem()[0])
            if threading.current_thread() not in self._answering.values():
                self._changed.wait_for(lambda: not self._answering, CLOSE_WAIT_S)

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._closing.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError:  # the browser hung up already, or the process has no file descriptor left
                    self._closing.wait(_POLL_S)
                    continue
                self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        """Give *connection* a thread; when there are too many, the oldest that has not said all makes room."""
        with self._changed:
            if len(self._reading) + len(self._answering) >= CONNECTIONS_MAX:
                oldest = next(iter(self._reading), None)
                if oldest is None:
                    connection.close()
                    return
                del self._reading[oldest]
                _cut(oldest)
            self._reading[connection] = None  # before its thread looks for it
        threading.Thread(target=self._serve, args=(connection,), name="callback-connection", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):  # the browser went away or was too slow: there is nobody to tell
                try:
                    head = _read_head(connection)
                except _UnreadableError as exc:
                    _write(connection, exc.status, _UNREADABLE)
                    return
                with self._changed:
                    if connection not in self._reading:
                        return  # cut off at the last moment; an answer that nobody would see must not be used up
                    del self._reading[connection]
                    self._answering[connection] = threading.current_thread()
                status, page = self._answer(head)
                _write(connection, status, page, has_body=head.method != b"HEAD")
        finally:
            with self._changed:
                self._reading.pop(connection, None)
                self._answering.pop(connection, None)
                self._changed.notify_all()

    def _answer(self, head: _Head) -> tuple[HTTPStatus, CallbackPage]:
        # A page on another site can bring its own name to point here (DNS rebinding); its requests then say that name.
        if head.hosts != [self._host]:
            return HTTPStatus.BAD_REQUEST, _UNREADABLE
        path, _, query = head.target.partition(b"?")
        if not hmac.compare_digest(path, self._path):
            return HTTPStatus.NOT_FOUND, _NOTHING_HERE
        if head.method != b"GET":  # a HEAD, by a link checker say, must not use the verifier up
            return HTTPStatus.METHOD_NOT_ALLOWED, _NOTHING_HERE
        if not query.isascii():
            return HTTPStatus.BAD_REQUEST, _NO_ANSWER
        with self._turn:
            if self._is_over:
                return HTTPStatus.GONE, _OVER
            try:
                page = self._receive(query.decode("ascii"))
            except NoAnswerError:
                return HTTPStatus.BAD_REQUEST, _NO_ANSWER
            except OtherDanceError:
                return HTTPStatus.BAD_REQUEST, _OTHER_DANCE
            except Exception as exc:
                # The verifier may be spent, so this was the one use. The error's text could hold it: only the kind is logged.
                self._is_over = True
                _log.error("a dance's answer met an unforeseen %s", type(exc).__name__)
                return HTTPStatus.INTERNAL_SERVER_ERROR, self._failed
            self._is_over = True
        return HTTPStatus.OK, page


def _listen(place: RedirectPlace) -> list[socket.socket]:
    """Return the sockets that *place* needs, the first one on 127.0.0.1; raises BadRequestError."""
    sockets: list[socket.socket] = []
    try:
        sockets.append(socket.create_server((ADDRESS, place.port)))
        if place.host == "localhost":
            with _suppress_absent_family():
                port = sockets[0].getsockname()[1]
                sockets.append(socket.create_server((ADDRESS_6, port), family=socket.AF_INET6))
    except OSError as exc:
        for each in sockets:
            each.close()
        if exc.errno == errno.EADDRINUSE:
            raise BadRequestError(
                f"another program listens on port {place.port}, where the browser is to bring the answer",
                "end that program or dance, and try again; or give the link another redirect port, and register the new address",
            ) from exc
        raise BadRequestError(f"cannot listen on {ADDRESS} for the browser's answer: {exc.strerror}") from exc
    return sockets


@contextmanager
def _suppress_absent_family() -> Iterator[None]:
    """Go on without IPv6 on a machine that has none."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise


def _read_head(connection: socket.socket) -> _Head:
    """
    Read one request up to the end of its headers.

    Raises:
        OSError: it is not there after CONNECTION_S, or its sender hung up.
        _UnreadableError: it is not HTTP, or its head is over HEAD_BYTES_MAX.
    """
    from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

    head = _Head()
    parser = HttpRequestParser(head)
    deadline = time.monotonic() + CONNECTION_S
    size = 0
    while not head.is_complete:
        # At each turn anew: a sender of one byte a second must not stay for hours.
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        data = connection.recv(4096)
        if not data:
            raise ConnectionAbortedError
        size += len(data)
        if size > HEAD_BYTES_MAX:
            raise _UnreadableError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise _UnreadableError(HTTPStatus.BAD_REQUEST) from None  # the parser's words could quote the request
    head.method = parser.get_method()
    return head


def _write(connection: socket.socket, status: HTTPStatus, page: CallbackPage, *, has_body: bool = True) -> None:
    body = render_page(page)
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in PAGE_HEADERS),
        *(["Allow: GET"] if status == HTTPStatus.METHOD_NOT_ALLOWED else []),
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    head = "".join(f"{line}\r\n" for line in [*lines, ""])
    connection.settimeout(CONNECTION_S)
    connection.sendall(head.encode("ascii") + (body if has_body else b""))


def _cut(connection: socket.socket) -> None:
    """End *connection* under the thread that waits for it, which then closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
