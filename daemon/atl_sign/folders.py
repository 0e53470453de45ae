"""Where the user's files are, by the rule of the desktop: the variable that names the folder, else the one below home."""

from collections.abc import Mapping
from pathlib import Path


def config_home(environment: Mapping[str, str]) -> Path:
    """Return where programs have their configuration: `$XDG_CONFIG_HOME`, `~/.config` when that is not set."""
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where logs and store are: `$XDG_STATE_HOME/atl-sign`, `~/.local/state/atl-sign` when that is not set."""
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "atl-sign"


def log_path(environment: Mapping[str, str]) -> Path:
    """Return where a daemon that a client started writes its messages."""
    return state_folder(environment) / "atl-signd.log"
