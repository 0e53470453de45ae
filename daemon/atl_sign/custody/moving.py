"""A move of the secrets from one store to another, which can be cut off at any moment and be finished later."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    KeyringMissingError,
    PassphraseNeededError,
    StoreLockedError,
    StoreMissingError,
)
from atl_sign.base.findings import Warned
from atl_sign.config.file import ConfigFile
from atl_sign.config.links import Link
from atl_sign.custody.items import KEY_ITEM, items_of_link
from atl_sign.custody.move_note import MoveNote, MoveNotes
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.opening import KEYRING


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The outcome of a move."""

    backend: str
    left: tuple[str, ...]  # items that the store before did not let go
    unread: str | None = None  # why nothing was carried over; None when the store before could be read


class StoreMover:
    """Moves what a safe keeps to another store, and names that one in the configuration."""

    def __init__(self, config: ConfigFile, safe: Safe, open_store: Callable[[str], Store], pinned_by: str | None) -> None:
        """
        Move what *safe* keeps.

        Args:
            config: names the store.
            safe: the credentials.
            open_store: returns the store of a name; raises BadRequestError.
            pinned_by: what has named the store in place of the configuration; None when nothing has.
        """
        self._config = config
        self._safe = safe
        self._open_store = open_store
        self._pinned_by = pinned_by
        self._notes = MoveNotes(config.path)
        self._moving = threading.Lock()

    def warnings(self) -> list[Warned]:
        """Return what is to be said of a move that was cut off, with the command that ends it."""
        note = None if self._pinned_by is not None or self._moving.locked() else self._notes.read()
        here = self._safe.backend
        if note is None or here not in note.stores:
            return []
        left = note.leftover_of(here)
        if left is not None:
            message = f"a move of the store was cut off, and {left} may still hold copies of secrets"
            return [Warned("store_move", message, f"atl-sign store move {here}")]
        whole = ", ".join(note.whole) or note.stores[1]
        message = f"the secrets were moved to {whole}, and config.toml names {here}"
        return [Warned("store_move", message, f"atl-sign store move {whole}")]

    def clear_up(self) -> None:
        """
        Remove what a move that was cut off has left in the other store, if that needs nobody's answer.

        For the daemon's start; `warnings` reports what cannot be done then. Foreign keyring back ends may ask the user.
        """
        with self._moving:
            note = self._notes.read()
            left = None if note is None else note.leftover_of(self._safe.backend)
            if note is None or left is None or left.startswith(KEYRING) or self._pinned_by is not None:
                return
            with suppress(DaemonError):
                self._remove_leftovers(note, left, None)

    def move(self, backend: str, *, passphrase: Passphrase | None, new: Passphrase | None, volatile: bool) -> MoveReport:
        """
        Carry everything over to the store *backend*, and name it in the configuration.

        A crash leaves one of the two complete, and it is the one that the configuration names; what it leaves in the other one
        is noted, and goes with the next start, with the same move or with one back.
        A store that this machine does not have (no keyring, no file yet) has nothing to carry over; what it may hold where there
        is one, stays in it.

        Args:
            backend: as in `[store] backend`; the one that is used, to remove what a move has left in the other one.
            passphrase: opens the store to move to, or the one to clear, when that has one.
            new: makes it, when it is not there yet.
            volatile: whether it may be one that ends with the daemon.

        Raises:
            BadRequestError: there is no such store, or it cannot be moved to.
            StoreConflictError, and as `Store.unlock`, `Store.read`, `Store.write`, `ConfigFile.put_store`: nothing was moved.
        """
        with self._moving:
            if self._pinned_by is not None:
                hint = f"start the daemon without it, so that [store] backend in {self._config.path} counts: "
                hint += f"unset {self._pinned_by}; atl-sign restart"
                raise BadRequestError(f"{self._pinned_by} names the store, and would name the old one at the next start", hint)
            here = self._safe.backend
            note = self._notes.read()
            left = None if note is None else note.leftover_of(here)
            if backend == here:
                if note is None or left is None:
                    raise BadRequestError(f"{backend} is the store already")
                return MoveReport(backend, self._remove_leftovers(note, left, passphrase))
            if left not in (None, backend):
                hint = f"atl-sign store move {here}; if {left} is gone for good: rm {self._notes.path}"
                raise BadRequestError(f"{left} may still hold copies of secrets from a move that was cut off", hint)
            target = self._open_store(backend)
            if backend == "memory" and not volatile:
                raise BadRequestError("what the memory store keeps ends with the daemon", "if that is meant: --volatile")
            missing = self._why_missing()  # before the other one is made
            if missing is not None and note is not None:
                raise missing  # that move has to be finished first, and needs both
            target.unlock(passphrase, new)
            if missing is not None:
                target.read(KEY_ITEM)  # as the copy would, so that what cannot be read is not named in the configuration
                self._safe.move_to(
                    target, (), leftovers=(), begin=lambda: None, commit=lambda: self._config.put_store(target.backend)
                )
                return MoveReport(target.backend, (), missing.message)
            return self._move_to(target, note.items if note is not None and left is not None else ())

    def _why_missing(self) -> KeyringMissingError | StoreMissingError | None:
        """Return why there is no store to carry anything from, or None when there is one; raises what that one does."""
        try:
            self._safe.check_store()
        except (KeyringMissingError, StoreMissingError) as exc:
            if not self._safe.is_unread:  # it was there a moment ago
                raise
            return exc
        return None

    def _move_to(self, target: Store, leftovers: tuple[str, ...]) -> MoveReport:
        here = self._safe.backend
        names = tuple(dict.fromkeys([*self._name_items(), *leftovers]))
        # The memory store is whole only as long as this process lives, and then nobody needs the note.
        begun = MoveNote((here, target.backend), () if here == "memory" else (here,), names)
        has_begun = False

        def begin() -> None:
            nonlocal has_begun
            self._notes.write(begun)
            has_begun = True

        def commit() -> None:
            self._notes.write(replace(begun, whole=(*begun.whole, target.backend)))
            self._config.put_store(target.backend)

        try:
            before = self._safe.move_to(target, names, leftovers=leftovers, begin=begin, commit=commit)
        except DaemonError:
            if has_begun:
                with suppress(DaemonError):
                    self._notes.write(begun)
                    if not _remove_items(target, names):
                        self._notes.remove()
            raise
        done = replace(begun, whole=(target.backend,))
        left = names
        with suppress(DaemonError):  # while the note calls both whole, nothing may be taken out of one
            self._notes.write(done)
            left = _remove_items(before, names)
        self._end(before, left)
        return MoveReport(target.backend, left)

    def _remove_leftovers(self, note: MoveNote, left: str, passphrase: Passphrase | None) -> tuple[str, ...]:
        """Remove what *note* lists from the store *left*; returns the names of what stays, and raises as `Store.unlock`."""
        store = self._open_store(left)
        try:
            store.unlock(passphrase, None)
        except StoreMissingError:
            self._notes.remove()
            return ()
        except StoreLockedError as exc:
            if left == "file":
                raise PassphraseNeededError("the store's file still holds copies, and needs its passphrase", "give it") from exc
            raise StoreLockedError(f"{left} still holds copies, and is locked", exc.hint) from exc
        self._notes.write(replace(note, whole=(self._safe.backend,)))
        names = _remove_items(store, note.items)
        self._end(store, names)
        return names

    def _end(self, emptied: Store, left: tuple[str, ...]) -> None:
        if not left:
            with suppress(DaemonError):
                emptied.discard()
            self._notes.remove()
        with suppress(DaemonError):
            emptied.lock()

    def _name_items(self) -> list[str]:
        settings = self._config.settings()
        # A link that the configuration spells wrongly has a token too.
        parts = [each.part for each in settings.problems if not each.is_harmless]
        broken = [part.removeprefix("links.") for part in parts if part.startswith("links.")]
        links: list[Link | str] = [*settings.links.links, *broken]
        items = (item for link in links for item in items_of_link(link))
        return list(dict.fromkeys([KEY_ITEM, *items]))  # links can share a grant


def _remove_items(store: Store, names: Iterable[str]) -> tuple[str, ...]:
    """Remove the items called *names*, and return the names of those that *store* has and does not let go."""
    left = []
    for name in names:
        try:
            if store.read(name) is not None:
                store.delete(name)
        except DaemonError:
            left.append(name)
    return tuple(left)
