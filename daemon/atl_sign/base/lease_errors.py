"""Failures that programs with a lease meet. None of their words names a way to a wider lease, or another link."""

from atl_sign.base.errors import DaemonError


class UnknownLeaseError(DaemonError):
    """No lease has this id or name; those that have ended are forgotten after an hour."""

    code = "unknown_lease"
    status = 404


class LeaseDeniedError(DaemonError):
    """The lease does not allow the request."""

    code = "lease_denied"
    status = 403

    def __init__(self, message: str, hint: str | None = None, *, rule: str | None = None) -> None:
        """Refuse by the rule of this text; None if no single rule decided."""
        super().__init__(message, hint)
        self.rule = rule


class LeaseExpiredError(DaemonError):
    """The lease's time is over."""

    code = "lease_expired"
    status = 403


class LeaseUsedUpError(DaemonError):
    """The lease has no uses left."""

    code = "lease_used_up"
    status = 403


class LeaseRevokedError(DaemonError):
    """The lease was revoked, or the program that it lived with has ended."""

    code = "lease_revoked"
    status = 403


class LeaseSuspendedError(DaemonError):
    """The lease is suspended, and can be resumed."""

    code = "lease_suspended"
    status = 403


class LeaseBusyError(DaemonError):
    """As many requests of the lease as may be are under way; not 429, which some tools answer by trying again at once."""

    code = "lease_busy"
    status = 403


class LeaseLimitError(DaemonError):
    """There are as many leases as may be."""

    code = "too_many_leases"
    status = 409


class LeaseExistsError(DaemonError):
    """An open lease has this name."""

    code = "lease_exists"
    status = 409
