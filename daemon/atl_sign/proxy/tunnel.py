"""A tunnel: bytes both ways between a client and an address that is not a link's."""

import asyncio
import re
import socket
import ssl
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.base.lease_errors import LeaseDeniedError
from atl_sign.base.urls import DEFAULT_PORTS
from atl_sign.providers.tls_files import find_ca_path
from atl_sign.proxy.channel import CHUNK_BYTES, CHUNK_S, Channel
from atl_sign.proxy.next_proxy import ProxyAddress, find_proxy_of_environment, parse_proxy

CONNECT_S = 10.0
LOOK_UP_S = 2.0  # of a name that a proxy connects to
IDLE_S = 600.0  # with nothing either way: programs keep connections for a while, and some wait long for an event

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _NotLetThroughError(Exception):
    """The proxy makes no connection; the argument is its part of the sentence."""


async def open_tunnel(host: str, port: int, *, is_leased: bool) -> Streams:
    """
    Connect to *host* (a name, or an address; IPv6 in brackets) and *port*, through the proxy of the environment if it names one.

    Args:
        host: where to.
        port: where to.
        is_leased: for a lease, whose programs must not reach this machine's own services.

    Raises:
        LeaseDeniedError: the address is one of this machine.
        ProviderUnreachableError: nobody is there, or does not answer in time, or the proxy makes no connection.
    """
    scheme = "http" if port == DEFAULT_PORTS["http"] else "https"
    try:
        async with asyncio.timeout(CONNECT_S):
            proxy = await find_proxy_of_environment(f"{scheme}://{host}:{port}/")
            if proxy is None:
                return await _connect(await _look_up(host, port, is_leased=is_leased), port)
            if is_leased:
                # Behind such a proxy, often only the proxy knows the names of other hosts.
                with suppress(OSError, UnicodeError):
                    async with asyncio.timeout(LOOK_UP_S):
                        await _look_up(host, port, is_leased=True)
            return await _connect_by(parse_proxy(proxy), f"{host}:{port}")
    except _NotLetThroughError as exc:
        words = f"{host} port {port} cannot be reached: the proxy does not let us through{exc}"
        raise ProviderUnreachableError(words, "check the proxies in the daemon's environment") from None
    except (OSError, UnicodeError) as exc:  # TimeoutError too
        error = ProviderUnreachableError(f"{host} port {port} cannot be reached", "check the host's name, and the network")
        error.is_timeout = isinstance(exc, TimeoutError)
        raise error from None


async def _look_up(host: str, port: int, *, is_leased: bool) -> list[str]:
    """Return the addresses of *host*; raises LeaseDeniedError, and OSError and UnicodeError for a name that has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if is_leased and any(map(is_of_this_machine, addresses)):
        raise LeaseDeniedError("the lease does not reach addresses of this machine")
    return addresses


async def _connect(addresses: list[str], port: int) -> Streams:
    last: OSError | None = None
    for address in addresses:  # those that were looked at: asked again, the name could mean others
        try:
            return await asyncio.open_connection(address, port, limit=CHUNK_BYTES)
        except OSError as exc:
            last = exc
    raise last or OSError("the name has no address")


async def _connect_by(proxy: ProxyAddress | None, target: str) -> Streams:
    """Connect to *target* through *proxy*; raises _NotLetThroughError, and TimeoutError."""
    if proxy is None:
        raise _NotLetThroughError(": its address is of no kind that works here")
    try:
        context = await asyncio.to_thread(_make_context) if proxy.scheme == "https" else None
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port, ssl=context, limit=CHUNK_BYTES)
    except TimeoutError:
        raise
    except (OSError, UnicodeError):
        raise _NotLetThroughError from None
    try:
        lines = [f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode()]
        if proxy.authorization is not None:
            lines.append(b"Proxy-Authorization: %b\r\n" % proxy.authorization)
        writer.write(b"".join(lines) + b"\r\n")
        status = 100
        while 100 <= status < 200:
            # Bytes behind this head are the target's: servers of other protocols than TLS speak first.
            match = _STATUS_LINE.match(await reader.readuntil(b"\r\n\r\n"))
            status = 0 if match is None else int(match[1])
        if not 200 <= status < 300:
            raise _NotLetThroughError(f" (status {status})" if status else "")
    except (OSError, EOFError, asyncio.LimitOverrunError) as exc:
        writer.transport.abort()
        if isinstance(exc, TimeoutError):
            raise
        raise _NotLetThroughError from None
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


def _make_context() -> ssl.SSLContext:
    """Return what a proxy that is itself behind TLS is looked at with: it is trusted as providers are."""
    path = find_ca_path()
    is_folder = Path(path).is_dir()
    return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)


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
