"""
The user's other daemons with the same store: each learns of the others' changes, and only one renews a token at a time.

There are two when one was started before the log-in, at another socket, and keeps running beside that of the session.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from atl_sign.base.files import locked, open_without_waiting
from atl_sign.base.folders import make_folder

_CHANGES = "store.changes"
_RENEWAL = "renewal-{}.lock"


class Neighbours:
    """
    Two kinds of files beside the logs: one that grows by a byte with each change of the store, and a lock for each renewal.

    If the folder cannot be written, changes are not announced, and a renewal still reads the store before it asks the provider.
    """

    def __init__(self, folder: Path | None) -> None:
        """Exchange changes and locks in *folder*; None when the store is not shared."""
        self._folder = folder
        self._changes = None if folder is None else str(folder / _CHANGES)  # os.stat takes it in half the time
        self._seen = self._size()
        self._lock = threading.Lock()

    def have_changed_it(self) -> bool:
        """Tell, once, whether another daemon has changed the store since the last call."""
        if self._size() == self._seen:
            return False
        with self._lock:  # else a change of ours that is just being announced could count
            before, self._seen = self._seen, self._size()
            return before != self._seen

    def tell(self) -> None:
        """Announce that we have changed the store."""
        if self._folder is None or self._changes is None:
            return
        with suppress(OSError), self._lock:
            make_folder(self._folder)
            descriptor = open_without_waiting(self._changes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                self._seen += os.write(descriptor, b".")  # less than the size when another one has written meanwhile
            finally:
                os.close(descriptor)

    @contextmanager
    def alone(self, name: str, timeout_s: float) -> Iterator[None]:
        """Keep them from renewing the token of the link called *name* meanwhile, or go on after *timeout_s* seconds."""
        path = None if self._folder is None else self._folder / _RENEWAL.format(name)
        try:
            if path is not None:
                make_folder(path.parent)
        except OSError:
            path = None
        with locked(path, timeout_s):
            yield

    def _size(self) -> int:
        if self._changes is None:
            return 0
        try:
            return os.stat(self._changes).st_size  # noqa: PTH116 - for each signature
        except OSError:
            return 0
