"""The doctor on the socket: whether its place is safe, and why nobody answers there."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from atl_sign.base.findings import Finding
from atl_sign.base.folders import runtime_folder
from atl_sign.commands.autostart import SERVICE_HINT, has_unit_at
from atl_sign.commands.daemon_call import NoAnswerError
from atl_sign.server.listening import StartError, check_way

START_HINT = "atl-sign service install, or by hand: atl-sign serve &"


def check_runtime_folder(environment: Mapping[str, str], path: Path) -> Iterator[Finding]:
    """Report a runtime folder that is not used, as after `su`, which leaves that of the user before in the environment."""
    named, used = environment.get("XDG_RUNTIME_DIR"), runtime_folder(environment)
    if named and not environment.get("ATL_SIGN_SOCK") and used != Path(named).absolute():
        cause = f"XDG_RUNTIME_DIR is not a folder of this user and is ignored: {named}; the socket is {path}"
        hint = "unset XDG_RUNTIME_DIR" if used is None else f"export XDG_RUNTIME_DIR={used}"
        yield Finding("socket", "warning", cause, hint)


def check_socket(path: Path) -> Finding:
    """Return whether the place of the socket at *path* is only for this user."""
    folder = path.parent
    try:
        status = folder.stat()
        check_way(folder)
    except FileNotFoundError:
        return Finding("socket", "ok", f"{path} is made when the daemon starts")
    except StartError as exc:
        return Finding("socket", "broken", str(exc), exc.hint)
    except OSError as exc:
        return Finding("socket", "broken", f"{folder} cannot be looked at: {exc.strerror}", f"ls -ld {quote(str(folder))}")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        hint = (
            f"chmod 700 {quote(str(folder))}"
            if status.st_uid == os.geteuid()
            else "set ATL_SIGN_SOCK to a path in a folder of yours"
        )
        return Finding("socket", "broken", f"others may write into {folder} ({stat.filemode(status.st_mode)})", hint)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Finding("socket", "ok", f"{path} is made when the daemon starts")
    except OSError as exc:
        return Finding("socket", "broken", f"{path} cannot be looked at: {exc.strerror}", f"ls -l {quote(str(folder))}")
    if not stat.S_ISSOCK(found.st_mode):
        return Finding("socket", "broken", f"{path} is not a socket", f"mv {quote(str(path))} {quote(f'{path}.away')}")
    if found.st_uid != os.geteuid():
        return Finding("socket", "broken", f"{path} belongs to another user", "set ATL_SIGN_SOCK to a path in a folder of yours")
    mode = stat.S_IMODE(found.st_mode)
    # Behind a folder that is closed to others the socket's own mode does not matter; systemd-socket-activate makes 0644.
    if mode & 0o077 and status.st_mode & 0o011:
        return Finding(
            "socket", "broken", f"{path} has mode {mode:04o}, in a folder that others may enter", f"chmod 600 {quote(str(path))}"
        )
    if mode & 0o077:
        return Finding("socket", "warning", f"{path} has mode {mode:04o}", f"chmod 600 {quote(str(path))}")
    return Finding("socket", "ok", f"{path}: mode {mode:04o}, in {stat.S_IMODE(status.st_mode):04o}")


def explain_silence(environment: Mapping[str, str], exc: NoAnswerError, path: Path, waited_s: float) -> Finding:
    """Return the finding for a socket at *path* where no daemon answered within *waited_s*, and what to do."""
    if has_unit_at(environment, path) and exc.kind in ("absent", "dead", "silent"):
        # The kernel's pid is that of the last daemon on this socket, or of systemd itself: neither is to be ended.
        silence = f"nobody answers at {path}" + (f" within {waited_s:g} s" if exc.kind == "silent" else "")
        return Finding("daemon", "broken", f"{silence}, where systemd listens", SERVICE_HINT)
    if exc.kind == "absent":
        return Finding("daemon", "broken", f"no daemon runs: there is no {path}", START_HINT)
    if exc.kind == "dead":
        return Finding("daemon", "broken", f"no daemon runs: nobody listens at {path}, which a dead one left", START_HINT)
    if exc.kind == "closed":
        return Finding("daemon", "broken", str(exc), f"ls -l {quote(str(path))}")
    who = "" if exc.pid is None else f" (pid {exc.pid})"
    end = "look who listens there: ss -xlp" if exc.pid is None else f"kill {exc.pid}; then {START_HINT}"
    if exc.kind == "silent":
        return Finding("daemon", "broken", f"the daemon{who} does not answer within {waited_s:g} s", end)
    return Finding("daemon", "broken", f"{exc}{who}", "set ATL_SIGN_SOCK to another path, or end that")
