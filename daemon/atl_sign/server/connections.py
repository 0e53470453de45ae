"""One connection to the socket: whose it is, how much is kept of it, how long it may wait, and which goes for want of room."""

import errno
import logging
import resource
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atl_sign.access.lease import Lease
from atl_sign.api.answers import answer_error
from atl_sign.api.fields import BODY_BYTES_MAX
from atl_sign.base.errors import BadRequestError
from atl_sign.base.peer import has_hung_up, read_peer

HEAD_BYTES_MAX = 1 << 15  # the URL to sign travels in the body, so nobody needs more
REQUEST_S = 10  # from a request's first byte (or the connection's start) to its last
IDLE_S = 75  # between two requests
UNREAD_S = 30  # for an answer, which is never long, to be read by the peer
CONNECTIONS_MAX = 1000
LEASE_CONNECTIONS_MAX = 64
ACCEPTS_MAX = 64  # connections taken at once, before any of them is looked at
_FILES_KEPT = 64  # for providers, the loopback listeners, the configuration and the keyring
_CHUNK_FACTOR = 6  # a body in chunks of one byte is six times as long: `1 CRLF x CRLF`

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # for which asyncio stops accepting for a second

_T = TypeVar("_T")

_log = logging.getLogger("atl_sign")


class Connection(HttpToolsProtocol):
    """One connection: cut off before a byte is parsed when another user opened it, and bounded in all that it makes us keep."""

    def connection_made(self, transport: Any) -> None:
        """Ask the kernel who it is, and make room."""
        super().connection_made(transport)
        self._waits_since: float | None = self.loop.time()  # None while a whole request is being answered
        self._is_idle = True  # no byte of the next request has come
        self._is_in_body = False
        self._unread_since: float | None = None
        self._overhead = 0  # bytes of the request that are not its body's
        self._refusal: BadRequestError | None = None
        self._last_words: bytes | None = None
        self._is_half_closed = False  # the peer sends nothing more, and may still read
        try:
            peer = read_peer(transport.get_extra_info("socket"))
            lease = self.app_state.get("lease")
            is_welcome = peer.is_ours() if lease is None else lease.terms.admits(peer)
            self.app_state = {**self.app_state, "peer": peer}
        except OSError:
            is_welcome = False
        if not is_welcome:
            transport.abort()
        elif lease is not None and _is_crowded(self.connections - {self}, lease):
            self._say_last(BadRequestError(f"{LEASE_CONNECTIONS_MAX} connections of the lease are open", "close some of them"))
        elif len(self.connections) > connections_max() and not drop_waiting(self.connections - {self}, 1):
            self._say_last(BadRequestError("too many requests are being answered", "close some connections"))

    def data_received(self, data: bytes) -> None:
        """Parse *data*, and refuse what only grows."""
        if self._last_words is not None or self.transport.is_closing():
            return
        self._overhead += len(data)
        super().data_received(data)
        # The part of a later request in the bytes that ended the one before is not counted: that is one read at most.
        if self._waits_since is not None and self._overhead > HEAD_BYTES_MAX:
            self._say_last(_head_too_large())

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio takes both; uvicorn has None
        """Let a peer that ended only its own side (`nc -N`, shutdown(2)) read what it asked for; True keeps the connection."""
        self._is_half_closed = True
        if self._is_answering() and not self._is_hung_up():
            return True
        if not self._is_idle:
            self._say_last(BadRequestError("the request ended before it was whole", "send it as a whole"))
        return False

    def on_message_begin(self) -> None:
        """Start the request's clock."""
        super().on_message_begin()
        self._waits_since = self.loop.time()
        self._is_idle = False

    def on_headers_complete(self) -> None:
        """Bound the head when it came in one piece, too."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            self._refusal = _head_too_large()
            raise ValueError  # which the parser makes into an error of its own
        super().on_headers_complete()
        self._is_in_body = True
        self.headers = []  # those of the request are the scope's by now; what follows a body in chunks is for nobody

    def on_body(self, body: bytes) -> None:
        """Count only what is around the body."""
        self._overhead = max(self._overhead - _CHUNK_FACTOR * len(body), -_CHUNK_FACTOR * BODY_BYTES_MAX)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the request's clock, or wait for the next one when the answer was faster than the body."""
        self._is_idle = self.cycle.response_complete
        self._waits_since = self.loop.time() if self._is_idle else None
        self._is_in_body = False
        self._overhead = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits behind the answer."""
        super().on_response_complete()
        if self._last_words is not None and not self._is_answering():
            self.transport.write(self._last_words)
            self.transport.close()
        elif self._is_half_closed and not self._is_answering():
            self.transport.close()
        elif self._waits_since is None and not self.pipeline:
            self._waits_since = self.loop.time()
            self._is_idle = True

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP in the shape that every failure has."""
        del msg
        self._say_last(self._refusal or BadRequestError("this is not an HTTP/1.1 request", "speak HTTP to this socket"))

    def drop_when_late(self, now: float) -> None:
        """Close the connection when its peer lets us wait too long, be it for a request or with an answer unread."""
        if self.transport.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > UNREAD_S:
            self.transport.abort()
        if self._is_half_closed and self._is_hung_up():
            self.transport.abort()
        if self._waits_since is None or self._last_words is not None or self.transport.is_closing():
            return
        if self.flow.read_paused:
            self._waits_since = now  # it is we who do not read
        elif now - self._waits_since > (IDLE_S if self._is_idle and self.cycle is not None else REQUEST_S):
            if self._is_idle:
                self.transport.close()
            else:
                self._say_last(BadRequestError(f"the request did not come in within {REQUEST_S} seconds", "send it as a whole"))

    def waits_since(self) -> float | None:
        """Return since when the connection waits for its peer; None when we are the ones to act, or it is closing."""
        return None if self.transport.is_closing() or self._is_answering() else self._waits_since

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def is_gone(self) -> bool:
        """Tell whether the connection is closed, by either side."""
        return bool(self.transport.is_closing()) or self._is_hung_up()

    def _say_last(self, error: BadRequestError) -> None:
        """Answer with *error* behind the answers that are under way, and close."""
        if self.transport.is_closing():
            return
        body, headers = answer_error(error, as_text=False)
        lines = b"".join(b"%b: %b\r\n" % each for each in headers)
        head = b"HTTP/1.1 400 Bad Request\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n" % (lines, len(body))
        if self._is_answering():
            self._last_words = head + body
            return
        if not (self._is_in_body and self.cycle.response_started):
            self.transport.write(head + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        """Tell whether the peer waits for us: a whole request has no whole answer yet."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete and not self._is_in_body)

    def _is_hung_up(self) -> bool:
        """Tell whether the peer has closed its side for reading too; once half of it is closed, nothing else tells."""
        return has_hung_up(self.transport.get_extra_info("socket"))

    def _unsupported_upgrade_warning(self) -> None:
        # uvicorn would log advice to install something. The parser is of no use for what follows, so this answer is the last.
        self.cycle.keep_alive = False


def connections_max() -> int:
    """Return how many connections may be open at the same time, by the limit of open files that holds at this moment."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return min(CONNECTIONS_MAX, max(8, files - ACCEPTS_MAX - _FILES_KEPT))


def list_callers(connections: Iterable[Any]) -> list[int]:
    """Return the pids of those that are connected by *connections*, the youngest process first; from any thread."""
    # The holder of a lease does not decide on the bus by which the keyring is asked.
    states = [each.app_state for each in tuple(connections)]
    peers = [state["peer"] for state in states if "peer" in state and "lease" not in state]
    return sorted({peer.pid for peer in peers if peer.is_ours()}, reverse=True)


def drop_waiting(connections: Iterable[Any], count: int) -> int:
    """Close up to *count* of the *connections* that wait for their peer, the longest waiting first; returns how many."""
    waiting = [(since, each) for each in connections if (since := each.waits_since()) is not None]
    oldest = sorted(waiting, key=lambda pair: pair[0])[:count]
    for _, connection in oldest:
        connection.drop()
    return len(oldest)


class AcceptFailures:
    """The event loop's handler for running out of open files: make room, and log it once a minute instead of with each try."""

    def __init__(self, connections: set[Any]) -> None:
        self._connections = connections
        self._told_at: float | None = None

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an exception of the event loop."""
        exc = context.get("exception")
        if not (isinstance(exc, OSError) and exc.errno in _NO_ROOM):
            loop.default_exception_handler(context)
            return
        drop_waiting(self._connections, ACCEPTS_MAX)
        if self._told_at is None or loop.time() - self._told_at > 60:
            self._told_at = loop.time()
            _log.warning("no open file is left for another connection (%s): the longest idle are closed", exc)


def _is_crowded(connections: Iterable[Any], lease: Lease) -> bool:
    """Tell whether *lease*, and those that were made from the same one, have all the *connections* that they may have."""
    owners = [(each, each.app_state.get("lease")) for each in connections]
    own = [each for each, owner in owners if owner is not None and owner.outermost is lease.outermost]
    return are_all_taken(own, LEASE_CONNECTIONS_MAX, lambda each: bool(each.is_gone()))


def are_all_taken(own: Sequence[_T], limit: int, is_gone: Callable[[_T], bool]) -> bool:
    """
    Tell whether *limit* of the connections *own* are open, or twice as many are there at all.

    The daemon may not have seen yet that a connection was closed a moment ago; and its work may still go on.
    """
    return len(own) >= limit and (len(own) >= 2 * limit or sum(not is_gone(each) for each in own) >= limit)


def _head_too_large() -> BadRequestError:
    return BadRequestError(f"the request's head is over {HEAD_BYTES_MAX} bytes", "send fewer or shorter headers")
