"""A store in memory that misbehaves as a test says."""

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.base.errors import StoreLockedError
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore


class FailingStore(MemoryStore):
    """A memory store that fails from a moment on, and that a lock closes or does not, as a test says."""

    writes_left: int | None = None  # None: no end
    closes = False  # as a file does; a keyring stays open
    is_closed = False

    def names(self) -> list[str]:
        """Return the names of all items."""
        return list(self._items)

    def read(self, name: str) -> Item | None:
        if self.is_closed:
            raise StoreLockedError("the file is locked", "atl-sign unlock")
        return super().read(name)

    def lock(self) -> None:
        self.is_closed = self.closes

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        self.is_closed = False

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        if self.is_closed:
            raise StoreLockedError("the file is locked", "atl-sign unlock")
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise StoreLockedError("the keyring is locked", "unlock it")
            self.writes_left -= 1
        return super().write(name, value, if_version)
