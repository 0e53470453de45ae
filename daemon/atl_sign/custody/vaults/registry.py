"""The client of each vault in the configuration."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from atl_sign.base.errors import BadRequestError
from atl_sign.config.vaults import VaultServer

if TYPE_CHECKING:  # it loads ssl: when a vault is named
    from atl_sign.custody.vaults.client import VaultClient


SEGMENT = r"[A-Za-z0-9_][\w.-]*"  # of a reference: no ".." among them


class Vaults:
    """The clients, each kept for as long as the settings of its vault stay the same."""

    def __init__(self, list_servers: Callable[[], Mapping[str, VaultServer]]) -> None:
        """Know the vaults that *list_servers* returns, by name."""
        self._list_servers = list_servers
        self._clients: dict[str, VaultClient] = {}
        self._lock = threading.Lock()

    def client(self, name: str) -> "VaultClient":
        """Return the client of the vault called *name*; raises BadRequestError when the configuration has no such vault."""
        from atl_sign.custody.vaults.client import VaultClient

        server = self._list_servers().get(name)
        if server is None:
            raise BadRequestError(f"no vault is called {name}", f"add a table [vaults.{name}] to config.toml")
        with self._lock:
            client = self._clients.get(name)
            if client is not None and client.server != server:
                client.forget()
                client = None
            if client is None:
                client = self._clients[name] = VaultClient(server)
            return client

    def forget(self) -> None:
        """Forget every login."""
        with self._lock:
            clients = tuple(self._clients.values())
        for client in clients:
            client.forget()


NO_VAULTS = Vaults(dict)
