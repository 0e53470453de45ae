"""`proxy.sock`: where it is, and the CA certificates for the programs that take it as their proxy."""

from dataclasses import dataclass
from typing import Protocol

from atl_sign.access.caller import Caller


@dataclass(frozen=True, slots=True)
class ProxyPlace:
    """Where the owner's own proxy is."""

    socket: str  # a path
    ca_file: str  # the system's CA certificates and the proxy's own, which changes with the links and with each daemon
    port: int | None  # of 127.0.0.1, if it was asked for: SOCKS5 for the owner's own programs


class Door(Protocol):
    """The process's side of the proxy. Every call is made in the event loop."""

    async def show(self, *, wants_port: bool) -> ProxyPlace:
        """Return where it is; the file is there by then, and a port if it is wanted. Raises OSError when that cannot be made."""


class OwnProxy:
    """The proxy for the owner's own programs."""

    def __init__(self) -> None:
        """Wait for the server."""
        self._door: Door | None = None

    def serve_at(self, door: Door) -> None:
        """Ask *door* from now on."""
        self._door = door

    async def show(self, caller: Caller, *, wants_port: bool) -> ProxyPlace:
        """Return where the proxy is; raises OSError when its certificates cannot be written, or the port cannot be had."""
        del caller
        assert self._door is not None  # noqa: S101 - a call comes by a socket, and the server has both
        return await self._door.show(wants_port=wants_port)
