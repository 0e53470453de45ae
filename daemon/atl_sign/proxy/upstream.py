"""Requests out to the providers, streamed both ways, on connections that are kept for the next request."""

import functools
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import h11

from atl_sign.base.errors import BadRequestError, DaemonError, ProviderUnreachableError
from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.providers import causes
from atl_sign.proxy.connection import NO_TARGET, STALL_S, Body, Connection
from atl_sign.proxy.network import Network, NotConnectedError
from atl_sign.proxy.pool import KEPT_S, Pools

_TARGET = re.compile(rb"[^\x00-\x20\x7f]+")

# A body that streams cannot be sent again if the provider has just closed the connection, so only a fresh one will do for it.
KEPT_S_FOR_STREAMS = 2.0


class UnansweredError(ProviderUnreachableError):
    """There is no answer, or no whole one."""


class NotSentError(UnansweredError):
    """There is no connection to the provider: no byte of the request has gone out."""

    nothing_sent = True


class StaleConnectionError(UnansweredError):
    """The provider closed a kept connection before the first byte of an answer: what can be sent again may be."""


_Error = TypeVar("_Error", bound=UnansweredError)


class UnsendableError(BadRequestError):
    """The request is not HTTP, of which nothing was sent, or its body is not as long as its head says."""

    nothing_sent = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes out."""

    link: Link  # its TLS settings, proxy and time-outs hold
    origin: Url  # where to connect: the link's own, or its gateway's; path and query are not looked at
    method: str
    target: bytes  # byte for byte
    headers: Sequence[tuple[bytes, bytes]]  # complete: Host first, framing, the one Authorization last
    body: Body  # None: the headers have no framing


@dataclass(slots=True)
class Incoming:
    """An answer; `aclose` must be called at the end."""

    status: int
    reason: bytes
    headers: Sequence[tuple[bytes, bytes]]  # as they came
    _link: Link
    _connection: Connection
    _put_back: Callable[[bool], None]
    _is_over: bool = False
    _ahead: bytes = b""  # the beginning of the body, if somebody has looked at it
    _reading: AsyncGenerator[bytes] | None = None

    async def peek(self, bytes_max: int) -> bytes:
        """Return the beginning of the body, *bytes_max* or a little more, or all; `stream` gives it again. Raises as `stream`."""
        self._reading = self._reading or self._read()
        async for chunk in self._reading:
            self._ahead += chunk
            if len(self._ahead) >= bytes_max:
                break
        return self._ahead

    async def stream(self) -> AsyncGenerator[bytes]:
        """
        Give the body as it comes, in whatever coding it has.

        Raises:
            UnansweredError: the connection broke, or nothing came for a minute.
            Exception: what reading the request's body raised.
        """
        if self._ahead:
            yield self._ahead
        self._reading = self._reading or self._read()
        async for chunk in self._reading:
            yield chunk

    async def _read(self) -> AsyncGenerator[bytes]:
        try:
            async for chunk in self._connection.read_body():
                yield chunk
            await self._end()
        except (OSError, h11.RemoteProtocolError) as exc:
            if exc is self._connection.body_failure:
                raise
            is_timeout = isinstance(exc, TimeoutError)
        else:
            return
        await self.aclose()
        cause = causes.stalled(STALL_S) if is_timeout else causes.CUT_SHORT
        raise _unanswered(UnansweredError, self._link, cause, is_timeout=is_timeout)

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read whole."""
        if not self._is_over:
            await self._end()

    async def _end(self) -> None:
        self._is_over = True
        is_usable = False
        try:
            is_usable = await self._connection.finish()
        finally:
            self._put_back(is_usable)
            if not is_usable:
                await self._connection.end()


class Upstreams:
    """Kept connections to the providers, one pool for each link's view of the network."""

    def __init__(self) -> None:
        """Begin without a connection; all that follows happens in one event loop."""
        self._pools = Pools()

    async def send(self, outgoing: Outgoing) -> Incoming:
        """
        Send a request, and return the head of its answer, whose body follows by `Incoming.stream`.

        The answer can come before the whole body has gone out. Then the body goes on while the answer is read, up to its end.

        Raises:
            NotSentError: there is no connection; nothing was sent.
            StaleConnectionError: a kept connection had been closed by the provider.
            UnansweredError: the connection broke, what answers is not HTTP, or there was no answer in time.
            UnsendableError: the request is not HTTP.
            Exception: what reading the body raised.
        """
        link = outgoing.link
        pool = await self._pools.find(link, outgoing.origin)
        target, headers = pool.network.address(outgoing.target, list(outgoing.headers))
        request = _read_head(outgoing.method, target, headers)
        is_repeatable = outgoing.body is None or isinstance(outgoing.body, bytes)
        connection = pool.take(KEPT_S if is_repeatable else KEPT_S_FOR_STREAMS) or await _connect(pool.network)
        self._pools.lend(pool, connection)
        try:
            answer = await connection.ask(request, target, outgoing.body, link.timeout_s)
        except BaseException as exc:
            self._pools.take_back(pool, connection, False)
            await connection.abort()
            error = _explain(exc, connection, link)
            if error is None:
                raise
        else:
            return Incoming(
                answer.status_code,
                bytes(answer.reason),
                answer.headers.raw_items(),
                link,
                connection,
                functools.partial(self._pools.take_back, pool, connection),
            )
        raise error  # out here, without a chain: h11's errors can quote a header

    async def aclose(self) -> None:
        """Close every connection, also those with an exchange under way."""
        await self._pools.aclose()


def _read_head(method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> h11.Request:
    """Return the head as h11 has it, without its target; raises UnsendableError."""
    if _TARGET.fullmatch(target):
        with suppress(h11.LocalProtocolError):
            return h11.Request(method=method, target=NO_TARGET, headers=list(headers))
    error = UnsendableError(
        "the request is not well-formed HTTP", "send no blanks or control characters in its address and headers"
    )
    error.nothing_sent = True
    raise error


async def _connect(network: Network) -> Connection:
    try:
        return Connection(await network.connect())
    except NotConnectedError as exc:
        error = _unanswered(NotSentError, network.link, exc.cause, is_timeout=exc.is_timeout)
    raise error


def _explain(exc: BaseException, connection: Connection, link: Link) -> DaemonError | None:
    """Return the error for what ended an exchange before the answer, None for what is not of the connection."""
    if isinstance(exc, h11.LocalProtocolError):
        return UnsendableError("the request's body is not as long as its head says", "send as many bytes as Content-Length names")
    if exc is connection.body_failure or not isinstance(exc, OSError | h11.RemoteProtocolError):
        return None
    if connection.is_stuck:
        return _unanswered(UnansweredError, link, causes.stalled(STALL_S), is_timeout=True)
    if isinstance(exc, TimeoutError):
        return _unanswered(UnansweredError, link, causes.too_late(link), is_timeout=True)
    if connection.is_used and not connection.has_answered:
        return _unanswered(StaleConnectionError, link, causes.BROKEN)
    return _unanswered(UnansweredError, link, causes.TLS_FAILED if isinstance(exc, ssl.SSLError) else causes.BROKEN)


def _unanswered(kind: type[_Error], link: Link, cause: causes.Cause, *, is_timeout: bool = False) -> _Error:
    words, hint = cause
    error = kind(causes.say_unreachable(link, words), hint)
    error.is_timeout = is_timeout
    return error
