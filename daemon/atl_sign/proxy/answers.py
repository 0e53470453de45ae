"""An answer as it goes to the client: its head, and a body that ends by its length, by a last chunk or with the connection."""

from collections.abc import Sequence

from atl_sign.proxy.heads import Header

_WITHOUT_BODY = frozenset({204, 304})


class MisframedError(Exception):
    """The body is longer or shorter than its head says."""


class AnswerWriter:
    """
    Writes one answer; each method returns bytes to send.

    Source: RFC 9112 §6, §7.1, §9.3; decision 26 says why this is not h11's.
    """

    def __init__(self, *, is_1_0: bool, is_for_head: bool) -> None:
        """Write for a client of HTTP/1.0 or 1.1, and an answer without its body if the request was a HEAD."""
        self._is_1_0 = is_1_0
        self._is_for_head = is_for_head
        self._left: int | None = 0  # bytes of the body; None: any number
        self._is_chunked = False
        self.is_over = False

    def begin(self, status: int, reason: bytes, headers: Sequence[Header], *, is_last: bool) -> bytes:
        """
        Return the head.

        Args:
            status: from 200.
            reason: the phrase.
            headers: in which a Content-Length, at most one, counts; no Transfer-Encoding, no Connection.
            is_last: the connection ends with it, as always for a client of HTTP/1.0.

        Raises:
            MisframedError: the length is not a number.
        """
        lengths = [value for name, value in headers if name.lower() == b"content-length"]
        if lengths and not lengths[0].isdigit():
            raise MisframedError
        has_body = not self._is_for_head and status not in _WITHOUT_BODY
        framed = list(headers)
        if not lengths and status not in _WITHOUT_BODY and not self._is_1_0:
            framed.append((b"Transfer-Encoding", b"chunked"))
            self._is_chunked = has_body
        if has_body:
            self._left = int(lengths[0]) if lengths else None
        if is_last:
            framed.append((b"Connection", b"close"))
        lines = [b"HTTP/1.1 %d %b" % (status, reason), *(b"%b: %b" % header for header in framed), b"", b""]
        return b"\r\n".join(lines)

    def write(self, data: bytes) -> bytes:
        """Return a piece of the body that is not empty; raises MisframedError when that is too much."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise MisframedError
        return b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data

    def end(self) -> bytes:
        """Return the end; raises MisframedError when that is too early."""
        if self._left:
            raise MisframedError
        self.is_over = True
        return b"0\r\n\r\n" if self._is_chunked else b""
