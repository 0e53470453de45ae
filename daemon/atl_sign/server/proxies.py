"""The proxy's listeners: the owner's `proxy.sock` with its CA certificate, and the connections of every entry."""

import asyncio
import logging
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from atl_sign.access.lease import Lease
from atl_sign.agent.build import Agent
from atl_sign.agent.own_proxy import ProxyPlace
from atl_sign.base.peer import has_hung_up, read_loopback_uid, read_peer
from atl_sign.server.connections import LEASE_CONNECTIONS_MAX, are_all_taken
from atl_sign.server.listening import bind_own

if TYPE_CHECKING:  # with the first connection to a proxy
    from atl_sign.proxy.certificates import Authority
    from atl_sign.proxy.front import Entry, Proxy
    from atl_sign.proxy.notes import Notes

OWN_CONNECTIONS_MAX = 256
AUTHORITY_LIFE_S = 24 * 3600.0
LEASE_AUTHORITY_LIFE_S = 30 * 24 * 3600.0  # a lease can be made longer, and its key goes with it anyway

_log = logging.getLogger("atl_sign")


class Proxies:
    """Connections to the proxy, each a task."""

    def __init__(self, agent: Agent) -> None:
        """Serve *agent*."""
        self._agent = agent
        self._streams: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, Lease | None]] = {}
        self._proxy: Proxy | None = None

    async def listen(self, listener: socket.socket, way_in: "WayIn") -> asyncio.Server:
        """Take connections from *listener*, a Unix socket or a port."""
        is_port = listener.family != socket.AF_UNIX

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, way_in, is_port=is_port)

        start = asyncio.start_server if is_port else asyncio.start_unix_server
        server: asyncio.Server = await start(serve, sock=listener)
        return server

    def cut(self, lease: Lease) -> None:
        """Cut the connections of *lease*."""
        for task, (writer, owner) in tuple(self._streams.items()):
            if owner is lease:
                writer.transport.abort()
                task.cancel()

    def cut_transfers(self, lease: Lease) -> None:
        """Cut the connections of *lease* that carry an authorized request or a tunnel; the others stay, to be refused."""
        for task, (writer, owner) in tuple(self._streams.items()):
            if owner is lease and self._proxy is not None and self._proxy.relay.transfers.has(task):
                writer.transport.abort()
                task.cancel()

    def is_busy(self) -> bool:
        """Tell whether a connection is open."""
        return bool(self._streams)

    async def aclose(self) -> None:
        """Cut every connection, and close those to providers."""
        for task, (writer, _) in tuple(self._streams.items()):
            writer.transport.abort()
            task.cancel()
        if self._proxy is not None:
            await self._proxy.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way_in: "WayIn", *, is_port: bool) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - each connection is one
        lease = way_in.lease
        try:
            connected = writer.get_extra_info("socket")
            peer = None if is_port else read_peer(connected)
            if peer is not None:
                is_welcome = peer.is_ours() if lease is None else lease.terms.admits(peer)
            else:  # a lease's port wants its secret; the owner's has none, so that the kernel must say who it is
                is_welcome = lease is not None or read_loopback_uid(connected) == os.geteuid()
            outermost = lease and lease.outermost  # or leases made from it would be more places
            if not is_welcome or self._is_crowded(outermost):
                return
            self._streams[task] = writer, lease
            if self._proxy is None:
                proxy = await asyncio.to_thread(_make_proxy, self._agent)
                self._proxy = self._proxy or proxy
            await self._proxy.serve(reader, writer, _make_entry(way_in, is_port=is_port), peer)
        except OSError:
            pass  # the peer is gone
        finally:
            self._streams.pop(task, None)
            writer.transport.abort()

    def _is_crowded(self, outermost: Lease | None) -> bool:
        """Tell whether the owner, or the leases within *outermost*, have all the connections that they may have."""
        limit = OWN_CONNECTIONS_MAX if outermost is None else LEASE_CONNECTIONS_MAX
        own = [writer for writer, owner in self._streams.values() if (owner and owner.outermost) is outermost]
        return are_all_taken(own, limit, lambda each: has_hung_up(each.get_extra_info("socket")))


@dataclass(frozen=True, slots=True)
class WayIn:
    """Whose connections come by a listener."""

    lease: Lease | None  # None: the owner's
    authority: "Callable[[], Authority]"
    notes: "Callable[[], Notes] | None" = None


