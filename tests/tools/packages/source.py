"""One commit's files, and what is known of it."""

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_TEMPLATES = "tests/tools/packages/templates"


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a commit, without what is in the work tree only."""

    folder: Path
    version: str  # of the Python and Node packages
    system_version: str  # of the .deb and the .rpm: rises with the commits' times
    epoch: int  # the commit's time, seconds since 1970-01-01 UTC

    def _environment(self) -> dict[str, str]:
        """Return the variables that builders run with, so that the machine's time and language change nothing."""
        return {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def run(self, *command: str | Path, folder: Path | None = None) -> None:
        """Run a builder in *folder*; when it fails, its output is shown and the program ends."""
        if shutil.which(command[0]) is None:
            raise SystemExit(f"{command[0]} is not installed: make system-packages")
        place, out = folder or self.folder, subprocess.PIPE
        done = subprocess.run(
            command, cwd=place, env=self._environment(), stdout=out, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"{done.stdout}\n{command[0]} ended with status {done.returncode}")

    def fill(self, name: str, path: Path, mode: int = 0o644, /, **more: str) -> None:
        """Write the template *name* to *path*, with the versions and *more* for each `@NAME@`."""
        values = {"VERSION": self.version, "SYSTEM_VERSION": self.system_version, **more}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"@([A-Z0-9_]+)@", lambda found: values[found[1]], (self.folder / _TEMPLATES / name).read_text()))
        path.chmod(mode)


def export_commit(repository: Path, commit: str, folder: Path) -> Source:
    """Write the files of *commit* into *folder*."""
    commit = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    archive = folder.with_suffix(".tar")
    _git(repository, "archive", f"--output={archive}", commit)
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    archive.unlink()
    found = re.search(r'^__version__ = "([\w.]+)"$', (folder / "daemon/atl_sign/__init__.py").read_text(), re.M)
    if found is None:
        raise SystemExit(f"{commit} has no version")
    version = found[1]
    epoch = int(_git(repository, "log", "-1", "--format=%ct", commit))
    moment = datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%d%H%M%S")
    is_release = f"v{version}" in _git(repository, "tag", "--points-at", commit).split()
    return Source(
        folder,
        version,
        # A tilde sorts before the release, in Debian's order and in that of RPM.
        version if is_release else f"{version}~{moment}.g{commit[:12]}",
        epoch,
    )


def count_changes(repository: Path) -> int:
    """Return how many files of *repository* are not as they are committed."""
    return len(_git(repository, "status", "--porcelain").splitlines())


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", repository, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
