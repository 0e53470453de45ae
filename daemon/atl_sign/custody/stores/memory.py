"""The store that ends with the process: for trying things, and for machines without a keyring."""

import threading

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import BadRequestError
from atl_sign.custody.stores.base import Item, check_version, refuse_passphrase, version_of


class MemoryStore:
    """Items in memory."""

    backend = "memory"
    cache_s: float | None = None

    def __init__(self) -> None:
        """Begin empty."""
        self._items: dict[str, Secret] = {}
        self._turn = threading.Lock()  # between the look at a version and the write

    def read(self, name: str) -> Item | None:
        """See `Store.read`."""
        value = self._items.get(name)
        return None if value is None else Item(value, version_of(value))

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        """See `Store.write`."""
        with self._turn:
            check_version(name, self._items.get(name), if_version)
            self._items[name] = value
        return version_of(value)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._items.pop(name, None)

    def state(self) -> StoreState:
        """Return "ready"."""
        return "ready"

    def lock(self) -> None:
        """Raise BadRequestError: nothing could bring back what only memory has."""
        raise BadRequestError("the memory store would lose what it keeps", "end the daemon to forget everything")

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """See `Store.unlock`."""
        refuse_passphrase(self.backend, passphrase, new)

    def survives_restart(self) -> bool:
        """Return False: everything ends with the process."""
        return False

    def discard(self) -> None:
        """Do nothing."""
