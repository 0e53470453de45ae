"""The daemon's state."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.keys import KeyReport, report_key
from atl_sign.agent.lookup import LinkReport, Lookup
from atl_sign.agent.sign import Signing
from atl_sign.base.clock import now_s
from atl_sign.base.credentials import StoreState
from atl_sign.base.errors import DaemonError
from atl_sign.base.findings import Warned
from atl_sign.base.user_namespace import OPEN_MEMORY, is_owned_by_us
from atl_sign.config.file import ConfigFile
from atl_sign.custody.moving import StoreMover
from atl_sign.custody.safe import Safe
from atl_sign.grants.dances import Dances
from atl_sign.providers.clocks import Clocks

WARN_BEFORE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon's state, for `GET /status`."""

    started_at: datetime
    uptime_s: float
    store: str
    store_state: StoreState
    key: KeyReport | None  # None: the store holds it, there is none, or the store does not say
    audit: str  # "journal", "off", or the file's path
    links: tuple[LinkReport, ...]
    dances: int
    signatures: int
    warnings: tuple[Warned, ...]


class StatusReports:
    """Reports the daemon's state."""

    def __init__(
        self,
        *,
        config: ConfigFile,
        lookup: Lookup,
        safe: Safe,
        dances: Dances,
        signing: Signing,
        mover: StoreMover,
        records: Records,
        clocks: Clocks,
    ) -> None:
        """Ask the other parts."""
        self._config = config
        self._lookup = lookup
        self._safe = safe
        self._dances = dances
        self._signing = signing
        self._mover = mover
        self._records = records
        self._clocks = clocks
        self._started_s = now_s()
        self._started_at = datetime.now(UTC)

    def show(self, caller: Caller, name: str | None = None) -> Status:
        """
        Return the daemon's state with every link, or with the one called *name*.

        A store that does not answer is a state, not a failure. Raises as `Lookup.get` for a *name* that no link has.
        """
        del caller
        settings = self._config.settings()
        store_state = self._safe.state()
        audit = self._records.audit
        warnings = [*(Warned("config_problem", str(problem)) for problem in settings.problems), *self._mover.warnings()]
        if audit.failure is not None:
            warnings.append(Warned("audit_failing", audit.failure))
        if is_owned_by_us():
            warnings.append(Warned("memory_open", OPEN_MEMORY))
        links = self._lookup.report_all() if name is None else [self._lookup.report(self._lookup.get(name))]
        unknown = sum(report.token_state == "unknown" for report in links)  # noqa: S105 - no password
        if unknown:
            message = f"the store does not say whether {unknown} of the links have tokens"
            warnings.append(Warned("tokens_unknown", message, "atl-sign unlock"))
        warnings += [warning for report in links if (warning := self._warn_of_end(report)) is not None]
        return Status(
            started_at=self._started_at,
            uptime_s=now_s() - self._started_s,
            store=self._safe.backend,
            store_state=store_state,
            key=self._report_key(store_state),
            audit="off" if settings.audit == "off" else audit.place,
            links=tuple(links),
            dances=self._dances.count_waiting(),
            signatures=self._signing.count,
            warnings=tuple(warnings),
        )

    def _report_key(self, store_state: StoreState) -> KeyReport | None:
        try:
            return report_key(self._safe.peek_key() or (self._safe.key() if store_state == "ready" else None))
        except DaemonError:  # the store's state is another field
            return None

    def _warn_of_end(self, report: LinkReport) -> Warned | None:
        """Return the warning for a token that ends soon and that nobody but the user can replace."""
        grant, now = report.token, self._clocks.now_utc()
        if grant is None or grant.expires_at is None or grant.may_renew(now) or not now < grant.expires_at <= now + WARN_BEFORE:
            return None
        name = report.link.name
        return Warned("token_ends", f"the token of link {name} ends on {grant.expires_at:%Y-%m-%d}", f"atl-sign dance {name}")
