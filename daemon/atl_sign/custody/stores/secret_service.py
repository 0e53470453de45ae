"""
One short conversation with the Secret Service, through keyring: it ends at its deadline and never asks the user anything.

Only `desktop` imports this module, and only when a secret is needed: keyring and its D-Bus library take 180 ms to load.

Sources: the Secret Service API 0.2 (https://specifications.freedesktop.org/secret-service/); the D-Bus specification 0.42.
"""

import hmac
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import secretstorage
from jeepney import DBusAddress, DBusErrorResponse, Properties  # type: ignore[import-untyped]  # it has no annotations
from jeepney.io.blocking import DBusConnection, prep_socket  # type: ignore[import-untyped]
from keyring.backends.SecretService import Keyring
from keyring.errors import InitError, KeyringError, KeyringLocked, PasswordDeleteError
from secretstorage.exceptions import ItemNotFoundException, LockedException, SecretServiceNotAvailableException

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import KeyringMissingError, StoreLockedError, StoreUnavailableError
from atl_sign.base.ownership import trusted_owners
from atl_sign.base.peer import read_peer
from atl_sign.custody.stores.session_bus import SessionBus

SERVICE = "atl-sign"  # every item carries it as its attribute `service`, and its name as `username`
# Without the Enter after the password: gnome-keyring-daemon takes every byte of its standard input for a part of the password.
_UNLOCK_COMMAND = "(read -rsp 'password: ' p && printf %s \"$p\" | gnome-keyring-daemon --replace --unlock)"
LOCKED_HINT = f"log in to the desktop, or unlock the keyring in bash: {_UNLOCK_COMMAND}"
NO_KEYRING_HINT = "log in to the desktop, or keep the secrets in an encrypted file: atl-sign store move file"
NO_COLLECTION_HINT = f"{NO_KEYRING_HINT}; or create a keyring with a password of your choice in bash: {_UNLOCK_COMMAND}"
_UNREACHABLE = "the session bus cannot be reached"
FAILED_HINT = "look whether the disk is full, and into the keyring's log"
DOUBLE_HINT = "look for a second item of that name (service atl-sign) and remove it, and whether the disk is full"
CHANGED_HINT = "try again"

_SECRETS = DBusAddress("/org/freedesktop/secrets", "org.freedesktop.secrets", "org.freedesktop.Secret.Service")
_IS_LOCKED = "org.freedesktop.Secret.Error.IsLocked"
_DELETES_MAX = 16  # more items of one name than any program leaves behind


def read_item(name: str, deadline: float, bus: SessionBus) -> Secret | None:
    """
    Return the item called *name*, or None when there is none.

    Args:
        name: the item's name.
        deadline: when to give up, on the clock of `time.monotonic`; the same in the other calls.
        bus: where to look for the keyring; the same in the other calls.

    Raises:
        TimeoutError: the deadline is over.
        StoreLockedError, StoreUnavailableError: the keyring does not give it.
    """
    with _in_our_words():
        text = _backend(deadline, bus).get_password(SERVICE, name)
    return None if text is None else Secret(text)


def write_item(name: str, value: Secret, deadline: float, bus: SessionBus) -> None:
    """
    Keep *value* as the item called *name* and read it back; raises as `read_item`.

    After TimeoutError the keyring may still carry out what it was asked for, once it goes on.
    """
    text = value.reveal()
    with _in_our_words():
        _backend(deadline, bus).set_password(SERVICE, name, text)
        kept = _backend(deadline, bus).get_password(SERVICE, name)
    if kept is None or not hmac.compare_digest(kept.encode(), text.encode()):
        raise StoreUnavailableError(f"the keyring took the item {name} and does not give it back", DOUBLE_HINT)


def delete_item(name: str, deadline: float, bus: SessionBus) -> None:
    """Remove every item called *name*, another program's copies too; a missing one is fine. Raises as `read_item`."""
    with _in_our_words():
        for _ in range(_DELETES_MAX):
            try:
                _backend(deadline, bus).delete_password(SERVICE, name)
            except (PasswordDeleteError, ItemNotFoundException):
                return
    raise StoreUnavailableError(f"the keyring did not remove the item {name}", FAILED_HINT)


def check_ready(deadline: float, bus: SessionBus) -> None:
    """Return when the default collection is there and unlocked; raises as `read_item`."""
    with _in_our_words():
        _open_collection(deadline, bus).connection.close()


class _Backend(Protocol):
    """The used part of a keyring back end; keyring itself does not annotate it."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


def _backend(deadline: float, bus: SessionBus) -> _Backend:
    return cast(_Backend, _PinnedKeyring(deadline, bus))


class _PinnedKeyring(Keyring):
    """keyring's Secret Service back end without its prompts, without its endless waits, and deaf to `KEYRING_PROPERTY_*`."""

    def __init__(self, deadline: float, bus: SessionBus) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring does not annotate its back ends
        self._deadline = deadline
        self._bus = bus

    def set_properties_from_env(self) -> None:
        """Take nothing from the environment: another scheme or collection would hide the items written before."""

    def get_preferred_collection(self) -> secretstorage.Collection:
        """Return the default collection; keyring's own method would create it or unlock it, and wait for the user."""
        return _open_collection(self._deadline, self._bus)

    def unlock(self, item: secretstorage.Item) -> None:
        """Refuse a locked item; keyring's own method would wait for the user."""
        if item.is_locked():
            raise KeyringLocked("the item is locked")


