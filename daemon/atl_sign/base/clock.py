"""The clock for what people are told of in minutes and hours: nobody can set it, and it goes on while the machine sleeps."""

import time


def now_s() -> float:
    """Return seconds since some moment; where the system has no clock that goes on in a sleep, one that stands still then."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
