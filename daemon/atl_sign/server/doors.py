"""The entries of leases: each a folder with its sockets, or a port, and the connections that came by them."""

import asyncio
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from atl_sign.access.lease import Lease
from atl_sign.agent.build import Agent
from atl_sign.agent.leases import Place
from atl_sign.base.errors import BadRequestError
from atl_sign.base.folders import explain_failure, make_folder
from atl_sign.server.connections import Connection
from atl_sign.server.listening import SOCKET_PATH_BYTES_MAX, check_way
from atl_sign.server.proxies import Proxies, WayIn, make_lease_authority

BACKLOG = 128
CA_FILE = "ca.pem"


@dataclass(slots=True)
class _Entries:
    """The open entries of one lease."""

    parents: tuple[str, ...]  # the folders that its own is in, below that of all leases
    name: str  # of its folder
    servers: list[asyncio.AbstractServer] = field(default_factory=list)


class LeaseDoors:
    """See `atl_sign.agent.leases.Doors`."""

    def __init__(
        self, agent: Agent, proxies: Proxies, folder: Path, state: ServerState, make_config: Callable[[Any], uvicorn.Config]
    ) -> None:
        """
        Open entries.

        Args:
            agent: what they serve.
            proxies: take the connections of http.sock and of ports.
            folder: where the leases' folders are.
            state: of the server, which looks after the connections of sign.sock too.
            make_config: returns uvicorn's configuration for an application.
        """
        self._agent = agent
        self._proxies = proxies
        self._folder = folder
        self._state = state
        self._make_config = make_config
        self._entries: dict[str, _Entries] = {}
        self._config: uvicorn.Config | None = None

    async def open(self, lease: Lease, parents: Sequence[str]) -> Place:
        """See `Doors.open`."""
        folder = self._folder.joinpath(*parents, lease.id)
        # Made where no lease's holder gets to: the container of one may have the parent's folder to write into.
        entries = self._entries[lease.id] = _Entries((), f"_{lease.id}")
        try:
            place = await self._open(lease, entries, folder)
            if lease.is_over:  # revoked while its entries were being made
                lease.check_usable()
            self._put(entries, tuple(parents), lease.id)
        except OSError as exc:
            self._shut(lease, entries)
            if lease.is_over:
                lease.check_usable()
            hint = "atl-sign doctor shows where the socket is" if exc.strerror is None else "make room or rights for it"
            raise BadRequestError(f"the lease's folder {folder} cannot be made: {explain_failure(exc)}", hint) from exc
        except BaseException:
            self._shut(lease, entries)
            raise
        return place

    def watch(self, pidfd: int, on_end: Callable[[], None]) -> Callable[[], None]:
        """See `Doors.watch`."""
        loop = asyncio.get_running_loop()
        loop.add_reader(pidfd, on_end)

        def stop() -> None:
            nonlocal pidfd
            if pidfd >= 0:
                loop.remove_reader(pidfd)
                os.close(pidfd)
                pidfd = -1

        return stop

    def cut_transfers(self, lease: Lease) -> None:
        """See `Doors.cut_transfers`."""
        self._proxies.cut_transfers(lease)

    def close(self, lease: Lease) -> None:
        """See `Doors.close`."""
        entries = self._entries.get(lease.id)
        if entries is not None:
            self._shut(lease, entries)

    def _shut(self, lease: Lease, entries: _Entries) -> None:
        self._entries.pop(lease.id, None)
        for server in entries.servers:
            server.close()
        for connection in tuple(self._state.connections):
            if isinstance(connection, Connection) and connection.app_state.get("lease") is lease:
                connection.drop()
        self._proxies.cut(lease)
        with suppress(OSError), self._hold(entries.parents) as there:
            shutil.rmtree(entries.name, ignore_errors=True, dir_fd=there)
        with suppress(OSError):  # other leases are there
            self._folder.rmdir()

    def _put(self, entries: _Entries, parents: tuple[str, ...], name: str) -> None:
        """Move the folder of *entries* into those of *parents*, as *name*."""
        with self._hold(entries.parents) as here, self._hold(parents) as there:
            os.rename(entries.name, name, src_dir_fd=here, dst_dir_fd=there)
        entries.parents, entries.name = parents, name

    @contextmanager
    def _hold(self, parents: tuple[str, ...]) -> Iterator[int]:
        """Give a descriptor of the innermost folder of *parents*; links that a holder may have put there are not followed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        with ExitStack() as held:
            descriptor = os.open(self._folder, flags)
            held.callback(os.close, descriptor)
            for name in parents:
                descriptor = os.open(name, flags, dir_fd=descriptor)
                held.callback(os.close, descriptor)
            yield descriptor

    async def _open(self, lease: Lease, entries: _Entries, place: Path) -> Place:
        """Make the entries in the folder of *entries*, which will be moved to *place*."""
        folder, kinds = self._folder / entries.name, lease.terms.entries
        is_wide = lease.terms.peers != "own"
        make_folder(self._folder)
        check_way(self._folder)
        self._folder.chmod(0o700)
        folder.mkdir(mode=0o700)
        folder.chmod(0o755 if is_wide else 0o700)  # that of all leases is closed to others
        sockets = {}
        if "sign" in kinds:
            listener = _bind(folder / "sign.sock", place, is_wide=is_wide)
            sockets["sign"] = str(place / "sign.sock")
            loop, config = asyncio.get_running_loop(), await self._load_config()
            make = partial(Connection, config=config, server_state=self._state, app_state={"lease": lease})
            entries.servers.append(await loop.create_unix_server(make, sock=listener, backlog=BACKLOG))
        if kinds == {"sign"}:
            return Place(sockets)
        authority = await asyncio.to_thread(make_lease_authority, self._agent, lease, folder / CA_FILE)
        way_in, url = WayIn(lease, lambda: authority), None
        if "http" in kinds:
            listener = _bind(folder / "http.sock", place, is_wide=is_wide)
            sockets["http"] = str(place / "http.sock")
            entries.servers.append(await self._proxies.listen(listener, way_in))
        if "port" in kinds:
            listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            entries.servers.append(await self._proxies.listen(listener, way_in))
        return Place(sockets, url, str(place / CA_FILE))

    async def _load_config(self) -> uvicorn.Config:
        if self._config is None:
            from atl_sign.api.lease_app import make_lease_app

            config = self._make_config(await asyncio.to_thread(make_lease_app, self._agent))
            config.load()
            self._config = config
        return self._config


def leases_folder(socket_path: Path) -> Path:
    """Return the folder of the leases' folders beside the main socket."""
    return socket_path.with_name("leases" if socket_path.name == "agent.sock" else f"{socket_path.name}.leases")


def remove_stale(folder: Path) -> None:
    """Remove what a daemon left in the leases' *folder*, when it was killed."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


def _bind(path: Path, place: Path, *, is_wide: bool) -> socket.socket:
    """Return a listening socket at *path*, whose folder will be moved to *place*; raises OSError."""
    if max(len(os.fsencode(each)) for each in (path, place / path.name)) > SOCKET_PATH_BYTES_MAX:
        raise OSError(None, f"the socket's path is over {SOCKET_PATH_BYTES_MAX} bytes")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o666 if is_wide else stat.S_IRUSR | stat.S_IWUSR)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
