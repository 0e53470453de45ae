"""The dances of every link."""

import threading
from collections.abc import Callable

from atl_sign.base.errors import BadRequestError, UnknownDanceError
from atl_sign.grants.dance import DANCE_LIFETIME_S, CallbackKind, Dance, Danceable
from atl_sign.grants.states import DanceState, Waiting

KEPT_S = 600.0  # how long a finished dance can still be asked about
WAITING_MAX = 32  # each loopback dance holds a port and a thread


class Dances:
    """The dances that wait or ended a short while ago, by id."""

    def __init__(self, lifetime_s: float = DANCE_LIFETIME_S) -> None:
        """Give each dance *lifetime_s* seconds."""
        self.lifetime_s = lifetime_s
        self._dances: dict[str, Dance] = {}
        self._lock = threading.Lock()

    def begin(self, live: Danceable, callback: CallbackKind, *, on_end: Callable[[DanceState], None] = lambda _: None) -> Dance:
        """Begin a dance; raises as `Dance.begin`, and BadRequestError when too many wait already."""
        with self._lock:
            # Asked for its state, a dance whose time was over in a sleep ends, and its listener with it.
            kept = {key: dance for key, dance in self._dances.items() if not dance.is_settled or dance.ended_s_ago < KEPT_S}
            self._dances = kept
            if self.count_waiting() >= WAITING_MAX:
                raise BadRequestError(f"{WAITING_MAX} dances wait for their users", "finish or cancel some of them")
            dance = Dance(live, callback, on_end=on_end, lifetime_s=self.lifetime_s)
            self._dances[dance.id] = dance
        try:
            dance.begin()
        except BaseException:
            with self._lock:
                del self._dances[dance.id]
            raise
        return dance

    def get(self, dance_id: str) -> Dance:
        """Return the dance; raises UnknownDanceError."""
        dance = self._dances.get(dance_id)
        if dance is None or dance.ended_s_ago >= KEPT_S:
            raise UnknownDanceError(
                "no dance has this id",
                "finished dances are forgotten after a while; atl-sign status lists the links that need one",
            )
        return dance

    def count_waiting(self) -> int:
        """Return how many wait for their users."""
        return sum(isinstance(dance.state, Waiting) for dance in list(self._dances.values()))

    def are_settled(self) -> bool:
        """Tell whether no dance will change any more: none waits, and none is still asking for its user's name."""
        return all(dance.is_settled for dance in list(self._dances.values()))

    def cancel_all(self, name: str | None = None) -> None:
        """End every dance that waits, or those with the link called *name*."""
        for dance in list(self._dances.values()):
            if name is None or dance.link.name == name:
                dance.cancel()
