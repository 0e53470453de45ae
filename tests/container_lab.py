"""A container as the kernel makes it: a root of its own, no network, and the folder of one lease; and podman's."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IN_CONTAINER = "/run/atl-sign"
DEADLINE_S = 100.0
_PROGRAMS = ("sh", "curl", "cat", "rm", "touch", "sleep", "id")

# The programs of this machine, read-only, and nothing else of it: neither /run, /tmp nor anybody's home.
_ENTER = r"""
root=$1 folder=$2 uid=$3
shift 3
mount -t tmpfs -o mode=755 none "$root"
for name in usr etc bin sbin lib lib64; do
	if [[ -L /$name ]]; then cp -P "/$name" "$root/"; elif [[ -d /$name ]]; then
		mkdir "$root/$name"
		mount --bind "/$name" "$root/$name"
		mount -o remount,bind,ro "$root/$name"
	fi
done
mkdir -p "$root/run/atl-sign" "$root/dev" "$root/proc" "$root/tmp"
chmod 1777 "$root/tmp"
touch "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
mount --bind "$folder" "$root/run/atl-sign"
mount -o remount,bind,ro "$root/run/atl-sign"
cd "$root" # whose parents may be closed to that user
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- \
	unshare --user --map-root-user --net --pid --fork --kill-child chroot . "$@"
"""

# podman wants one hierarchy of control groups, and cannot raise limits here.
_PODMAN = """
umount -R /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"""


def folder_of(lease: Mapping[str, Any]) -> Path:
    """Return the folder of *lease*."""
    return Path(next(iter(lease["sockets"].values()))).parent


def inside(root: Path, lease: Mapping[str, Any], *command: str, uid: int = 0) -> list[str]:
    """Return *command* as a container runs it whose root is the user *uid* outside; it has the folder of *lease*, read-only."""
    root.mkdir(exist_ok=True)
    return [
        "unshare",
        "--mount",
        "--propagation=private",
        "bash",
        "-euc",
        _ENTER,
        "bash",
        str(root),
        str(folder_of(lease)),
        str(uid),
        *command,
    ]


def run_inside(root: Path, lease: Mapping[str, Any], *command: str, uid: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run *command* so to its end."""
    return subprocess.run(
        inside(root, lease, *command, uid=uid),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


class Podman:
    """podman with a storage of its own and an image of this machine's curl; nothing comes from a registry."""

    image = "localhost/curl:1"

    def __init__(self, folder: Path) -> None:
        """Make the image in *folder*."""
        self._options = ["--root", f"{folder}/storage", "--runroot", f"{folder}/runroot", "--storage-driver", "vfs"]
        self._options += ["--cgroup-manager", "cgroupfs"]
        root = folder / "root"
        for name in _PROGRAMS:
            path = Path(shutil.which(name) or f"/bin/{name}")
            for file in (path, *_libraries_of(path)):
                copy = root / file.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                if not copy.exists():
                    shutil.copy(file, copy)
        subprocess.run(["tar", "-C", root, "-cf", folder / "image.tar", "."], check=True)
        self._call("import", str(folder / "image.tar"), self.image)  # without it, `run` reports what is wrong

    def run(self, options: Sequence[str], *command: str) -> "subprocess.CompletedProcess[str]":
        """Run *command* in a container without a network, with *options* of `podman run`."""
        limits = ["--cgroups", "disabled", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        return self._call("run", "--rm", "--network", "none", *limits, *options, self.image, *command)

    def _call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [
            "unshare",
            "--mount",
            "--propagation=private",
            "bash",
            "-ec",
            _PODMAN,
            "bash",
            "podman",
            *self._options,
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def _libraries_of(program: Path) -> list[Path]:
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(word) for line in text.splitlines() for word in line.split() if word.startswith("/")]
