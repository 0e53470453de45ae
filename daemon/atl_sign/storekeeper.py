"""The store as the user manages it: locked, unlocked, locked by itself after a time, and moved to another back end."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from atl_sign.config import ConfigFile
from atl_sign.credentials import Passphrase, StoreState
from atl_sign.dance import Dances
from atl_sign.errors import BadRequestError
from atl_sign.renewal import Renewals
from atl_sign.store import Store
from atl_sign.store_items import KEY_ITEM, items_of_link
from atl_sign.vault import Vault


@dataclass(frozen=True, slots=True)
class StoreReport:
    """Which store there is, and how it is."""

    backend: str
    state: StoreState


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What became of a move."""

    backend: str
    left: tuple[str, ...]  # items that the store before did not let go


def now_s() -> float:
    """Return seconds on a clock that nobody can set and that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class StoreKeeper:
    """The one who locks, unlocks and moves."""

    def __init__(
        self,
        config: ConfigFile,
        vault: Vault,
        dances: Dances,
        renewals: Renewals,
        *,
        open_store: Callable[[str], Store],
        pinned_by: str | None,
        clock: Callable[[], float] = now_s,
    ) -> None:
        """
        Keep the store of *vault*.

        Args:
            config: names the store, and how long it stays open.
            vault: the credentials.
            dances: end when the store is locked.
            renewals: forget, when the store is locked, those that are over.
            open_store: returns the store of a name; raises BadRequestError.
            pinned_by: what has named the store in place of the configuration; None when nothing has.
            clock: seconds, as `now_s`.
        """
        self._config = config
        self._vault = vault
        self._dances = dances
        self._renewals = renewals
        self._open_store = open_store
        self._pinned_by = pinned_by
        self._clock = clock
        self._moving = threading.Lock()
        self._open_since = clock()

    def report(self) -> StoreReport:
        """Return how the store is; asks it."""
        return StoreReport(self._vault.backend, self._vault.state())

    def survives_restart(self) -> bool:
        """
        Tell whether a daemon that starts now could sign without asking anybody, and with good right; asks the store.

        One that is to lock the store after a time is not replaced: the next one would count from its own start.
        """
        return self._config.settings().lock_after_minutes is None and self._vault.survives_restart()

    def lock(self) -> StoreReport:
        """Forget every secret in memory, and cancel the dances that wait; raises BadRequestError for the memory store."""
        if self._vault.backend != "memory":
            self._dances.cancel_all()  # first: a token that is being stored gets there
        self._vault.lock()
        self._renewals.forget_ended()
        self._dances.cancel_all()  # those that began meanwhile
        return StoreReport(self._vault.backend, "locked")

    def unlock(self, passphrase: Passphrase | None = None, new: Passphrase | None = None) -> StoreReport:
        """Let signing go on; raises as `Store.unlock`."""
        self._vault.unlock(passphrase, new)
        self._open_since = self._clock()
        return self.report()

    def is_due(self) -> bool:
        """Tell whether the time that `[store] lock_after_minutes` gives is over."""
        if self._vault.is_locked or self._vault.backend == "memory":
            return False
        minutes = self._config.settings().lock_after_minutes
        return minutes is not None and self._clock() - self._open_since >= minutes * 60

    def move(self, backend: str, *, passphrase: Passphrase | None, new: Passphrase | None, volatile: bool) -> MoveReport:
        """
        Carry everything over to the store *backend*, and name it in the configuration.

        A crash leaves one of the two complete, and it is the one that the configuration names.

        Args:
            backend: as in `[store] backend`.
            passphrase: opens the store to move to, when that has one.
            new: makes it, when it is not there yet.
            volatile: whether it may be one that ends with the daemon.

        Raises:
            BadRequestError: there is no such store, or it cannot be moved to.
            StoreConflictError, and as `Store.unlock`, `Store.read`, `Store.write`, `ConfigFile.put_store`: nothing was moved.
        """
        with self._moving:
            if self._pinned_by is not None:
                hint = f"start the daemon without {self._pinned_by}, so that [store] backend in {self._config.path} says it"
                raise BadRequestError(f"{self._pinned_by} names the store, and would name the old one at the next start", hint)
            if backend == self._vault.backend:
                raise BadRequestError(f"{backend} is the store already")
            target = self._open_store(backend)
            if backend == "memory" and not volatile:
                raise BadRequestError("what the memory store keeps ends with the daemon", "if that is meant: --volatile")
            self._vault.check_store()  # before the other one is made
            target.unlock(passphrase, new)
            settings = self._config.settings()
            # A link that the configuration spells wrongly has a token too.
            broken = [each.part.removeprefix("links.") for each in settings.problems if each.part.startswith("links.")]
            names = [KEY_ITEM]
            for link in dict.fromkeys([*settings.links.by_name, *broken]):
                names += items_of_link(link)
            left = self._vault.move_to(target, names, lambda: self._config.put_store(backend))
        self._open_since = self._clock()
        return MoveReport(backend, tuple(left))
