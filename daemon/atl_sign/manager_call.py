"""One call of systemctl or launchctl, which ends at its deadline and fails in words."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INSTALL_AGAIN = "install the package again: pipx reinstall atl-sign"

_MANAGER_S = 60


class ServiceError(Exception):
    """The service could not be installed or removed; says why, and in `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        """Say what failed and what to do."""
        super().__init__(message)
        self.hint = hint


def run_manager(environment: Mapping[str, str], name: str, *arguments: str, may_fail: bool) -> "subprocess.CompletedProcess[str]":
    """Run systemctl or launchctl, called *name*; raises ServiceError when it is not there, or fails and *may_fail* is not set."""
    command = shutil.which(name, path=environment.get("PATH"))
    shown_command = f"{name} {' '.join(arguments)}"
    if command is None:
        raise ServiceError(f"there is no {name} here", "start the daemon by hand: atl-sign serve &")
    try:
        done = subprocess.run(
            [command, *arguments],
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MANAGER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ServiceError(f"{shown_command} does not end", "look whether the machine is busy, then try again") from exc
    if done.returncode != 0 and not may_fail:
        raise ServiceError(f"{shown_command} failed: {first_line(done.stderr)}", f"try it by hand: {shown_command}")
    return done


def describe(status: Mapping[str, Any], path: Path) -> str:
    """Return one line on the daemon that answered with *status*."""
    return (
        f"atl-signd {status['version']} answers at {path}: pid {status['pid']}, store {status['store']} {status['store_state']}"
    )


def first_line(text: str) -> str:
    """Return the first line of what a manager complained."""
    return text.strip().partition("\n")[0] or "it said nothing"
