"""Leases: opened, changed, suspended, resumed and ended, by the owner or, within a lease, by its holder."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from anyio.to_thread import run_sync

from atl_sign.access.audit import Decision
from atl_sign.access.caller import DAEMON, Caller
from atl_sign.access.lease import EntryKind, Lease, Peers, Terms
from atl_sign.access.recording import Records, make_decision
from atl_sign.agent.lookup import Lookup
from atl_sign.base.clock import now_s
from atl_sign.base.errors import AuditUnavailableError, BadRequestError, UnknownLinkError
from atl_sign.base.lease_errors import LeaseDeniedError, LeaseExistsError, LeaseLimitError, UnknownLeaseError
from atl_sign.base.peer import is_ancestor
from atl_sign.config.links import Link
from atl_sign.schemes.base import Scheme

LEASES_MAX = 64  # open at the same time
LIFETIME_S_DEFAULT = 3600
LIFETIME_S_MAX = 30 * 24 * 3600
CHILDREN_MAX = 16  # open at the same time, and ended, made from one of the owner's, who needs places too
DEPTH_MAX = 4  # of leases made from leases: each is a folder in its parent's, and a socket's path is short
REFUSING_S = 300.0  # after its time, an entry goes on for so long to say that it has expired
REMEMBERED_S = 3600.0  # after its end, a lease is listed for so long

_SECRET_PREFIX = "atls_"  # noqa: S105 - by it people and scanners know what it is


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lease's entries are."""

    sockets: Mapping[str, str] = field(default_factory=dict)  # paths by the kind of entry
    url: str | None = None  # of the port
    ca_file: str | None = None  # the system's CA certificates and the lease's own


