"""A daemon for a client that found none: by systemd's socket where that is installed, else a process of its own, one for all."""

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from atl_sign.base.files import open_without_waiting
from atl_sign.base.folders import RUNTIME_FOLDERS, config_home, is_there, log_path, make_folder, runtime_folder
from atl_sign.base.variables import choose_variables
from atl_sign.commands.daemon_call import find_listener
from atl_sign.commands.programs import ProgramError, call_program
from atl_sign.server.installed import serve_command
from atl_sign.server.listening import StartError, TakenError, open_lock, socket_path

START_S = 12.0  # a start takes 0.4 s; a machine that is busy starting takes longer
LOG_BYTES_MAX = 1 << 20
SOCKET_UNIT, SERVICE_UNIT = "atl-signd.socket", "atl-signd.service"

_POLL_S = 0.01
_AGAIN_S = 0.1
_SYSTEMCTL_S = 10
_REPORT_BYTES_MAX = 1 << 16
SERVICE_HINT = "atl-sign service status"
_BY_HAND = "start it: atl-sign serve &"


def autostart(environment: Mapping[str, str]) -> None:
    """
    Return when a daemon of ours answers on the socket, started now or before.

    Raises:
        StartError: none does, within START_S; or `ATL_SIGN_AUTOSTART=0` forbids it.
    """
    if environment.get("ATL_SIGN_AUTOSTART") == "0":
        hint = SERVICE_HINT if has_unit_at(environment, socket_path(environment)) else _BY_HAND
        raise StartError("ATL_SIGN_AUTOSTART=0 forbids starting a daemon", hint)
    path = socket_path(environment)
    if _answers(path):
        return
    deadline = time.monotonic() + START_S
    if _start_unit(environment, path):
        while not _answers(path):
            if time.monotonic() > deadline:
                raise StartError(f"systemd started {SOCKET_UNIT}, but no daemon answers at {path}", SERVICE_HINT)
            time.sleep(_POLL_S)
        return
    lock = open_lock(path.with_name(f"{path.name}.start"), is_default=not environment.get("ATL_SIGN_SOCK"))
    try:
        if _await_turn(lock, path, deadline):
            _start_process(environment, path, deadline)
    finally:
        os.close(lock)


def unit_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return where systemd looks for a user's units, the user's own folder first (systemd.unit(5))."""
    data = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    return [
        config_home(environment) / "systemd/user",
        Path("/etc/systemd/user"),
        data / "systemd/user",
        *(Path(f"{prefix}/systemd/user") for prefix in ("/usr/local/lib", "/usr/lib", "/usr/local/share", "/usr/share")),
    ]


def unit_socket_path(environment: Mapping[str, str]) -> Path:
    """Return where the socket unit listens: a unit knows only the runtime folder, and not what `ATL_SIGN_SOCK` says."""
    return (runtime_folder(environment) or RUNTIME_FOLDERS / str(os.getuid())) / "atl-sign/agent.sock"


def has_unit_at(environment: Mapping[str, str], path: Path) -> bool:
    """Tell whether *path* is the socket of an installed unit: whether a daemon starts there is systemd's to know."""
    return path == unit_socket_path(environment) and any(is_there(folder / SOCKET_UNIT) for folder in unit_folders(environment))


def manager_environment(environment: Mapping[str, str]) -> Mapping[str, str]:
    """
    Return *environment* with the runtime folder by which `systemctl --user` finds its manager.

    `su -` and `sudo -i` drop the variable, and `su` leaves the folder of the user before in it: that one is taken out.
    """
    folder = runtime_folder(environment)
    if folder is None:
        return {name: value for name, value in environment.items() if name != "XDG_RUNTIME_DIR"}
    return {**environment, "XDG_RUNTIME_DIR": str(folder)}


def _answers(path: Path) -> bool:
    listener = find_listener(path)
    if listener is not None and not listener.is_ours():
        raise StartError(f"the socket {path} belongs to another user", "run this as the user whose daemon it is")
    return listener is not None


def _start_unit(environment: Mapping[str, str], path: Path) -> bool:
    """Start the socket unit, if it is installed and for this path; tells whether systemd did."""
    if not has_unit_at(environment, path):
        return False
    try:
        call_program(manager_environment(environment), "systemctl", "--user", "start", SOCKET_UNIT, timeout_s=_SYSTEMCTL_S)
    except ProgramError:
        return False  # there is no user manager here, as in a container with the same home
    return True


def _await_turn(lock: int, path: Path, deadline: float) -> bool:
    """Take *lock*; tells False when a daemon answers instead, which somebody else has started."""
    while not _answers(path):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                raise StartError(f"another program is starting the daemon, and none answers at {path}", _BY_HAND) from None
            time.sleep(_POLL_S)
        else:
            return True
    return False


def _start_process(environment: Mapping[str, str], path: Path, deadline: float) -> None:
    log, log_name = _open_log(environment)
    with log:
        said_before = log.tell()
        process, report = _spawn(environment, log)
        try:
            while not _answers(path):
                if process.poll() is not None:
                    reason = _read_report(report) or _describe_crash(process.returncode, log_name, said_before)
                    if not isinstance(reason, TakenError) or time.monotonic() > deadline:
                        raise reason
                    time.sleep(_AGAIN_S)  # the one before is about to end, and has the path until then
                    os.close(report)
                    process, report = _spawn(environment, log)
                if time.monotonic() > deadline:
                    words = f"no daemon answers at {path} after {START_S:.0f} s"
                    raise StartError(words, f"look into {log_name}" if log_name else _BY_HAND)
                time.sleep(_POLL_S)
        finally:
            os.close(report)
        process.returncode = 0  # it goes on without us, which Popen would warn of


def _spawn(environment: Mapping[str, str], log: BinaryIO) -> tuple[subprocess.Popen[bytes], int]:
    """Start `atl-signd serve` so that nothing of the client's session holds it; returns it, and where it reports a failure."""
    report, end = os.pipe()
    process = subprocess.Popen(
        [*serve_command(), f"--report-fd={end}"],
        env=choose_variables(environment),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        umask=0o077,
        pass_fds=(end,),
    )
    os.close(end)
    return process, report


def _open_log(environment: Mapping[str, str]) -> tuple[BinaryIO, Path | None]:
    """Return the log, at its end, and its path; the bin when it cannot be written, as in a container's read-only home."""
    path = log_path(environment)
    try:
        make_folder(path.parent)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_name(f"{path.name}.1"))
        descriptor = open_without_waiting(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError:
        return open(os.devnull, "ab"), None  # noqa: PTH123 # the caller closes it
    log = os.fdopen(descriptor, "ab")
    log.seek(0, os.SEEK_END)
    return log, path


def _read_report(report: int) -> StartError | None:
    """Return why the daemon that has ended could not start; None when it did not report that."""
    text = os.read(report, _REPORT_BYTES_MAX)
    if not text:
        return None
    fields = json.loads(text)
    return (TakenError if fields["is_taken"] else StartError)(fields["message"], fields["hint"])


def _describe_crash(status: int, log: Path | None, start: int) -> StartError:
    """Return the error for a daemon that ended with *status*, with the last line of its *log*, read from *start*."""
    if log is None:
        return StartError(f"the daemon ended with status {status}", _BY_HAND)
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read(LOG_BYTES_MAX).decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"it ended with status {status}")
    return StartError(f"the daemon failed: {last}", f"its log says more: {log}")
