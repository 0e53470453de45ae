"""An ordinary user, for tests that root cannot make about itself: root may look into everything."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import REPOSITORY

NOBODY = 65534
# In a mount namespace of its own, in which folders that are closed to others (root's home) hold only what the command needs.
_BECOME = r"""
closed=() paths=() descriptors=()
while [[ $1 != -- ]]; do
	closed+=("$1")
	shift
done
shift
while [[ $1 != -- ]]; do
	exec {descriptor}<"$1"
	paths+=("$1") descriptors+=("$descriptor")
	shift
done
shift
umask 022
for folder in "${closed[@]}"; do mount -t tmpfs -o mode=755 none "$folder"; done
for at in "${!paths[@]}"; do
	mkdir -p "${paths[at]}"
	mount --no-canonicalize --bind "/proc/self/fd/${descriptors[at]}" "${paths[at]}"
	exec {descriptors[at]}<&-
done
exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
"""


def as_ordinary_user(command: Sequence[str]) -> list[str]:
    """Return *command* as an ordinary user runs it: as it is, or by `nobody` when these tests run as root."""
    if os.geteuid() != 0:
        return list(command)
    needed = {Path(each).resolve() for each in (REPOSITORY, sys.prefix, sys.base_prefix)}
    closed = {folder for path in needed for folder in path.parents if not folder.stat().st_mode & 0o001}
    outermost = sorted(str(folder) for folder in closed if not closed & set(folder.parents))
    hidden = sorted(str(path) for path in needed if closed & set(path.parents))
    become = ["unshare", "--mount", "--propagation=private", "bash", "-ec", _BECOME, "bash"]
    return [*become, *outermost, "--", *hidden, "--", *command]


def give_to_ordinary_user(folder: Path) -> None:
    """Make *folder* and all in it that user's."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
