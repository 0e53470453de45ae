"""How often a passphrase may be tried: one at a time, and after each wrong one a longer wait."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atl_sign.base.errors import TooManyTriesError, WrongPassphraseError

WAIT_S_MAX = 60  # a person who has found the right one at last should not wait longer; a guesser gets 1,440 a day


class Tries:
    """
    Counts wrong passphrases.

    Nobody waits here: a caller that comes too early learns when to try again, so that no thread and no memory is held.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure by *clock*, in seconds."""
        self._clock = clock
        self._busy = threading.Lock()  # a derivation takes 32 MiB: of ten at once nine are sent away
        self._failures = 0
        self._free_at = -math.inf

    @contextmanager
    def attempt(self, *, is_guess: bool = True) -> Iterator[None]:
        """
        Guard one try; a WrongPassphraseError that leaves it counts as a failure, and a clean end forgets those before.

        Args:
            is_guess: False for what a file gives: it is not made to wait, and makes nobody wait who types.

        Raises:
            TooManyTriesError: it is too early, or another try is under way.
        """
        if not self._busy.acquire(blocking=False):
            raise TooManyTriesError("another passphrase is being tried", 1)
        try:
            wait_s = self._free_at - self._clock()
            if is_guess and wait_s > 0:
                raise TooManyTriesError("the passphrase was wrong a moment ago", math.ceil(wait_s))
            try:
                yield
            except WrongPassphraseError as exc:
                if not is_guess:
                    raise
                wait_s = min(WAIT_S_MAX, 1 << min(self._failures, 10))  # 1 s, 2, 4 … a minute
                self._failures += 1
                self._free_at = self._clock() + wait_s
                exc.retry_after_s, exc.hint = wait_s, f"try again in {wait_s} s"
                raise
            self._failures = 0
        finally:
            self._busy.release()
