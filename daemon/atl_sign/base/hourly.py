"""How much of something there was in the last hour."""

from collections import Counter, deque

_BUCKET_S = 60
_BUCKETS = 60


class HourlyCounts:
    """Counts by name over the last hour, to the minute; as small as the number of names, whatever is counted."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._minutes: deque[tuple[int, Counter[str]]] = deque(maxlen=_BUCKETS)

    def add(self, name: str, now: float) -> None:
        """Count one for *name* at *now*, seconds by a clock that never goes back."""
        minute = int(now // _BUCKET_S)
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1][name] += 1

    def counts(self, now: float) -> Counter[str]:
        """Return how many there were of each name in the hour before *now*."""
        first = int(now // _BUCKET_S) - _BUCKETS
        return sum((counter.copy() for minute, counter in list(self._minutes) if minute > first), Counter())
