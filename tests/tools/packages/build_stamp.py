"""The build hook that writes into each wheel which commit it was built from; both commands' `--version` print it."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SHOWN_DIGITS = 12  # as many as tell the commits of a large project apart, however many objects a clone has


class StampHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is of no use to a hook
    """Adds `libexec/atl-sign/build`, one line."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the line; *version* is the kind of wheel: `standard` or `editable`."""
        self._folder = tempfile.TemporaryDirectory()
        stamp = Path(self._folder.name) / "build"
        stamp.write_text(f"{'checkout' if version == 'editable' else describe_commit(Path(self.root))}\n")
        build_data["shared_data"][str(stamp)] = "libexec/atl-sign/build"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` made."""
        self._folder.cleanup()


def describe_commit(root: Path) -> str:
    """Return the commit of the sources at *root* and its day: as `git archive` noted them, or else as git says."""
    noted = (root / "tests/tools/packages/commit").read_text().split()
    if len(noted) == 2 and "Format" not in noted[0]:
        return _format(*noted)
    if _ask_git(root, "rev-parse", "--show-toplevel") != str(root.resolve()):  # none, or another project's
        return "commit unknown"
    found = _ask_git(root, "log", "-1", "--format=%H %cs")
    if found is None:  # no commit yet
        return "commit unknown"
    commit, day = found.split()
    changed = _ask_git(root, "status", "--porcelain", "--untracked-files=no") != ""
    return _format(commit, day) + (", changed since" if changed else "")


def _format(commit: str, day: str) -> str:
    return f"commit {commit[:_SHOWN_DIGITS]}, {day}"


def _ask_git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
