"""Where secrets are kept: one named back end, one item per secret, and no call that waits longer than its deadline."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import BadRequestError, KeyringMissingError, StoreLockedError, StoreUnavailableError

if TYPE_CHECKING:
    from types import ModuleType

    from atl_sign.custody.stores.session_bus import SessionBus

BACKENDS = ("secret-service", "file", "memory")
STORE_DEFAULT = "secret-service"
KEYRING = "keyring:"  # and the dotted name of a keyring back end's class
TIMEOUT_S = 3.0  # a read takes 20 ms, the first in a process 200 ms; a person who waits for `git fetch` can bear 3 s
PAUSE_S = (
    0.5  # after a timeout; long enough that a list of links, or a queue of requests, waits out one deadline and not one each
)

_T = TypeVar("_T")


class Store(Protocol):
    """
    Items by name, each a secret text on one line.

    Every method may be called from any thread. All but `state` raise StoreLockedError or StoreUnavailableError, whose hint says
    what to do; after such an error of `write` or `delete` the item is the old or the new one, never a part of one.
    """

    backend: str  # as in `[store] backend`

    def read(self, name: str) -> Secret | None:
        """Return the item called *name*, or None when the store knows that there is none."""

    def write(self, name: str, value: Secret) -> None:
        """Keep *value* as the item called *name*, in place of the one before; returns when it can be read back."""

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


class MemoryStore:
    """A store that ends with the process: for trying things, and for machines without a keyring."""

    backend = "memory"

    def __init__(self) -> None:
        """Begin empty."""
        self._items: dict[str, Secret] = {}

    def read(self, name: str) -> Secret | None:
        """See `Store.read`."""
        return self._items.get(name)

    def write(self, name: str, value: Secret) -> None:
        """See `Store.write`."""
        self._items[name] = value

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


class SecretServiceStore:
    """
    The desktop's keyring: whatever answers for the Secret Service on the session bus, under its default collection.

    A keyring that does not answer within the deadline counts as locked. For half a second after that, calls fail at once.
    """

    backend = "secret-service"

    def __init__(self, timeout_s: float = TIMEOUT_S, list_callers: Callable[[], Iterable[int]] = tuple) -> None:
        """
        Serve from what is found when it is needed.

        Args:
            timeout_s: for each call, its wait for other calls included.
            list_callers: as `SessionBus`.
        """
        self._timeout_s = timeout_s
        self._list_callers = list_callers
        self._bus: SessionBus | None = None
        self._turn = threading.Lock()  # one call at a time: `write` reads back what it wrote itself
        self._silent_until = float("-inf")  # on the clock of `time.monotonic`

    def read(self, name: str) -> Secret | None:
        """See `Store.read`."""
        text = self._ask(lambda service, deadline, bus: service.read_item(name, deadline, bus))
        return None if text is None else Secret(text)

    def write(self, name: str, value: Secret) -> None:
        """See `Store.write`."""
        self._ask(lambda service, deadline, bus: service.write_item(name, value.reveal(), deadline, bus))

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._ask(lambda service, deadline, bus: service.delete_item(name, deadline, bus))

    def state(self) -> StoreState:
        """See `Store.state`."""
        try:
            self._ask(lambda service, deadline, bus: service.check_ready(deadline, bus))
        except StoreLockedError:
            return "locked"
        except StoreUnavailableError:
            return "unavailable"
        return "ready"

    def lock(self) -> None:
        """Do nothing: this holds no secret."""

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """See `Store.unlock`; the keyring's own lock is the desktop's to open."""
        refuse_passphrase(self.backend, passphrase, new)
        self._ask(lambda service, deadline, bus: service.check_ready(deadline, bus))

    def survives_restart(self) -> bool:
        """See `Store.survives_restart`: a keyring that is locked or silent keeps what we have in memory from the next daemon."""
        return self.state() == "ready"

    def discard(self) -> None:
        """Do nothing: the collection is the user's."""

    def _ask(self, call: "Callable[[ModuleType, float, SessionBus], _T]") -> _T:
        try:
            from atl_sign.custody.stores import secret_service
            from atl_sign.custody.stores.session_bus import SessionBus
        except ImportError as exc:
            hint = "install atl-sign again, or keep the secrets in an encrypted file: atl-sign store move file"
            raise KeyringMissingError(f"the Python package {exc.name} is missing", hint) from exc
        deadline = time.monotonic() + self._timeout_s
        if not self._turn.acquire(timeout=self._timeout_s):
            raise _silent()
        try:
            if time.monotonic() < self._silent_until:
                raise _silent()
            if self._bus is None:
                self._bus = SessionBus(os.environ, self._list_callers)
            return call(secret_service, deadline, self._bus)
        except TimeoutError as exc:
            self._silent_until = time.monotonic() + PAUSE_S
            raise _silent() from exc
        finally:
            self._turn.release()


def open_store(
    backend: str, path: Path | None = None, key_file: Path | None = None, list_callers: Callable[[], Iterable[int]] = tuple
) -> Store:
    """
    Return the store that *backend* names; it is not asked anything yet.

    Args:
        backend: as in `[store] backend`.
        path: the file of the store `file`.
        key_file: holds that one's passphrase.
        list_callers: returns the pids of those that are connected to the daemon now; of `secret-service`.

    Raises:
        BadRequestError: no back end has this name, or it is one that keeps nothing.
    """
    match backend:
        case "secret-service":
            return SecretServiceStore(list_callers=list_callers)
        case "memory":
            return MemoryStore()
        case "file" if path is not None:
            from atl_sign.custody.stores.file import FileStore

            return FileStore(path, key_file=key_file)
    if backend.startswith(KEYRING):
        from atl_sign.custody.stores.keyring import KeyringStore

        return KeyringStore(backend.removeprefix(KEYRING))
    raise BadRequestError(f"no store is called {backend!r}", f"name one of: {', '.join(BACKENDS)}, {KEYRING}MODULE.CLASS")


def refuse_passphrase(backend: str, passphrase: Passphrase | None, new: Passphrase | None) -> None:
    """Raise BadRequestError when a passphrase came for a store that has none."""
    if passphrase is not None or new is not None:
        hint = "to keep the secrets in an encrypted file, which has one: atl-sign store move file"
        raise BadRequestError(f"the store is {backend}, which has no passphrase", hint)


def _silent() -> StoreLockedError:
    # `--replace` is no help here: it waits for the old keyring's answer too.
    return StoreLockedError("the keyring does not answer", "restart the keyring: log out and in, or pkill -9 gnome-keyring")
