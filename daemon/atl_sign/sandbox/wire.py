"""HTTP/1.1 on a connection: requests with every byte of their target kept, and answers."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from http import HTTPStatus
from typing import Any, BinaryIO

from atl_sign.sandbox.parameters import Pairs, parse_parameters

HEAD_BYTES_MAX = 131_072  # Tomcat takes 8 KiB by default; here a long address shall reach the verification
ANSWER_HEAD_BYTES_MAX = 8_192  # Tomcat's default, maxHttpHeaderSize
BODY_BYTES_MAX = 10_485_760  # Jira's and Confluence's default limit for an attachment is of this order

FORM = "application/x-www-form-urlencoded"

_PIECE_BYTES = 65_536
_METHOD = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.S | re.I)


class WireError(Exception):
    """The bytes are not a request that can be answered; the connection ends with *status*."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Request:
    """One request. Not with slots: what is computed from it is kept."""

    method: str
    target: bytes  # exactly as sent
    headers: Pairs = ()  # names in lower case; values as ISO 8859-1
    body: bytes = b""
    version: bytes = b"HTTP/1.1"

    def header(self, name: str) -> str | None:
        """Return the first header called *name* (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    @cached_property
    def _parts(self) -> tuple[bytes, bytes, bytes]:
        absolute = _ABSOLUTE.fullmatch(self.target)
        authority, rest = (absolute[1], absolute[2]) if absolute else ((self.header("host") or "").encode("latin-1"), self.target)
        path, _, query = rest.partition(b"?")
        return authority, path or b"/", query

    @property
    def authority(self) -> bytes:
        """Host and port as the caller named them, in the target or in the Host header; any case."""
        return self._parts[0]

    @property
    def path(self) -> bytes:
        """The raw path, escapes and all."""
        return self._parts[1]

    @property
    def media_type(self) -> str:
        """The body's type in lower case without its parameters; "" when the request names none."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @cached_property
    def query(self) -> Pairs:
        """The query's parameters, decoded."""
        return parse_parameters(self._parts[2])

    @cached_property
    def form(self) -> Pairs:
        """The form's parameters, decoded. A servlet container reads only POST forms (facts section 3)."""
        return parse_parameters(self.body) if self.method == "POST" and self.media_type == FORM else ()

    def parameter(self, name: str) -> str | None:
        """Return the first query or form parameter called *name*, or None."""
        return next((value for key, value in self.query + self.form if key == name), None)

    @property
    def keeps_alive(self) -> bool:
        """Tell whether another request may follow on the connection."""
        return self.version == b"HTTP/1.1" and "close" not in (self.header("connection") or "").lower()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, less what every answer has (Date, Content-Length)."""

    status: int
    body: bytes = b""
    headers: Pairs = ()
    delay_s: float = 0.0  # it goes out so much later
    is_lost: bool = False  # whether the connection ends instead

    def with_headers(self, *headers: tuple[str, str]) -> "Answer":
        """Return the same answer with *headers* added."""
        return replace(self, headers=self.headers + headers)

    def has_header(self, name: str) -> bool:
        """Tell whether there is a header called *name*, in any case."""
        return any(key.lower() == name.lower() for key, _ in self.headers)


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """One answer whose body comes in pieces, and is as long as it gets."""

    status: int
    headers: Pairs
    pieces: Iterator[bytes]


def make_json(value: Any, status: int = 200) -> Answer:
    """Return *value* as JSON."""
    return Answer(status, json.dumps(value, ensure_ascii=False).encode(), (("Content-Type", "application/json;charset=UTF-8"),))


def make_text(text: str, status: int = 200, media_type: str = "text/plain") -> Answer:
    """Return *text* in UTF-8."""
    return Answer(status, text.encode(), (("Content-Type", f"{media_type};charset=UTF-8"),))


def make_redirect(location: str) -> Answer:
    """Send the browser to *location*."""
    return Answer(302, headers=(("Location", location),))


def read_request(stream: BinaryIO, send: Callable[[bytes], object]) -> Request | None:
    """
    Read one request; None when the peer has closed the connection instead.

    Args:
        stream: the connection, buffered.
        send: writes the interim answer that `Expect: 100-continue` waits for.

    Raises:
        WireError: it is malformed or too long.
    """
    request = read_head(stream, send)
    return None if request is None else read_body(stream, request)


def read_head(stream: BinaryIO, send: Callable[[bytes], object]) -> Request | None:
    """Read one request up to its body, which follows by `read_body` or `iterate_body`; arguments and errors as `read_request`."""
    line = stream.readline(HEAD_BYTES_MAX + 1)
    if line in (b"\r\n", b"\n"):  # RFC 9112 §2.2: one empty line before a request is passed over
        line = stream.readline(HEAD_BYTES_MAX + 1)
    if not line:
        return None
    if len(line) > HEAD_BYTES_MAX:
        raise WireError(414, "the request line is too long")
    words = line.rstrip(b"\r\n").split(b" ")
    if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not words[1] or not _METHOD.fullmatch(words[0]):
        raise WireError(400, "the request line is malformed")
    headers = _read_headers(stream, HEAD_BYTES_MAX - len(line))
    request = Request(words[0].decode("ascii"), words[1], headers, version=words[2])
    if (request.header("expect") or "").lower() == "100-continue":
        send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return request


def read_body(stream: BinaryIO, request: Request) -> Request:
    """Return *request*, whose head was read from *stream*, with its body, up to `BODY_BYTES_MAX`; raises WireError."""
    body = b"".join(iterate_body(stream, request, BODY_BYTES_MAX))
    return Request(request.method, request.target, request.headers, body, request.version)


def format_answer(answer: Answer, date: str, *, is_head: bool, closes: bool) -> bytes:
    """Return *answer* as the bytes of HTTP/1.1; a HEAD gets only the headers."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.status != 204:
        lines.append(f"Content-Length: {len(answer.body)}")
    if closes:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (b"" if is_head else answer.body)


