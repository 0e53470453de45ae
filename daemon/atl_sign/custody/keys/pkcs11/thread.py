"""
The one thread that calls the library.

python-pkcs11 starts modules as if there were no other thread, and two at once end in a segmentation fault (decision 32).
A call into a module cannot be cancelled, so its caller must be able to leave.
"""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from atl_sign.base.clock import now_s
from atl_sign.base.errors import KeyUnavailableError

_NOTICE_S = 1.5  # after which the log says what is waited for
_T = TypeVar("_T")

_log = logging.getLogger("atl_sign")


class _Job:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Event()
        self.is_abandoned = False
        self.result: Any = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as exc:  # raised again for the one who waits
            self.failure = exc
        self.done.set()


class OwnerThread:
    """Carries out calls one after the other; there is a thread only while there is work, and for a while after that."""

    def __init__(self, break_off: Callable[[], None], close: Callable[[], None]) -> None:
        """
        Have no thread yet.

        Args:
            break_off: makes a call that is under way return, by another thread.
            close: is carried out, by this thread, when there was no work for a while.
        """
        self._break_off = break_off
        self._close = close
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._current: _Job | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], _T], timeout_s: float, idle_s: float) -> _T:
        """
        Return what *work* returns, and raise what it raises.

        Args:
            work: calls the library.
            timeout_s: after which the caller leaves, and a call that is under way is broken off.
            idle_s: after which the thread ends, when there is no other work.

        Raises:
            KeyUnavailableError: the time is over, or an earlier call that was broken off has not returned.
        """
        job = _Job(work)
        with self._lock:
            if self._current is not None and self._current.is_abandoned:
                raise KeyUnavailableError(
                    "the token has not returned from an earlier call yet", "try again in a moment; atl-sign doctor"
                )
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, args=(idle_s,), name="pkcs11", daemon=True)
                self._thread.start()
        end = now_s() + timeout_s
        if not job.done.wait(min(_NOTICE_S, timeout_s)):
            _log.info("waiting for the token with the consumer's key; it may want to be touched")
            if not job.done.wait(max(0.0, end - now_s())):
                self._abandon(job)
                hint = "if it waits to be touched, give it more time: [pkcs11] timeout_s in config.toml; else: atl-sign doctor"
                raise KeyUnavailableError(f"the token did not answer within {timeout_s:g} s", hint)
        if job.failure is not None:
            raise job.failure
        result: _T = job.result
        return result

    def is_current_abandoned(self) -> bool:
        """Tell the work that is under way whether nobody waits for it any more."""
        return self._current is not None and self._current.is_abandoned

    def _abandon(self, job: _Job) -> None:
        with self._lock:
            job.is_abandoned = True
            is_under_way = self._current is job
        if is_under_way:
            self._break_off()

    def _serve(self, idle_s: float) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=idle_s)
            except Empty:
                self._close()
                with self._lock:
                    if self._jobs.empty():
                        self._thread = None
                        return
                continue
            with self._lock:
                if job.is_abandoned:
                    continue
                self._current = job
            job.run()
            with self._lock:
                self._current = None
