"""
The store's file: every secret in one encrypted file, for machines without a keyring.

The file is replaced whole or not at all, and never while it cannot be read: whatever is wrong with it, nothing is lost of it.
"""

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import (
    BadFieldsError,
    DaemonError,
    PassphraseNeededError,
    StoreExistsError,
    StoreLockedError,
    StoreMissingError,
    StoreUnavailableError,
    WrongPassphraseError,
)
from atl_sign.base.folders import is_there
from atl_sign.custody.stores.base import TIMEOUT_S, Item, check_version, version_of
from atl_sign.custody.stores.guarded_file import DAMAGED_HINT, GuardedFile, Stamp
from atl_sign.custody.stores.key_file import PASSPHRASE_BYTES_MAX, read_key
from atl_sign.custody.stores.sealing import (
    NONCE_BYTES,
    SALT_BYTES,
    SEALED_BYTES_MAX,
    OtherVersionError,
    SealError,
    StoreKey,
    best_cost,
    derive_key,
    open_items,
    parse_header,
    seal_items,
)
from atl_sign.custody.stores.tries import Tries

UNLOCK_HINT = "atl-sign unlock"
NEW_HINT = "atl-sign unlock --new"


class FileStore:
    """
    One encrypted file, read once after `unlock` and again when another process has replaced it.

    Two locks: `_turn` around what is in memory, and a lock file beside the store around each change of it.
    """

    backend = "file"
    cache_s = None

    def __init__(
        self,
        path: Path,
        *,
        key_file: Path | None = None,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Stand for the file at *path*, which need not exist.

        Args:
            path: the file; only this user may use its folder, which is made if missing.
            key_file: holds the passphrase, for machines where nobody types one.
            timeout_s: how long a call waits for another process.
            clock: seconds, for the waits after wrong passphrases.
        """
        self.path = path
        self._key_file = key_file
        self._file = GuardedFile(path, SEALED_BYTES_MAX, timeout_s)
        self._tries = Tries(clock)
        self._turn = threading.RLock()
        self._key: StoreKey | None = None
        self._is_key_from_file = False
        self._items: dict[str, Secret] = {}
        self._generation = 0
        self._stamp: Stamp | None = None  # of the file that `_items` came from

    def read(self, name: str) -> Item | None:
        """See `Store.read`."""
        with self._turn:
            self._refresh()
            value = self._items.get(name)
        return None if value is None else Item(value, version_of(value))

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        """See `Store.write`; nothing comes between the look at the version and the write, whatever process it is of."""
        with self._turn, self._file.alone():
            key = self._refresh()
            check_version(name, self._items.get(name), if_version)
            self._save({**self._items, name: value}, key)
        return version_of(value)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        with self._turn, self._file.alone():
            key = self._refresh()
            if name in self._items:
                self._save({each: value for each, value in self._items.items() if each != name}, key)

    def state(self) -> StoreState:
        """See `Store.state`."""
        try:
            with self._turn:
                self._refresh()
        except StoreLockedError:
            return "locked"
        except StoreUnavailableError:
            return "unavailable"
        return "ready"

    def lock(self) -> None:
        """See `Store.lock`."""
        with self._turn:
            if self._key is not None:
                self._key.wipe()
            self._key, self._items, self._stamp = None, {}, None

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """See `Store.unlock`; without either passphrase, the key file's is taken, and what is unlocked already stays so."""
        for given in (passphrase, new):
            if given is not None and not 1 <= len(given.reveal()) <= PASSPHRASE_BYTES_MAX:
                raise BadFieldsError(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")
        if passphrase is not None:
            self._open(passphrase, new)
        elif new is not None:
            self._create(new)
        elif self._key is not None:
            with self._turn:
                self._refresh()
        elif self._key_file is not None:
            self.unlock_with(self._key_file)
        else:
            if not self._file.is_there():
                raise self._locked()
            raise PassphraseNeededError("the store is locked", UNLOCK_HINT)

    def unlock_with(self, key_file: Path) -> None:
        """
        Unlock with what *key_file* holds, or make the store that is not there yet; raises as `unlock`.

        A key file that cannot be read or that does not fit is a lock like any other: a passphrase can be typed.
        """
        try:
            passphrase = read_key(key_file)
        except DaemonError as exc:
            raise PassphraseNeededError(f"the store is locked: {exc.message}", UNLOCK_HINT) from exc
        try:
            self.unlock_or_create(passphrase)
            self._is_key_from_file = True
        except WrongPassphraseError as exc:
            message = f"the store is locked: it has another passphrase than {key_file.name}"
            raise PassphraseNeededError(message, UNLOCK_HINT) from exc
        finally:
            passphrase.wipe()

    def unlock_or_create(self, passphrase: Passphrase) -> None:
        """Unlock, or make the store that is not there yet: for machines where nobody is asked. Raises as `unlock`."""
        if self._file.is_there():
            self._open(passphrase, None, is_guess=False)
        else:
            self.unlock(None, passphrase)

    def survives_restart(self) -> bool:
        """See `Store.survives_restart`: only when a key file has opened it that the next process finds too."""
        is_kept = self._key is not None and self._is_key_from_file
        return is_kept and self._key_file is not None and is_there(self._key_file)

    def discard(self) -> None:
        """See `Store.discard`: the file goes, unless something is still in it."""
        with self._turn, self._file.alone():
            self._refresh()
            if not self._items:
                self._file.remove()
                self.lock()

    def _open(self, passphrase: Passphrase, new: Passphrase | None, *, is_guess: bool = True) -> None:
        with self._tries.attempt(is_guess=is_guess):
            content, _ = self._read_file()
            try:
                header = parse_header(content)
                key = derive_key(passphrase, header.cost, header.salt)
                if not key.fits(header):
                    raise WrongPassphraseError("the passphrase is wrong")
                items = open_items(content, header, key)
            except SealError as exc:
                raise self._unusable(exc) from None
            next_key = None if new is None else _derive_new(new)
        with self._turn:
            self._is_key_from_file = False
            # An older file than was known before is taken here: the user who typed the passphrase may have put a backup back.
            self._key, self._items, self._generation, self._stamp = key, items, header.generation, None
            if next_key is not None:
                with self._file.alone():
                    self._refresh()
                    self._save(self._items, next_key)
            else:
                self._refresh()

    def _create(self, passphrase: Passphrase) -> None:
        with self._tries.attempt():
            if self._file.is_there():
                raise self._exists()
            if self._key is not None:  # what was read from the one that is gone would go on only in memory
                raise self._gone()
            key = _derive_new(passphrase)
        with self._turn, self._file.alone():
            if self._file.is_there():
                raise self._exists()
            self._generation = 0
            self._is_key_from_file = False
            self._save({}, key)

    def _refresh(self) -> StoreKey:
        """Make memory equal to the file and return the key; raises StoreLockedError, StoreUnavailableError."""
        key = self._key
        if key is None:
            raise self._locked()
        stamp = self._file.stamp()
        if stamp is None or stamp != self._stamp:
            content, stamp = self._read_file()
            try:
                header = parse_header(content)
                if not key.fits(header):
                    self.lock()
                    raise StoreLockedError("another process has changed the store's passphrase", UNLOCK_HINT)
                items = open_items(content, header, key)
            except SealError as exc:
                raise self._unusable(exc) from None
            if header.generation < self._generation:
                hint = "if you have put a backup back: atl-sign lock, then atl-sign unlock"
                raise StoreUnavailableError(f"{self.path} is older than it was a moment ago", hint)
            self._items, self._generation, self._stamp = items, header.generation, stamp
        return key

    def _save(self, items: dict[str, Secret], key: StoreKey) -> None:
        """Put a file with *items* in the place of the one before, and then keep both in memory; within `GuardedFile.alone`."""
        generation = self._generation + 1
        content = seal_items(items, key, generation=generation, nonce=secrets.token_bytes(NONCE_BYTES))
        if len(content) > SEALED_BYTES_MAX:
            raise StoreUnavailableError(f"{self.path} would be larger than {SEALED_BYTES_MAX >> 20} MiB", "remove links")
        stamp = self._file.replace(content)
        if self._key is not None and self._key is not key:
            self._key.wipe()
        self._key, self._items, self._generation, self._stamp = key, items, generation, stamp

    def _read_file(self) -> tuple[bytes, Stamp]:
        """Return the file's content and stamp; raises StoreMissingError, StoreUnavailableError."""
        try:
            return self._file.read()
        except FileNotFoundError:
            if self._key is not None:
                raise self._gone() from None
            raise StoreMissingError(f"there is no store at {self.path}", NEW_HINT) from None

    def _locked(self) -> StoreLockedError:
        if self._file.is_there():
            return StoreLockedError("the store is locked", UNLOCK_HINT)
        return StoreMissingError("there is no store yet: it is made with a passphrase of your choice", NEW_HINT)

    def _gone(self) -> StoreUnavailableError:
        hint = f"{DAMAGED_HINT}; to begin with an empty one: atl-sign lock, then {NEW_HINT}"
        return StoreUnavailableError(f"{self.path} is gone", hint)

    def _exists(self) -> StoreExistsError:
        return StoreExistsError(
            f"there is a store at {self.path} already", "atl-sign unlock opens it; with --change it gets another passphrase"
        )

    def _unusable(self, exc: SealError) -> StoreUnavailableError:
        hint = "open it with the atl-sign that wrote it, or a newer one" if isinstance(exc, OtherVersionError) else DAMAGED_HINT
        return StoreUnavailableError(f"{self.path} cannot be opened: {exc}", hint)


def _derive_new(passphrase: Passphrase) -> StoreKey:
    try:
        return derive_key(passphrase, best_cost(), secrets.token_bytes(SALT_BYTES))
    except SealError as exc:
        raise StoreUnavailableError(f"no store can be made: {exc}", "end other programs, then try again") from None
