"""One request as it comes in on a channel: its head, its body, and the way back for its answer."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import h11

from atl_sign.proxy.answers import AnswerWriter
from atl_sign.proxy.channel import Channel
from atl_sign.proxy.heads import HEAD_BYTES_MAX, Framing, Head, Header
from atl_sign.proxy.refusals import MalformedError

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"  # of every request with chunks, to h11
_LOOK_S = 1.0  # how often it is looked whether the client is still there
_LINGER_S = 2.0
_LINGER_BYTES_MAX = 1 << 20

_T = TypeVar("_T")


class Inbound:
    """
    One request, and its answer.

    The head was read by `heads`, which is stricter than h11 and takes what curl sends; h11 reads chunks.
    """

    def __init__(self, channel: Channel, head: Head, framing: Framing) -> None:
        """Take what follows *head* on *channel* for its body."""
        self.head = head
        self.framing = framing
        self.url: str | None = None  # that it means, when that is known
        self.failure: MalformedError | None = None  # what was wrong with the body
        self.has_begun = False  # the answer
        self._channel = channel
        self._is_whole = not framing.has_body
        self._expects_continue = head.expects_continue
        self._answer = AnswerWriter(is_1_0=head.is_1_0, is_for_head=head.method == "HEAD")
        self._held = b""  # of the answer: the head goes out with the first piece of the body
        self._is_last = head.wants_close  # as the client wants it, or as its answer says: nothing afterwards changes it

    @property
    def may_go_on(self) -> bool:
        """Whether another request can follow on the connection, once the answer has ended."""
        return self._is_whole and self._answer.is_over and not self._is_last

    def make_last(self) -> None:
        """Let no other request follow: what comes next may be part of this one."""
        self._is_whole = False

    async def read(self) -> AsyncIterator[bytes]:
        """
        Give the body as it comes, without its chunks; a client that waits to be asked is asked with the first look.

        Raises:
            MalformedError: it does not end as the head says, or not in time.
            OSError: the connection is gone.
        """
        if self._is_whole:
            return
        if self._expects_continue and not self.has_begun:
            self._expects_continue = False
            await self._channel.write(_CONTINUE)
        reading = self._read_chunks() if self.framing.is_chunked else self._read_length(self.framing.length or 0)
        try:
            async for data in reading:
                yield data
        except h11.RemoteProtocolError:
            self.failure = MalformedError("the request's body does not end as its head says", "send it as a whole")
        except TimeoutError:
            self.failure = MalformedError("the request's body did not come in", "send it as a whole")
        if self.failure is not None:
            raise self.failure
        self._is_whole = True

    async def _read_length(self, left: int) -> AsyncIterator[bytes]:
        while left:
            data = await self._channel.read()
            if not data:
                raise h11.RemoteProtocolError("the connection ended")
            if len(data) > left:
                self._channel.push_back(data[left:])
                data = data[:left]
            left -= len(data)
            yield data

    async def _read_chunks(self) -> AsyncIterator[bytes]:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        parser.receive_data(_CHUNKED_HEAD)
        parser.next_event()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self._channel.read())
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:  # the end; trailers are dropped
                self._channel.push_back(parser.trailing_data[0])
                return

    async def unless_gone(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of *work*; raises ConnectionError, and ends it, when nobody is there any more to have that."""
        # Not in a task of its own: that would take two more turns of the event loop.
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)

        def look() -> None:
            if self._channel.is_hung_up():
                limit.reschedule(loop.time())
            else:
                timers.append(loop.call_later(_LOOK_S, look))

        timers = [loop.call_later(_LOOK_S, look)]
        try:
            async with limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise ConnectionResetError("the client is gone") from None
            raise
        finally:
            timers[-1].cancel()

    async def begin(self, status: int, reason: bytes, headers: Sequence[Header]) -> None:
        """
        Send the head of the answer, with the first `send`; whether the connection goes on is said here.

        Raises:
            MisframedError: these cannot be sent; nothing was.
        """
        # No client of today sends a request before the answer to the one before has begun; what does is a line break in a value
        # that a program put into a header, and it would be signed.
        if self._is_whole and await self._channel.has_more():
            self._is_whole = False
        self._is_last = self._is_last or not self._is_whole
        self._held = self._answer.begin(status, reason, headers, is_last=self._is_last)
        self.has_begun = True

    async def send(self, data: bytes) -> None:
        """Send *data* of the answer's body, b"" for its head at once; raises MisframedError when that is too much."""
        await self._write(self._answer.write(data) if data else b"")

    async def end(self) -> None:
        """End the answer; raises MisframedError when that is before its head says."""
        await self._write(self._answer.end())

    async def _write(self, data: bytes) -> None:
        data, self._held = self._held + data, b""
        if data:
            await self._channel.write(data)

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole answer."""
        await self.begin(status, HTTPStatus(status).phrase.encode(), headers)
        if self.head.method != "HEAD":
            await self.send(body)
        await self.end()

    async def linger(self) -> None:
        """Let a client that is still sending read the answer: closed before it stops, the connection would be reset under it."""
        if self._is_whole:
            return
        await self._channel.write_end()
        left = _LINGER_BYTES_MAX
        try:
            while left > 0 and (data := await self._channel.read(_LINGER_S)):
                left -= len(data)
        except (OSError, TimeoutError):
            pass
