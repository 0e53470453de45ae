"""
The daemon's process: what it sets instead of inheriting it, its memory, its files, its log and its end.

The first caller must not decide for later callers.

Sources: execve(2) (what stays across it), getrlimit(2), sched(7), proc_pid_oom_score_adj(5).
"""

import ctypes
import fcntl
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from atl_sign.base.terminal import LogFormatter

_STACK_BYTES = 8 << 20  # Linux's own default; more, or no limit, would change the size of every thread's
_WANTED = {
    resource.RLIMIT_FSIZE: resource.RLIM_INFINITY,  # the logs grow over the life of the daemon
    resource.RLIMIT_CPU: resource.RLIM_INFINITY,
    resource.RLIMIT_DATA: resource.RLIM_INFINITY,
    resource.RLIMIT_AS: resource.RLIM_INFINITY,
    resource.RLIMIT_NPROC: resource.RLIM_INFINITY,
    resource.RLIMIT_STACK: _STACK_BYTES,
}
_NAMES = {
    resource.RLIMIT_FSIZE: "a file size limit (ulimit -f)",
    resource.RLIMIT_CPU: "a CPU time limit (ulimit -t)",
    resource.RLIMIT_DATA: "a memory limit (ulimit -d)",
    resource.RLIMIT_AS: "a memory limit (ulimit -v)",
}
_SET_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}  # it ignores both, so that a write fails instead
_FIRST_FOREIGN_FD = 3
_PR_SET_DUMPABLE = 4
_FILES_MAX = 65_536
_LAST_THREADS_S = 0.3  # for those that are about to end


def become_independent(kept: Collection[int] = ()) -> None:
    """
    Drop what was inherited from the caller: umask, folder, signals, limits, priority and descriptors.

    Limits that the system does not let us change stay, such as a user's nice value; `describe_inherited` reports them.

    Args:
        kept: descriptors above 2 that were passed on purpose.
    """
    os.umask(0o077)
    os.chdir("/")
    _reset_signals()
    for limit, wanted in _WANTED.items():
        _raise_limit(limit, wanted)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(0, os.getpriority(os.PRIO_PROCESS, 0)))
    if hasattr(os, "sched_setscheduler"):  # Linux
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        with suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("0")
    _leave_descriptors(kept)


def keep_memory_private() -> None:
    """Let neither a core file nor another process of ours see the secrets in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_open_files() -> None:
    """Raise the limit of open files, which is 1,024 in most sessions for the sake of select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def set_up_log() -> None:
    """Write what is logged to standard error, and nothing of the libraries that print tokens."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("atl_sign").setLevel(logging.INFO)
    for name in ("oauthlib", "requests_oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # at DEBUG they print tokens


def describe_inherited(pid: int) -> list[str]:
    """Return the inherited restrictions that the daemon with *pid* could not remove, for people."""
    found = []
    with suppress(OSError):
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        if nice > 0:
            found.append(f"nice {nice}")
    if hasattr(resource, "prlimit"):
        for limit, words in _NAMES.items():
            with suppress(OSError):
                if resource.prlimit(pid, limit)[0] != resource.RLIM_INFINITY:
                    found.append(words)
    return found


def _reset_signals() -> None:
    for number in signal.valid_signals() - _SET_BY_PYTHON:
        with suppress(OSError):  # SIGKILL and SIGSTOP
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _raise_limit(limit: int, wanted: int) -> None:
    soft, hard = resource.getrlimit(limit)
    if soft == resource.RLIM_INFINITY:
        return
    best = hard if wanted == resource.RLIM_INFINITY else wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if best == resource.RLIM_INFINITY or best > soft:
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (best, hard))


def _leave_descriptors(kept: Collection[int]) -> None:
    """Close what was open at the start (a lock, a pipe that somebody reads to its end), and fill what was closed of 0 to 2."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in range(_FIRST_FOREIGN_FD):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(null, number)
    if null >= _FIRST_FOREIGN_FD:
        os.close(null)
    if 0 not in kept:
        _replace_input()
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - its own descriptor is closed by the end of the call
        number = int(name)
        if number >= _FIRST_FOREIGN_FD and number not in kept:
            with suppress(OSError):
                # Descriptors that this process opened itself are closed on exec, those that came through one are not.
                if not fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                    os.close(number)


def _replace_input() -> None:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)


def end_past_waiting_threads() -> None:
    """End the process at once when threads still wait for a provider; the interpreter would wait with them, up to `timeout_s`."""
    deadline = time.monotonic() + _LAST_THREADS_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                os._exit(0)  # as safe as a kill -9, after which nothing needs repair (design, section 8)
