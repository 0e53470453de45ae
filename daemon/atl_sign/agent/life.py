"""The questions of the process: may it end, must it lock?"""

from atl_sign.access.caller import DAEMON
from atl_sign.agent.git_tokens import GitTokens
from atl_sign.agent.leases import Leases
from atl_sign.agent.store import StoreKeeper
from atl_sign.config.file import ConfigFile
from atl_sign.config.settings import Settings
from atl_sign.custody.keys.places import KeyPlaces
from atl_sign.custody.moving import StoreMover
from atl_sign.custody.safe import Safe
from atl_sign.grants.dances import Dances
from atl_sign.grants.renewal import Renewals


class Life:
    """The daemon's life, as its process sees it."""

    def __init__(
        self,
        *,
        config: ConfigFile,
        safe: Safe,
        dances: Dances,
        renewals: Renewals,
        git_tokens: GitTokens,
        store: StoreKeeper,
        mover: StoreMover,
        leases: Leases,
        places: KeyPlaces,
    ) -> None:
        """Ask the parts that do something by themselves."""
        self._config = config
        self._safe = safe
        self._dances = dances
        self._renewals = renewals
        self._git_tokens = git_tokens
        self._store = store
        self._mover = mover
        self.leases = leases
        self._places = places

    @property
    def backend(self) -> str:
        """The store's name."""
        return self._safe.backend

    def read_settings(self) -> Settings:
        """Return what the configuration says now."""
        return self._config.settings()

    def forget_settings(self) -> None:
        """Read the configuration anew at the next look at it, changed or not."""
        self._config.forget()

    def is_lock_due(self) -> bool:
        """Tell whether the store's time is over."""
        return self._store.is_due()

    def lock_when_due(self) -> None:
        """Lock the store when its time is over."""
        if self._store.is_due():
            self._store.lock(DAEMON)

    def clear_up(self) -> None:
        """See `StoreMover.clear_up`."""
        self._mover.clear_up()

    def is_settled(self) -> bool:
        """Tell whether nothing goes on by itself: no dance, renewal, token for git or one to be stored, and no lease is open."""
        is_quiet = self._dances.are_settled() and not self._renewals.are_under_way() and not self._git_tokens.are_under_way()
        return is_quiet and not self._safe.has_unsaved and not self.leases.has_open()

    def may_be_replaced(self) -> bool:
        """Tell whether another daemon could go on where this one is; asks the store, which may take as long as one call."""
        return self.is_settled() and self._store.survives_restart()

    def close(self) -> None:
        """End every dance that waits."""
        self._dances.cancel_all()

    def close_keys(self) -> None:
        """Let go of the devices that have keys; takes some seconds at most."""
        self._places.close()
