"""Starts the user's daemon when none answers, as `atl-sign` does: by `atl-signd autostart`, which starts one for all who ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from atl_sign_client.errors import AtlSignError

START_S = 15.0  # atl-signd itself gives up after 12


def start_daemon(missing: AtlSignError) -> None:
    """
    Return when a daemon answers on the socket that the environment names.

    Args:
        missing: says that none does; raised when none may be started.

    Raises:
        AtlSignError: no_daemon, with the cause.
    """
    if os.environ.get("ATL_SIGN_AUTOSTART") == "0":
        raise missing
    command = _find_command()
    if command is None:
        raise missing
    hint = "see why: atl-signd autostart"
    try:
        done = subprocess.run(  # noqa: S603  # our own program, and no word of the command comes from outside
            [command, "autostart"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=START_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"atl-signd took longer than {START_S:.0f} s"
    except OSError as exc:
        why = f"atl-signd cannot be run: {exc.strerror}"
    else:
        if done.returncode == 0:
            return
        said, _, told = done.stderr.decode(errors="replace").strip().partition("\nhint: ")
        why = said[len("atl-signd: ") :] if said.startswith("atl-signd: ") and told else _last_line(said)
        hint = told or hint
    raise AtlSignError("no_daemon", f"{missing.message}, and none could be started: {why}", hint)


def _find_command() -> str | None:
    """Return the path of atl-signd: beside this Python, where an environment has both, else on PATH."""
    beside = Path(sys.executable).with_name("atl-signd")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("atl-signd")


def _last_line(said: str) -> str:
    """Return what failed in words that are not ours, such as a broken Python's: its last line that names an error."""
    lines = said.splitlines()
    last = next((line for line in reversed(lines) if "rror:" in line), lines[-1] if lines else "")
    return f"atl-signd failed: {last}" if last else "atl-signd failed"
