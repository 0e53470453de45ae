"""A lock for changes of a store that has no conditional write: what was looked at is still there when the write comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atl_sign.base.errors import StoreLockedError
from atl_sign.base.files import locked
from atl_sign.base.folders import make_folder


@contextmanager
def alone(lock_file: Path | None, timeout_s: float) -> Iterator[None]:
    """
    Keep the user's other daemons from changing the same store meanwhile.

    If there is no lock file, or its folder cannot be made, this goes on without one.

    Raises:
        StoreLockedError: another daemon has been changing the store for *timeout_s* seconds.
    """
    if lock_file is not None:
        try:
            make_folder(lock_file.parent)
        except OSError:
            lock_file = None
    with locked(lock_file, timeout_s) as is_ours:
        if not is_ours:
            raise StoreLockedError("another daemon is changing the keyring", "try again")
        yield
