"""What another program prints when it is asked something: at once, or not at all."""

import shutil
import subprocess
from collections.abc import Mapping

PROGRAM_S = 5.0


def find_program(environment: Mapping[str, str], name: str) -> str | None:
    """Return the path of the program called *name* on the PATH of *environment*."""
    return shutil.which(name, path=environment.get("PATH", ""))


def run_program(environment: Mapping[str, str], name: str, *arguments: str) -> str | None:
    """Return what the program called *name* prints; None when it is not there, fails, or takes over five seconds."""
    command = find_program(environment, name)
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, *arguments],
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROGRAM_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
