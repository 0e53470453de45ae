"""One connection to an entry of the proxy: its first byte says whether it is SOCKS5 or HTTP, and requests follow each other."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atl_sign.access.caller import Caller
from atl_sign.access.lease import Lease
from atl_sign.agent.build import Agent
from atl_sign.agent.sign import Asked
from atl_sign.base.errors import (
    DaemonError,
    InternalError,
    NotFoundError,
    ProviderUnreachableError,
    UnknownLinkError,
)
from atl_sign.base.lease_errors import LeaseDeniedError
from atl_sign.base.peer import Peer
from atl_sign.base.urls import DEFAULT_PORTS
from atl_sign.config.links import Link
from atl_sign.proxy import socks
from atl_sign.proxy.answers import MisframedError
from atl_sign.proxy.channel import Channel, TlsChannel
from atl_sign.proxy.following import follow_curl
from atl_sign.proxy.heads import Framing, Head, parse_head, read_framing
from atl_sign.proxy.inbound import Inbound
from atl_sign.proxy.notes import Notes
from atl_sign.proxy.own import App, run_app
from atl_sign.proxy.reading import HEAD_S, IDLE_S, read_head, read_message
from atl_sign.proxy.reasons import keep_refusal
from atl_sign.proxy.refusals import MalformedError, ProxyBusyError, make_refusal
from atl_sign.proxy.relay import AnswerBrokenError, Relay
from atl_sign.proxy.routes import OWN_PATH, Origins, Way, check_entry, find_wanted, list_origins
from atl_sign.proxy.targets import Opened, open_target, read_target
from atl_sign.proxy.tunnel import Streams, run_tunnel
from atl_sign.proxy.upstream import Upstreams

if TYPE_CHECKING:  # with the first connection in TLS
    from atl_sign.proxy.certificates import Authority

TUNNELS_MAX = 64
_TLS = b"\x16"  # the first byte of a handshake

_log = logging.getLogger("atl_sign")


@dataclass(frozen=True, slots=True)
class Entry:
    """One way in."""

    lease: Lease | None  # None: the owner's own
    authority: "Callable[[], Authority]"  # made when TLS is first ended
    is_port: bool = False  # a loopback port, which wants the lease's secret
    notes: Notes | None = None  # for `atl-sign curl`, at the owner's own


class Proxy:
    """Serves connections to the entries."""

    def __init__(self, agent: Agent, own_app: App | None = None, upstreams: Upstreams | None = None) -> None:
        """
        Let *agent* sign.

        Args:
            agent: the daemon's verbs.
            own_app: answers requests below `/~/` on the entries of leases.
            upstreams: the connections to providers; new ones when left out.
        """
        self.agent = agent
        self.own_app = own_app
        self.tunnels_open = 0
        self.tunnels_opening = 0  # connections to any host that are being made
        self._upstreams = upstreams or Upstreams()
        self.relay = Relay(agent, self._upstreams)
        self._links: tuple[Link, ...] = ()
        self._origins = Origins()  # of these

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, entry: Entry, peer: Peer | None) -> None:
        """Serve one connection until it ends; its *peer* has been checked. Cancelled, it is cut on both sides."""
        channel = Channel(reader, writer)
        try:
            hosts: frozenset[bytes] = _hosts_of(writer) if entry.is_port else frozenset()
            await _Visit(self, entry, Caller(peer, entry.lease)).run(channel, hosts)
            await channel.close()
        except (OSError, TimeoutError, AnswerBrokenError, MisframedError):  # ssl.SSLError is an OSError
            channel.abort()
        except BaseException:
            channel.abort()
            raise

    async def aclose(self) -> None:
        """Close the connections to the providers."""
        await self._upstreams.aclose()

    def list_origins(self, own: Sequence[Link] | None = None) -> Origins:
        """Return the hosts and ports of every link, or of its *own* ones, and of their gateways."""
        signing = self.agent.signing
        if own is not None:
            return list_origins(url for link in own for url in signing.urls_of(link))
        links = signing.links_for(Caller(None))
        if links is not self._links:
            self._links, self._origins = links, list_origins(url for link in links for url in signing.urls_of(link))
        return self._origins


class _Visit:
    """The requests on one connection."""

    def __init__(self, proxy: Proxy, entry: Entry, caller: Caller) -> None:
        self._proxy = proxy
        self._entry = entry
        self._caller = caller

    async def run(self, channel: Channel, port_hosts: frozenset[bytes]) -> None:
        """Serve the connection; returns when it can be closed in peace."""
        try:
            first = await channel.read(IDLE_S)
        except TimeoutError:
            return
        channel.push_back(first)
        if first[:1] == _TLS and self._entry.lease is None:
            return  # `atl-sign curl` looks at what curl says before its TLS fails
        if first[:1] == b"\x05":
            await self._serve_socks(channel)
        elif first and self._entry.is_port and self._entry.lease is None:
            # A page in a browser can send HTTP to any port, and no secret keeps it away from the owner's own.
            await _refuse_unread(channel, LeaseDeniedError("this port takes only SOCKS5"))
        elif first:
            await self._serve_http(channel, Way(self._caller, port_hosts))

    async def _serve_socks(self, channel: Channel) -> None:
        if self._entry.is_port and self._entry.lease is not None:  # the password has no room for the lease's secret
            await channel.write(socks.NO_METHOD)
            return
        try:
            async with asyncio.timeout(HEAD_S):
                answer = await read_message(channel, socks.read_greeting)
                await channel.write(answer)
                login = socks.Login()
                if answer == socks.USER_AND_PASSWORD:
                    login = await read_message(channel, socks.read_login)
                    await channel.write(socks.LOGIN_TAKEN)
                target = await read_message(channel, socks.read_request)
        except socks.SocksError as exc:
            if exc.answer:
                await channel.write(exc.answer)
            return
        notes = self._entry.notes
        note = None if notes is None or login.note is None else notes.open(login.note)
        way = Way(self._caller, link=login.link, is_dry_run=login.is_dry_run, note=note)
        try:
            opened = await self._open(way, target.host, target.port)
            await self._go_inside(channel, way, opened, socks.make_reply(socks.CONNECTED))
        except DaemonError as exc:
            keep_refusal(self._proxy.agent, exc, way, Head("CONNECT", f"{target.host}:{target.port}".encode(), False, ()))
            if note is not None:
                note.refuse(exc)
            code = socks.UNREACHABLE if isinstance(exc, ProviderUnreachableError) else socks.NOT_ALLOWED
            await channel.write(socks.make_reply(code))
        finally:
            if notes is not None and note is not None:
                notes.release(note)

    async def _serve_http(self, channel: Channel, way: Way) -> None:
        """Serve requests until the connection ends."""
        while True:
            try:
                raw = await read_head(channel)
                if raw is None:
                    return
                head = parse_head(raw)
                framing = read_framing(head)
            except DaemonError as exc:
                keep_refusal(self._proxy.agent, exc, way)
                if way.note is None:
                    await _refuse_unread(channel, exc)
                else:
                    way.note.refuse(exc)
                return
            inbound = Inbound(channel, head, framing)
            try:
                check_entry(head, way)
                if head.method == "CONNECT":
                    inbound.make_last()  # refused, what follows was meant for somebody else
                    opened = await self._open(way, *read_target(head, framing, way))
                    await self._go_inside(channel, way, opened, b"HTTP/1.1 200 Connection established\r\n\r\n")
                    return
                if not framing.has_body and await channel.has_more():
                    inbound.make_last()
                    raise MalformedError(
                        "another request follows before the answer to this one", "take line breaks out of the headers"
                    )
                await self._answer(inbound, way)
            except DaemonError as exc:
                keep_refusal(self._proxy.agent, exc, way, head, inbound.url)
                if way.note is None:
                    await _refuse(inbound, exc)
                else:  # curl ends with an error, as after every failure to send, and no file gets an answer of ours
                    way.note.refuse(exc)
                    inbound.make_last()
            if not inbound.may_go_on:
                await inbound.linger()
                return

    async def _answer(self, inbound: Inbound, way: Way) -> None:
        """Answer one request; raises DaemonError when it is refused, and its answer has not begun."""
        caller = way.caller
        try:
            if way.origin is None and inbound.head.target.startswith(OWN_PATH):
                if caller.lease is None or self._proxy.own_app is None:
                    raise NotFoundError("the proxy has no such path", "atl-sign link list")
                await run_app(self._proxy.own_app, inbound, caller)
                return
            is_inside = way.origin is not None  # then only the link's host can be meant
            links = () if is_inside else self._proxy.agent.signing.links_for(caller)
            origins = Origins()
            if not is_inside:
                # To a lease's holder, by the name of a host, other links' hosts are as all others are.
                is_for_own = caller.lease is not None and inbound.head.target.startswith(b"/")
                origins = self._proxy.list_origins(links) if is_for_own else self._proxy.list_origins()
            try:
                wanted = find_wanted(inbound.head, way, links, origins)
            except UnknownLinkError:
                if caller.lease is None:
                    raise
                raise caller.lease.deny_address() from None  # the words would be about other links
            inbound.url = wanted.text
            send = self._proxy.relay.show if way.is_dry_run else self._proxy.relay.relay
            if way.note is None:
                await send(inbound, caller, wanted)
            else:
                await follow_curl(send, self._proxy.relay, inbound, way, wanted)
        except (DaemonError, OSError, MisframedError) as exc:
            if inbound.has_begun and isinstance(exc, DaemonError):
                raise AnswerBrokenError from exc
            raise
        except AnswerBrokenError:
            raise
        except Exception as exc:
            # Without its words and its trace, which could hold what was sent.
            _log.error("a request through the proxy failed: %s", type(exc).__name__)
            if inbound.has_begun:
                raise AnswerBrokenError from exc
            raise InternalError("the request failed inside the daemon", "atl-sign log") from exc

    async def _open(self, way: Way, host: str, port: int) -> Opened:
        """Return where a connection to *host* and *port* leads; raises as `open_target`, and ProxyBusyError."""
        if self._proxy.tunnels_open + self._proxy.tunnels_opening >= TUNNELS_MAX:
            raise ProxyBusyError(f"{TUNNELS_MAX} tunnels are open", "wait until some of them have ended")
        origins = self._proxy.list_origins()
        if way.note is not None and origins.find(host, port) is None and not way.note.may_leave(host, port):
            # `atl-sign curl` is for links: outside of them only a redirect leads.
            scheme = "http" if port == DEFAULT_PORTS["http"] else "https"
            await self._proxy.agent.signing.admit(way.caller, Asked("GET", f"{scheme}://{host}:{port}/", link=way.link))
        self._proxy.tunnels_opening += 1
        try:
            return await open_target(way, host, port, origins, self._entry.authority, tunnels=self._proxy.agent.tunnels)
        finally:
            self._proxy.tunnels_opening -= 1

    async def _go_inside(self, channel: Channel, way: Way, opened: Opened, reply: bytes) -> None:
        """Send the *reply* that says that the connection is there, and serve what comes on it."""
        if opened.streams is not None:
            self._proxy.tunnels_open += 1
            self._proxy.relay.transfers.begin()
            try:
                await _write_or_cut(channel, reply, opened.streams)
                await run_tunnel(channel, opened.streams)
            finally:
                self._proxy.relay.transfers.end()
                self._proxy.tunnels_open -= 1
            return
        await channel.write(reply)
        inside = replace(way, origin=opened.origin)
        if opened.context is None:
            await self._serve_http(channel, inside)
            return
        tls = TlsChannel(channel, opened.context)
        await tls.shake_hands(HEAD_S)
        await self._serve_http(tls, inside)
        await tls.close()


async def _refuse(inbound: Inbound, error: DaemonError) -> None:
    if isinstance(error, MalformedError):
        inbound.make_last()
    await inbound.answer(*make_refusal(error))


async def _refuse_unread(channel: Channel, error: DaemonError) -> None:
    """Answer what could not be read with *error*; whatever follows it is dropped."""
    inbound = Inbound(channel, Head("GET", b"/", False, ()), Framing(1))
    await _refuse(inbound, error)
    await inbound.linger()


async def _write_or_cut(channel: Channel, data: bytes, streams: Streams) -> None:
    try:
        await channel.write(data)
    except BaseException:
        streams[1].transport.abort()
        raise


def _hosts_of(writer: asyncio.StreamWriter) -> frozenset[bytes]:
    """Return what Host may be on a port of ours."""
    port = writer.get_extra_info("sockname")[1]
    return frozenset(f"{host}:{port}".encode() for host in ("127.0.0.1", "localhost", "[::1]"))
