"""
A lease: a piece of the owner's right (links, rules, time, uses) that a program has by an entry of its own.

A lease that was made from another one lies within it: each of its requests must be allowed by both, and counts for both.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

from atl_sign.base.clock import now_s
from atl_sign.base.errors import DaemonError
from atl_sign.base.lease_errors import (
    LeaseBusyError,
    LeaseDeniedError,
    LeaseExpiredError,
    LeaseRevokedError,
    LeaseSuspendedError,
    LeaseUsedUpError,
)
from atl_sign.base.peer import Peer
from atl_sign.base.urls import Pairs, Url

if TYPE_CHECKING:  # with the first lease
    from atl_sign.access.decision import Rules, Ruling

REQUESTS_MAX = 8  # of one lease at the same time
_LOOP_COMPARISONS_MAX = 2_000  # of rules with parameters; some 2 ms

EntryKind = Literal["http", "sign", "port"]
ENTRY_KINDS: tuple[EntryKind, ...] = ("http", "sign", "port")
State = Literal["open", "suspended", "used_up", "expired", "revoked", "ended"]  # ended: the program it lived with has ended
_OVER: frozenset[State] = frozenset({"expired", "revoked", "ended"})
Peers = Literal["own", "any"] | frozenset[int]  # uids

# The lease's holder can read that; a command that makes another lease would be the wrong advice.
SHOW_RULES = "GET /~/lease at the same socket or port lists what the lease allows"

_Error = TypeVar("_Error", bound=DaemonError)
_REFUSALS: dict[State, Callable[[], DaemonError]] = {
    "suspended": lambda: LeaseSuspendedError("the lease is suspended", "wait until its owner resumes it"),
    "used_up": lambda: LeaseUsedUpError("the lease has no uses left"),
    "expired": lambda: LeaseExpiredError("the lease has expired"),
    "revoked": lambda: LeaseRevokedError("the lease was revoked"),
    "ended": lambda: LeaseRevokedError("the program that the lease lived with has ended"),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a lease."""

    links: frozenset[str]  # names
    rules: "Rules"
    entries: frozenset[EntryKind]
    peers: Peers = "own"
    may_tunnel: bool = False  # to addresses outside the links
    name: str | None = None
    purpose: str | None = None  # in the owner's words
    lives_with: int | None = None  # the pid of the process with which it ends
    may_reuse: bool = False  # get headers that are good for any request

    def admits(self, peer: Peer) -> bool:
        """Tell whether *peer* may use the entries."""
        if self.peers == "any":
            return True
        return peer.is_ours() if self.peers == "own" else peer.uid in self.peers

    def lies_within(self, other: "Terms") -> bool:
        """Tell whether these give nothing that *other* does not give, rules apart, which are asked one by one."""
        is_peers_within = other.peers in ("any", self.peers) or (
            isinstance(self.peers, frozenset) and isinstance(other.peers, frozenset) and self.peers <= other.peers
        )
        is_tunnel_within = other.may_tunnel or not self.may_tunnel
        return self.links <= other.links and self.entries <= other.entries and is_peers_within and is_tunnel_within


@dataclass(slots=True)
class Usage:
    """The use of a lease so far."""

    allowed: int = 0
    denied: int = 0
    last_used_at: datetime | None = None
    last_peer: Peer | None = None