class OwnDoor:
    """See `atl_sign.agent.own_proxy.Door`: `proxy.sock`, and the certificates for programs that take it as their proxy."""

    def __init__(self, agent: Agent, proxies: Proxies, path: Path, inherited: socket.socket | None = None) -> None:
        """
        Serve the owner's own programs.

        Args:
            agent: names the links' hosts.
            proxies: take the connections.
            path: where the socket is.
            inherited: the listening socket that systemd handed over; None to make one.
        """
        self._agent = agent
        self._proxies = proxies
        self._path = path
        self._inherited = inherited
        self._listener: socket.socket | None = None
        self._servers: list[asyncio.Server] = []
        self._way_in = WayIn(None, self._need_authority, self._need_notes)
        self._port: int | None = None
        self._notes: Notes | None = None
        self._notes_folder = path.with_name(f"{path.name.removesuffix('.sock')}-notes")
        self._ca_file = path.with_name(f"{path.name.removesuffix('.sock')}-ca.pem")
        self._own_ca_file = path.with_name(f"{path.name.removesuffix('.sock')}-own-ca.pem")
        self._authority: Authority | None = None
        self._hosts: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Listen; a socket that cannot be made is logged, since all but the proxy goes on without."""
        self._remove_certificates()  # of a daemon that was killed: nobody has its key
        shutil.rmtree(self._notes_folder, ignore_errors=True)
        try:
            self._listener = self._inherited or bind_own(self._path)
            # asyncio closes what it is given, and systemd's must stay open for the daemon after us.
            self._servers.append(await self._proxies.listen(self._listener.dup(), self._way_in))
        except OSError as exc:
            _log.warning("the proxy's socket %s cannot be made: %s", self._path, exc.strerror)

    async def show(self, *, wants_port: bool) -> ProxyPlace:
        """See `Door.show`."""
        await asyncio.to_thread(_load)
        self._need_authority()
        if wants_port and self._port is None:
            listener = socket.create_server(("127.0.0.1", 0), backlog=OWN_CONNECTIONS_MAX)
            self._port = listener.getsockname()[1]
            self._servers.append(await self._proxies.listen(listener, self._way_in))
        return ProxyPlace(str(self._path), str(self._ca_file), self._port if wants_port else None)

    @property
    def servers(self) -> tuple[asyncio.Server, ...]:
        """Its listeners."""
        return tuple(self._servers)

    def is_busy(self) -> bool:
        """Tell whether a connection of the owner's or of a lease is open."""
        return self._proxies.is_busy()

    async def close(self) -> None:
        """Take no more connections, cut all that are open, and remove the files that are ours."""
        await self._proxies.aclose()
        for server in self._servers:
            server.close()
        shutil.rmtree(self._notes_folder, ignore_errors=True)
        with suppress(OSError):
            self._remove_certificates()
            if self._inherited is None and self._listener is not None:
                self._path.unlink(missing_ok=True)
        if self._listener is not None:
            self._listener.close()

    def _remove_certificates(self) -> None:
        for file in (self._ca_file, self._own_ca_file):
            file.unlink(missing_ok=True)

    def _need_notes(self) -> "Notes":
        if self._notes is None:
            from atl_sign.proxy.notes import Notes

            self._notes = Notes(self._notes_folder)
        return self._notes

    def _need_authority(self) -> "Authority":
        """Return the authority for the links that there are; its file is written before it signs for anybody."""
        from atl_sign.proxy.certificates import Authority, write_bundle

        hosts = list_hosts(self._agent)
        now = datetime.now(UTC)
        is_old = self._authority is not None and (self._authority.ends_at - now).total_seconds() < AUTHORITY_LIFE_S / 2
        if self._authority is None or hosts != self._hosts or is_old:
            self._authority, self._hosts = Authority(hosts, AUTHORITY_LIFE_S, lambda: now), hosts
            write_bundle(self._ca_file, self._authority, self._own_ca_file)
        elif not self._ca_file.exists():  # a cleaner of /run was here
            write_bundle(self._ca_file, self._authority, self._own_ca_file)
        return self._authority


def make_lease_authority(agent: Agent, lease: Lease, path: Path) -> "Authority":
    """Return an authority for the links of *lease*, and write its bundle to *path*; in a thread."""
    from atl_sign.proxy.certificates import Authority, write_bundle

    authority = Authority(list_hosts(agent, lease), LEASE_AUTHORITY_LIFE_S, lambda: datetime.now(UTC))
    write_bundle(path, authority)
    return authority


def list_hosts(agent: Agent, lease: Lease | None = None) -> frozenset[str]:
    """Return the hosts of every link, or of those of *lease*, and of their gateways."""
    from atl_sign.access.caller import Caller

    signing = agent.signing
    return frozenset(url.host for link in signing.links_for(Caller(None, lease)) for url in signing.urls_of(link))


@cache
def _load() -> None:
    """Import what takes some ten milliseconds; in a thread."""
    import atl_sign.proxy.certificates  # noqa: F401


def _make_proxy(agent: Agent) -> "Proxy":
    from atl_sign.api.lease_app import make_lease_app
    from atl_sign.proxy.front import Proxy

    _load()
    return Proxy(agent, make_lease_app(agent))


def _make_entry(way_in: WayIn, *, is_port: bool) -> "Entry":
    from atl_sign.proxy.front import Entry

    return Entry(way_in.lease, way_in.authority, is_port, None if way_in.notes is None else way_in.notes())


def proxy_path(socket_path: Path) -> Path:
    """Return where `proxy.sock` is beside the main socket."""
    return socket_path.with_name("proxy.sock" if socket_path.name == "agent.sock" else f"{socket_path.name}.proxy.sock")
