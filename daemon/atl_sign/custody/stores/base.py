"""The interface of every store: one item per secret, with its version, and no call that waits longer than its deadline."""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Protocol

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import BadRequestError, StoreConflictError

TIMEOUT_S = 3.0  # a read takes 20 ms, the first in a process 200 ms; a person who waits for `git fetch` can bear 3 s
ABSENT: Final = ""  # the version of an item that is not there


@dataclass(frozen=True, slots=True)
class Item:
    """The value of a store under a name."""

    value: Secret
    version: str = field(repr=False)  # opaque: another one after each change of the value, and good in every process


class Store(Protocol):
    """
    Items by name, each a secret text on one line.

    Every method may be called from any thread. All but `state` raise StoreLockedError or StoreUnavailableError, whose hint says
    what to do; after such an error of `write` or `delete` the item is the old or the new one, never a part of one.
    """

    backend: str  # as in `[store] backend`

    @property
    def cache_s(self) -> float | None:
        """
        How many seconds an item that was read may be used before the store is asked again, as other machines change it.

        None: only this user's daemons on this machine change it, and tell each other.
        """

    def read(self, name: str) -> Item | None:
        """Return the item called *name*, or None when the store knows that there is none."""

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        """
        Keep *value* as the item called *name*, in place of the one before; returns its version when it can be read back.

        Args:
            name: the item's name.
            value: its new text.
            if_version: the version that is to be replaced, ABSENT if no item may exist; None replaces whatever is there.

        Raises:
            StoreConflictError: the item has another version, or is there, or is not; nothing was changed.
        """

    def delete(self, name: str) -> None:
        """Remove the item called *name*; a missing one is fine."""

    def state(self) -> StoreState:
        """Tell whether the store would answer now; never asks the user anything."""

    def lock(self) -> None:
        """
        Forget what this object holds of secrets; raises BadRequestError when that would lose them.

        The store may answer again without `unlock`: a keyring has a lock of its own.
        """

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """
        Make the store answer, or raise as it would.

        Args:
            passphrase: what opens it, for a store with a passphrase.
            new: what shall open it from now on; without *passphrase*, of a store that is not there yet.

        Raises:
            BadRequestError: this store has no passphrase; BadFieldsError when it is empty or too long.
            WrongPassphraseError, TooManyTriesError: it stays as it is.
            PassphraseNeededError: it has a passphrase, and none was given.
            StoreMissingError, StoreExistsError: there is none, or there is one already.
        """

    def survives_restart(self) -> bool:
        """Tell whether another process of ours could read the store now without asking anybody; takes as long as `state`."""

    def discard(self) -> None:
        """Remove what is left of the store when everything in it was deleted; raises as `delete`."""


def version_of(value: Secret | None) -> str:
    """
    Return the version of an item with *value*, for stores that keep none: it follows from the value.

    An item that was changed and changed back counts as unchanged.
    """
    return ABSENT if value is None else hashlib.sha256(value.reveal().encode(errors="surrogatepass")).hexdigest()


def check_version(name: str, kept: Secret | None, if_version: str | None) -> None:
    """Raise StoreConflictError unless the item called *name*, which holds *kept*, may be replaced, as `Store.write` has it."""
    if if_version not in (None, version_of(kept)):
        raise StoreConflictError(f"the item {name} of the store was changed by another program meanwhile", "try again")


def refuse_passphrase(backend: str, passphrase: Passphrase | None, new: Passphrase | None) -> None:
    """Raise BadRequestError when a passphrase came for a store that has none."""
    if passphrase is not None or new is not None:
        hint = "to keep the secrets in an encrypted file, which has one: atl-sign store move file"
        raise BadRequestError(f"the store is {backend}, which has no passphrase", hint)
