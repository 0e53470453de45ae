"""When the daemon may end by itself: nobody needs it, and the next caller gets another one with the same secrets."""

from collections.abc import Callable
from dataclasses import dataclass, field

from atl_sign.server.installed import Stamp

UPGRADE_IDLE_S = 5.0  # with another version installed; and as long must its files have stood still
RECHECK_S = 60.0  # after the store said that it could not be read again


@dataclass(slots=True)
class IdleWatch:
    """
    Looks once a second whether it is time to end; asks nothing that waits.

    Args:
        read_idle_s: the setting: seconds without a request; 0 for never.
        read_stamp: what tells one installed package from another; None while there is none.
    """

    read_idle_s: Callable[[], float]
    read_stamp: Callable[[], Stamp | None]
    _started: Stamp | None = None
    _installed: Stamp | None = None
    _installed_since: float = 0.0
    _requests: int = -1
    _quiet_since: float = 0.0
    _not_before: float = field(default=float("-inf"))

    def begin(self, now: float) -> None:
        """Take what is installed at *now* for what runs."""
        self._started = self._installed = self.read_stamp()
        self._quiet_since = self._installed_since = now

    def note(self, now: float, *, requests: int, is_busy: bool) -> None:
        """Take in that *requests* have come in all, and whether one or a connection is there, or a dance waits."""
        if is_busy or requests != self._requests:
            self._requests = requests
            self._quiet_since = now
        installed = self.read_stamp()
        if installed != self._installed:
            self._installed = installed
            self._installed_since = now

    def is_upgraded(self, now: float) -> bool:
        """Tell whether another version is installed, whole: nothing of it has moved for a while."""
        is_other = self._installed is not None and self._installed != self._started
        return is_other and now - self._installed_since >= UPGRADE_IDLE_S

    def is_due(self, now: float) -> bool:
        """Tell whether the daemon has been idle long enough; whether the store lets it end must still be asked."""
        if now < self._not_before:
            return False
        quiet_s, idle_s = now - self._quiet_since, self.read_idle_s()
        return (idle_s > 0 and quiet_s >= idle_s) or (self.is_upgraded(now) and quiet_s >= UPGRADE_IDLE_S)

    def put_off(self, now: float) -> None:
        """Do not ask the store for a while, because it refused."""
        self._not_before = now + RECHECK_S
