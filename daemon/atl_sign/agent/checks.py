"""Questions to a link's provider: who the user is, what is wrong, and what a refusal means."""

from typing import TYPE_CHECKING

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.lookup import Lookup
from atl_sign.base.findings import Finding
from atl_sign.grants.live import Grants
from atl_sign.providers.clocks import Clocks

if TYPE_CHECKING:  # requests and all that takes 150 ms to load: when the first provider is asked
    from atl_sign.providers.who_am_i import CheckResult


INVALID_TOKEN = "invalid_token"  # noqa: S105 - the word of RFC 6750 §3.1: the token ended earlier than was said


class Checks:
    """Asks providers."""

    def __init__(self, lookup: Lookup, grants: Grants, records: Records) -> None:
        """Ask with the credentials of *grants*."""
        self._lookup = lookup
        self._grants = grants
        self._records = records

    def check(self, caller: Caller, name: str) -> "CheckResult":
        """Ask the link's provider who the user is; raises as `check_link`, and what an authorized request lacks."""
        with self._records.entry("check", caller, name):
            return self._grants.of(self._lookup.get(name)).check()

    def diagnose(self, caller: Caller, name: str) -> list[Finding]:
        """Find out how the link's provider takes consumer, signature and token; raises as `Lookup.get`, nothing else."""
        from atl_sign.agent.diagnosis import diagnose_link

        with self._records.entry("check", caller, name):
            return diagnose_link(self._lookup.get(name), self._grants)

    def explain_problem(
        self, caller: Caller, name: str, www_authenticate: str, *, is_hearsay: bool = False
    ) -> tuple[str, str, str] | None:
        """
        Return the provider's word, message and hint for its refusal of a caller's own request; None when it is not a refusal.

        A clock that differs is learned, so that the next signature is right; a token that is taken no more is renewed before the
        next request. Raises as `Lookup.get`, and LeaseDeniedError.

        Args:
            caller: who wants to know.
            name: of the link.
            www_authenticate: the header's value.
            is_hearsay: the caller says that it was the provider's. From the holder of a lease nothing is learned then: headers
                signed for tomorrow would outlive the lease.
        """
        if caller.lease is not None and name not in caller.lease.terms.links:
            raise caller.lease.deny_address()
        link = self._lookup.get(name)
        clocks = Clocks() if is_hearsay and caller.lease is not None else self._grants.clocks
        found = self._grants.scheme(link).explain_challenge(link, www_authenticate, clocks)
        grant = self._grants.safe.peek_token(link)
        if (
            found is not None
            and found[0] == INVALID_TOKEN
            and grant is not None
            and not (is_hearsay and caller.lease is not None)
        ):
            self._grants.refuse(link, grant)
        return found
