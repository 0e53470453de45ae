"""Tunnels of the proxy: connections to hosts that are not a link's, of which only the address is known."""

from collections.abc import Iterator
from contextlib import contextmanager

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.base.urls import DEFAULT_PORTS


class Tunnels:
    """Records them."""

    def __init__(self, records: Records) -> None:
        """Record each one in *records*."""
        self._records = records

    @contextmanager
    def opening(self, caller: Caller, host: str, port: int) -> Iterator[None]:
        """Record what comes of a `with` that opens a tunnel to *host* and *port*; raises as `Records.entry`."""
        with self._records.entry("tunnel", caller) as entry:
            entry.host = host if port == DEFAULT_PORTS["https"] else f"{host}:{port}"
            yield
