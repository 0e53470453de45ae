"""One connection to a provider, and what goes on it: a request out and its answer in, at the same time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

import h11

from atl_sign.proxy.network import HEAD_BYTES_MAX
from atl_sign.proxy.sockets import SEND_BYTES, Stream

STALL_S = 60.0  # between two chunks, either way
AFTERWORD_S = 5.0  # for the answer of a provider that takes no more of the request

# h11 takes no bytes beyond ASCII in a target. curl sends them in a query as they are typed, and so they are signed.
NO_TARGET = b"/"

_OVER = {h11.DONE, h11.MUST_CLOSE, h11.CLOSED}

Body = bytes | AsyncIterator[bytes] | None


class _NotTakenError(Exception):
    """The provider takes no more of the request."""


class Connection:
    """
    A connection to a provider: `ask`, then `read_body` and `finish`, and so on while `finish` returns True.

    The provider may answer before it has the whole request: the answer counts, and a failure to send does not.
    """

    def __init__(self, stream: Stream) -> None:
        """Use *stream*, which is ready for a request."""
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._sending: asyncio.Task[None] | None = None
        self._send_failure: OSError | None = None
        self._status = 0
        self.has_answered = False  # whether a byte of the present answer has come
        self.is_used = False  # whether there was an exchange before the present one

    @property
    def is_stuck(self) -> bool:
        """Whether the provider has stopped taking the present request."""
        return isinstance(self._send_failure, TimeoutError)

    @property
    def body_failure(self) -> BaseException | None:
        """The exception that reading the present request's body raised; None if there is none so far."""
        is_over = self._sending is not None and self._sending.done() and not self._sending.cancelled()
        return self._sending.exception() if self._sending is not None and is_over else None

    def is_quiet(self) -> bool:
        """Whether it looks as if it could carry another request."""
        return self._stream.is_quiet()

    async def ask(self, request: h11.Request, target: bytes, body: Body, timeout_s: float) -> h11.Response:
        """
        Send *request* with its *body* and return the head of the answer, which can come while the body is still being sent.

        Args:
            request: its headers frame the body; its own target is `NO_TARGET`.
            target: what goes out in its place.
            body: what `h11` writes with the framing of the headers; it is closed when it has an `aclose`.
            timeout_s: how long the whole head may take to come after the whole request has gone out.

        Raises:
            TimeoutError: nothing came in time, or the provider took nothing for `STALL_S`.
            OSError, h11.RemoteProtocolError: the connection broke, or the answer is not HTTP.
            h11.LocalProtocolError: the request is not HTTP, or its body is not as long as its head says.
            Exception: what *body* raised.
        """
        self.has_answered, self._send_failure, self._sending = False, None, None
        head = self._http.send(request).replace(b" %s " % NO_TARGET, b" %s " % target, 1)
        if body is None:
            head += self._http.send(h11.EndOfMessage())
        with suppress(_NotTakenError):
            await self._write(head)
            if body is not None:
                self._sending = asyncio.create_task(self._send_body(body), name="proxy-send")
        return await self._await_head(timeout_s)

    async def read_body(self) -> AsyncGenerator[bytes]:
        """Give the answer's body as it comes, first b"" if there is no piece yet, or none at all; raises as `ask` does."""
        event = self._take_event()
        if not isinstance(event, h11.Data):
            yield b""
        while not isinstance(event, h11.EndOfMessage):
            if event is None:
                event = await self._await_event()
                continue
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            event = self._take_event()
            if not isinstance(event, h11.EndOfMessage):
                await asyncio.sleep(0)  # what has come already is read without a wait, and others want their turn

    async def finish(self) -> bool:
        """
        End the exchange and return whether the connection can be used again.

        A request that has not gone out whole goes on if the answer is a success, and ends if it is not, as curl does it.
        """
        if not self._is_whole():
            return False
        if self._sending is not None:
            if self._status < 300:
                await asyncio.wait({self._sending})
            if not self._sending.done():
                return False
            self._sending.result()
        if self._send_failure is not None or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        if self._http.trailing_data[0]:  # more than the head said: it would be taken for the answer to the next request
            return False
        self._http.start_next_cycle()
        self.is_used = True
        return True

    def close(self) -> None:
        """Close an idle connection."""
        self._stream.close()

    async def end(self) -> None:
        """Close a connection that is not used again: at once if there is still something under way."""
        if self._send_failure is None and {self._http.our_state, self._http.their_state} <= _OVER:
            self.close()
        else:
            await self.abort()

    async def abort(self) -> None:
        """Close the connection at once, and end what is left of the request's body."""
        self._stream.abort()
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait({self._sending})

    def _is_whole(self) -> bool:
        """Whether the answer has come whole; the end of an empty one costs no wait."""
        if self._http.their_state is h11.SEND_BODY:
            with suppress(h11.RemoteProtocolError):
                # Bytes that have come are looked at only when they cannot be a part of the body.
                return not self._http.trailing_data[0] and isinstance(self._http.next_event(), h11.EndOfMessage)
        return self._http.their_state in _OVER

    async def _await_head(self, timeout_s: float) -> h11.Response:
        if self._sending is not None:
            reading = asyncio.create_task(self._read_head(), name="proxy-read")
            try:
                await asyncio.wait({self._sending, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    self._sending.result()
                async with self._limit(timeout_s):
                    return await reading
            finally:
                reading.cancel()
        async with self._limit(timeout_s):
            return await self._read_head()

    def _limit(self, timeout_s: float) -> asyncio.Timeout:
        return asyncio.timeout(timeout_s if self._send_failure is None else min(timeout_s, AFTERWORD_S))

    async def _read_head(self) -> h11.Response:
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                self._status = event.status_code
                return event
            await asyncio.sleep(0)  # as in `read_body`: a provider may send any number of 1xx

    async def _await_event(self) -> h11.Event:
        """Return the next event of the body."""
        while True:
            is_sending = self._sending is not None and not self._sending.done()
            try:
                async with asyncio.timeout(STALL_S):
                    return await self._next_event()
            except TimeoutError:
                if not is_sending:  # else the provider may wait for the rest of the request; that has its own limit
                    raise

    async def _next_event(self) -> h11.Event:
        while (event := self._take_event()) is None:
            data = await self._stream.receive()
            self.has_answered = self.has_answered or bool(data)
            self._http.receive_data(data)
        return event

    def _take_event(self) -> h11.Event | None:
        """Return the next event, None if it has not come yet."""
        event = self._http.next_event()
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.Event) and not isinstance(event, h11.ConnectionClosed):
            return event
        raise h11.RemoteProtocolError("the connection ended before the answer")

    async def _send_body(self, body: bytes | AsyncIterator[bytes]) -> None:
        try:
            with suppress(_NotTakenError):
                if isinstance(body, bytes):
                    await self._send_data(body)
                else:
                    async for chunk in body:
                        await self._send_data(chunk)
                await self._write(self._http.send(h11.EndOfMessage()))
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()

    async def _send_data(self, data: bytes) -> None:
        for start in range(0, len(data), SEND_BYTES):
            await self._write(self._http.send(h11.Data(data=data[start : start + SEND_BYTES])))
            await asyncio.sleep(0)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            await self._stream.send(data, STALL_S)
        except OSError as exc:  # a TimeoutError is one
            self._send_failure = exc
            raise _NotTakenError from None
