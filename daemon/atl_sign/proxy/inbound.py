"""One request as it comes in on a channel: its head, its body, and the way back for its answer."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import h11

from atl_sign.proxy.channel import Channel
from atl_sign.proxy.heads import HEAD_BYTES_MAX, Framing, Head, Header
from atl_sign.proxy.refusals import MalformedError

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LOOK_S = 1.0  # how often it is looked whether the client is still there
_LINGER_S = 2.0
_LINGER_BYTES_MAX = 1 << 20

_T = TypeVar("_T")


class Inbound:
    """
    One request, and its answer.

    The head was read by `heads`, which is stricter than h11 and takes what curl sends; h11 reads chunks, and frames the answer.
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
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        # To h11, every request is one to "/"; a HEAD's answer has no body. It reads chunks, and a length is counted here: that
        # moves twice as many bytes a second.
        method = b"HEAD" if head.method == "HEAD" else b"POST"
        fields = b"Transfer-Encoding: chunked\r\n" if framing.is_chunked else b""
        fields += b"Connection: close\r\n" if head.wants_close else b""
        self._parser.receive_data(b"%b / HTTP/1.%d\r\nHost: h\r\n%b\r\n" % (method, not head.is_1_0, fields))
        self._parser.next_event()
        if not framing.is_chunked:
            self._parser.next_event()

    @property
    def may_go_on(self) -> bool:
        """Whether another request can follow on the connection, once the answer has ended."""
        return self._is_whole and self._parser.our_state is h11.DONE

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
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                self._parser.receive_data(await self._channel.read())
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:  # the end; trailers are dropped
                self._channel.push_back(self._parser.trailing_data[0])
                return

    async def unless_gone(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of *work*; raises ConnectionError, and ends it, when nobody is there any more to have that."""
        task = asyncio.create_task(work, name="proxy-work")
        try:
            while not (await asyncio.wait([task], timeout=_LOOK_S))[0]:
                if self._channel.is_hung_up():
                    raise ConnectionResetError("the client is gone")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def begin(self, status: int, reason: bytes, headers: Sequence[Header]) -> None:
        """
        Send the head of the answer; whether the connection goes on is said here.

        Raises:
            h11.LocalProtocolError: these cannot be sent; nothing was.
        """
        # No client of today sends a request before the answer to the one before has begun; what does is a line break in a value
        # that a program put into a header, and it would be signed.
        if self._is_whole and await self._channel.has_more():
            self._is_whole = False
        fields = [*headers, *([] if self._is_whole else [(b"Connection", b"close")])]
        head = self._parser.send(h11.Response(status_code=status, reason=reason, headers=fields))
        self.has_begun = True
        await self._channel.write(head)

    async def send(self, data: bytes) -> None:
        """Send *data* of the answer's body; raises h11.LocalProtocolError when that is more than its head says."""
        if data:
            await self._channel.write(self._parser.send(h11.Data(data=data)))

    async def end(self) -> None:
        """End the answer; raises h11.LocalProtocolError when that is before its head says."""
        data = self._parser.send(h11.EndOfMessage())
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
