"""Where the daemon's socket is, and whether it is ours; nothing is sent before both are known."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from atl_sign_client.errors import AtlSignError

SOCKET_PATH_BYTES_MAX = 107  # sun_path holds 108 with the zero at its end (unix(7))
_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES = 0, 1, 76  # <sys/un.h>, <sys/ucred.h> of macOS


def find_socket(environment: Mapping[str, str]) -> str:
    """
    Return the socket's absolute path: $ATL_SIGN_SOCK, else by $XDG_RUNTIME_DIR, /run/user/UID or ~/.local/state.

    Raises:
        AtlSignError: bad_socket, the path cannot be a socket's.

    Source: docs/configuration.md; one rule for the daemon and every client.
    """
    if environment.get("ATL_SIGN_SOCK"):
        path = environment["ATL_SIGN_SOCK"]
    else:
        # After `su` the variable names the folder of the user before.
        runs = [environment.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"]
        run = next((each for each in runs if each and _is_own_folder(each)), None)
        path = f"{run or _find_home() / '.local/state'}/atl-sign/agent.sock"
    return check_path(path)


def _is_own_folder(path: str) -> bool:
    try:
        status = Path(path).stat()
    except OSError:  # not there, or below a folder that we cannot enter
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def check_path(path: str | os.PathLike[str]) -> str:
    """Return *path*, absolute; raises AtlSignError, bad_socket, when it cannot be a socket's address."""
    absolute = os.fspath(path)
    if not absolute.startswith("/"):
        try:
            absolute = str(Path(path).absolute())
        except FileNotFoundError:
            raise AtlSignError("bad_socket", "the folder that we are in was removed", "give the socket's whole path") from None
    size = len(os.fsencode(absolute))
    if size > SOCKET_PATH_BYTES_MAX:
        raise AtlSignError(
            "bad_socket",
            f"the socket's path is {size} bytes long, over the system's {SOCKET_PATH_BYTES_MAX}: {absolute}",
            "name a shorter one in ATL_SIGN_SOCK",
        )
    if "\0" in absolute:
        raise AtlSignError("bad_socket", "the socket's path holds a zero byte", "name another one in ATL_SIGN_SOCK")
    return absolute


def _find_home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and no such user
        raise AtlSignError("bad_socket", "there is no home folder to look for the socket in", "set ATL_SIGN_SOCK") from None


def check_socket(path: str) -> None:
    """
    Make sure that *path* is a socket of this user's, also when it is a symbolic link.

    Raises:
        AtlSignError: no_daemon, nothing is there; bad_socket, it is something else or another user's.
    """
    try:
        statuses = Path(path).lstat(), Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise no_daemon(f"there is no daemon on {path}", path) from None
    except OSError as exc:
        raise AtlSignError("bad_socket", f"{path} cannot be looked at: {exc.strerror}", "name another in ATL_SIGN_SOCK") from exc
    if any(status.st_uid != os.geteuid() for status in statuses):
        what = (
            "a symbolic link of another user or to another user's socket"
            if stat.S_ISLNK(statuses[0].st_mode)
            else "another user's"
        )
        raise AtlSignError("bad_socket", f"the socket {path} is {what}", "run this as the user whose daemon it is")
    if not stat.S_ISSOCK(statuses[1].st_mode):
        raise AtlSignError("bad_socket", f"{path} is not a socket", "move that file away, or name another path in ATL_SIGN_SOCK")


def check_peer(connected: socket.socket, path: str) -> None:
    """
    Raise AtlSignError, bad_socket, unless it is this user who listens at the other end; OSError where the system does not say.

    Whatever was looked at by name, another user may have changed where the name leads.
    """
    if _read_uid(connected) != os.geteuid():
        raise AtlSignError("bad_socket", f"another user listens on {path}", "run this as the user whose daemon it is")


def _read_uid(connected: socket.socket) -> int:
    if hasattr(socket, "SO_PEERCRED"):
        credentials = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
        _, uid, _ = credentials.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    else:
        credentials = struct.Struct("2I")  # struct xucred begins with version and uid (macOS, FreeBSD: unix(4))
        _, uid = credentials.unpack(connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES)[: credentials.size])
    return int(uid)


def no_daemon(message: str, path: str) -> AtlSignError:
    """Return the error for a daemon that is not there, at *path*."""
    return AtlSignError("no_daemon", message, hint_for(path, "start it: atl-sign serve &"))


def hint_for(path: str, hint: str) -> str:
    """Return *hint*, or what to do where `atl-sign service install` linked the unit of the socket at *path*."""
    folders = (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}")
    config = os.environ.get("XDG_CONFIG_HOME") or f"{os.environ.get('HOME', '')}/.config"
    has_unit = os.path.islink(f"{config}/systemd/user/atl-signd.socket")  # noqa: PTH114 # Path's raises where a folder is closed
    is_systemds = has_unit and path in {f"{folder}/atl-sign/agent.sock" for folder in folders}
    return "atl-sign service status" if is_systemds else hint
