"""Key and grants as the rest of the daemon has them: read once and kept, and no other daemon's newer one is overwritten."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from atl_sign.base.credentials import GitRecord, Grant, Passphrase, Secret, StoreState
from atl_sign.base.errors import KeyMissingError, StoreConflictError
from atl_sign.config.links import Link
from atl_sign.custody.copying import copy_items
from atl_sign.custody.items import (
    KEY_ITEM,
    AppCodec,
    GitCodec,
    Kept,
    KeyCodec,
    TokenCodec,
    app_item,
    git_item,
    owner_of,
    place_of,
    token_item,
)
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.places import NO_PLACES, KeyPlaces
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.renewed import RenewedTokens
from atl_sign.custody.shelf import Desk, Shelf
from atl_sign.custody.stores.base import Store
from atl_sign.schemes.registry import SCHEMES

_T = TypeVar("_T")


class Safe:
    """The consumer's private key, and each link's access token and tokens for git."""

    def __init__(self, store: Store, neighbours: Neighbours | None = None, places: KeyPlaces = NO_PLACES) -> None:
        """
        Keep everything in *store*, and in memory what was read from it.

        Args:
            store: where secrets are at rest.
            neighbours: the daemons that may change it as well.
            places: where the consumer's key may be instead.
        """
        self._desk = Desk(store, neighbours or Neighbours(None))
        self._keys = Shelf(self._desk, KeyCodec(SCHEMES, places))
        self._tokens = Shelf(self._desk, TokenCodec(SCHEMES))
        self._apps = Shelf(self._desk, AppCodec(SCHEMES))
        self._git_records = Shelf(self._desk, GitCodec(SCHEMES))
        self.renewed = RenewedTokens(self._desk, self._tokens)

    @property
    def backend(self) -> str:
        """The store's name."""
        return self._desk.store.backend

    def state(self) -> StoreState:
        """Return the store's state; asks it, and never prompts."""
        return "locked" if self._desk.is_locked else self._desk.store.state()

    def check_store(self, link: Link | None = None) -> None:
        """
        Raise as the store does if it would not keep a secret now.

        Raises:
            StoreNewerError: a newer atl-sign wrote the token of *link*, so none is put in its place.
        """
        if link is None:
            self._desk.read(KEY_ITEM)
        else:
            self._tokens.find_replaceable(token_item(place_of(link).name))

    @property
    def is_unread(self) -> bool:
        """Tell whether nothing was read from the store yet, or written to it."""
        return all(shelf.is_empty for shelf in self._shelves) and not self.has_unsaved

    @property
    def is_locked(self) -> bool:
        """Tell whether `lock` was called and `unlock` not since."""
        return self._desk.is_locked

    @property
    def has_unsaved(self) -> bool:
        """Tell whether a token that came from a renewal is not in the store yet."""
        return len(self.renewed) > 0

    def survives_restart(self) -> bool:
        """
        Tell whether a daemon that starts now would be as able to sign as this one, without asking anybody; asks the store.

        One that never reached its store holds nothing that the next one could lack.
        """
        if self._desk.is_locked:
            return False
        if not all(key.survives_restart() for key in self._keys.values()):
            return False
        store = self._desk.store
        return store.survives_restart() or (self._holds_nothing() and store.state() != "ready")

    def _holds_nothing(self) -> bool:
        return not (any(shelf.values() for shelf in self._shelves) or self.has_unsaved)

    def lock(self) -> None:
        """
        Forget every secret here and in the store's object; raises BadRequestError when the store would lose them by that.

        A token that came from a renewal and that the store could not take yet is kept apart until it can.
        """
        with self._desk.lock:
            self.renewed.save_all()
            self._desk.store.lock()
            self._desk.is_locked = True
            for key in self._keys.values():
                key.forget()  # a dance that has ended may still hold it
            self._clear()

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """Read from the store again; raises as `Store.unlock`, and then everything stays as it was."""
        # Not in our lock: deriving a key must not hold up those who read another item.
        self._desk.store.unlock(passphrase, new)
        with self._desk.lock:
            self._desk.is_locked = False
            self.renewed.save_all()

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
        with self._desk.lock:  # of a token that comes meanwhile none is left behind
            self._desk.raise_if_locked()
            before = self._desk.store
            copy_items(before, target, names, frozenset(leftovers), begin)
            commit()
            self._desk.store = target
            self._clear()  # its versions are not those of the store before
            self._desk.neighbours.tell()
        return before

    def notice_changes(self) -> None:
        """Read everything again that another daemon has changed in the store; one look at a file."""
        if self._desk.neighbours.have_changed_it():
            with self._desk.lock:
                self._clear()  # the key is not wiped: somebody may be signing with it

    @property
    def is_shared(self) -> bool:
        """Tell whether other machines change the store."""
        return self._desk.is_shared

    def peek_key(self) -> Signer | None:
        """Return the consumer's private key if it is in memory, and that is fresh."""
        return self._keys.peek(KEY_ITEM) if not self.is_shared or self._keys.is_fresh(KEY_ITEM) else None

    def key(self) -> Signer | None:
        """
        Return the consumer's private key, or None when there is none.

        Raises:
            StoreNewerError: a newer atl-sign wrote it.
            StoreLockedError, StoreUnavailableError: the store does not give it, or gave something else.
        """
        self.notice_changes()
        key = self.peek_key()
        if key is None:
            with self._desk.lock:
                key = self._keys.load(KEY_ITEM)  # in memory it stays the same object, as long as it is the same item
                if key is None:
                    self._keys.drop(KEY_ITEM)  # nothing to keep: a keyring restored from a backup is found
        return key

    def need_key(self) -> Signer:
        """Return the consumer's private key; raises KeyMissingError when there is none, else as `key`."""
        key = self.key()
        if key is None:
            raise KeyMissingError("there is no consumer key yet", "atl-sign key new")
        return key

    def put_key(self, key: Signer) -> None:
        """Keep *key*, or its reference, in place of the one before; raises as `Shelf.put`, and then the one before stays."""
        self._keys.put(KEY_ITEM, key)

    def peek_token(self, link: Link) -> Grant | None:
        """Return the access token of *link* if it is in memory, however old that is."""
        kept = self._tokens.peek(token_item(place_of(link).name))
        return None if kept is None else kept.of(link)

    def is_fresh(self, link: Link, age_s: float | None = None) -> bool:
        """Tell whether the token of *link* in memory may be used without a look at the store, as `Shelf.is_fresh`."""
        return self._tokens.is_fresh(token_item(place_of(link).name), age_s)

    def distrust(self, link: Link) -> None:
        """Look at the store again, if other machines change it, before the token of *link* is used."""
        self._tokens.distrust(token_item(place_of(link).name))

    def token(self, link: Link, age_s: float | None = None) -> Grant | None:
        """
        Return the access token of *link*, or None; raises as `key`.

        A token of a link whose base URL or consumer key has changed since counts as none: it belongs to another grant.
        *age_s* as in `is_fresh`.
        """
        self.notice_changes()
        kept = self.renewed.load(place_of(link).name, age_s)
        return None if kept is None else kept.of(link)

    def put_token(self, link: Link, token: Grant) -> None:
        """Keep *token* for *link* in place of the one before; returns when the store has it, and raises as `Shelf.put`."""
        with self._desk.lock:
            self._tokens.put(token_item(place_of(link).name), Kept(owner_of(link), token))
            self.renewed.drop(place_of(link).name)

    def name_user(self, link: Link, token: Grant, user: str) -> None:
        """Add the name of its *user* to *token* of *link*, unless it was forgotten or replaced meanwhile."""
        with self._desk.lock:
            kept = self._tokens.peek(token_item(place_of(link).name))
            if kept is not None and kept.value is token:
                self._replace(self._tokens, token_item(place_of(link).name), replace(kept, value=token.with_user(user)))

    def forget_token(self, link: Link) -> None:
        """
        Take the token of *link* out of memory and store; a missing one is fine.

        Raises as `Shelf.delete`. Then the token is gone only from memory, and the next caller gets the store's error:
        nothing is signed with it while a keyring is locked, and it is there again when the keyring is.
        """
        with self._desk.lock:
            name = place_of(link).name
            self._tokens.delete(token_item(name))
            self.renewed.drop(name)

    def app_secret(self, link: Link) -> Secret | None:
        """Return the secret of the app of *link*, or None; raises as `key`. One of another app or address counts as none."""
        self.notice_changes()
        with self._desk.lock:
            kept = self._apps.load(app_item(place_of(link).name))
        return None if kept is None else kept.of(link)

    def put_app_secret(self, link: Link, secret: Secret) -> None:
        """Keep *secret* for the app of *link* in place of the one before; raises as `Shelf.put`, and then that one stays."""
        self._apps.put(app_item(place_of(link).name), Kept(owner_of(link), secret))

    def forget_app(self, link: Link) -> None:
        """Take the secret of the app of *link* out of memory and store, as `forget_token`."""
        self._apps.delete(app_item(place_of(link).name))

    def peek_git_record(self, link: Link) -> GitRecord | None:
        """Return what is known of the tokens for git of *link* if it is in memory."""
        kept = self._git_records.peek(git_item(link.name))
        return None if kept is None else kept.of(link)

    def git_record(self, link: Link) -> GitRecord | None:
        """Return what is known of the tokens for git of *link*, or None; raises and forgets other grants as `token`."""
        self.notice_changes()
        kept = self._git_records.load(git_item(link.name))
        return None if kept is None else kept.of(link)

    def replace_git_record(self, link: Link, before: GitRecord | None, after: GitRecord) -> bool:
        """
        Keep *after* for *link* in place of *before*, and return True when the store has it.

        False, with nothing changed, when another one (or none) has taken the place of *before*. Raises as the store does.
        """
        with self._desk.lock:
            self._desk.raise_if_locked()
            if self.git_record(link) is not before:
                return False
            return self._replace(self._git_records, git_item(link.name), Kept(owner_of(link), after))

    def forget_git_record(self, link: Link) -> None:
        """
        Take what is known of the tokens for git of *link* out of memory and store; as `forget_token`.

        The item that the store keeps all the same has the names of tokens that are still valid at the provider.
        """
        self._git_records.delete(git_item(link.name))

    def _replace(self, shelf: Shelf[_T], item: str, value: _T) -> bool:
        """Keep *value* over what was read; False, and it is read again, when another daemon has changed the item since."""
        try:
            shelf.write(item, value, shelf.version(item))
        except StoreConflictError:
            shelf.drop(item)
            return False
        shelf.hold(item, value)
        return True

    def _clear(self) -> None:
        for shelf in self._shelves:
            shelf.clear()

    @property
    def _shelves(self) -> tuple[Shelf[Any], ...]:
        return self._keys, self._tokens, self._apps, self._git_records
