"""Credentials between the store and memory: one JSON item each, read once and kept."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from atl_sign.base.credentials import AccessToken, GitRecord, Passphrase, Secret, StoreState
from atl_sign.base.errors import DaemonError, StoreLockedError, StoreUnavailableError
from atl_sign.config.links import Link
from atl_sign.custody.items import (
    KEY_ITEM,
    KeptGitRecord,
    KeptToken,
    format_git_record,
    format_key,
    format_token,
    git_item,
    parse_git_record,
    parse_key,
    parse_token,
    token_item,
)
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.software import RsaPrivateKey
from atl_sign.custody.moving import copy_items
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.stores.base import Store

_T = TypeVar("_T")


class NotInMemoryError(Exception):
    """The answer would have to wait for the store or for a renewal; raised only to callers that cannot wait."""

    def __init__(self, renewal: Future[None] | None = None) -> None:
        """Take what to wait for first, when it is a *renewal*."""
        super().__init__()
        self.renewal = renewal


class Vault:
    """The consumer's private key and each link's access token."""

    def __init__(self, store: Store, neighbours: Neighbours | None = None) -> None:
        """Keep everything in *store*, which *neighbours* may change as well, and in memory what was read from it."""
        self._store = store
        self._neighbours = neighbours or Neighbours(None)
        self._lock = threading.RLock()  # many first requests at once read an item once
        self._is_locked = False  # by `lock`: nothing is read until `unlock`, though the store would answer
        self._key: Signer | None = None
        self._tokens: dict[str, KeptToken | None] = {}
        self._git_records: dict[str, KeptGitRecord | None] = {}
        # Tokens of renewals that are not in the store yet: there is no other copy, so a lock keeps them, though not for signing.
        self._unsaved: dict[str, KeptToken] = {}

    @property
    def backend(self) -> str:
        """The store's name."""
        return self._store.backend

    def state(self) -> StoreState:
        """Return the store's state; asks it, and never prompts."""
        return "locked" if self._is_locked else self._store.state()

    def check_store(self) -> None:
        """Raise as the store does if it would not keep a secret now."""
        self._raise_if_locked()
        self._store.read(KEY_ITEM)

    @property
    def is_unread(self) -> bool:
        """Tell whether nothing was read from the store yet, or written to it."""
        return self._key is None and not self._tokens and not self._git_records and not self._unsaved

    @property
    def is_locked(self) -> bool:
        """Tell whether `lock` was called and `unlock` not since."""
        return self._is_locked

    @property
    def has_unsaved(self) -> bool:
        """Tell whether a token that came from a renewal is not in the store yet."""
        return bool(self._unsaved)

    def survives_restart(self) -> bool:
        """
        Tell whether a daemon that starts now would be as able to sign as this one, without asking anybody; asks the store.

        One that never reached its store holds nothing that the next one could lack.
        """
        if self._is_locked:
            return False
        return self._store.survives_restart() or (self._holds_nothing() and self._store.state() != "ready")

    def _holds_nothing(self) -> bool:
        kept = (*self._tokens.values(), *self._git_records.values(), *self._unsaved.values())
        return self._key is None and not any(kept)

    def lock(self) -> None:
        """
        Forget every secret here and in the store's object; raises BadRequestError when the store would lose them by that.

        A token that came from a renewal and that the store could not take yet is kept apart until it can.
        """
        with self._lock:
            self._save_what_is_unsaved()
            self._store.lock()
            self._is_locked = True
            self._forget()

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """Read from the store again; raises as `Store.unlock`, and then everything stays as it was."""
        self._store.unlock(passphrase, new)  # not in our lock: deriving a key must not hold up those who read another item
        with self._lock:
            self._is_locked = False
            self._save_what_is_unsaved()

    def move_to(
        self,
        target: Store,
        names: Iterable[str],
        *,
        leftovers: Iterable[str],
        begin: Callable[[], None],
        commit: Callable[[], None],
    ) -> Store:
        """
        Copy the items called *names* to *target*, and go on with it.

        Args:
            target: where to.
            names: of items there may be.
            leftovers: names under which *target* may hold something from a move that was cut off; it counts for nothing.
            begin: called before the first item is written.
            commit: called when all are there; makes *target* the next start's store.

        Returns:
            The store before, which still holds everything.

        Raises:
            StoreConflictError: *target* holds another secret under one of the names; nothing was changed.
            StoreLockedError, StoreUnavailableError, and what *begin* and *commit* raise: the store before stays, whole.
        """
        with self._lock:  # of a token that comes meanwhile none is left behind
            self._raise_if_locked()
            before = self._store
            copy_items(before, target, names, frozenset(leftovers), begin)
            commit()
            self._store = target
            self._neighbours.tell()
        return before

    def key(self, *, from_memory: bool = False) -> Signer | None:
        """
        Return the consumer's private key, or None when there is none.

        Raises:
            NotInMemoryError: *from_memory* is set and the store was not asked yet.
            StoreLockedError, StoreUnavailableError: the store does not give it, or gave something else.
        """
        self._drop_what_changed()
        key = self._key
        if key is None:
            if from_memory:
                raise NotInMemoryError
            with self._lock:
                key = self._key
                if key is None:
                    key = self._key = self._read(KEY_ITEM, parse_key)
        return key

    def put_key(self, key: RsaPrivateKey) -> None:
        """Keep *key* in place of the one before; raises as the store does, and then the one before stays."""
        with self._lock:
            self._raise_if_locked()
            self._store.write(KEY_ITEM, format_key(key))
            self._neighbours.tell()
            self._key = key

    def token(self, link: Link, *, from_memory: bool = False) -> AccessToken | None:
        """
        Return the access token of *link*, or None; raises as `key`.

        A token of a link whose base URL or consumer key has changed since counts as none: it belongs to another grant.
        """
        self._drop_what_changed()
        try:
            kept = self._tokens[link.name]
        except KeyError:
            if from_memory:
                raise NotInMemoryError from None
            with self._lock:
                if link.name not in self._tokens:
                    self._raise_if_locked()
                    unsaved = self._unsaved.get(link.name)
                    self._tokens[link.name] = unsaved or self._read(token_item(link.name), parse_token)
                kept = self._tokens[link.name]
        if kept is None or kept[:2] != (str(link.url), link.consumer_key):
            return None
        return kept[2]

    def put_token(self, link: Link, token: AccessToken) -> None:
        """Keep *token* for *link*; returns when the store has it."""
        with self._lock:
            kept = (str(link.url), link.consumer_key, token)
            self._raise_if_locked()
            self._write_token(link.name, kept)
            self._tokens[link.name] = kept
            self._unsaved.pop(link.name, None)

    @contextmanager
    def renewing(self, link: Link, token: AccessToken, timeout_s: float) -> Iterator[AccessToken | None]:
        """
        Keep other daemons from renewing the token of *link*, and give what the store has in place of *token* now.

        None when that is another token, or none: it is what the next caller gets, and *token* is nobody's any more.
        Waits up to *timeout_s* for another daemon's renewal. Raises as the store does.
        """
        with self._neighbours.alone(link.name, timeout_s):
            with self._lock:
                kept: KeptToken | None = self._unsaved.get(link.name)
                if kept is None:
                    kept = self._tokens[link.name] = self._read(token_item(link.name), parse_token)
                same = kept[2] if kept is not None and kept[2].is_same_as(token) else None
            yield same

    def mark_renewal(self, link: Link, token: AccessToken, *, is_in_doubt: bool) -> bool:
        """
        Note in the store that a renewal of *token* of *link* is under way, or that it is not; raises as the store does.

        After a crash the note is what tells a token that the provider has replaced from one that the user has revoked.
        Returns False, and notes nothing, when the token was forgotten or replaced meanwhile.
        """
        with self._lock:
            if not self._keeps(link, token):
                return False
            self._write_token(link.name, (str(link.url), link.consumer_key, replace(token, is_in_doubt=is_in_doubt)))
            return True

    def renew_token(self, link: Link, old: AccessToken, new: AccessToken) -> bool:
        """
        Take *new* for *link* in place of *old*, in memory alone; False when *old* was forgotten or replaced meanwhile.

        *old* is void by now, so *new* is used even while the store cannot keep it: `save_token` does that.
        After a lock it is not used before the unlock, but `save_token` still stores it.
        """
        with self._lock:
            # Else there was a lock, or a logout that the store refused; whoever forgets or replaces a token leaves an entry.
            is_read = link.name in self._tokens
            if is_read and not self._keeps(link, old):
                return False
            self._unsaved[link.name] = (str(link.url), link.consumer_key, new)
            if is_read:
                self._tokens[link.name] = self._unsaved[link.name]
            return True

    def save_token(self, link: Link, token: AccessToken) -> None:
        """
        Write *token*, which came from a renewal, to the store, unless that has it or it was forgotten or replaced meanwhile.

        A lock of ours does not stand in the way. Raises as the store does.
        """
        with self._lock:
            unsaved = self._unsaved.get(link.name)
            if unsaved is not None and unsaved[2] is token:
                self._write_token(link.name, unsaved)
                del self._unsaved[link.name]

    def _save_what_is_unsaved(self) -> None:
        for name, unsaved in list(self._unsaved.items()):
            with suppress(DaemonError):  # it stays, and is tried again
                self._write_token(name, unsaved)
                del self._unsaved[name]

    def _keeps(self, link: Link, token: AccessToken) -> bool:
        kept = self._tokens.get(link.name)
        return kept is not None and kept[2].is_same_as(token)  # another object, when it was read anew

    def _write_token(self, name: str, kept: KeptToken) -> None:
        self._store.write(token_item(name), format_token(kept))
        self._neighbours.tell()

    def name_user(self, link: Link, token: AccessToken, user: str) -> None:
        """Add the name of its *user* to *token* of *link*, unless it was forgotten or replaced meanwhile."""
        with self._lock:
            kept = self._tokens.get(link.name)
            if kept is not None and kept[2] is token:
                self.put_token(link, token.with_user(user))

    def forget_token(self, name: str) -> None:
        """
        Take the token of the link called *name* out of memory and store; a missing one is fine.

        Raises as the store does. Then the token is out of memory alone, and whoever wants it next hears what the store says:
        nothing is signed with it while a keyring is locked, and it is there again when the keyring is.
        """
        with self._lock:
            self._tokens.pop(name, None)
            self._raise_if_locked()
            self._store.delete(token_item(name))
            self._neighbours.tell()
            self._tokens[name] = None
            self._unsaved.pop(name, None)

    def git_record(self, link: Link, *, from_memory: bool = False) -> GitRecord | None:
        """Return what is known of the tokens for git of *link*, or None; raises and forgets other grants as `token`."""
        self._drop_what_changed()
        try:
            kept = self._git_records[link.name]
        except KeyError:
            if from_memory:
                raise NotInMemoryError from None
            with self._lock:
                if link.name not in self._git_records:
                    self._git_records[link.name] = self._read(git_item(link.name), parse_git_record)
                kept = self._git_records[link.name]
        if kept is None or kept[:2] != (str(link.url), link.consumer_key):
            return None
        return kept[2]

    def replace_git_record(self, link: Link, before: GitRecord | None, after: GitRecord) -> bool:
        """
        Keep *after* for *link* in place of *before*, and return True when the store has it.

        False, with nothing changed, when another one (or none) has taken the place of *before*. Raises as the store does.
        """
        with self._lock:
            self._raise_if_locked()
            if self.git_record(link) is not before:
                return False
            kept = (str(link.url), link.consumer_key, after)
            self._store.write(git_item(link.name), format_git_record(kept))
            self._neighbours.tell()
            self._git_records[link.name] = kept
        return True

    def forget_git_record(self, name: str) -> None:
        """
        Take what is known of the tokens for git of the link called *name* out of memory and store; as `forget_token`.

        What the store keeps all the same has the names of tokens that are good at the provider.
        """
        with self._lock:
            self._git_records.pop(name, None)
            self._raise_if_locked()
            self._store.delete(git_item(name))
            self._neighbours.tell()
            self._git_records[name] = None

    def _drop_what_changed(self) -> None:
        """Read everything again that another daemon may have changed in the store."""
        if self._neighbours.have_changed_it():
            with self._lock:
                self._key = None  # not wiped: somebody may be signing with it
                self._tokens.clear()
                self._git_records.clear()

    def _forget(self) -> None:
        if self._key is not None:
            self._key.forget()  # a dance that has ended may still hold it
        self._key = None
        self._tokens.clear()
        self._git_records.clear()

    def _raise_if_locked(self) -> None:
        if self._is_locked:
            raise StoreLockedError("the store is locked: atl-sign was told to forget its secrets", "atl-sign unlock")

    def _read(self, name: str, parse: Callable[[Secret], _T | None]) -> _T | None:
        self._raise_if_locked()
        item = self._store.read(name)
        if item is None:
            return None
        kept = parse(item.value)
        # Of git's token nothing is lost that could not be made again.
        if kept is not None or name.startswith(git_item("")):
            return kept
        hint = "atl-sign key new --replace" if name == KEY_ITEM else f"atl-sign dance {name.partition(':')[2]}"
        raise StoreUnavailableError(f"the item {name} of the store is not what was written there", hint)