class Doors(Protocol):
    """The process's side of the entries. Every call is made in the event loop."""

    async def open(self, lease: Lease, parents: Sequence[str]) -> Place:
        """
        Open the entries of *lease*; raises BadRequestError when the folder cannot be made.

        Args:
            lease: what callers get there.
            parents: the ids of the leases that it was made from, the outermost first.
        """

    def watch(self, pidfd: int, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call *on_end* when the process of *pidfd* ends; returns what stops that, and closes the descriptor."""

    def cut_transfers(self, lease: Lease) -> None:
        """Cut the transfers of *lease* that are under way; idle and new connections stay, and their requests are refused."""

    def close(self, lease: Lease) -> None:
        """Close the entries, cut their connections, and remove what stands in the file system."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A lease that a caller wants; the values are within their limits."""

    links: Sequence[str] = ()  # names; empty for all
    allow: Sequence[str] = ("read",)
    deny: Sequence[str] = ()
    lifetime_s: float = LIFETIME_S_DEFAULT
    uses: int | None = None
    entries: frozenset[EntryKind] = frozenset({"http"})
    peers: Peers = "own"
    may_tunnel: bool = False
    allow_reusable: bool = False  # give out headers that are good for many requests
    name: str | None = None
    purpose: str | None = None
    lives_with: int | Literal["caller"] | None = None  # a pid; "caller": the process that makes the call


@dataclass(frozen=True, slots=True)
class LeaseReport:
    """One lease and where its entries are."""

    lease: Lease
    place: Place
    secret: str | None = None  # of its port; only when it was opened


@dataclass(slots=True)
class _Held:
    report: LeaseReport
    stop_watching: Callable[[], None] = lambda: None
    over_since: float | None = None
    is_closed: bool = False


class Leases:
    """Every lease of this process; they end with it."""

    def __init__(
        self, lookup: Lookup, schemes: Mapping[str, Scheme], records: Records, clock: Callable[[], float] = now_s
    ) -> None:
        """Find links by *lookup*; *schemes* say which headers can be used again; *records* is the audit log."""
        self._lookup = lookup
        self._schemes = schemes
        self._records = records
        self._clock = clock
        self._doors: Doors | None = None
        self._held: dict[str, _Held] = {}

    def serve_at(self, doors: Doors) -> None:
        """Open entries by *doors* from now on."""
        self._doors = doors

    async def open(self, caller: Caller, wanted: Wanted) -> LeaseReport:
        """
        Open a lease, within the caller's own if it has one.

        Raises:
            UnknownLinkError, ConfigBrokenError: there is no such link.
            BadRuleError: a rule cannot be read.
            BadRequestError: `lives_with` is not the caller or an ancestor of it, or the header of a link could be used again.
            LeaseDeniedError: it would give more than the caller's own lease.
            LeaseExistsError, LeaseLimitError: an open lease has that name, or there are too many.
            The errors of `Lease.check_usable`: the caller's own lease cannot be used now, or the new one was revoked meanwhile.
            AuditUnavailableError: the lease cannot be recorded, and must be.
        """
        report: LeaseReport | None = None
        try:
            with self._records.entry("lease", caller) as entry:
                entry.verb = "open"
                report = await self._open(caller, wanted, entry)
        except AuditUnavailableError:
            if report is not None:
                report.lease.end("revoked")
                self._close_over()
            raise
        return report

    def list_all(self, caller: Caller) -> list[LeaseReport]:
        """Return every lease, the open ones and those that ended in the last hour, the oldest first."""
        del caller
        return [held.report for held in tuple(self._held.values())]

    def show(self, caller: Caller, name: str) -> LeaseReport:
        """Return the lease with this id, or the youngest of the owner's with this name; raises UnknownLeaseError."""
        del caller
        return self._get(name).report

    def show_own(self, caller: Caller) -> LeaseReport:
        """Return the caller's own lease; raises UnknownLeaseError at a socket of the owner's."""
        return self._get("" if caller.lease is None else caller.lease.id).report

    def change(self, caller: Caller, name: str, lifetime_s: float | None, uses: int | None) -> LeaseReport:
        """Give a lease another lifetime from now, or another number of uses; raises UnknownLeaseError, and if it is over."""
        with self._records.entry("lease", caller) as entry:
            entry.verb = "change"
            report = self._find_open(name, entry)
        report.lease.change(lifetime_s, uses)  # only now: what cannot be recorded gives nothing
        return report

    def suspend(self, caller: Caller, name: str) -> LeaseReport:
        """Refuse the lease's requests until it is resumed; raises UnknownLeaseError, and if it is over."""
        with self._records.entry("lease", caller) as entry:
            entry.verb = "suspend"
            report = self._find_open(name, entry)
            report.lease.suspend()
            return report

    def resume(self, caller: Caller, name: str) -> LeaseReport:
        """Let the lease's requests go on; raises UnknownLeaseError, and if it is over."""
        with self._records.entry("lease", caller) as entry:
            entry.verb = "resume"
            report = self._find_open(name, entry)
        report.lease.resume()  # only now: what cannot be recorded gives nothing
        return report

    def revoke(self, caller: Caller, name: str) -> None:
        """End a lease and those made from it: no signature and no byte comes after this; raises UnknownLeaseError."""
        with self._records.entry("lease", caller) as entry:
            entry.verb = "revoke"
            held = self._get(name)
            entry.lease = held.report.lease.id
            held.report.lease.end("revoked")
            self._close_over()

    def suspend_all(self) -> None:
        """Refuse the requests of every lease, each until it is resumed; from any thread."""
        for held in tuple(self._held.values()):
            held.report.lease.suspend()

    def has_open(self) -> bool:
        """Tell whether a lease can still be used, or could be after it is resumed."""
        return any(not held.report.lease.is_over for held in tuple(self._held.values()))

    def look(self) -> None:
        """Once a second: close what is over, and forget what has been over for an hour. In the event loop."""
        if self._held:
            self._close_over()

    def close_all(self) -> None:
        """End every lease, because the process ends."""
        for held in self._held.values():
            held.report.lease.end("ended")
        self._close_over()

    async def _open(self, caller: Caller, wanted: Wanted, entry: Decision) -> LeaseReport:
        from atl_sign.access.decision import Rules
        from atl_sign.access.presets.loading import parse_rules

        assert self._doors is not None  # noqa: S101 - a call comes by a socket, and the server has both
        parent = caller.lease
        if parent is not None:
            parent.check_usable()
        rules = await run_sync(lambda: Rules(parse_rules(wanted.allow), parse_rules(wanted.deny)))
        links = self._find_links(wanted, parent)
        lives_with = _find_process(wanted, caller)
        terms = Terms(
            links=frozenset(link.name for link in links),
            rules=rules,
            entries=wanted.entries,
            peers=wanted.peers,
            may_tunnel=wanted.may_tunnel,
            name=wanted.name,
            purpose=wanted.purpose,
            lives_with=lives_with,
            may_reuse=wanted.allow_reusable,
        )
        self._check(terms, parent)
        if not wanted.allow_reusable:
            self._check_reusable(links, terms)
        if parent is not None:
            self._forget_children(parent.outermost)
        secret = _SECRET_PREFIX + secrets.token_urlsafe(32) if "port" in terms.entries else None
        lease = Lease(
            self._find_free_id(), terms, wanted.lifetime_s, wanted.uses, parent=parent, secret=secret, clock=self._clock
        )
        entry.lease, entry.rule = lease.id, "; ".join(wanted.allow)
        pidfd = None if lives_with is None else self._open_process(lives_with, caller)
        held = self._held[lease.id] = _Held(LeaseReport(lease, Place()))  # first: its name and place are taken
        try:
            place = await self._doors.open(lease, [each.id for each in reversed(lease.line[1:])])
        except BaseException:
            self._held.pop(lease.id, None)
            if pidfd is not None:
                os.close(pidfd)
            raise
        held.report = LeaseReport(lease, place)
        if pidfd is not None:
            held.stop_watching = self._doors.watch(pidfd, lambda: self._end_with_process(lease))
        return LeaseReport(lease, place, secret)

    def _close_over(self) -> None:
        assert self._doors is not None  # noqa: S101 - as in `open`
        now = self._clock()
        for lease_id, held in list(self._held.items()):
            lease = held.report.lease
            if not lease.is_over:
                continue
            if held.over_since is None:
                held.over_since = now
                held.stop_watching()
                self._doors.cut_transfers(lease)
                if lease.state == "expired":
                    self._note(lease, "expire")
            if not held.is_closed and (lease.state != "expired" or now - held.over_since >= REFUSING_S):
                held.is_closed = True
                self._doors.close(lease)
            if held.is_closed and now - held.over_since >= REMEMBERED_S:
                del self._held[lease_id]

    def _forget_children(self, outermost: Lease) -> None:
        """Keep a few of the ended leases that were made from *outermost*: its holder can make any number, of a second each."""
        assert self._doors is not None  # noqa: S101 - as in `open`
        self._close_over()
        children = [held for held in self._held.values() if held.report.lease.parent is not None]
        ended = [held for held in children if held.over_since is not None and held.report.lease.outermost is outermost]
        for held in ended[: max(len(ended) - CHILDREN_MAX, 0)]:
            if not held.is_closed:
                self._doors.close(held.report.lease)
            del self._held[held.report.lease.id]

    def _end_with_process(self, lease: Lease) -> None:
        self._held[lease.id].stop_watching()  # or the loop would call this again and again
        lease.end("ended")
        self._note(lease, "end")
        self._close_over()

    def _note(self, lease: Lease, verb: str) -> None:
        decision = make_decision("lease", DAEMON)
        decision.lease, decision.verb = lease.id, verb
        self._records.note(decision)

    def _find_links(self, wanted: Wanted, parent: Lease | None) -> Sequence[Link]:
        if parent is not None:
            unknown = set(wanted.links) - parent.terms.links
            if unknown:  # whether there is such a link is not for the lease's holder to know
                raise LeaseDeniedError("a lease made from a lease has only links of that one", "GET /~/lease lists them")
            return self._lookup.list_links(set(wanted.links) or parent.terms.links)
        links = [self._lookup.get(name) for name in wanted.links] or self._lookup.list_links()
        if not links:
            raise UnknownLinkError("there are no links to lease", "atl-sign link add jira https://jira.example.com")
        return links

    def _check(self, terms: Terms, parent: Lease | None) -> None:
        """Raise what stands against a lease with these terms."""
        if parent is not None:
            if not terms.lies_within(parent.terms):
                words = "a lease made from a lease has no other entries or peers than that one, and no tunnel that it lacks"
                raise LeaseDeniedError(words, "GET /~/lease lists what the lease has")
            if len(parent.line) >= DEPTH_MAX:
                raise LeaseLimitError(f"leases are made from leases up to {DEPTH_MAX} deep", "use the lease that there is")
            if terms.lives_with is not None:
                raise BadRequestError(
                    "a lease made from a lease cannot live with a process", "leave out lives_with: it ends with its parent"
                )
        is_open = [held.report.lease for held in self._held.values() if not held.report.lease.is_over]
        if parent is not None:
            children = [lease for lease in is_open if lease.parent is not None and lease.outermost is parent.outermost]
            if len(children) >= CHILDREN_MAX or len(is_open) >= LEASES_MAX:
                raise LeaseLimitError("no more leases can be made from this one now", "use the lease that there is")
            return
        if len(is_open) >= LEASES_MAX:
            raise LeaseLimitError(f"{LEASES_MAX} leases are open", "atl-sign lease list")
        if terms.name is not None and any(lease.parent is None and lease.terms.name == terms.name for lease in is_open):
            raise LeaseExistsError(f"there is an open lease called {terms.name}", f"atl-sign lease revoke {terms.name}")

    def _check_reusable(self, links: Sequence[Link], terms: Terms) -> None:
        reusable = next((link for link in links if self._schemes[link.scheme].uses == "many"), None)
        if "sign" in terms.entries and reusable is not None:
            raise BadRequestError(
                f"sign.sock would give out the token of link {reusable.name}, which is good for any request",
                "leave out the entry sign, so that the daemon sends the requests; or allow it by --allow-reusable (in the API, "
                "allow_reusable)",
            )

    def _open_process(self, pid: int, caller: Caller) -> int:
        """Return a descriptor of the process *pid*, which does not go over to another one with the same number."""
        if not hasattr(os, "pidfd_open"):
            raise BadRequestError("lives_with needs Linux", "leave it out, and revoke the lease at the end")
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            raise BadRequestError(f"there is no process {pid} to live with", "give the pid of a running process") from None
        if caller.peer is None or not is_ancestor(pid, caller.peer.pid):
            os.close(pidfd)
            raise BadRequestError(
                f"the process {pid} is not the caller or an ancestor of it", "give the pid of the script that makes the call"
            )
        return pidfd

    def _get(self, name: str) -> _Held:
        held = self._held.get(name)
        if held is None:
            # The holder of a lease names those made from it, and must not get between an owner and theirs.
            owners = [each for each in self._held.values() if each.report.lease.parent is None]
            named = [each for each in owners if each.report.lease.terms.name == name]
            held = next((each for each in named if not each.report.lease.is_over), named[-1] if named else None)
        if held is None:
            raise UnknownLeaseError(
                "there is no such lease; those that have ended are forgotten after an hour", "atl-sign lease list"
            )
        return held

    def _find_open(self, name: str, entry: Decision) -> LeaseReport:
        """Return the report on the lease called *name*, recorded in *entry*; raises UnknownLeaseError, and if it is over."""
        report = self._get(name).report
        entry.lease = report.lease.id
        if report.lease.is_over:
            report.lease.check_usable()
        return report

    def _find_free_id(self) -> str:
        return next(each for each in iter(lambda: secrets.token_hex(4), "") if each not in self._held)


def _find_process(wanted: Wanted, caller: Caller) -> int | None:
    """Return the pid that `lives_with` of *wanted* names; raises BadRequestError when the kernel does not name the caller."""
    if wanted.lives_with != "caller":
        return wanted.lives_with
    # A caller in another pid namespace has another number there; the kernel's word is the number here, or 0 if it has none.
    if caller.peer is None or caller.peer.pid <= 0:
        raise BadRequestError(
            "the system does not name the calling process", "leave out lives_with, and revoke the lease at the end"
        )
    return caller.peer.pid
