"""Moments, and the clock for the minutes and hours that people read: it cannot be set, and goes on while the machine sleeps."""

import time
from datetime import UTC, datetime


def now_s() -> float:
    """Return seconds since some moment; where the system has no clock that goes on in a sleep, one that stands still then."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def to_seconds(moment: datetime | None) -> int | None:
    """Return the whole seconds since 1970-01-01 UTC of *moment* (aware)."""
    return None if moment is None else int(moment.timestamp())


def from_seconds(seconds: int | None) -> datetime | None:
    """Return the moment (UTC) that is *seconds* after 1970-01-01; raises ValueError, TypeError, OverflowError, OSError."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
