"""An ordinary user, for tests that root cannot make about itself: root may look into everything."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import REPOSITORY

NOBODY = 65534
# In a mount namespace of its own, in which the folder that is closed to others (root's home) holds only what the command needs.
_BECOME = r"""
closed=$1 paths=() descriptors=()
shift
while [[ $1 != -- ]]; do
	exec {descriptor}<"$1"
	paths+=("$1") descriptors+=("$descriptor")
	shift
done
shift
umask 022
if [[ -n $closed ]]; then
	mount -t tmpfs -o mode=755 none "$closed"
	for at in "${!paths[@]}"; do
		mkdir -p "${paths[at]}"
		mount --no-canonicalize --bind "/proc/self/fd/${descriptors[at]}" "${paths[at]}"
		exec {descriptors[at]}<&-
	done
fi
exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
"""


def as_ordinary_user(command: Sequence[str]) -> list[str]:
    """Return *command* as an ordinary user runs it: as it is, or by `nobody` when these tests run as root."""
    if os.geteuid() != 0:
        return list(command)
    needed = {Path(each).resolve() for each in (REPOSITORY, sys.prefix, sys.base_prefix)}
    closed = {folder for path in needed for folder in path.parents if not folder.stat().st_mode & 0o001}
    hidden = sorted(str(path) for path in needed if closed & set(path.parents))
    top = str(min(closed)) if closed else ""
    return ["unshare", "--mount", "--propagation=private", "bash", "-ec", _BECOME, "bash", top, *hidden, "--", *command]


def give_to_ordinary_user(folder: Path) -> None:
    """Make *folder* and all in it that user's."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
