"""The desktop's keyring as a store; `secret_service`, which talks to it, loads when a secret is needed."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import KeyringMissingError, StoreLockedError, StoreUnavailableError
from atl_sign.custody.stores.base import TIMEOUT_S, Item, check_version, refuse_passphrase, version_of
from atl_sign.custody.stores.turns import alone

if TYPE_CHECKING:
    from types import ModuleType

    from atl_sign.custody.stores.session_bus import SessionBus

PAUSE_S = (
    0.5  # after a timeout; long enough that a list of links, or a queue of requests, waits out one deadline and not one each
)

_T = TypeVar("_T")


class SecretServiceStore:
    """
    The desktop's keyring: whatever answers for the Secret Service on the session bus, under its default collection.

    A keyring that does not answer within the deadline counts as locked. For half a second after that, calls fail at once.

    The Secret Service has no conditional write, so a version is looked at before the write, under the lock file that all daemons
    of this user hold for a change. A write past that file can be overwritten in between: an item that another program (the
    desktop's own, a restored backup) puts there in those milliseconds, and everything if the file's folder cannot be written.
    And a write of ours that timed out can be carried out by the keyring later, over what was written in the meantime.
    """

    backend = "secret-service"
    cache_s = None

    def __init__(
        self,
        timeout_s: float = TIMEOUT_S,
        list_callers: Callable[[], Iterable[int]] = tuple,
        lock_file: Path | None = None,
    ) -> None:
        """
        Serve from what is found when it is needed.

        Args:
            timeout_s: for each call, its wait for other calls included.
            list_callers: as `SessionBus`.
            lock_file: held for each change; None where no other daemon has the same keyring.
        """
        self._timeout_s = timeout_s
        self._list_callers = list_callers
        self._lock_file = lock_file
        self._bus: SessionBus | None = None
        self._turn = threading.Lock()  # one call at a time: `write` reads back what it wrote itself
        self._silent_until = float("-inf")  # on the clock of `time.monotonic`

    def read(self, name: str) -> Item | None:
        """See `Store.read`."""
        value = self._ask(lambda service, deadline, bus: service.read_item(name, deadline, bus))
        return None if value is None else Item(value, version_of(value))

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        """See `Store.write`."""

        def write(service: "ModuleType", deadline: float, bus: "SessionBus") -> None:
            with alone(self._lock_file, deadline - time.monotonic()):
                if if_version is not None:
                    check_version(name, service.read_item(name, deadline, bus), if_version)
                service.write_item(name, value, deadline, bus)

        self._ask(write)
        return version_of(value)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""

        def delete(service: "ModuleType", deadline: float, bus: "SessionBus") -> None:
            with alone(self._lock_file, deadline - time.monotonic()):
                service.delete_item(name, deadline, bus)

        self._ask(delete)

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


def _silent() -> StoreLockedError:
    # `--replace` does not help here: it waits for the old keyring's answer too.
    return StoreLockedError("the keyring does not answer", "restart the keyring: log out and in, or pkill -9 gnome-keyring")
