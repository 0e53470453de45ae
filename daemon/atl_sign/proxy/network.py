"""How one link sees the network: its CA certificates, client certificate and proxy, and the connections made with them."""

import asyncio
import socket
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h11

from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.providers import causes
from atl_sign.providers.tls_files import UnusableFileError, check_files, find_ca_path, load_files
from atl_sign.proxy.next_proxy import ProxyAddress, parse_proxy
from atl_sign.proxy.sockets import Stream, TcpStream, TlsStream, connect_tcp

CONNECT_S = 10.0  # for name, proxy, connection and TLS together
HEAD_BYTES_MAX = 64 << 10  # of an answer


class NotConnectedError(Exception):
    """There is no connection to the provider."""

    def __init__(self, cause: causes.Cause, *, is_timeout: bool = False) -> None:
        """Keep why, and what to do; and whether that is because a limit of time ran out."""
        super().__init__(*cause)
        self.cause = cause
        self.is_timeout = is_timeout


@dataclass(frozen=True, slots=True)
class View:
    """The settings of a link, and of the environment, that its connections to one origin depend on."""

    ca_bundle: str
    client_cert: Path | None
    proxy: str | None

    @classmethod
    def of(cls, link: Link, proxy: str | None) -> "View":
        """Return how *link* sees the network through *proxy*."""
        return cls(find_ca_path(link), link.client_cert, proxy)


class Network:
    """Opens connections to one origin, as one link sees the network."""

    def __init__(self, link: Link, origin: Url, view: View) -> None:
        """Prepare to connect to *origin*."""
        self.link = link
        self._origin = origin
        self.view = view
        self._proxy = None if view.proxy is None else parse_proxy(view.proxy)
        self._context: ssl.SSLContext | None = None
        self._stamps: tuple[object, ...] = ()  # of the files that the context was made from

    def address(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return *target* and *headers* as they go out: without TLS, a proxy is given the whole address and its own password."""
        if self._proxy is None or self._origin.scheme == "https":
            return target, headers
        if self._proxy.authorization is not None:
            headers = [*headers[:1], (b"Proxy-Authorization", self._proxy.authorization), *headers[1:]]
        return self._origin.origin.encode() + target, headers

    async def connect(self) -> Stream:
        """Return a new connection that is ready for a request; raises NotConnectedError."""
        try:
            async with asyncio.timeout(min(CONNECT_S, self.link.timeout_s)):
                return await self._connect()
        except TimeoutError:
            cause = causes.too_late(self.link) if self.link.timeout_s <= CONNECT_S else causes.not_connected(CONNECT_S)
        raise NotConnectedError(cause, is_timeout=True)

    async def _connect(self) -> Stream:
        if self.view.proxy is not None and self._proxy is None:
            raise NotConnectedError(causes.unusable_proxy(self.link))
        # Before anybody is connected to: a file may be unusable.
        context = await self._find_context() if self._origin.scheme == "https" else None
        stream: Stream = await self._reach()
        try:
            if self._proxy is not None and self._proxy.scheme == "https":
                # Trusted as the provider is, but the client certificate is not for it.
                stream = await self._secure(stream, await self._load(with_client_cert=False), self._proxy.host)
            if context is not None:
                if self._proxy is not None:
                    await self._make_tunnel(stream, self._proxy)
                stream = await self._secure(stream, context, self._origin.host.strip("[]"))
        except BaseException:
            stream.abort()
            raise
        return stream

    async def _reach(self) -> TcpStream:
        host, port = self._origin.host.strip("[]"), self._origin.port
        if self._proxy is not None:
            host, port = self._proxy.host, self._proxy.port
        try:
            return await connect_tcp(host, port)
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as exc:  # the latter: no DNS name has such labels
            if self._proxy is not None:
                cause = causes.not_let_through(self.link, None)
            elif isinstance(exc, socket.gaierror | UnicodeError):
                cause = causes.UNKNOWN_HOST
            else:
                cause = causes.NOBODY_THERE
        raise NotConnectedError(cause)

    async def _secure(self, below: Stream, context: ssl.SSLContext, host: str) -> TlsStream:
        stream = TlsStream(below, context, host)
        try:
            await stream.shake_hands()
        except ssl.SSLCertVerificationError as exc:
            cause = causes.not_trusted(exc.verify_message)
        except ssl.SSLError:
            cause = causes.TLS_FAILED
        except TimeoutError:
            raise
        except (OSError, ValueError):  # the latter: a host that no certificate can name
            cause = causes.BROKEN
        else:
            return stream
        raise NotConnectedError(cause)

    async def _make_tunnel(self, stream: Stream, proxy: ProxyAddress) -> None:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        target = f"{self._origin.host}:{self._origin.port}".encode()
        headers = [(b"Host", target)]
        if proxy.authorization is not None:
            headers.append((b"Proxy-Authorization", proxy.authorization))
        status = None
        try:
            await stream.send(http.send(h11.Request(method=b"CONNECT", target=target, headers=headers)))
            await stream.send(http.send(h11.EndOfMessage()))
            while status is None:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await stream.receive())
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif not isinstance(event, h11.InformationalResponse):
                    break
        except TimeoutError:
            raise
        except (OSError, h11.RemoteProtocolError):
            pass
        # Bytes that come before our first byte of TLS are not the provider's.
        if status is None or not 200 <= status < 300 or http.trailing_data[0]:
            raise NotConnectedError(causes.not_let_through(self.link, status))

    async def _find_context(self) -> ssl.SSLContext:
        stamps = await asyncio.to_thread(self._stamp_files)
        if self._context is None or stamps != self._stamps:
            self._context, self._stamps = await self._load(with_client_cert=True), stamps
        return self._context

    def _stamp_files(self) -> tuple[object, ...]:
        """Return what changes when one of the files does: a renewed certificate counts from the next connection on."""
        found: list[object] = []
        for path in (self.view.ca_bundle, self.view.client_cert):
            with suppress(OSError):
                if path is not None:
                    status = Path(path).stat()
                    found.append((path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    async def _load(self, *, with_client_cert: bool) -> ssl.SSLContext:
        try:
            return await asyncio.to_thread(_make_context, self.link, with_client_cert)
        except UnusableFileError as unusable:
            words, hint = unusable.args
            cause = words, hint
        except OSError:
            cause = causes.TLS_FAILED
        raise NotConnectedError(cause)


def _make_context(link: Link, with_client_cert: bool) -> ssl.SSLContext:
    """Set TLS up with the files of *link*; raises OSError, and UnusableFileError with the words for a file that does not work."""
    check_files(link)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.hostname_checks_common_name = False
        if sys.version_info >= (3, 13):  # as urllib3 has it
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])
        bundle = find_ca_path(link)
        if Path(bundle).is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(bundle)
        if with_client_cert and link.client_cert is not None:
            context.load_cert_chain(link.client_cert, password=lambda: "")  # without one OpenSSL would ask the terminal
    except OSError:
        load_files(link)
        raise
    return context
