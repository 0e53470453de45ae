"""
Daemons that are not there, hang, or answer what no daemon answers: what every client must end with a typed error.

    with BadDaemon("half_body_hangs") as daemon:
        run_client(socket=daemon.socket)

`KINDS` has them all, and says for each what a client can see of it; what a client must not repeat holds the word canary.
Those that need another user's socket are not among them: `foreign_socket` and `foreign_symlink` give such paths, to root alone.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.listener import Listener

PATH_BYTES_MAX = 107  # sun_path holds 108 with its zero byte (unix(7))
HUGE_BYTES = 1 << 30
TRICKLE_PAUSE_S = 0.1
FOREIGN_UID = 65534  # nobody
# What a client that trusts such an answer would put into its own request.
INJECTED = "X-Injected: 1"

Visible = Literal["absent", "silent", "broken"]
"""
absent: there is nobody to talk to, which shows at once.
silent: nothing ends by itself; the client's own deadline must.
broken: something came, or the connection ended; what came cannot be used, and that shows at once.
"""


Act = Callable[["BadDaemon", socket.socket, bytes], None]  # with a connection, and the request that it brought


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of being bad."""

    visible: Visible
    act: Act | None = None
    place: Callable[["BadDaemon"], None] | None = None  # puts something at the path, where it is no daemon that accepts


