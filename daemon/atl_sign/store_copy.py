"""Items carried from one store to another: all of them, each read back, or none."""

import hmac
from collections.abc import Iterable
from contextlib import suppress

from atl_sign.credentials import Secret
from atl_sign.errors import DaemonError, StoreConflictError, StoreUnavailableError
from atl_sign.store import Store


def copy_items(source: Store, target: Store, names: Iterable[str]) -> list[str]:
    """
    Copy the items called *names* and read each back from *target*; returns those that there were.

    Raises:
        StoreConflictError: *target* holds another secret under one of the names; nothing was copied.
        StoreLockedError, StoreUnavailableError: what was copied by then was taken out again, as far as *target* lets us.
    """
    items = {name: item for name in names if (item := source.read(name)) is not None}
    there = {name: target.read(name) for name in items}
    for name, item in items.items():
        known = there[name]
        if known is not None and not _are_equal(known, item):
            raise StoreConflictError(
                f"the store {target.backend} holds another {name} already", "remove that one, or go on with that store"
            )
    copied: list[str] = []
    try:
        for name, item in items.items():
            if there[name] is None:
                copied.append(name)
                target.write(name, item)
        for name, item in items.items():
            kept = target.read(name)
            if kept is None or not _are_equal(kept, item):
                raise StoreUnavailableError(f"the store {target.backend} does not give the item {name} back", "nothing was moved")
    except DaemonError:
        with suppress(DaemonError):
            for name in copied:
                target.delete(name)
        raise
    return list(items)


def _are_equal(one: Secret, other: Secret) -> bool:
    return hmac.compare_digest(one.reveal().encode(errors="surrogatepass"), other.reveal().encode(errors="surrogatepass"))