def head_bytes(answer: Answer) -> int:
    """Return the length of the head of *answer*, as it goes out."""
    return len(format_answer(answer, "Sun, 06 Nov 1994 08:49:37 GMT", is_head=True, closes=False))


def format_streamed(answer: StreamedAnswer, date: str, *, is_chunked: bool) -> Iterator[bytes]:
    """Give *answer* as the bytes of HTTP/1.1, in chunks; without them the connection's end is the body's."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines.append("Transfer-Encoding: chunked" if is_chunked else "Connection: close")
    yield "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    for piece in answer.pieces:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
    if is_chunked:
        yield b"0\r\n\r\n"


def _read_headers(stream: BinaryIO, budget: int) -> Pairs:
    headers: list[tuple[str, str]] = []
    while True:
        line = stream.readline(budget + 1)
        budget -= len(line)
        if budget < 0:
            raise WireError(431, "the request's head is too long")
        if not line.endswith(b"\n"):
            raise WireError(400, "the connection ended inside the request's head")
        line = line.rstrip(b"\r\n")
        if not line:
            return tuple(headers)
        name, colon, value = line.partition(b":")
        if not colon or not _METHOD.fullmatch(name):
            raise WireError(400, "a header line is malformed")
        headers.append((name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")))


def iterate_body(stream: BinaryIO, request: Request, bytes_max: int | None = None) -> Iterator[bytes]:
    """
    Give the body of *request* in pieces as they come.

    Raises:
        WireError: it is malformed, ends early, or is longer than *bytes_max*.
    """
    if request.header("transfer-encoding") is not None:
        if (request.header("transfer-encoding") or "").lower() != "chunked":
            raise WireError(501, "only chunked bodies are read")
        yield from _iterate_chunks(stream, bytes_max)
        return
    length = request.header("content-length") or "0"
    if not (length.isascii() and length.isdigit()):
        raise WireError(400, "the Content-Length is not a number")
    if len(length) > 18 or (bytes_max is not None and int(length) > bytes_max):
        raise WireError(413, "the body is too large")
    yield from _iterate_exactly(stream, int(length))


def _iterate_chunks(stream: BinaryIO, bytes_max: int | None) -> Iterator[bytes]:
    total = 0
    while True:
        size_text = stream.readline(1_024).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size_text):
            raise WireError(400, "a chunk's size is not a number")
        size = int(size_text, 16)
        total += size
        if bytes_max is not None and total > bytes_max:
            raise WireError(413, "the body is too large")
        if size == 0:
            _read_headers(stream, HEAD_BYTES_MAX)  # trailers, which nobody reads
            return
        yield from _iterate_exactly(stream, size)
        if stream.readline(3).strip(b"\r\n"):
            raise WireError(400, "a chunk is longer than it says")


def _iterate_exactly(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = stream.read(min(size, _PIECE_BYTES))
        if not piece:
            raise WireError(400, "the connection ended inside the body")
        size -= len(piece)
        yield piece
