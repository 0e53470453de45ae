"""A client's connection: bytes in and out with a deadline for each, in the clear or in TLS that ends here."""

import asyncio
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from atl_sign.base.peer import has_hung_up

CHUNK_S = 60.0  # between two chunks, in either direction
CHUNK_BYTES = 1 << 17
_CLOSE_S = 5.0


class Channel:
    """A connection in the clear."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk by *reader* and *writer*."""
        self._reader = reader
        self._writer = writer
        self._pushed_back = b""

    async def read(self, timeout_s: float | None = CHUNK_S) -> bytes:
        """Return the next bytes, b"" at the end; raises TimeoutError and OSError."""
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back, b""
            return data
        async with asyncio.timeout(timeout_s):
            return await self._read()

    async def has_more(self) -> bool:
        """Tell whether bytes have come that nobody has read; waits for none."""
        if not self._pushed_back:
            # Only as far as the first wait: a time-out of 0 would cost two turns of the event loop for each request.
            reading = self._read()
            try:
                reading.send(None)
            except StopIteration as done:
                self.push_back(done.value)
            finally:
                reading.close()
        return bool(self._pushed_back)

    def push_back(self, data: bytes) -> None:
        """Let the next `read` begin with *data*."""
        self._pushed_back = data + self._pushed_back

    async def write(self, data: bytes) -> None:
        """Send *data*, and wait while the client does not read; raises TimeoutError and OSError."""
        self._writer.write(data)
        transport = self._writer.transport
        if transport.get_write_buffer_size() or transport.is_closing():  # else all of it has gone out already
            async with asyncio.timeout(CHUNK_S):
                await self._writer.drain()

    async def write_end(self) -> None:
        """Say that nothing more will be sent; the client can go on sending."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def is_hung_up(self) -> bool:
        """Tell whether the client reads nothing more; that it sends nothing more does not say so."""
        return self._writer.is_closing() or has_hung_up(self._writer.get_extra_info("socket"))

    async def close(self) -> None:
        """End the connection when all that was written has been sent."""
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        """End the connection now; what was written and not sent is lost."""
        transport: Any = self._writer.transport
        transport.abort()

    def _read(self) -> Coroutine[Any, Any, bytes]:
        return self._reader.read(CHUNK_BYTES)


class TlsChannel(Channel):
    """
    TLS, of which this is the server, on another channel.

    Not asyncio's: that loses what has been read when TLS begins, and before Python 3.12 it forgets which transport it must pause.
    """

    def __init__(self, below: Channel, context: ssl.SSLContext) -> None:
        """Speak TLS on *below*, which is not used otherwise from now on."""
        super().__init__(below._reader, below._writer)
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self, timeout_s: float) -> None:
        """Begin; raises TimeoutError, ssl.SSLError and OSError."""
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                else:
                    await self._flush()
                    return

    async def write(self, data: bytes) -> None:
        """See `Channel.write`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        await self._flush()

    async def write_end(self) -> None:
        """See `Channel.write_end`."""
        with suppress(ssl.SSLError):  # it wants to read the other side's end, which may come or not
            self._tls.unwrap()
        await self._flush()
        await self._below.write_end()

    async def close(self) -> None:
        """See `Channel.close`."""
        with suppress(OSError, TimeoutError):
            await self.write_end()
        await self._below.close()

    async def _read(self) -> bytes:
        while True:
            try:
                data = self._tls.read(CHUNK_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            else:
                return self._read_more(data)

    def _read_more(self, data: bytes) -> bytes:
        """Return *data* with what else is there: a read gives one record of TLS, 16 KiB, and the way of each chunk is long."""
        pieces, length = [data], len(data)
        with suppress(ssl.SSLError):  # the next read meets it again
            while data and length < CHUNK_BYTES:
                data = self._tls.read(CHUNK_BYTES - length)
                pieces.append(data)
                length += len(data)
        return b"".join(pieces)

    async def _fill(self) -> None:
        data = await self._below.read(None)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.write(self._outgoing.read())