class _BoundedConnection(DBusConnection):  # type: ignore[misc]  # a class without annotations
    """
    A connection on which nothing waits past the deadline.

    keyring and SecretStorage wait for each answer without a limit, and a keyring that is stopped gives none.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._deadline = deadline
        try:
            super().__init__(sock)  # says Hello to the bus
        except Exception:
            self.close()
            raise

    def send_and_get_reply(self, message: Any, *, timeout: float | None = None) -> Any:
        self.sock.settimeout(_remaining_s(self._deadline))  # for sending: a stopped bus takes no more than its buffer
        return super().send_and_get_reply(message, timeout=timeout)

    def receive(self, *, timeout: float | None = None) -> Any:
        remaining_s = _remaining_s(self._deadline)
        return super().receive(timeout=remaining_s if timeout is None else min(timeout, remaining_s))


def _remaining_s(deadline: float) -> float:
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError
    return remaining_s


def _connect(address: str, deadline: float) -> _BoundedConnection:
    try:
        sock = prep_socket(address, timeout=_remaining_s(deadline))
        if read_peer(sock).uid not in trusted_owners():  # it would be given our secrets
            sock.close()
            raise PermissionError("the bus is another user's")
        return _BoundedConnection(sock, deadline)
    except TimeoutError:
        raise
    except (OSError, ValueError) as exc:  # nobody listens; not the D-Bus protocol
        raise KeyringMissingError(_UNREACHABLE, NO_KEYRING_HINT) from exc


def _open_collection(deadline: float, bus: SessionBus) -> secretstorage.Collection:
    """Return the default collection of the first place that has one; a locked one counts, a bus without any does not."""
    failure: Exception | None = None
    for address in bus.addresses():
        try:
            collection = _open_collection_at(address, deadline)
        except StoreUnavailableError as exc:
            failure = failure or exc
        except (InitError, SecretServiceNotAvailableException) as exc:  # says more than a bus that is not there
            failure = exc if failure is None or isinstance(failure, StoreUnavailableError) else failure
        else:
            bus.keep(address)
            return collection
    if failure is None:
        words = _UNREACHABLE if bus.is_named else "there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set"
        failure = KeyringMissingError(words, NO_KEYRING_HINT)
    raise failure


def _open_collection_at(address: str, deadline: float) -> secretstorage.Collection:
    connection = _connect(address, deadline)
    try:
        _introduce(connection)
        collection = secretstorage.Collection(connection)  # the one with the alias `default`
        if collection.is_locked():
            raise KeyringLocked("the default collection is locked")
    except ItemNotFoundException as exc:
        connection.close()
        raise InitError("there is no default collection") from exc
    except Exception:
        connection.close()
        raise
    return collection


def _introduce(connection: DBusConnection) -> None:
    """
    Let the keyring take note of a new connection, before it is asked for what it gives to connections that it knows.

    gnome-keyring takes note in a turn of its main loop that the first message can overtake, and then a look at a collection ends
    it (decision 2). Its list of collections is for everybody, and comes from the same loop: with the answer the note is taken.
    """
    connection.send_and_get_reply(Properties(_SECRETS).get("Collections"))  # an error shows itself in what follows


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn what keyring and the libraries under it raise into our errors; TimeoutError passes."""
    try:
        yield
    except TimeoutError:
        raise
    except (KeyringLocked, LockedException) as exc:
        raise StoreLockedError("the keyring is locked", LOCKED_HINT) from exc
    except InitError as exc:
        raise KeyringMissingError("the keyring has no default collection", NO_COLLECTION_HINT) from exc
    except SecretServiceNotAvailableException as exc:
        raise KeyringMissingError(f"no keyring answers on the session bus: {exc}", NO_KEYRING_HINT) from exc
    except ItemNotFoundException as exc:
        raise StoreUnavailableError("the keyring changed while it was asked", CHANGED_HINT) from exc
    except UnicodeDecodeError:
        # No chain: the cause shows the item.
        raise StoreUnavailableError("the keyring's item is not text", "remove it, or write it again") from None
    except DBusErrorResponse as exc:
        # No chain: the cause shows whatever the keyring said, and nobody promises that it says nothing of the item.
        if exc.name == _IS_LOCKED:
            raise StoreLockedError("the keyring is locked", LOCKED_HINT) from None
        raise StoreUnavailableError(f"the keyring failed with {exc.name}", FAILED_HINT) from None
    except KeyringError as exc:
        raise StoreUnavailableError(f"the keyring failed with {type(exc).__name__}", FAILED_HINT) from exc
    except OSError as exc:
        raise StoreUnavailableError("the connection to the keyring broke", CHANGED_HINT) from exc
