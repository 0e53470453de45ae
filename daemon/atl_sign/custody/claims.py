"""
The right to renew a token that several machines share: one has it at a time, by a note in the token's own item.

The note and the token are one item, and every change of it is a conditional write, so that nobody can hold the right to renew
and not know of a newer token. No clock of two machines is compared: a machine that waits counts on its own clock, from the moment
at which it first saw the note as it is.

Source: facts custody.md section 7.
"""

import secrets
import time
from dataclasses import replace

from atl_sign.base.clock import now_s
from atl_sign.base.credentials import Grant
from atl_sign.base.errors import DanceNeededError, ProviderUnreachableError, StoreConflictError
from atl_sign.config.links import Link
from atl_sign.custody.items import Claim, Kept, Phase, place_of, token_item
from atl_sign.custody.shelf import Desk, Shelf

LEASE_S = 30.0  # for which a claim holds: nothing is sent to the provider that could be answered later
PATIENCE_S = 65.0  # of the others, before they take a claim over: a server may end a grant whose refresh token comes twice
EXCHANGE_S_MAX = 10.0  # of one exchange with the provider while a claim is held
_POLL_S = 0.5


class Claims:
    """The claims of this process on tokens in a store that other machines change."""

    def __init__(self, desk: Desk, tokens: Shelf[Kept[Grant]]) -> None:
        """Claim what is in *tokens*."""
        self._desk = desk
        self._tokens = tokens
        self._holder = secrets.token_hex(8)
        self._claimed_at: dict[str, float] = {}  # by item, as `now_s`

    def claim(self, link: Link, token: Grant) -> Grant | None:
        """
        Wait until nobody renews *token* of *link*, claim it, and return it as the store had it before.

        A claim of which nothing was heard for `PATIENCE_S` is over, a former one of our own too: else a machine that
        does not reach the provider could keep the others from it for ever. None when the store has another token, or none.

        Raises:
            DanceNeededError: another machine has found that the token is lost.
            StoreLockedError, StoreUnavailableError: the store does not take the claim; the provider is not to be asked then.
        """
        item = token_item(place_of(link).name)
        seen: str | None = None
        seen_at = 0.0
        while True:
            asked_at = now_s()
            with self._desk.lock:
                kept = self._tokens.reload(item)
                if kept is None or not kept.value.is_same_as(token):
                    return None
                note, version = kept.claim, self._tokens.version(item)
                if note is not None and note.phase == "lost":
                    raise _lost(link)
                if version != seen:
                    seen, seen_at = version, asked_at
                is_free = note is None or now_s() - seen_at >= PATIENCE_S
                if is_free and self._write(item, kept, "asked"):
                    self._claimed_at[item] = asked_at
                    return kept.value
            time.sleep(_POLL_S)

    def check(self, link: Link) -> None:
        """
        Raise ProviderUnreachableError unless an exchange that begins now ends before others may take the claim over.

        It does not when the machine slept, or was stopped, since the claim.
        """
        claimed_at = self._claimed_at.get(token_item(place_of(link).name))
        if claimed_at is not None and now_s() - claimed_at + EXCHANGE_S_MAX >= LEASE_S:
            raise ProviderUnreachableError(
                f"the renewal of the token of link {link.name} was held up on this machine", "it is tried again", link=link.name
            )

    def settle(self, link: Link, token: Grant) -> bool:
        """
        Wait whether another machine still stores what it was given in place of *token*, which the provider takes no more.

        Returns:
            True when the store has another token, or another machine has taken over. False, after `LEASE_S` in which nobody did
            anything: then the store says that the token is lost, for all machines.

        Raises as the store does.
        """
        item = token_item(place_of(link).name)
        if not self._note(item, token, "doubt"):
            return True
        end = now_s() + LEASE_S
        while now_s() < end:
            time.sleep(_POLL_S)
            with self._desk.lock:
                before = self._tokens.version(item)
                self._tokens.reload(item)
                if self._tokens.version(item) != before:
                    return True
        return not self._note(item, token, "lost")

    def _note(self, item: str, token: Grant, phase: Phase) -> bool:
        """Write *phase* over our own claim on *token*; False when it is ours no longer."""
        while True:
            with self._desk.lock:
                kept = self._tokens.reload(item)
                if kept is None or not kept.value.is_same_as(token) or kept.claim is None or kept.claim.holder != self._holder:
                    return False
                if self._write(item, kept, phase):
                    return True
            time.sleep(_POLL_S)

    def _write(self, item: str, kept: Kept[Grant], phase: Phase) -> bool:
        noted = replace(kept, value=replace(kept.value, is_in_doubt=True), claim=Claim(self._holder, phase, secrets.token_hex(8)))
        try:
            self._tokens.write(item, noted, self._tokens.version(item))
        except StoreConflictError:
            return False
        self._tokens.hold(item, noted)
        return True


def _lost(link: Link) -> DanceNeededError:
    words = "was lost in a renewal that was cut off: the provider has replaced it, and no machine has stored the answer"
    return DanceNeededError(f"the access token of link {link.name} {words}", f"atl-sign dance {link.name}", link=link.name)
