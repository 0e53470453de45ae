"""A file that only its user can change: read if nobody else can have changed it, replaced whole, and locked for each change."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atl_sign.base.errors import StoreUnavailableError
from atl_sign.base.files import open_without_waiting, replace_whole, sync_folder, take_lock
from atl_sign.base.folders import explain_failure, make_folder

DAMAGED_HINT = "put the file back from a backup; nothing was written to it"

_FOREIGN_BITS = 0o077

Stamp = tuple[int, ...]  # another one after each change of the file


class GuardedFile:
    """The file at one path. Its methods raise StoreUnavailableError, which says what is wrong with the file."""

    def __init__(self, path: Path, bytes_max: int, timeout_s: float) -> None:
        """
        Stand for the file at *path*, which need not exist.

        Args:
            path: the file; only this user may use its folder, which is made if missing.
            bytes_max: a larger one is not read.
            timeout_s: how long another process may hold the lock.
        """
        self.path = path
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s

    def is_there(self) -> bool:
        """Tell whether something is at the path."""
        return os.path.lexists(self.path)

    def stamp(self) -> Stamp | None:
        """Return the stamp of what is at the path; None if nothing is."""
        try:
            return _stamp_of(self.path.lstat())
        except OSError:
            return None

    def read(self) -> tuple[bytes, Stamp]:
        """Return content and stamp; raises FileNotFoundError too."""
        try:
            descriptor = open_without_waiting(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                hint = "put the file itself there, or lead XDG_STATE_HOME there"
                raise StoreUnavailableError(f"{self.path} is a symbolic link", hint) from None
            raise self._failed("read", exc) from exc
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StoreUnavailableError(f"{self.path} is not a regular file", "move it away")
            if status.st_uid != os.geteuid():
                raise StoreUnavailableError(f"{self.path} belongs to another user", "move it away")
            if status.st_mode & _FOREIGN_BITS:
                hint = f"if nobody else has changed it: chmod 600 {self.path}"
                raise StoreUnavailableError(f"{self.path} is open to other users", hint)
            if status.st_size > self._bytes_max:
                raise StoreUnavailableError(f"{self.path} is larger than {self._bytes_max >> 20} MiB", DAMAGED_HINT)
            with self._in_our_words("read"), os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(), _stamp_of(status)
        finally:
            os.close(descriptor)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile."""
        folder = self.path.parent
        with self._in_our_words("written"):
            make_folder(folder)
            status = folder.stat()
            descriptor = open_without_waiting(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT)
        try:
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise StoreUnavailableError(f"others may write into {folder}", f"chmod 700 {folder}")
            with self._in_our_words("locked against other processes"):
                if not take_lock(descriptor, self._timeout_s):
                    raise BlockingIOError(errno.EWOULDBLOCK, "another one holds the lock")
            yield
        finally:
            os.close(descriptor)

    def replace(self, content: bytes) -> Stamp:
        """Put a file with *content* in the place of the one before, and return its stamp; within `alone`."""
        with self._in_our_words("written"):
            return _stamp_of(replace_whole(self.path, content, self.path.with_name(f".{self.path.name}.new")))

    def remove(self) -> None:
        """Remove the file; within `alone`."""
        with self._in_our_words("removed"):
            self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def _failed(self, what: str, exc: OSError) -> StoreUnavailableError:
        reason = explain_failure(exc, self.path)
        hint = "make room or fix the permissions; the old file is still there"
        return StoreUnavailableError(f"{self.path} cannot be {what}: {reason}", hint)

    @contextmanager
    def _in_our_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise self._failed(what, exc) from exc


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev, status.st_mode, status.st_uid
