"""Items carried over from one store to another: all of them, each read back, or none."""

import hmac
from collections.abc import Callable, Iterable

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import StoreConflictError, StoreUnavailableError
from atl_sign.custody.stores.base import ABSENT, Store


def copy_items(source: Store, target: Store, names: Iterable[str], leftovers: frozenset[str], begin: Callable[[], None]) -> None:
    """
    Copy the items called *names* and read each back from *target*; arguments and errors are those of `Safe.move_to`.

    An item that *target* has under one of the *leftovers* and *source* has not is removed.
    """
    names = list(dict.fromkeys([*names, *leftovers]))
    items = {name: item.value for name in names if (item := source.read(name)) is not None}
    there = {name: known for name in names if (name in items or name in leftovers) and (known := target.read(name)) is not None}
    for name, known in there.items():
        if name not in leftovers and not _are_equal(known.value, items[name]):
            raise StoreConflictError(
                f"the store {target.backend} holds another {name} already", "remove that one, or go on with that store"
            )
    begin()
    for name in there.keys() - items.keys():
        target.delete(name)
    for name, value in items.items():
        if name not in there or not _are_equal(there[name].value, value):
            target.write(name, value, there[name].version if name in there else ABSENT)
    for name, value in items.items():
        kept = target.read(name)
        if kept is None or not _are_equal(kept.value, value):
            raise StoreUnavailableError(f"the store {target.backend} does not give the item {name} back", "nothing was moved")


def _are_equal(one: Secret, other: Secret) -> bool:
    return hmac.compare_digest(one.reveal().encode(errors="surrogatepass"), other.reveal().encode(errors="surrogatepass"))
