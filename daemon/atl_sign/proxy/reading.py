"""The first bytes on a connection: a request's head, or a message of SOCKS5, read up to its end and within a deadline."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from atl_sign.proxy.channel import Channel
from atl_sign.proxy.heads import HEAD_BYTES_MAX, is_hopeless
from atl_sign.proxy.refusals import HeadTooLargeError, MalformedError
from atl_sign.proxy.socks import SocksError

HEAD_S = 10.0  # from a head's first byte to its last
IDLE_S = 75.0  # before it

_T = TypeVar("_T")


async def read_head(channel: Channel) -> bytes | None:
    """
    Return a request's head with its empty line; None when the connection ends, or nothing comes for a while.

    Raises:
        MalformedError: it cannot be a head, or does not come in time.
        HeadTooLargeError: it is too long.
    """
    try:
        data = bytearray(await channel.read(IDLE_S))
    except TimeoutError:
        return None
    if not data:
        return None
    end = data.find(b"\r\n\r\n")
    if end < 0:
        end = await _read_on(channel, data)
    if max(end, len(data) if end < 0 else 0) > HEAD_BYTES_MAX:
        raise HeadTooLargeError(f"the request's head is over {HEAD_BYTES_MAX} bytes", "send fewer or shorter headers")
    if end < 0:
        raise MalformedError("a line of the request's head does not end as it should", "end each line with CR and LF")
    channel.push_back(bytes(data[end + 4 :]))
    return bytes(data[: end + 4])


async def _read_on(channel: Channel, data: bytearray) -> int:
    """Read into *data* up to the end of the head, and return where that is; below 0 if it will not come."""
    try:
        async with asyncio.timeout(HEAD_S):
            while (end := data.find(b"\r\n\r\n")) < 0 and len(data) <= HEAD_BYTES_MAX and not is_hopeless(data):
                more = await channel.read(None)
                if not more:
                    raise MalformedError("the request ended before it was whole", "send it as a whole")
                data += more
            return end
    except TimeoutError:
        raise MalformedError(f"the request's head did not come in within {HEAD_S:g} seconds", "send it as a whole") from None


async def read_message(channel: Channel, read: Callable[[bytes], tuple[_T, int] | None]) -> _T:
    """Return what *read* makes of the next message; raises SocksError, also for one that ends too early."""
    data = await channel.read(None)
    while (found := read(data)) is None:
        more = await channel.read(None)
        if not more:
            raise SocksError
        data += more
    channel.push_back(data[found[1] :])
    return found[0]
