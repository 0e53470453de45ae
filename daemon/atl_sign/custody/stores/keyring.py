"""
A third party's keyring back end, as the configuration names it: never the one that happens to be installed.

Such a back end runs commands, asks people and waits as it likes. So it works in a thread of its own, one call at a time, and the
caller waits no longer than its deadline.

Source: keyring 25.7, https://keyring.readthedocs.io/ (`KeyringBackend`).
"""

import hmac
import json
import queue
import re
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import BadRequestError, DaemonError, KeyringMissingError, StoreLockedError, StoreUnavailableError
from atl_sign.custody.stores.base import TIMEOUT_S, Item, check_version, refuse_passphrase, version_of
from atl_sign.custody.stores.turns import alone

SERVICE = "atl-sign"

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_NO_STORES = ("keyring.backends.null.", "keyring.backends.fail.", "keyring.backends.chainer.")
_PROBE = "probe"  # an item that nobody writes: reading it tells whether the back end answers
_FAILED_HINT = "see the daemon's log, and try the back end by itself: keyring -b CLASS get atl-sign consumer-key"
_SILENT_HINT = "it may be asking you something: answer it, or let gpg-agent know the passphrase, then try again"

_T = TypeVar("_T")


class KeyringStore:
    """
    Items under the service `atl-sign` in the back end of one class, each as one line of JSON.

    Such back ends have no conditional write, so a version is looked at before the write, under the lock file that all daemons of
    this user hold for a change, also when the back end answers after the caller's deadline. A write past that file can be
    overwritten in between: what another program or another machine (a password store in git) writes, and everything if the
    file's folder cannot be written.
    """

    cache_s = None

    def __init__(self, name: str, timeout_s: float = TIMEOUT_S, lock_file: Path | None = None) -> None:
        """
        Stand for the back end whose class has the dotted *name*; it is loaded when it is first needed.

        *lock_file* is held for each change; None where no other daemon has the same back end.

        Raises:
            BadRequestError: this is not a class's name, or the class keeps nothing (null, fail) or guesses (chainer).
        """
        if not _CLASS.fullmatch(name):
            raise BadRequestError(
                f"keyring:{name} is not keyring: and a class, with its module",
                "for instance keyring:keyring_pass.PasswordStoreBackend",
            )
        if f"{name}.".startswith(_NO_STORES):
            raise BadRequestError(f"the keyring back end {name} keeps nothing by itself", "name the class that keeps the secrets")
        self.backend = f"keyring:{name}"
        self._name = name
        self._timeout_s = timeout_s
        self._lock_file = lock_file
        self._turn = threading.Lock()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._keyring: Any = None

    def read(self, name: str) -> Item | None:
        """See `Store.read`."""
        value = self._ask(lambda keyring: _read(keyring, name))
        return None if value is None else Item(value, version_of(value))

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        """See `Store.write`."""
        # One line of ASCII: pass gives back the first line, others mind what they keep.
        text = json.dumps(value.reveal())

        def keep(keyring: Any) -> bool:
            with alone(self._lock_file, self._timeout_s / 2):  # before the caller gives up
                if if_version is not None:
                    check_version(name, _read(keyring, name), if_version)
                keyring.set_password(SERVICE, name, text)
                return hmac.compare_digest((keyring.get_password(SERVICE, name) or "").encode(), text.encode())

        if not self._ask(keep):
            raise StoreUnavailableError(f"the back end took the item {name} and does not give it back", _FAILED_HINT)
        return version_of(value)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""

        def remove(keyring: Any) -> bool:
            with alone(self._lock_file, self._timeout_s / 2):
                if keyring.get_password(SERVICE, name) is not None:
                    keyring.delete_password(SERVICE, name)
                return keyring.get_password(SERVICE, name) is None

        if not self._ask(remove):
            raise StoreUnavailableError(f"the back end did not remove the item {name}", _FAILED_HINT)

    def state(self) -> StoreState:
        """See `Store.state`."""
        try:
            self._ask(lambda keyring: keyring.get_password(SERVICE, _PROBE))
        except StoreLockedError:
            return "locked"
        except DaemonError:
            return "unavailable"
        return "ready"

    def lock(self) -> None:
        """Do nothing: this holds no secret."""

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """See `Store.unlock`; the back end has ways of its own to be opened."""
        refuse_passphrase(self.backend, passphrase, new)
        self._ask(lambda keyring: keyring.get_password(SERVICE, _PROBE))

    def survives_restart(self) -> bool:
        """See `Store.survives_restart`."""
        return self.state() == "ready"

    def discard(self) -> None:
        """Do nothing: the rest of it is the user's."""

    def _ask(self, call: Callable[[Any], _T]) -> _T:
        """Return what *call* gives, in time; raises the store's errors, with no cause that could show the item."""
        deadline = time.monotonic() + self._timeout_s
        if not self._turn.acquire(timeout=self._timeout_s):
            raise self._silent()
        try:
            if not self._idle.is_set():  # it still has not answered the call before
                raise self._silent()
            results: list[_T] = []
            failures: list[DaemonError] = []
            self._idle.clear()
            self._calls.put(lambda: self._run(call, results, failures))
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="keyring", daemon=True)
                self._worker.start()
            if not self._idle.wait(deadline - time.monotonic()):
                raise self._silent()
        finally:
            self._turn.release()
        if failures:
            raise failures[0]
        return results[0]

    def _work(self) -> None:
        while True:
            self._calls.get()()
            self._idle.set()

    def _run(self, call: Callable[[Any], _T], results: list[_T], failures: list[DaemonError]) -> None:
        from keyring.errors import KeyringError, KeyringLocked

        try:
            if self._keyring is None:
                self._keyring = self._load()
            results.append(call(self._keyring))
        except DaemonError as exc:
            failures.append(exc)
        except KeyringLocked:
            failures.append(StoreLockedError("the keyring back end is locked", "unlock it, then try again"))
        except KeyringError as exc:
            failures.append(StoreUnavailableError(f"the keyring back end failed with {type(exc).__name__}", _FAILED_HINT))
        except Exception as exc:  # a stranger's code, which runs commands: its errors' texts may hold the item
            failures.append(StoreUnavailableError(f"the keyring back end failed with {type(exc).__name__}", _FAILED_HINT))

    def _load(self) -> Any:
        from keyring.backend import KeyringBackend
        from keyring.backends import chainer, fail, null

        module, _, class_name = self._name.rpartition(".")
        try:
            found = getattr(import_module(module), class_name, None)
        except ImportError as exc:
            raise KeyringMissingError(
                f"the keyring back end's module {exc.name} is missing", "install it beside atl-sign with pip"
            ) from None
        if not isinstance(found, type) or not issubclass(found, KeyringBackend):
            raise KeyringMissingError(f"{self._name} is not a keyring back end", "name its class in [store] backend")
        if issubclass(found, (null.Keyring, fail.Keyring, chainer.ChainerBackend)):
            raise KeyringMissingError(
                f"the keyring back end {self._name} keeps nothing by itself", "name the class that keeps the secrets"
            )
        return found()

    def _silent(self) -> StoreLockedError:
        return StoreLockedError("the keyring back end does not answer", _SILENT_HINT)


def _read(keyring: Any, name: str) -> Secret | None:
    """Return the item called *name*; raises StoreUnavailableError if it is not what `KeyringStore.write` writes."""
    text = keyring.get_password(SERVICE, name)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, str):
        raise StoreUnavailableError(f"the back end's item {name} is not what atl-sign writes", "remove it, or write it again")
    return Secret(value)
