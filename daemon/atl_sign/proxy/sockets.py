"""
Connections that carry bytes: TCP, and TLS over any of them.

asyncio's transports drop what has arrived as soon as a write fails. A provider that refuses a large upload answers and closes,
which makes the next write fail, and its answer would be lost. Here the two directions fail apart from each other.
"""

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from typing import Any, Protocol, TypeVar

RECEIVE_BYTES = 128 << 10
SEND_BYTES = 64 << 10  # the most that `send` is given at once: a provider that takes this much in a minute is not stuck

_NEXT_ADDRESS_S = 0.25  # RFC 8305 section 5
_Found = TypeVar("_Found", bound=tuple[object, ...])  # an address as getaddrinfo gives it
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what has not been sent yet is thrown away


class Stream(Protocol):
    """A connection; one task may send while another one receives."""

    async def receive(self) -> bytes:
        """Return what has come, b"" at the end; being cancelled loses nothing. Raises OSError."""

    async def send(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send *data*; raises OSError, TimeoutError if it is not taken in time. Bytes that came before can still be received."""

    def send_now(self, data: bytes) -> None:
        """Send *data*, a few bytes, if that can be done without waiting; failures are ignored."""

    def is_quiet(self) -> bool:
        """Whether nothing has come and the other side has not closed: so it is with a kept connection that can be used again."""

    def close(self) -> None:
        """Close an idle connection."""

    def abort(self) -> None:
        """Close the connection at once; not a further byte is sent."""


class TcpStream:
    """A TCP connection."""

    def __init__(self, connected: socket.socket) -> None:
        """Take over a connected socket that does not block."""
        self._socket = connected
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> bytes:
        """Return what has come."""
        return await self._loop.sock_recv(self._socket, RECEIVE_BYTES)

    async def send(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send *data*."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):  # seldom, and a time-out costs as much as what is above
            async with asyncio.timeout(timeout_s):
                await self._loop.sock_sendall(self._socket, memoryview(data)[sent:])

    def send_now(self, data: bytes) -> None:
        """Send *data* without waiting."""
        with suppress(OSError):
            self._socket.send(data)

    def is_quiet(self) -> bool:
        """Whether nothing has come."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close it."""
        descriptor = self._socket.fileno()
        if descriptor >= 0:
            # A task that is cancelled but has not run yet still waits for the descriptor, which may soon be another socket's.
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            self._socket.close()

    def abort(self) -> None:
        """Close it at once."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()


class TlsStream:
    """TLS, as its client, over another stream."""

    def __init__(self, below: Stream, context: ssl.SSLContext, host: str) -> None:
        """Prepare TLS with the server called *host*, a name or an address; `shake_hands` comes first."""
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._failure: OSError | None = None
        self._is_sending = False

    async def shake_hands(self) -> None:
        """Make the connection secure; raises OSError, which includes ssl.SSLError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError:
                self._below.send_now(self._outgoing.read())  # the alert, which tells the server why
                raise
            else:
                await self._flush()
                return

    async def receive(self) -> bytes:
        """Return what has come. An end without TLS's own word for it is an error, as for curl: somebody may have cut it off."""
        found: list[bytes] = []
        size = 0
        has_fed = False
        while size < RECEIVE_BYTES:
            try:
                if self._failure is not None:
                    raise self._failure
                piece = self._tls.read(RECEIVE_BYTES)  # a record at most, 16 KiB
            except ssl.SSLWantReadError:
                if found:
                    break
                if not self._is_sending:  # else it goes out with that
                    await self._flush()
                if has_fed:
                    await asyncio.sleep(0)  # records without data must not hold up others
                await self._feed()
                has_fed = True
                continue
            except ssl.SSLZeroReturnError:
                break
            except OSError as exc:
                if not found:
                    raise
                self._failure = exc  # after what came before it
                break
            if not piece:
                break
            found.append(piece)
            size += len(piece)
            if not (self._incoming.pending or self._tls.pending()):
                break
        return found[0] if len(found) == 1 else b"".join(found)

    async def send(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send *data*."""
        self._is_sending = True
        try:
            try:
                self._tls.write(data)  # all of it: memory takes everything
            except ssl.SSLWantReadError:  # a new handshake in the middle, TLS 1.2: it goes on in `receive`
                async with asyncio.timeout(timeout_s):
                    await self._write_later(data)
            await self._flush(timeout_s)
        finally:
            self._is_sending = False

    async def _write_later(self, data: bytes) -> None:
        while True:
            await self._flush()
            await asyncio.sleep(0.01)
            with suppress(ssl.SSLWantReadError):
                self._tls.write(data)
                return

    def send_now(self, data: bytes) -> None:
        """Send *data* without waiting."""
        with suppress(OSError):
            self._tls.write(data)
        self._below.send_now(self._outgoing.read())

    def is_quiet(self) -> bool:
        """Whether nothing has come."""
        return not self._incoming.pending and self._below.is_quiet()

    def close(self) -> None:
        """Close it, with the word for it."""
        with suppress(OSError):  # that the server's own has not come yet
            self._tls.unwrap()
        self._below.send_now(self._outgoing.read())
        self._below.close()

    def abort(self) -> None:
        """Close it at once."""
        self._below.abort()

    async def _flush(self, timeout_s: float | None = None) -> None:
        if self._outgoing.pending:
            await self._below.send(self._outgoing.read(), timeout_s)

    async def _feed(self) -> None:
        data = await self._below.receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


async def connect_tcp(host: str, port: int) -> TcpStream:
    """
    Return a connection to *port* of *host*, a name or an address without brackets.

    If an address does not answer within a quarter of a second, the next one is tried beside it.

    Raises:
        socket.gaierror: the name is not known.
        OSError: there was no connection to any of the addresses.

    Source: RFC 8305 (Happy Eyeballs).
    """
    loop = asyncio.get_running_loop()
    addresses = _in_turns(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    attempts: set[asyncio.Task[socket.socket]] = set()
    failure: OSError = ConnectionRefusedError()
    try:
        while addresses or attempts:
            if addresses:
                family, _, protocol, _, address = addresses.pop(0)
                attempts.add(asyncio.create_task(_connect(family, protocol, address), name="proxy-connect"))
            done, attempts = await asyncio.wait(
                attempts, timeout=_NEXT_ADDRESS_S if addresses else None, return_when=asyncio.FIRST_COMPLETED
            )
            connected = [attempt.result() for attempt in done if attempt.exception() is None]
            for surplus in connected[1:]:
                surplus.close()
            if connected:
                return TcpStream(connected[0])
            failure = next((exc for attempt in done if isinstance(exc := attempt.exception(), OSError)), failure)
    finally:
        for attempt in attempts:
            if not attempt.cancel() and not attempt.cancelled() and attempt.exception() is None:
                attempt.result().close()  # it came through while this task was cancelled
    raise failure


def _in_turns(found: list[_Found]) -> list[_Found]:
    """Put addresses of both families in turns: one of the two may lead nowhere."""
    first = [info for info in found if info[0] == found[0][0]]
    rest = [info for info in found if info[0] != found[0][0]]
    turns = [info for pair in zip(first, rest, strict=False) for info in pair]
    return turns + first[len(rest) :] + rest[len(first) :]


async def _connect(family: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made
