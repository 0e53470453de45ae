"""What the tests of the outgoing side share: a client, a server that a test writes by hand, and a proxy behind TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.proxy.connection import Body
from atl_sign.proxy.upstream import Incoming, Outgoing, Upstreams
from tests.clients.tls.front import TunnelProxy
from tests.listener import Listener

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Got:
    """A whole answer."""

    status: int
    reason: bytes
    headers: Headers
    body: bytes


class Client:
    """Sends requests by one `Upstreams`, closed at the end of `async with`."""

    def __init__(self) -> None:
        self.upstreams = Upstreams()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.upstreams.aclose()

    async def send(
        self,
        link: Link,
        target: bytes = b"/x",
        *,
        method: str = "GET",
        headers: Headers = (),
        body: Body = None,
        origin: Url | None = None,
    ) -> Incoming:
        origin = origin or link.url
        host = f"{origin.host}:{origin.port}".encode()
        return await self.upstreams.send(Outgoing(link, origin, method, target, [(b"Host", host), *headers], body))

    async def ask(
        self, link: Link, target: bytes = b"/x", *, method: str = "GET", headers: Headers = (), body: Body = None
    ) -> Got:
        incoming = await self.send(link, target, method=method, headers=headers, body=body)
        try:
            return Got(incoming.status, incoming.reason, incoming.headers, b"".join([part async for part in incoming.stream()]))
        finally:
            await incoming.aclose()


def run(work: Callable[[Client], Awaitable[None]]) -> None:
    """Run *work* with a client of its own, twenty seconds at most."""

    async def main() -> None:
        async with asyncio.timeout(20), Client() as client:
            await work(client)

    asyncio.run(main())


def length(size: int) -> Headers:
    return [(b"Content-Length", str(size).encode())]


class Talker(Listener):
    """A port on 127.0.0.1 where a test talks by itself: *talk* is called with each connection, and its number from 0 on."""

    def __init__(self, talk: Callable[[socket.socket, int], None], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0), backlog=64))
        self.port = int(self.listener.getsockname()[1])
        self._talk = talk
        self._tls = tls

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        number = self._open.index(connection)
        if self._tls is None:
            self._talk(connection, number)
        else:
            with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                self._talk(wrapped, number)


class TlsTunnelProxy(TunnelProxy):
    """A proxy that is itself spoken to in TLS."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        self._context = tls

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as wrapped:
            super().serve(wrapped)