class BadDaemon(Listener):
    """A daemon of one of `KINDS` at `socket`, inside `with`; requests that reached it are in `requests`."""

    def __init__(self, kind: str) -> None:
        super().__init__(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.kind = KINDS[kind]
        self.folder = Path(tempfile.mkdtemp(prefix="atls-"))  # not pytest's tmp_path: a socket's address holds 107 bytes
        self.socket = self.folder / "s"
        self.requests: list[bytes] = []
        self.kept: list[socket.socket] = []  # to be closed at the end

    def __enter__(self) -> Self:
        if self.kind.place is not None:
            self.kind.place(self)
            return self
        self.listen(backlog=128)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        for each in self.kept:
            each.close()
        shutil.rmtree(self.folder)

    def wait(self, connection: socket.socket, seconds: float | None = None) -> bool:
        """Take in what still comes; returns after *seconds* with True, with False when the peer has gone or all is over."""
        connection.settimeout(seconds)
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return True
        except OSError:
            pass
        return False

    def send_on(self, connection: socket.socket, data: bytes) -> bool:
        """Send *data*; returns whether the peer is still there to take it, and all is not over."""
        connection.settimeout(None)
        try:
            connection.sendall(data)
        except OSError:
            return False
        return True

    def listen(self, backlog: int) -> None:
        self.listener.bind(str(self.socket))
        self.socket.chmod(0o600)
        self.listener.listen(backlog)

    def serve(self, connection: socket.socket) -> None:
        """Be bad to one request."""
        if self.kind is KINDS["closes_at_once"]:
            return
        request = self._read_request(connection)
        if request:
            self.requests.append(request)
            assert self.kind.act is not None
            self.kind.act(self, connection, request)

    def _read_request(self, connection: socket.socket) -> bytes:
        """Return head and body of one request, or nothing when there comes none."""
        request = b""
        while True:
            head, end, body = request.partition(b"\r\n\r\n")
            if end and len(body) >= _length_of(head):
                return request
            data = connection.recv(65536)
            if not data:
                return b""
            request += data


def _length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def _reply(body: bytes, *, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def _signed(request: bytes, authorization: object) -> bytes:
    """Return the whole answer of `POST /sign` with this authorization, in the form that was asked for."""
    if b"accept: text/plain" in request.lower():
        return _reply(f"Authorization: {authorization}\n".encode(), kind="text/plain; charset=utf-8")
    return _reply(json.dumps({"authorization": authorization, "link": "jira", "scheme": "oauth1"}).encode())


_GOOD = 'OAuth oauth_consumer_key="k", oauth_token="t", oauth_signature="canary%3D"'


def _say(data: bytes) -> Act:
    """Answer *data* and close."""

    def act(daemon: BadDaemon, connection: socket.socket, _: bytes) -> None:
        daemon.send_on(connection, data)

    return act


def _say_and_hang(data: bytes) -> Act:
    """Answer *data*, and neither more nor close."""

    def act(daemon: BadDaemon, connection: socket.socket, _: bytes) -> None:
        daemon.send_on(connection, data)
        daemon.wait(connection)

    return act


def _sign_as(authorization: object) -> Act:
    def act(daemon: BadDaemon, connection: socket.socket, request: bytes) -> None:
        daemon.send_on(connection, _signed(request, authorization))

    return act


def _half(then: Callable[[BadDaemon, socket.socket], object]) -> Act:
    """Send an answer but for its last bytes."""

    def act(daemon: BadDaemon, connection: socket.socket, request: bytes) -> None:
        if daemon.send_on(connection, _signed(request, _GOOD)[:-20]):
            then(daemon, connection)

    return act


def _trickle(daemon: BadDaemon, connection: socket.socket, request: bytes) -> None:
    """Send a good answer, slower than anybody waits: each byte keeps the connection alive."""
    for byte in _signed(request, _GOOD + "%20" * 10_000):
        if not (daemon.send_on(connection, bytes([byte])) and daemon.wait(connection, TRICKLE_PAUSE_S)):
            return


def _trickle_body(daemon: BadDaemon, connection: socket.socket, request: bytes) -> None:
    head, _, body = _signed(request, _GOOD + "%20" * 10_000).partition(b"\r\n\r\n")
    if daemon.send_on(connection, head + b"\r\n\r\n"):
        for byte in body:
            if not (daemon.send_on(connection, bytes([byte])) and daemon.wait(connection, TRICKLE_PAUSE_S)):
                return


def _huge(head: bytes, chunk: bytes) -> Act:
    """Send *chunk* over and over, as fast as it is taken."""

    def act(daemon: BadDaemon, connection: socket.socket, _: bytes) -> None:
        alive = daemon.send_on(connection, head)
        sent = 0
        while alive and sent < HUGE_BYTES:
            alive = daemon.send_on(connection, chunk)
            sent += len(chunk)

    return act


def _leave_stale(daemon: BadDaemon) -> None:
    """The file of a daemon that was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(daemon.socket))
    daemon.socket.chmod(0o600)


def _never_accept(daemon: BadDaemon) -> None:
    daemon.listen(backlog=128)


def _fill_queue(daemon: BadDaemon) -> None:
    """A stopped daemon on whose socket others wait already: connecting itself blocks."""
    daemon.listen(backlog=0)
    while True:
        waiting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        daemon.kept.append(waiting)
        waiting.setblocking(False)
        try:
            waiting.connect(str(daemon.socket))
        except BlockingIOError:
            return


_CHUNK = 1 << 16
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

KINDS: dict[str, Kind] = {
    "absent": Kind("absent", place=lambda _: None),
    "stale": Kind("absent", place=_leave_stale),
    "no_socket": Kind("absent", place=lambda daemon: daemon.socket.touch(0o600)),
    "folder": Kind("absent", place=lambda daemon: daemon.socket.mkdir(0o700)),
    "dangling": Kind("absent", place=lambda daemon: daemon.socket.symlink_to(daemon.folder / "gone")),
    # A client that connects without blocking sees this as absent (EAGAIN), others as silent.
    "queue_full": Kind("silent", place=_fill_queue),
    "never_accepts": Kind("silent", place=_never_accept),
    "never_answers": Kind("silent", _say_and_hang(b"")),
    "half_head_hangs": Kind("silent", _say_and_hang(_JSON_HEAD[:40])),
    "half_body_hangs": Kind("silent", _half(lambda daemon, connection: daemon.wait(connection))),
    "only_continue": Kind("silent", _say_and_hang(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "trickle": Kind("silent", _trickle),
    "trickle_body": Kind("silent", _trickle_body),
    "closes_at_once": Kind("broken"),
    "closes": Kind("broken", _say(b"")),
    "garbage": Kind("broken", _say(bytes(range(256)) * 4)),
    "other_protocol": Kind("broken", _say(b"SSH-2.0-canary\r\n")),
    "half_head": Kind("broken", _say(_JSON_HEAD[:40])),
    "half_body": Kind("broken", _half(lambda daemon, connection: None)),
    "half_chunk": Kind("broken", _say(_JSON_HEAD + b'Transfer-Encoding: chunked\r\n\r\n40\r\n{"authorization": "OAuth canary')),
    "empty": Kind("broken", _say(_reply(b""))),
    "no_content": Kind("broken", _say(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "html": Kind("broken", _say(_reply(b"<html><body>canary</body></html>", kind="text/html"))),
    "broken_json": Kind("broken", _say(_reply(b'{"authorization": "OAuth canary'))),
    "no_utf_8": Kind("broken", _say(_reply(b'{"authorization": "OAuth canary \xff\xfe"}'))),
    "json_list": Kind("broken", _say(_reply(b"[]"))),
    "json_null": Kind("broken", _say(_reply(b"null"))),
    "no_authorization": Kind("broken", _say(_reply(b'{"link": "jira", "scheme": "oauth1"}'))),
    "authorization_is_number": Kind("broken", _say(_reply(b'{"authorization": 7, "link": "jira", "scheme": "oauth1"}'))),
    "authorization_is_empty": Kind("broken", _sign_as("")),
    "crlf": Kind("broken", _sign_as(f"{_GOOD}\r\n{INJECTED}")),
    "line_feed": Kind("broken", _sign_as(f"{_GOOD}\n{INJECTED}")),
    "zero_byte": Kind("broken", _sign_as(f"{_GOOD}\0")),
    "redirect": Kind("broken", _say(b"HTTP/1.1 307 Elsewhere\r\nLocation: /status\r\nContent-Length: 0\r\n\r\n")),
    "html_error": Kind("broken", _say(_reply(b"<html>502 Bad Gateway</html>", status="502 Bad Gateway", kind="text/html"))),
    "error_without_shape": Kind("broken", _say(_reply(b'{"error": "canary"}', status="409 Conflict"))),
    "error_of_numbers": Kind("broken", _say(_reply(b'{"error": {"code": 1, "message": [], "hint": 2}}', status="409 Conflict"))),
    "error_cut_off": Kind("broken", _say(_reply(b'{"error": {"code": "dance_n', status="409 Conflict", length=500))),
    "huge_body": Kind("broken", _huge(_JSON_HEAD + b"Content-Length: %d\r\n\r\n" % HUGE_BYTES, b" " * _CHUNK)),
    "huge_chunked": Kind(
        "broken", _huge(_JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n" % (_CHUNK, b" " * _CHUNK))
    ),
    "huge_head": Kind("broken", _huge(_JSON_HEAD, b"X-More: %b\r\n" % (b"x" * 1000))),
    "huge_header": Kind("broken", _huge(_JSON_HEAD + b"X-More: ", b"x" * _CHUNK)),
}


def long_path(folder: Path) -> Path:
    """Return a path of one byte more than a socket's address holds."""
    name = folder / ("s" * max(1, PATH_BYTES_MAX - len(os.fsencode(folder))))
    assert len(os.fsencode(name)) == PATH_BYTES_MAX + 1
    return name


@contextmanager
def foreign_socket() -> Iterator[Path]:
    """Give the path of a socket of another user's, who listens there, and that anybody may open; for root alone."""
    with BadDaemon("never_answers") as daemon:
        daemon.folder.chmod(0o755)
        daemon.socket.chmod(0o666)
        os.chown(daemon.socket, FOREIGN_UID, FOREIGN_UID)
        # The user who calls listen is the one that the kernel names (unix(7), SO_PEERCRED).
        descriptor = daemon.listener.fileno()
        code = "import os, socket; os.setuid(%d); its = socket.socket(fileno=%d); its.listen(128); its.detach()"
        command = [sys.executable, "-c", code % (FOREIGN_UID, descriptor)]
        subprocess.run(command, pass_fds=[descriptor], check=True)
        yield daemon.socket


@contextmanager
def foreign_symlink() -> Iterator[Path]:
    """Give the path of our own symbolic link to another user's socket; for root alone."""
    with foreign_socket() as target, tempfile.TemporaryDirectory(prefix="atls-") as folder:
        link = Path(folder) / "s"
        link.symlink_to(target)
        yield link
