"""The owner of a file, and whether another user can change or replace it."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

_SYMLINKS_MAX = 40  # as many as the kernel follows (path_resolution(7))


@dataclass(frozen=True, slots=True)
class WeakSpot:
    """A place on the way to a file where another user can interfere."""

    cause: str
    remedy: str  # for people


def trusted_owners(*, only_root: bool = False) -> set[int]:
    """Return who may own a folder on the way: root, whom a user namespace (toolbox, bubblewrap) may show as nobody, and we."""
    owners = {0} if only_root else {os.geteuid(), 0}
    if not is_in_first_namespace():
        with suppress(OSError):
            owners.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return owners


def is_in_first_namespace() -> bool:
    """Tell whether we run in the machine's first user namespace, which maps each uid to itself; True without /proc."""
    try:
        return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    except OSError:
        return True


def is_open_to_others(status: os.stat_result, *, only_root: bool = False) -> bool:
    """Tell whether others than we and root, or with *only_root* others than root, may write to what *status* describes."""
    # A user's private group, as Debian and Fedora make them, is not "others"; neither is root's.
    groups = {0} if only_root else {0, os.getegid()}
    return bool(status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid not in groups))


def find_weak_spot(path: Path, *, only_root: bool = False) -> WeakSpot | None:
    """
    Return where another user can put something else in the place of *path* or of anything on the way to it, or None.

    *path* itself is not checked; with *only_root* we are another user too, unless we are root. Raises OSError when the way
    cannot be looked at.
    """
    owners = trusted_owners(only_root=only_root)
    at, names, links = Path("/"), list(reversed(path.parts[1:])), 0
    while names:
        name = names.pop()
        if name == "..":
            at = at.parent
            continue
        spot = _look_at_folder(at, owners, only_root=only_root)
        if spot is not None:
            return spot
        status = (at / name).lstat()
        if not stat.S_ISLNK(status.st_mode):
            at /= name
            continue
        if status.st_uid not in owners:
            return WeakSpot(f"{at / name} is another user's symbolic link", "choose a path that only you can change")
        links += 1
        if links > _SYMLINKS_MAX:
            return WeakSpot(f"{path} has too many symbolic links", "choose a path without them")
        target = (at / name).readlink()
        if target.is_absolute():
            at = Path("/")
        names += reversed([part for part in target.parts if part != "/"])
    return None


def _look_at_folder(folder: Path, owners: set[int], *, only_root: bool) -> WeakSpot | None:
    status = folder.stat()
    cause = f"others may rename what is in {folder}"
    if status.st_uid not in owners:
        return WeakSpot(cause, f"{folder} belongs to another user: choose a path that only you can change")
    if is_open_to_others(status, only_root=only_root) and not status.st_mode & stat.S_ISVTX:
        return WeakSpot(cause, f"chmod go-w {quote(str(folder))}")
    return None
