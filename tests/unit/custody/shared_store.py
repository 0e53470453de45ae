"""A store that several machines share, in memory: they are safes that know nothing of each other but what is in the store."""

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import StoreUnavailableError
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore


class SharedStore(MemoryStore):
    """A memory store that other machines change as well, and that is away or read-only as a test says."""

    cache_s = 30.0
    is_away = False
    is_read_only = False

    def read(self, name: str) -> Item | None:
        if self.is_away:
            raise StoreUnavailableError("the store is away")
        return super().read(name)

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        if self.is_away or self.is_read_only:
            raise StoreUnavailableError("the store takes nothing")
        return super().write(name, value, if_version)
