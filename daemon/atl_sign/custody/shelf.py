"""The items of one kind, between the store and memory: each is read once, and kept with the version that the store gave it."""

import threading
from typing import Generic, TypeVar

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, StoreConflictError, StoreLockedError
from atl_sign.custody.items import Codec
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.stores.base import ABSENT, Item, Store

TRIES = 3  # of a write that others come before

_T = TypeVar("_T")


class Desk:
    """The parts that all kinds of items share: the store, its other writers, and one lock."""

    def __init__(self, store: Store, neighbours: Neighbours) -> None:
        """Work with *store*, which *neighbours* may change as well."""
        self.store = store
        self.neighbours = neighbours
        self.lock = threading.RLock()  # many first requests at once read an item once
        self.is_locked = False  # by `Safe.lock`: nothing is read until `unlock`, though the store would answer

    def raise_if_locked(self) -> None:
        """Raise StoreLockedError after a lock."""
        if self.is_locked:
            raise StoreLockedError("the store is locked", "atl-sign unlock")

    def read(self, name: str) -> Item | None:
        """Return the store's item called *name*; raises as the store does, and after a lock."""
        self.raise_if_locked()
        return self.store.read(name)

    def write(self, name: str, text: Secret, version: str) -> str:
        """Write as `Store.write` does, and announce it to the neighbours."""
        version = self.store.write(name, text, version)
        self.neighbours.tell()
        return version

    def delete(self, name: str) -> None:
        """Delete as `Store.delete` does, and announce it to the neighbours."""
        self.store.delete(name)
        self.neighbours.tell()


class Shelf(Generic[_T]):
    """
    The items of one kind.

    The caller holds the desk's lock around what belongs together.
    """

    def __init__(self, desk: Desk, codec: Codec[_T]) -> None:
        """Begin with nothing read."""
        self._desk = desk
        self._codec = codec
        self._values: dict[str, _T | None] = {}  # None: there is no such item
        self._versions: dict[str, str] = {}  # what the store held when it was last read or written; a lock leaves it

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is in memory, not even that an item is not there."""
        return not self._values

    def peek(self, name: str) -> _T | None:
        """Return what is in memory of the item called *name*; None when nothing is."""
        return self._values.get(name)

    def values(self) -> list[_T]:
        """Return everything that is in memory."""
        return [value for value in tuple(self._values.values()) if value is not None]

    def load(self, name: str) -> _T | None:
        """Return the item called *name* from memory, else from the store; raises as `Desk.read` and `Codec.parse`."""
        with self._desk.lock:
            if name not in self._values:
                self._values[name] = self._read(name)
            return self._values[name]

    def reload(self, name: str) -> _T | None:
        """Return what the store has now, which takes the place of what was in memory; raises as `load`."""
        self._values[name] = self._read(name)
        return self._values[name]

    def version(self, name: str) -> str:
        """Return the version of the item when it was last read or written."""
        return self._versions.get(name, ABSENT)

    def write(self, name: str, value: _T, version: str) -> None:
        """Put *value* into the store over *version*, and leave memory as it is; raises as `Store.write`."""
        self._versions[name] = self._desk.write(name, self._codec.format(value), version)

    def put(self, name: str, value: _T) -> None:
        """
        Keep *value* in place of whatever is there.

        Raises:
            StoreNewerError: a newer atl-sign wrote what is there; it stays.
            StoreConflictError: others go on changing it.
            StoreLockedError, StoreUnavailableError: the store does not take it.
        """
        with self._desk.lock:
            for tries_left in reversed(range(TRIES)):
                try:
                    self.write(name, value, self.find_replaceable(name))
                    break
                except StoreConflictError:
                    if not tries_left:
                        raise
            self._values[name] = value

    def find_replaceable(self, name: str) -> str:
        """Return the version of what the store has under *name*; raises StoreNewerError for what is to stay."""
        item = self._desk.read(name)
        if item is None:
            return ABSENT
        self._codec.check_replaceable(name, item.value)
        return item.version

    def hold(self, name: str, value: _T) -> None:
        """Keep *value* in memory, whatever the store has."""
        self._values[name] = value

    def drop(self, name: str) -> None:
        """Read the item called *name* again when it is wanted next."""
        self._values.pop(name, None)

    def clear(self) -> None:
        """Read everything again when it is wanted next."""
        self._values.clear()

    def delete(self, name: str) -> None:
        """Take the item called *name* out of memory and store; raises as `put`, and then it is gone only from memory."""
        with self._desk.lock:
            self.drop(name)
            self.find_replaceable(name)
            self._desk.delete(name)
            self._values[name] = None
            self._versions[name] = ABSENT

    def _read(self, name: str) -> _T | None:
        item = self._desk.read(name)
        self._versions[name] = ABSENT if item is None else item.version
        if item is None:
            return None
        parsed = self._codec.parse(name, item.value)
        if parsed.is_old and parsed.value is not None:
            try:
                self.write(name, parsed.value, item.version)
            except StoreConflictError:
                return self._read(name)  # another daemon was faster, perhaps with a newer token
            except DaemonError:
                pass  # it is tried again when the item is read next
        return parsed.value
