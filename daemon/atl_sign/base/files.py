"""Files of ours: opened without waiting for anybody, replaced whole or not at all, and locked against other processes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POLL_S = 0.01


def open_without_waiting(path: str | Path, flags: int, *, follow: bool = False) -> int:
    """
    Open *path* with *flags* and return the descriptor; a file that is made has mode 0600. Raises OSError.

    A symbolic link is an error (ELOOP) unless *follow*. A pipe without a writer opens at once, so the caller checks what it got.
    """
    # Not blocking: a pipe in the file's place would keep us waiting for somebody at its other end.
    return os.open(path, flags | (0 if follow else os.O_NOFOLLOW) | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def replace_whole(path: Path, content: bytes, temporary: Path | None = None, *, mode: int = 0o600) -> os.stat_result:
    """
    Put a file with *content* in the place of what is at *path*; a crash leaves the old one or the new one, whole.

    Args:
        path: the file; its folder is there.
        content: all of it.
        temporary: where the new one is written first, in the same folder. A name that is always the same leaves nothing behind
            when a writer is killed, but needs a lock; by default each process has its own.
        mode: of the new file.

    Returns:
        The status of the new file.

    Raises:
        OSError: it cannot be written; the old file stays.
    """
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.unlink(missing_ok=True)
        with os.fdopen(open_without_waiting(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(content)
            file.flush()
            if mode != 0o600:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            temporary.replace(path)
            status = os.fstat(file.fileno())  # after the rename, which changes the change time
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return status


def sync_folder(folder: Path) -> None:
    """Write to the disk which files *folder* has; a file system that cannot do that keeps them in an order of its own."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def take_lock(descriptor: int, timeout_s: float) -> bool:
    """
    Lock the open file against other holders of its lock, and return whether that succeeded within *timeout_s* seconds.

    The lock ends when the descriptor is closed. Raises OSError if the file system has no locks.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, InterruptedError):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


@contextmanager
def locked(path: Path | None, timeout_s: float) -> Iterator[bool]:
    """
    Hold the lock of the file at *path*, which is made if it is missing; gives False if another one holds it for *timeout_s*.

    If there is no *path*, or the file or its lock cannot be had at all, this gives True: then nobody holds it.
    """
    descriptor, is_taken = None, True
    if path is not None:
        with suppress(OSError):
            descriptor = open_without_waiting(path, os.O_RDWR | os.O_CREAT)
            is_taken = take_lock(descriptor, timeout_s)
    try:
        yield is_taken
    finally:
        if descriptor is not None:
            os.close(descriptor)
