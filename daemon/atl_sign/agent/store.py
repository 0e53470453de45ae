"""The store as the user manages it: locked, unlocked, locked by itself after a time, and moved to another back end."""

from collections.abc import Callable
from dataclasses import dataclass

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.leases import Leases
from atl_sign.base.clock import now_s
from atl_sign.base.credentials import Passphrase, StoreState
from atl_sign.config.file import ConfigFile
from atl_sign.custody.keys.places import NO_PLACES, KeyPlaces
from atl_sign.custody.moving import MoveReport, StoreMover
from atl_sign.custody.safe import Safe
from atl_sign.grants.dances import Dances
from atl_sign.grants.renewal import Renewals


@dataclass(frozen=True, slots=True)
class StoreReport:
    """Which store there is, and how it is."""

    backend: str
    state: StoreState


class StoreKeeper:
    """The one who locks, unlocks and moves."""

    def __init__(
        self,
        config: ConfigFile,
        safe: Safe,
        dances: Dances,
        renewals: Renewals,
        records: Records,
        *,
        mover: StoreMover,
        leases: Leases,
        places: KeyPlaces = NO_PLACES,
        clock: Callable[[], float] = now_s,
    ) -> None:
        """
        Keep the store of *safe*.

        Args:
            config: names the store, and how long it stays open.
            safe: the credentials.
            dances: end when the store is locked.
            renewals: forget, when the store is locked, those that are over.
            records: the audit log.
            mover: moves what the safe keeps.
            leases: are suspended when the store is locked.
            places: give up their logins when it is.
            clock: seconds, as `now_s`.
        """
        self._config = config
        self._safe = safe
        self._dances = dances
        self._renewals = renewals
        self._records = records
        self._mover = mover
        self._leases = leases
        self._places = places
        self._clock = clock
        self._open_since = clock()

    def report(self) -> StoreReport:
        """Return how the store is; asks it."""
        return StoreReport(self._safe.backend, self._safe.state())

    def survives_restart(self) -> bool:
        """
        Tell whether a daemon that starts now could sign without asking anybody, and with good right; asks the store.

        One that is to lock the store after a time is not replaced: the next one would count from its own start.
        """
        return self._config.settings().lock_after_minutes is None and self._safe.survives_restart()

    def lock(self, caller: Caller) -> StoreReport:
        """
        Forget every secret in memory, suspend the leases, and cancel the dances that wait.

        Raises BadRequestError for the memory store; the leases are suspended, and PINs forgotten, even then.
        """
        with self._records.entry("lock", caller):
            self._leases.suspend_all()
            self._places.forget()
            if self._safe.backend != "memory":
                self._dances.cancel_all()  # first: a token that is being stored gets there
            self._safe.lock()
            self._renewals.forget_ended()
            self._dances.cancel_all()  # those that began meanwhile
            return StoreReport(self._safe.backend, "locked")

    def unlock(self, caller: Caller, passphrase: Passphrase | None = None, new: Passphrase | None = None) -> StoreReport:
        """Let signing go on; raises as `Store.unlock`."""
        with self._records.entry("unlock", caller):
            self._safe.unlock(passphrase, new)
            self._open_since = self._clock()
            return self.report()

    def is_due(self) -> bool:
        """Tell whether the time that `[store] lock_after_minutes` gives is over."""
        if self._safe.is_locked or self._safe.backend == "memory":
            return False
        minutes = self._config.settings().lock_after_minutes
        return minutes is not None and self._clock() - self._open_since >= minutes * 60

    def move(
        self, caller: Caller, backend: str, *, passphrase: Passphrase | None, new: Passphrase | None, volatile: bool
    ) -> MoveReport:
        """Carry everything over to the store *backend* for *caller*; as `StoreMover.move`, and raises as that."""
        with self._records.entry("store", caller):
            report = self._mover.move(backend, passphrase=passphrase, new=new, volatile=volatile)
        self._open_since = self._clock()
        return report