class Lease:
    """One lease; every method can be called from any thread."""

    def __init__(
        self,
        lease_id: str,
        terms: Terms,
        lifetime_s: float,
        uses: int | None = None,
        *,
        parent: "Lease | None" = None,
        secret: str | None = None,
        clock: Callable[[], float] = now_s,
    ) -> None:
        """
        Open the lease.

        Args:
            lease_id: hex.
            terms: what it gives.
            lifetime_s: seconds from now; a parent that ends earlier ends it.
            uses: how many requests; None for any number.
            parent: the lease that it was made from.
            secret: what a caller at its port must show; only a hash of it is kept.
            clock: seconds, as `now_s`.
        """
        self.id = lease_id
        self.terms = terms
        self.parent = parent
        self.usage = Usage()
        self._clock = clock
        self._lock = threading.Lock()
        self._ends_at = clock() + lifetime_s
        self._uses_left = uses
        self._is_suspended = False
        self._end: Literal["revoked", "ended"] | None = None
        self._under_way = 0
        self._secret_hash = None if secret is None else hashlib.sha256(secret.encode()).digest()

    @property
    def state(self) -> State:
        """How it is now; a child is as its parent, if that has ended or is suspended."""
        if self._end is not None:
            return self._end
        if self._clock() >= self._ends_at:
            return "expired"
        parents: State = "open" if self.parent is None else self.parent.state
        if parents in _OVER:  # first: a child that is suspended or used up ends with its parent all the same
            return parents
        if self._is_suspended:
            return "suspended"
        return "used_up" if self._uses_left == 0 else parents

    @property
    def is_over(self) -> bool:
        """Whether it can never be used again."""
        return self.state in _OVER

    @property
    def outermost(self) -> "Lease":
        """The lease that its owner made: itself, or the first of those that it was made from."""
        return self.line[-1]

    @property
    def line(self) -> "list[Lease]":
        """The lease, the one that it was made from, and so on."""
        line, each = [self], self.parent
        while each is not None:
            line.append(each)
            each = each.parent
        return line

    @property
    def uses_left(self) -> int | None:
        """How many requests are left; None for any number."""
        counts = [each._uses_left for each in self.line if each._uses_left is not None]
        return min(counts, default=None)

    @property
    def left_s(self) -> float:
        """How many seconds are left; 0 when there are none."""
        return max(0.0, min(each._ends_at for each in self.line) - self._clock())

    @property
    def expires_at(self) -> datetime:
        """When its time is over, by the clock that can be set (aware, UTC)."""
        return datetime.now(UTC) + timedelta(seconds=min(each._ends_at for each in self.line) - self._clock())

    def is_secret(self, text: str) -> bool:
        """Tell whether *text* is the secret of this lease."""
        given = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return self._secret_hash is not None and hmac.compare_digest(given, self._secret_hash)

    def decide(self, link: str, method: str, url: Url, base_path: str, form: Pairs | None) -> "Ruling":
        """
        Return what allows a request; counts nothing.

        Args:
            link: the name of the link that covers it.
            method: as it will be sent.
            url: as it will be sent.
            base_path: the path of the base URL that it is below.
            form: decoded names and values of a form body; None for every other body.

        Raises:
            LeaseExpiredError, LeaseUsedUpError, LeaseRevokedError, LeaseSuspendedError: the lease cannot be used now.
            LeaseDeniedError: no rule allows the request, or one denies it.
            PathAmbiguousError, BadUrlError: no rule can decide on it.
        """
        from atl_sign.access.decision import decide
        from atl_sign.access.readings import read_request

        self.check_usable()
        readings = None
        first: Ruling | None = None
        for each in self.line:
            if link not in each.terms.links:
                raise self.deny_address()
            readings = readings or read_request(url, base_path, form)
            ruling = decide(each.terms.rules, method, readings)
            if not ruling.is_allowed:
                words = f"the lease does not allow {method} {ruling.reading}: {ruling.reason}"
                rule = None if ruling.rule is None else ruling.rule.text
                raise self._count_denial(LeaseDeniedError(words, SHOW_RULES, rule=rule))
            first = first or ruling
        assert first is not None  # noqa: S101 - a line has the lease itself
        return first

    def is_slow(self, url: str, form: Pairs | None) -> bool:
        """Tell whether a decision would hold up the event loop: many rules and parameters can take a third of a second."""
        rules = sum(len(each.terms.rules.allow) + len(each.terms.rules.deny) for each in self.line)
        return rules * (1 + url.count("&") + len(form or ())) > _LOOP_COMPARISONS_MAX

    def deny_address(self) -> LeaseDeniedError:
        """Return the error for a request to an address that is not of the lease's links, and count it."""
        return self._count_denial(LeaseDeniedError("the lease does not cover this address"))

    def deny_reusable(self) -> LeaseDeniedError:
        """Return the error for a header that would be good for more than the request it is asked for, and count it."""
        return self._count_denial(LeaseDeniedError("the header would be good for any request, and is not given out"))

    def check_usable(self) -> None:
        """Raise the error for a lease that cannot be used now."""
        state = self.state
        if state != "open":
            raise self._count_denial(_REFUSALS[state]())

    def take_use(self, peer: Peer | None) -> None:
        """Count one use, before anything is signed; raises as `check_usable`."""
        line = self.line
        for number, each in enumerate(line):
            try:
                each._take(peer)
            except DaemonError as exc:
                for taken in line[:number]:
                    taken._give_back()
                self._count_denial(exc)
                raise

    @contextmanager
    def uses(self, peer: Peer | None) -> Iterator[Callable[[], None]]:
        """Give, for a `with`, what counts one use; it is given back if the `with` ends by an error. Raises as `take_use`."""
        is_taken = False

        def take() -> None:
            nonlocal is_taken
            self.take_use(peer)
            is_taken = True

        try:
            yield take
        except BaseException:
            if is_taken:
                self.give_back()
            raise

    def give_back(self) -> None:
        """Take the count of one use back: nothing was signed, or nothing was sent."""
        for each in self.line:
            each._give_back()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Have one of the places for requests at the same time, for a `with`; raises LeaseBusyError."""
        entered: list[Lease] = []
        try:
            for each in self.line:  # or leases made from it would be more places
                each._take_place()
                entered.append(each)
            yield
        finally:
            for each in entered:
                each._give_place_back()

    def change(self, lifetime_s: float | None, uses: int | None) -> None:
        """Give the lease another lifetime from now, or another number of uses; None leaves one as it is."""
        with self._lock:
            if lifetime_s is not None:
                self._ends_at = self._clock() + lifetime_s
            if uses is not None:
                self._uses_left = uses

    def suspend(self) -> None:
        """Refuse requests until `resume`."""
        self._is_suspended = True

    def resume(self) -> None:
        """Let requests go on."""
        self._is_suspended = False

    def end(self, reason: Literal["revoked", "ended"]) -> None:
        """End the lease for ever."""
        with self._lock:
            self._end = self._end or reason

    def _take(self, peer: Peer | None) -> None:
        with self._lock:
            state = self.state
            if state != "open":
                raise _REFUSALS[state]()
            if self._uses_left is not None:
                self._uses_left -= 1
            self.usage.allowed += 1
            self.usage.last_used_at, self.usage.last_peer = datetime.now(UTC), peer

    def _take_place(self) -> None:
        with self._lock:
            if self._under_way >= REQUESTS_MAX:
                raise LeaseBusyError(f"{REQUESTS_MAX} requests of the lease are under way", "send fewer at the same time")
            self._under_way += 1

    def _give_place_back(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _give_back(self) -> None:
        with self._lock:
            if self._uses_left is not None:
                self._uses_left += 1
            self.usage.allowed -= 1

    def _count_denial(self, error: _Error) -> _Error:
        with self._lock:
            self.usage.denied += 1
        return error
