"""A tunnel: bytes both ways between a client and an address that is not a link's."""

import asyncio
import socket
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_address

from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.base.lease_errors import LeaseDeniedError
from atl_sign.proxy.channel import CHUNK_BYTES, CHUNK_S, Channel

CONNECT_S = 10.0
IDLE_S = 600.0  # with nothing either way: programs keep connections for a while, and some wait long for an event

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_tunnel(host: str, port: int, *, is_leased: bool) -> Streams:
    """
    Connect to *host* (a name, or an address; IPv6 in brackets) and *port*.

    Args:
        host: where to.
        port: where to.
        is_leased: for a lease, whose programs must not reach this machine's own services.

    Raises:
        LeaseDeniedError: the address is one of this machine.
        ProviderUnreachableError: nobody is there, or does not answer in time.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            if is_leased and any(map(is_of_this_machine, addresses)):
                raise LeaseDeniedError("the lease does not reach addresses of this machine")
            last: OSError | None = None
            for address in addresses:  # those that were looked at: asked again, the name could mean others
                try:
                    return await asyncio.open_connection(address, port, limit=CHUNK_BYTES)
                except OSError as exc:
                    last = exc
            raise last or OSError("the name has no address")
    except (OSError, UnicodeError) as exc:  # TimeoutError too
        error = ProviderUnreachableError(f"{host} port {port} cannot be reached", "check the host's name, and the network")
        error.is_timeout = isinstance(exc, TimeoutError)
        raise error from None


def is_of_this_machine(text: str) -> bool:
    """Tell whether the address *text* leads to this machine, or to its own neighbourhood that no route leads out of."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((str(address), 9))  # sends nothing: the kernel only chooses the address to send from
        except OSError:
            return False
        return ip_address(str(probe.getsockname()[0])) == address


async def run_tunnel(channel: Channel, streams: Streams) -> None:
    """Carry bytes until both sides have ended; a side that does not read holds the other one up. Cancelled, it cuts both."""
    reader, writer = streams
    loop = asyncio.get_running_loop()
    moved_at = loop.time()

    async def send() -> None:
        nonlocal moved_at
        while data := await channel.read(None):
            moved_at = loop.time()
            writer.write(data)
            async with asyncio.timeout(CHUNK_S):
                await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def receive() -> None:
        nonlocal moved_at
        while data := await reader.read(CHUNK_BYTES):
            moved_at = loop.time()
            await channel.write(data)
        await channel.write_end()

    async def watch() -> None:
        while (left := moved_at + IDLE_S - loop.time()) > 0:
            await asyncio.sleep(left)
        raise TimeoutError

    tasks = [asyncio.create_task(each, name="tunnel") for each in (send(), receive())]
    watcher = asyncio.create_task(watch(), name="tunnel")
    try:
        waiting = {*tasks, watcher}
        while waiting - {watcher}:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        await channel.close()
        writer.close()
    except BaseException:
        channel.abort()
        writer.transport.abort()
        raise
    finally:
        for each in (*tasks, watcher):
            each.cancel()
        await asyncio.gather(*tasks, watcher, return_exceptions=True)
