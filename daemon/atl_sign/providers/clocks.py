"""The providers' clocks: what time each of them has, as far as its answers have shown."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from atl_sign.base.urls import Url
from atl_sign.config.links import Link

OFFSET_MAX_S = 86_400.0  # a wrong time zone or a wrong day; more is not a clock


class Clocks:
    """Our clock, and by how much each provider's differs from it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Read *clock*: seconds since 1970-01-01 UTC, as `time.time`."""
        self._clock = clock
        self._offsets: dict[Url, float] = {}  # by base URL

    def now(self) -> float:
        """Return our own clock's time: seconds since 1970-01-01 UTC."""
        return self._clock()

    def now_utc(self) -> datetime:
        """Return our own clock's time (aware, UTC)."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def offset_s(self, link: Link) -> float:
        """Return the clock of the provider of *link* less ours; 0 until something else was learned."""
        return self._offsets.get(link.url, 0.0)

    def learn(self, link: Link, offset_s: float) -> None:
        """Remember the clock of the provider of *link* less ours."""
        self._offsets[link.url] = offset_s

    def moment(self, link: Link) -> int:
        """Return the seconds since 1970-01-01 UTC by the clock of the provider of *link*."""
        return int(self._clock() + self._offsets.get(link.url, 0.0))
