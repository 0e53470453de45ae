"""Every decision is recorded, whatever comes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from atl_sign.access.audit import HELD_BACK, TAKEN_AWAY, Action, AuditLog, Decision
from atl_sign.access.caller import Caller
from atl_sign.base.errors import AuditUnavailableError, DaemonError
from atl_sign.base.lease_errors import LeaseDeniedError
from atl_sign.config.settings import AuditMode


class Records:
    """The audit log, as the agent writes it."""

    def __init__(self, audit: AuditLog, read_mode: Callable[[], AuditMode]) -> None:
        """Write to *audit* as *read_mode* says at that moment."""
        self.audit = audit
        self._read_mode = read_mode

    @contextmanager
    def entry(self, action: Action, caller: Caller, link: str | None = None, *, is_kept: bool = True) -> Iterator[Decision]:
        """
        Record what comes of a `with`, before it is over: "ok", or the code of the error that left it.

        Args:
            action: what is wanted.
            caller: who wants it.
            link: the link's name, as far as it is known.
            is_kept: whether to record what went well, too.

        Raises:
            AuditUnavailableError: it went well, would give something away, and cannot be recorded, and must be.
        """
        decision = make_decision(action, caller, link)
        try:
            yield decision
        except BaseException as exc:
            decision.outcome = "internal"
            if isinstance(exc, DaemonError):
                decision.outcome = exc.code
                if isinstance(exc, LeaseDeniedError):
                    decision.rule = exc.rule
                exc.link = exc.link or decision.link
            self.note(decision)  # nothing is given away, and the first error says more
            raise
        if not is_kept:
            return
        try:
            self.audit.record(decision, self._read_mode())
        except AuditUnavailableError:
            if action in HELD_BACK and decision.verb not in TAKEN_AWAY:
                raise

    def note(self, decision: Decision) -> None:
        """Record what is done already; a line that cannot be written stops nothing."""
        with suppress(AuditUnavailableError):
            self.audit.record(decision, self._read_mode())


def make_decision(action: Action, caller: Caller, link: str | None = None) -> Decision:
    """Return the decision that *caller* asks for, as if it went well."""
    decision = Decision(action, "ok", link)
    peer = caller.peer
    if peer is not None:
        decision.pid, decision.uid, decision.program = peer.pid, peer.uid, peer.program
    if caller.lease is not None:
        decision.lease = caller.lease.id
    return decision
