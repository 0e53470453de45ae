"""`proxy.sock`: where it is, and the CA certificates for the programs that take it as their proxy."""

from dataclasses import dataclass
from typing import Protocol

from atl_sign.access.caller import Caller


@dataclass(frozen=True, slots=True)
class ProxyPlace:
    """Where the owner's own proxy is."""

    socket: str  # a path
    ca_file: str  # the system's CA certificates and the proxy's own, which changes with the links and with each daemon


class Door(Protocol):
    """The process's side of the proxy. Every call is made in the event loop."""

    async def show(self) -> ProxyPlace:
        """Return where it is; the file is there by then. Raises OSError when it cannot be written."""


class OwnProxy:
    """The proxy for the owner's own programs."""

    def __init__(self) -> None:
        """Wait for the server."""
        self._door: Door | None = None

    def serve_at(self, door: Door) -> None:
        """Ask *door* from now on."""
        self._door = door

    async def show(self, caller: Caller) -> ProxyPlace:
        """Return where the proxy is; raises OSError when its certificates cannot be written."""
        del caller
        assert self._door is not None  # noqa: S101 - a call comes by a socket, and the server has both
        return await self._door.show()
