"""Where the user's files are, by the rule of the desktop: the variable that names the folder, else the one below home."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from atl_sign.base.ownership import trusted_owners

RUNTIME_FOLDERS = Path("/run/user")


class ForeignFolderError(PermissionError):
    """A file of ours would be in another user's folder."""

    hint = "run this as that user, or with a home folder of your own: sudo -H"


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


def make_folder(folder: Path) -> None:
    """
    Make *folder* and what is missing on the way to it, each with mode 0700; what is there stays as it is.

    `Path.mkdir` gives its mode to the last folder only, the rest get the umask's, and any of them loses what the umask forbids.

    Raises:
        ForeignFolderError: it is in a folder of another user, as with sudo and that user's HOME; nothing was made.
        OSError: it cannot be made, or cannot be looked at.
    """
    missing = []
    nearest = folder.absolute()
    while True:
        try:
            status = nearest.stat()
            break
        except FileNotFoundError:
            missing.append(nearest)
            nearest = nearest.parent
        except PermissionError as exc:
            raise PermissionError(errno.EACCES, explain_failure(exc, nearest), str(folder)) from exc
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{nearest} is not a folder", str(nearest))
    nearest = nearest.resolve()
    owners = trusted_owners()
    for each in (*reversed(nearest.parents), nearest):
        if each.stat().st_uid not in owners:
            raise ForeignFolderError(errno.EPERM, f"{each} belongs to another user", str(folder))
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)
            each.chmod(0o700)


def is_there(path: Path) -> bool:
    """Tell whether something is at *path*, as far as we may look; `Path.exists` raises if a folder on the way is closed."""
    return os.path.exists(path)  # noqa: PTH110


def is_link(path: Path) -> bool:
    """Tell whether a symbolic link is at *path*, as far as we may look; `Path.is_symlink` raises like `Path.exists`."""
    return os.path.islink(path)  # noqa: PTH114


def explain_failure(error: OSError, path: Path | None = None) -> str:
    """Return what *error*, of a call for *path*, says: the folder that cannot be entered by its name, else the system's words."""
    if error.errno == errno.EFBIG and error.strerror == os.strerror(errno.EFBIG):
        return "the file size limit of the daemon's process (ulimit -f) is reached"
    if path is not None and isinstance(error, PermissionError) and not isinstance(error, ForeignFolderError):
        parents = reversed(path.absolute().parents)
        closed = next((each for each in parents if is_there(each) and not os.access(each, os.X_OK)), None)
        if closed is not None:
            return f"the folder {closed} cannot be entered"
    return error.strerror or type(error).__name__
