"""
A grant's renewal: one for any number of signers, and none of them fails by it.

The provider voids the old token as it answers, and the answer can be lost.
So the renewal is noted in the store before it is asked for, and the new token is stored before it is used; while the store cannot
keep it, it is used all the same.

Source: facts section 2.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain, repeat
from typing import Protocol

from atl_sign.base.credentials import Grant
from atl_sign.base.errors import (
    DaemonError,
    DanceNeededError,
    InternalError,
    ProviderBusyError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from atl_sign.config.links import Link
from atl_sign.custody.items import place_of
from atl_sign.custody.safe import Safe
from atl_sign.providers.clocks import Clocks

DRAIN_S = 2.0  # for headers that were signed with the old token to reach the provider
AGE_S_DUE = 1.0  # after which a token is read again, while another machine may be renewing it
JITTER = 0.1  # of the time between a renewal's date and the end: that much sooner, at most, one of many machines renews
RETRY_S = 60.0  # after a renewal that came to nothing, while the old token still holds
RETRY_EXPIRED_S = 1.0  # the same when everybody waits for it
RETRY_S_MAX = 3600.0  # however long the provider asks us to wait
_EXCHANGES_MAX = 4  # of one renewal with its provider, each within the link's `timeout_s`
_NEIGHBOURS_S = 10.0  # on top of those, for a renewal of another daemon to be stored
_SAVE_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between tries to store a new token; the last one again and again

_log = logging.getLogger("atl_sign")


class Renewable(Protocol):
    """One link, whose provider gives another grant in place of one."""

    link: Link

    @property
    def old_dies_at_once(self) -> bool:
        """Whether the provider voids the old one as it answers."""

    def renew(self, grant: Grant) -> Grant:
        """Return another grant of the same user; raises as `Scheme.renew`, and as the store does."""


@dataclass(slots=True)
class _Attempt:
    token: Grant
    is_in_doubt: bool  # this attempt or an earlier one may have reached the provider, and its answer was lost
    is_refused: bool  # the provider takes the token no more
    done: "Future[None]" = field(default_factory=Future)  # raises what stands in the way of a signature
    again_at: float | None = None  # by the monotonic clock: when it failed, the next attempt


class Renewals:
    """The renewals under way, and those that failed a moment ago."""

    def __init__(self, safe: Safe, on_end: Callable[[Link, str], None], clocks: Clocks) -> None:
        """
        Renew what *safe* keeps.

        Args:
            safe: where tokens are.
            on_end: told of each attempt: the link, and "ok" or an error's code.
            clocks: the providers' clocks.
        """
        self._safe = safe
        self._on_end = on_end
        self._clocks = clocks
        self._jitter = random.uniform(0, JITTER)  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self._attempts: dict[str, _Attempt] = {}  # by place, the last one each
        self._refused: dict[str, Grant] = {}  # by place
        self._renewed_at: dict[str, float] = {}  # by place, by the monotonic clock
        self._signed_at: dict[str, float] = {}  # by place, by the monotonic clock

    def note_signature(self, link: Link) -> None:
        """Note that a header with the link's token is on its way now."""
        self._signed_at[place_of(link).name] = time.monotonic()

    def refuse(self, link: Link, token: Grant) -> None:
        """
        Take note that the provider took *token* no more; who asks for it next has it renewed, once.

        One that came from a renewal a moment ago is not renewed again: the provider has another reason then.
        """
        name = place_of(link).name
        is_fresh = time.monotonic() < self._renewed_at.get(name, -RETRY_S) + RETRY_S
        if token.may_renew(self._clocks.now_utc()) and not is_fresh:
            self._refused[name] = token

    def ask(self, live: Renewable, token: Grant, *, is_short: bool = False) -> "Future[None] | None":
        """
        See to it that *token* is renewed when that is due.

        Args:
            live: whose token it is; renews it, in another thread.
            token: as the safe gave it.
            is_short: it ends too soon for the asker, who waits for another one although none is due.

        Returns:
            The future to wait for before the token is read from the safe again; it raises what stands in the way of a signature.
            None when *token* is good for signing at this moment.
        """
        link = live.link
        name = place_of(link).name
        now = self._clocks.now_utc()
        refused = self._refused.get(name)  # read before the attempts: a new attempt is there before this goes
        under_way = self._attempts.get(name)
        if under_way is not None and (under_way.done.done() or not under_way.token.is_same_as(token)):
            under_way = None
        is_refused = (refused is not None and refused.is_same_as(token)) or (under_way is not None and under_way.is_refused)
        is_unfit = is_refused or (is_short and token.may_renew(now))
        # Clients give up after seconds: nobody waits for a provider that leaves the old token valid, until its end.
        serves_on = not (is_unfit or live.old_dies_at_once or token.is_expired(now) or token.is_from_later(now))
        due_now = now + self._earliness(token) if self._safe.is_shared else now
        if not is_unfit and not token.wants_renewal(due_now):  # it may be renewed before it is due
            return under_way.done if under_way is not None and not serves_on else None
        with self._lock:
            last = self._attempts.get(name)
            if last is not None and not last.token.is_same_as(token):
                last = None
            if last is not None and not last.done.done():
                return None if serves_on else last.done
            if last is not None and last.again_at is not None and time.monotonic() < last.again_at:
                if last.done.exception() is not None:
                    return last.done
                if not token.is_expired(self._clocks.now_utc()):
                    return None
            attempt = _Attempt(token, token.is_in_doubt or (last is not None and last.is_in_doubt), is_refused)
            self._attempts[name] = attempt
            self._refused.pop(name, None)
        # Not a thread of the pool: signers wait for it, and could fill that.
        threading.Thread(target=self._run, args=(live, attempt), name=f"renew-{link.name}", daemon=True).start()
        return None if serves_on else attempt.done

    def age_s(self, token: Grant) -> float | None:
        """Return after how many seconds *token* in memory is to be read again; None when the store's own rule is enough."""
        if not self._safe.is_shared or token.renew_at is None or token.expires_at is None:
            return None
        is_near = token.renew_at - JITTER * (token.expires_at - token.renew_at) <= self._clocks.now_utc()
        return AGE_S_DUE if is_near else None

    def _earliness(self, token: Grant) -> timedelta:
        """Return how long before its date *token* is renewed here, so that not all of many machines do it at the same moment."""
        if token.renew_at is None or token.expires_at is None:
            return timedelta()
        return self._jitter * (token.expires_at - token.renew_at)

    def has_ended(self, link: Link, token: Grant) -> bool:
        """Tell whether the last renewal of *token* came to nothing in a way that only a dance can help."""
        last = self._attempts.get(place_of(link).name)
        if last is None or not last.done.done() or not last.token.is_same_as(token):
            return False
        return isinstance(last.done.exception(), DanceNeededError)

    def are_under_way(self) -> bool:
        """Tell whether a provider is being asked for a token."""
        with self._lock:
            return not all(attempt.done.done() for attempt in self._attempts.values())

    def forget_ended(self) -> None:
        """Forget the attempts that are over, for each holds a token; the next request for a signature may ask again at once."""
        with self._lock:
            self._attempts = {name: attempt for name, attempt in self._attempts.items() if not attempt.done.done()}

    def _run(self, live: Renewable, attempt: _Attempt) -> None:
        link = live.link
        try:
            renewed, is_saved = self._renew(live, attempt)
        except DaemonError as exc:
            self._fail(link, attempt, exc)
            return
        except Exception:
            _log.exception("link %s: the renewal of its token failed", link.name)
            self._fail(link, attempt, InternalError("the renewal of a token failed", "the daemon's log says more"))
            return
        self._on_end(link, "ok")
        self._renewed_at[place_of(link).name] = time.monotonic()
        attempt.done.set_result(None)
        for pause_s in chain(_SAVE_PAUSES_S, repeat(_SAVE_PAUSES_S[-1])):
            if is_saved or renewed is None:
                return
            time.sleep(pause_s)
            is_saved = self._save(link, renewed)

    def _renew(self, live: Renewable, attempt: _Attempt) -> tuple[Grant | None, bool]:
        """
        Return what the safe has now instead of the attempt's token, and whether the store has it too.

        None when the attempt's token was forgotten or replaced meanwhile.
        """
        link = live.link
        # No sooner: a server may end the grant whose refresh token comes once more.
        patience_s = _EXCHANGES_MAX * link.timeout_s + _NEIGHBOURS_S
        with self._safe.renewed.renewing(link, attempt.token, patience_s) as token:
            new = None if token is None else self._renew_alone(live, attempt, token)
            # Another daemon that waits reads the store next: it must not find the void token there.
            return new, new is not None and self._save(link, new)

    def _renew_alone(self, live: Renewable, attempt: _Attempt, token: Grant) -> Grant | None:
        """As `_renew`, while no other daemon renews the same *token*."""
        from atl_sign.providers.exchange import sending_while

        link = live.link
        attempt.is_in_doubt = attempt.is_in_doubt or token.is_in_doubt  # another daemon's renewal may have been cut off
        # First what can fail without harm: a store that cannot keep the note could not keep the token either.
        if not self._safe.renewed.mark(link, token, is_in_doubt=True):
            return None
        # By the grant that others sign with: the store keeps whole seconds, and its copy ends up to one earlier.
        if live.old_dies_at_once and not attempt.token.is_expired(self._clocks.now_utc()):
            self._drain(link)
        try:
            with sending_while(lambda: self._safe.renewed.check_claim(link)):
                new = live.renew(token)
        except ProviderRefusedError as exc:
            if exc.problem is not None:
                if not exc.ends_grant or not attempt.is_in_doubt:
                    self._take_note_back(link, token)
                elif self._safe.renewed.settle(link, token):
                    return None
                raise
            attempt.is_in_doubt = True  # a page from a proxy, or half an answer
            raise
        except ProviderUnreachableError as exc:
            if exc.nothing_sent and not attempt.is_in_doubt:
                self._take_note_back(link, token)
            else:
                attempt.is_in_doubt = True
            raise
        except ProviderBusyError:
            attempt.is_in_doubt = True
            raise
        new = replace(new, user=token.user)
        return new if self._safe.renewed.renew(link, token, new) else None

    def _drain(self, link: Link) -> None:
        """Wait until the headers that hold the old token have arrived; while an attempt is under way nobody signs with it."""
        if self._safe.is_shared:  # on other machines, too, where they are signed until the claim is seen
            time.sleep(AGE_S_DUE + DRAIN_S)
            return
        while (left_s := self._signed_at.get(place_of(link).name, -DRAIN_S) + DRAIN_S - time.monotonic()) > 0:
            time.sleep(left_s)

    def _fail(self, link: Link, attempt: _Attempt, error: DaemonError) -> None:
        """End *attempt* with *error*, which signers see only when the old token is of no use to them."""
        _log.warning("link %s: its token was not renewed: %s", link.name, error.reason)
        self._on_end(link, error.code)
        problem = error.problem if isinstance(error, ProviderRefusedError) else None
        ends_grant = isinstance(error, DanceNeededError) or (isinstance(error, ProviderRefusedError) and error.ends_grant)
        is_expired = attempt.token.is_expired(self._clocks.now_utc())
        wait_s = RETRY_S if problem is not None else self._pause_s(attempt.token)
        if error.retry_after_s is not None:
            wait_s = max(wait_s, min(error.retry_after_s, RETRY_S_MAX))
        attempt.again_at = time.monotonic() + wait_s
        if ends_grant or is_expired:
            attempt.done.set_exception(_explain(link, error, is_in_doubt=attempt.is_in_doubt))
        else:
            attempt.done.set_result(None)

    def _pause_s(self, token: Grant) -> float:
        """Return after how long a failure that may pass is tried again: the sooner, the less of the life of *token* is left."""
        if token.expires_at is None:
            return RETRY_S
        left_s = (token.expires_at - self._clocks.now_utc()).total_seconds()
        return min(RETRY_S, max(left_s / 4, RETRY_EXPIRED_S))

    def _take_note_back(self, link: Link, token: Grant) -> None:
        with suppress(DaemonError):  # the store fails now: the next start asks the provider once more, and no harm is done
            self._safe.renewed.mark(link, token, is_in_doubt=False)

    def _save(self, link: Link, token: Grant) -> bool:
        try:
            self._safe.renewed.save(link, token)
        except DaemonError as exc:
            _log.warning("link %s: its new token is not in the store yet: %s", link.name, exc.message)
            return False
        return True


def _explain(link: Link, error: DaemonError, *, is_in_doubt: bool) -> DaemonError:
    """Return what a renewal that came to nothing means for those who want a signature."""
    if not isinstance(error, ProviderRefusedError) or not (error.ends_grant or error.problem == "permission_denied"):
        return error
    again = f"atl-sign dance {link.name}"
    if not error.ends_grant:
        words = "has expired, and the provider no longer renews it (permission_denied)"
    elif is_in_doubt:
        words = "was lost in a renewal that was cut off: the provider has replaced it, and the answer did not reach the store"
    else:
        return DanceNeededError(error.reason, again, link=link.name)
    return DanceNeededError(f"the access token of link {link.name} {words}", again)
