"""A provider's port that writes down every request, byte for byte, and verifies its signature with the sandbox's own rules."""

import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from atl_sign.sandbox.parameters import parse_authorization, parse_parameters
from atl_sign.sandbox.problems import OAuthProblemError
from atl_sign.sandbox.verify import NonceMemory, OAuthMessage, make_base_uri, verify

DEADLINE_S = 3.0  # for the next bytes of a request that has begun
HANG_S = 20.0
TLS_HANDSHAKE = b"\x16"
BOUNDARY = re.compile(rb"-{24}[0-9A-Za-z]{16,}")  # as curl makes them up
FORM = b"application/x-www-form-urlencoded"
CONTEXT_PATH = b"/jira"  # where signatures are asked for; all else here lies outside the link

_REDIRECT = re.compile(rb"/jira/redirect/(30[12378])/(absolute|relative|outside|elsewhere)(/.*)")
_LOOP = re.compile(rb"/jira/loop/(30[12378])(?:/.*)?")
_FLAKY = re.compile(rb"/jira/flaky/([0-9])/.*")
_REASONS = {200: b"OK", 503: b"Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it came in."""

    port: int
    method: str
    target: bytes
    version: bytes
    headers: tuple[bytes, ...]  # each line but Authorization's, in order; a multipart boundary is written BOUNDARY
    body: bytes  # without the chunks' lengths; a multipart boundary is written BOUNDARY
    authorization: tuple[str, ...]
    verdict: str  # "signed", "anonymous", or why the signature is not taken
    is_inside: bool  # the link covers it
    was_redirected: bool  # answered with a redirect

    @property
    def less_signature(self) -> tuple[object, ...]:
        """What must be the same with and without a signature."""
        return (self.port, self.method, self.target, self.version, self.headers, self.body)

    def describe(self) -> str:
        """Return it for a person to read."""
        head = b"\n".join((b"%b %b %b" % (self.method.encode("latin-1"), self.target, self.version), *self.headers))
        return f"{ascii_of(head)}\n\n{ascii_of(self.body[:2_000])}\n[{len(self.body)} bytes; {self.verdict}]"


@dataclass(frozen=True, slots=True)
class Judge:
    """Whose signatures are taken."""

    consumer_key: str
    public_key: RSAPublicKey
    token: str
    nonces: NonceMemory

    def check(self, method: str, target: bytes, fields: dict[bytes, bytes], body: bytes, headers: list[str]) -> str:
        """Return "signed", "anonymous", or the problem's own word; *headers* are the Authorization ones."""
        if not headers:
            return "anonymous"
        authority, path, query = split_target(target, fields.get(b"host", b""))
        items = tuple(pair for value in headers for pair in parse_authorization(value))
        media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        form = parse_parameters(body) if method == "POST" and media_type == FORM else ()
        base_uri = make_base_uri("http", authority, path)
        message = OAuthMessage(method, base_uri, items + parse_parameters(query) + form)
        if not message.is_access_attempt:
            return "not OAuth"
        if (message.get("oauth_consumer_key"), message.get("oauth_token")) != (self.consumer_key, self.token):
            return "another consumer or token"
        try:
            verify(message, self.public_key, self.nonces, time.time())
        except OAuthProblemError as exc:
            return f"{exc.problem}: {message.base_string}"
        return "signed"


class Recorder:
    """
    A listener on 127.0.0.1 and a second one, another origin, that answer everything with 200 and a line about the request.
    One request a connection: so nothing that a client sends by mistake is taken for a second one.

    Below /jira/: sink/ reads bodies of any length and forgets them, source/LENGTH sends one, slow/ takes its time, hang/
    never ends, redirect/STATUS/PLACE/ and loop/STATUS redirect, flaky/COUNT/ answers 503 so many times first.

    Until `judge` is set requests go on to a provider's port, for the dance.
    """

    def __init__(self, provider_port: int) -> None:
        """Listen, and pass requests on to *provider_port* for the time being."""
        self.judge: Judge | None = None
        self.sent: list[Sent] = []
        self.cuts: list[str] = []  # connections that ended inside a request
        self.streamed_bytes = 0  # of bodies below /jira/sink/, which are read and forgotten
        self._provider_port = provider_port
        self._hits: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in range(2)]
        self.port, self.elsewhere_port = (listener.getsockname()[1] for listener in self._listeners)
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    @property
    def base_url(self) -> str:
        """The address that the link covers."""
        return f"http://127.0.0.1:{self.port}{CONTEXT_PATH.decode()}"

    def take(self) -> list[Sent]:
        """Return what came since the last call, and forget it."""
        with self._lock:
            taken, self.sent = self.sent, []
            self._hits.clear()
            return taken

    def _accept(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection, port), daemon=True).start()

    def _serve(self, connection: socket.socket, port: int) -> None:
        connection.settimeout(DEADLINE_S)
        with connection, connection.makefile("rb") as stream, suppress(OSError):
            self._serve_one(connection, stream, port)

    def _serve_one(self, connection: socket.socket, stream: BufferedReader, port: int) -> None:
        if stream.peek(1)[:1] == TLS_HANDSHAKE:
            self.cuts.append("TLS")
            return
        lines = read_head(stream)
        if not lines:
            return
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
        headers = dict(reversed(fields))
        method, _, rest = lines[0].partition(b" ")
        target, _, version = rest.rpartition(b" ")
        if headers.get(b"expect", b"").lower() == b"100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        try:
            if target.startswith(b"/jira/sink/"):
                for piece in pieces_of_body(stream, headers):
                    self.streamed_bytes += len(piece)
            else:
                body = b"".join(pieces_of_body(stream, headers))
        except OSError:
            self.cuts.append(lines[0].decode("latin-1"))
            raise
        if self.judge is None:
            connection.sendall(ask_provider(self._provider_port, lines, body))
            return
        status, more = self._answer(target)
        others = [line for line in lines[1:] if not line.lower().startswith(b"authorization:")]
        authorization = [value.decode("latin-1") for name, value in fields if name == b"authorization"]
        verdict = self.judge.check(method.decode("latin-1"), target, headers, body, authorization)
        if b"boundary=" in headers.get(b"content-type", b""):
            others = [BOUNDARY.sub(b"BOUNDARY", line) for line in others]
            body = BOUNDARY.sub(b"BOUNDARY", body)
        sent = Sent(
            port,
            method.decode("latin-1"),
            target,
            version,
            tuple(others),
            body,
            tuple(authorization),
            verdict,
            self._covers(port, target),
            300 <= status < 400,
        )
        with self._lock:  # before the answer, so that who waits for the client finds it
            self.sent.append(sent)
        if target.startswith(b"/jira/slow/"):
            time.sleep(0.2)
        if target.startswith(b"/jira/hang/"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun\n")
            connection.settimeout(HANG_S)
            connection.recv(1)  # until the client has gone
            return
        length = int(target.rpartition(b"/")[2]) if target.startswith(b"/jira/source/") else None
        content = b"%b %b\n" % (method, target)
        connection.sendall(
            b"HTTP/1.1 %d %b\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%b\r\n"
            % (status, _REASONS.get(status, b"Moved"), len(content) if length is None else length, more)
        )
        if method != b"HEAD":
            if length is None:
                connection.sendall(content)
            else:
                send_many(connection, length)

    def _covers(self, port: int, target: bytes) -> bool:
        """Tell whether the link does: a proxy gets the whole address."""
        authority, path, _ = split_target(target, b"127.0.0.1:%d" % port)
        is_below = path == CONTEXT_PATH or path.startswith(CONTEXT_PATH + b"/")
        return is_below and authority == b"127.0.0.1:%d" % self.port

    def _answer(self, target: bytes) -> tuple[int, bytes]:
        """Return the status, and header lines."""
        if found := _REDIRECT.match(target):
            origin = b"http://127.0.0.1:%d" % self.port
            places = {
                b"absolute": origin + b"/jira" + found[3],
                b"relative": b"../../../end" + found[3],
                b"outside": b"/outside" + found[3],
                b"elsewhere": b"http://127.0.0.1:%d/jira" % self.elsewhere_port + found[3],
            }
            return int(found[1]), b"Location: %b\r\n" % places[found[2]]
        if found := _LOOP.match(target):
            return int(found[1]), b"Location: %b\r\n" % target
        if found := _FLAKY.match(target):
            with self._lock:
                self._hits[target] = self._hits.get(target, 0) + 1
                if self._hits[target] <= int(found[1]):
                    return 503, b""
        return 200, b""


def split_target(target: bytes, host: bytes) -> tuple[bytes, bytes, bytes]:
    """Return authority, path and query; *host* is the authority where the target is no whole address."""
    found = re.fullmatch(rb"(?:(?i:http)://([^/?#]*))?([^?]*)\??(.*)", target, re.S)
    assert found
    return found[1] or host, found[2] or b"/", found[3]


def ascii_of(data: bytes) -> str:
    """Return *data* readable: line ends as they are, everything odd escaped."""
    return "\n".join(line.decode("latin-1").encode("unicode_escape").decode() for line in data.split(b"\n"))


def read_head(stream: BinaryIO) -> list[bytes]:
    """Return the lines of one request's head; empty when the peer has gone."""
    lines: list[bytes] = []
    while (line := stream.readline(1_048_576)) not in (b"\r\n", b""):
        if lines or not line.startswith(b"PROXY "):  # a line before HTTP, of --haproxy-protocol
            lines.append(line.removesuffix(b"\r\n"))
    return lines if line else []


def pieces_of_body(stream: BinaryIO, headers: dict[bytes, bytes]) -> "list[bytes] | Pieces":
    """Give the body's bytes in pieces, without the chunks' lengths."""
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return Pieces(stream, None)
    length = headers.get(b"content-length", b"0")
    return Pieces(stream, int(length)) if length.isdigit() else []


class Pieces:
    """The pieces of one body on a stream, read once."""

    def __init__(self, stream: BinaryIO, length: int | None) -> None:
        """Read *length* bytes, or chunks when it is None."""
        self._stream = stream
        self._length = length

    def __iter__(self) -> "Pieces":
        return self

    def __next__(self) -> bytes:
        if self._length is None:
            size = int(self._stream.readline(1_024).partition(b";")[0], 16)
            piece = self._read(size)
            self._stream.readline(3)
            if size == 0:
                raise StopIteration
            return piece
        if self._length == 0:
            raise StopIteration
        piece = self._read(min(self._length, 262_144))
        self._length -= len(piece)
        return piece

    def _read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        if len(piece) != size:
            raise OSError("the connection ended inside the body")
        return piece


def send_many(connection: socket.socket, length: int) -> None:
    """Send *length* bytes."""
    piece = bytes(262_144)
    while length > 0:
        connection.sendall(piece[: min(length, len(piece))])
        length -= len(piece)


def ask_provider(port: int, lines: list[bytes], body: bytes) -> bytes:
    """Return the provider's whole answer to the request, which it sees under the host that the client named."""
    once = [line for line in lines if not line.lower().startswith(b"connection:")] + [b"Connection: close", b"", body]
    answer = b""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as provider:
        provider.sendall(b"\r\n".join(once))
        while more := provider.recv(65_536):
            answer += more
    return answer
