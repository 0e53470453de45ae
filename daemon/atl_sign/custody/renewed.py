"""
Tokens that came from a renewal, on their way into the store.

The provider voids the old token as it answers, so the new one is used at once, even while the store cannot keep it. It is stored
only over the very item that was renewed: if another daemon has put a newer grant there, or taken the grant back, that wins.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from atl_sign.base.credentials import Grant
from atl_sign.base.errors import DaemonError, StoreConflictError, StoreUnavailableError
from atl_sign.config.links import Link
from atl_sign.custody.claims import Claims
from atl_sign.custody.items import Kept, owner_of, place_of, token_item
from atl_sign.custody.shelf import TRIES, Desk, Shelf


@dataclass(slots=True)
class _Unsaved:
    kept: Kept[Grant]
    old: Grant  # which it was given in place of
    version: str  # of the store's item that holds the old one


class RenewedTokens:
    """The tokens of renewals that are under way, or whose outcome is not in the store yet."""

    def __init__(self, desk: Desk, tokens: Shelf[Kept[Grant]]) -> None:
        """Renew what is in *tokens*."""
        self._desk = desk
        self._tokens = tokens
        self._claims = Claims(desk, tokens)
        self._unsaved: dict[str, _Unsaved] = {}  # by place; there is no other copy, so a lock keeps them, though not for signing

    def __len__(self) -> int:
        """Return how many are not in the store yet."""
        return len(self._unsaved)

    def load(self, name: str, age_s: float | None = None) -> Kept[Grant] | None:
        """Return the token at the place called *name* from memory, else from the store; as `Shelf.load`."""
        item = token_item(name)
        with self._desk.lock:
            if name in self._unsaved and not (item in self._tokens and self._tokens.is_fresh(item, age_s)):
                self._desk.raise_if_locked()
                self._try_to_save(name)  # what another daemon has put there meanwhile counts
                if name in self._unsaved:
                    self._tokens.hold(item, self._unsaved[name].kept)
                    return self._unsaved[name].kept
            return self._tokens.load(item, age_s)

    @contextmanager
    def renewing(self, link: Link, token: Grant, timeout_s: float) -> Iterator[Grant | None]:
        """
        Keep other daemons from renewing the token of *link*, and give what the store has in place of *token* now.

        None when that is another token, or none: it is what the next caller gets, and *token* is nobody's any more.
        Waits up to *timeout_s* for a renewal of another daemon of this machine, and for other machines as `Claims.claim`.

        Raises:
            DanceNeededError: another machine has found that the token is lost.
            StoreUnavailableError: other machines renew it too, and the last one's outcome is not in the store yet.
            StoreLockedError, StoreUnavailableError: as the store does.
        """
        name = place_of(link).name
        with self._desk.neighbours.alone(name, timeout_s):
            with self._desk.lock:
                self._try_to_save(name)
                unsaved = self._unsaved.get(name)
                if self._desk.is_shared and unsaved is not None:
                    raise StoreUnavailableError(f"the token of link {link.name} is not in the store yet", "atl-sign doctor")
                if not self._desk.is_shared:
                    kept = self._tokens.reload(token_item(name)) if unsaved is None else unsaved.kept
                    same = kept.value if kept is not None and kept.value.is_same_as(token) else None
            yield self._claims.claim(link, token) if self._desk.is_shared else same

    def mark(self, link: Link, token: Grant, *, is_in_doubt: bool) -> bool:
        """
        Note in the store that a renewal of *token* of *link* is under way, or that it is not; raises as the store does.

        After a crash the note is what tells a token that the provider has replaced from one that the user has revoked.
        Returns False, and notes nothing, when the token was forgotten or replaced meanwhile, by this daemon or another one.
        A claim is that note already, where other machines renew the token too.
        """
        if self._desk.is_shared and is_in_doubt:
            return True
        item = token_item(place_of(link).name)
        noted = Kept(owner_of(link), replace(token, is_in_doubt=is_in_doubt))
        with self._desk.lock:
            for _ in range(TRIES):
                if not self._keeps(link, token):
                    return False
                try:
                    self._tokens.write(item, noted, self._tokens.version(item))
                except StoreConflictError:
                    self._tokens.reload(item)  # the same token perhaps, with its user's name
                else:
                    return True
        return False

    def check_claim(self, link: Link) -> None:
        """Raise ProviderUnreachableError when it is too late to ask the provider, as `Claims.check`."""
        self._claims.check(link)

    def settle(self, link: Link, token: Grant) -> bool:
        """Tell whether another machine has stored what took the place of *token*, as `Claims.settle`; False on one machine."""
        return self._desk.is_shared and self._claims.settle(link, token)

    def renew(self, link: Link, old: Grant, new: Grant) -> bool:
        """
        Take *new* for *link* in place of *old*; False when *old* was forgotten or replaced meanwhile.

        Nobody gets it before `save` has stored it, or has found that the store cannot keep it: *old* is void by now.
        After a lock it is not used before the unlock, but `save` still stores it.
        """
        item = token_item(place_of(link).name)
        with self._desk.lock:
            # Else there was a lock, a change by another daemon, or a logout that the store refused: saving finds out which.
            is_read = item in self._tokens
            if is_read and not self._keeps(link, old):
                return False
            self._unsaved[place_of(link).name] = _Unsaved(Kept(owner_of(link), new), old, self._tokens.version(item))
            return True

    def save(self, link: Link, token: Grant) -> None:
        """
        Write *token*, which came from a renewal, to the store, unless that has it or has something newer; from now on it is used.

        A lock of ours does not stand in the way. Raises as the store does, and then the token is used all the same.
        """
        with self._desk.lock:
            name = place_of(link).name
            unsaved = self._unsaved.get(name)
            if unsaved is None or unsaved.kept.value is not token:
                return
            try:
                self._save(name, unsaved)
            finally:
                if name in self._unsaved:
                    self._use(name, unsaved)

    def save_all(self) -> None:
        """Write to the store what it takes; the rest stays, and is tried again."""
        for name in list(self._unsaved):
            self._try_to_save(name)

    def drop(self, name: str) -> None:
        """Forget the token that was not saved yet at the place called *name*: it was forgotten, or another one took its place."""
        self._unsaved.pop(name, None)

    def _keeps(self, link: Link, token: Grant) -> bool:
        kept = self._tokens.peek(token_item(place_of(link).name))
        return kept is not None and kept.value.is_same_as(token)  # another object, when it was read anew

    def _try_to_save(self, name: str) -> None:
        if name in self._unsaved:
            with suppress(DaemonError):
                self._save(name, self._unsaved[name])

    def _save(self, name: str, unsaved: _Unsaved) -> None:
        item = token_item(name)
        for tries_left in reversed(range(TRIES)):
            try:
                self._tokens.write(item, unsaved.kept, unsaved.version)
                self._use(name, unsaved)
                break
            except StoreConflictError:
                if not tries_left:
                    raise
                if not self._still_has_the_old_one(item, unsaved):
                    break  # ours is there already, or a newer one, or there was a logout
        del self._unsaved[name]

    def _use(self, name: str, unsaved: _Unsaved) -> None:
        """Give it to those who ask from now on, unless a lock or another daemon's change came: then it is read anew."""
        if token_item(name) in self._tokens:
            self._tokens.hold(token_item(name), unsaved.kept)

    def _still_has_the_old_one(self, item: str, unsaved: _Unsaved) -> bool:
        """Take what the store has now, unless that is the old token, perhaps with its user's name."""
        before = self._tokens.peek(item)
        kept = self._tokens.reload(item)
        if kept is None or not kept.value.is_same_as(unsaved.old):
            return False
        unsaved.version = self._tokens.version(item)
        if before is not None:
            self._tokens.hold(item, before)
        else:
            self._tokens.drop(item)
        return True
