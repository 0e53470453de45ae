"""Where the user's files are, by the rule of the desktop: the variable that names the folder, else the one below home."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

RUNTIME_FOLDERS = Path("/run/user")


def config_home(environment: Mapping[str, str]) -> Path:
    """Return where programs have their configuration: `$XDG_CONFIG_HOME`, `~/.config` when that is not set."""
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where logs and store are: `$XDG_STATE_HOME/atl-sign`, `~/.local/state/atl-sign` when that is not set."""
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "atl-sign"


def log_path(environment: Mapping[str, str]) -> Path:
    """Return where a daemon that a client started writes its messages."""
    return state_folder(environment) / "atl-signd.log"


def runtime_folder(environment: Mapping[str, str]) -> Path | None:
    """
    Return the user's runtime folder: `$XDG_RUNTIME_DIR`, else `/run/user/UID`; the first that is a folder of this user's.

    After `su` the variable still names the folder of the user before, which is not ours to use; None when neither is ours.
    """
    named = environment.get("XDG_RUNTIME_DIR")
    for folder in (Path(named).absolute() if named else None, RUNTIME_FOLDERS / str(os.getuid())):
        if folder is not None and _is_own_folder(folder):
            return folder
    return None


def _is_own_folder(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:  # not there, or below a folder that we cannot enter
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
