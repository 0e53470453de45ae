"""`atl-sign stop` and `restart`: end the daemon through systemd or by a signal, and start another one."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote

from atl_sign.base.terminal import complain, say
from atl_sign.commands.autostart import SERVICE_UNIT, SOCKET_UNIT, autostart, manager_environment, unit_socket_path
from atl_sign.commands.daemon_call import NoAnswerError, ask_status, describe_status, find_listener
from atl_sign.commands.programs import ProgramError, call_program, find_program
from atl_sign.server.listening import StartError, is_claimed, socket_path

END_S = 15.0  # a clean end takes 3 s at most, and a busy machine longer
_POLL_S = 0.02


def run_stop(environment: Mapping[str, str]) -> int:
    """End the daemon and print the result; returns the exit status: 0 also when none ran."""
    try:
        path = socket_path(environment)
        has_ended = _end(environment, path)
    except (StartError, ProgramError) as exc:
        complain("atl-sign", exc, exc.hint)
        return 1
    say("the daemon has ended; the next command starts it again" if has_ended else f"no daemon runs at {path}")
    return 0


def run_restart(environment: Mapping[str, str]) -> int:
    """End the daemon, start one as a client does, and print its state; returns the exit status, 3 without a daemon."""
    if environment.get("ATL_SIGN_AUTOSTART") == "0":
        message = "ATL_SIGN_AUTOSTART=0 forbids starting a daemon; nothing was ended"
        complain("atl-sign", message, "atl-sign stop, then: atl-sign serve &")
        return 1
    try:
        path = socket_path(environment)
        _end(environment, path)
    except (StartError, ProgramError) as exc:
        complain("atl-sign", exc, exc.hint)
        return 1
    try:
        autostart(environment)
        say(describe_status(ask_status(path), path))
    except (StartError, NoAnswerError) as exc:
        complain("atl-sign", exc, exc.hint if isinstance(exc, StartError) else "atl-sign doctor")
        return 3
    return 0


def _end(environment: Mapping[str, str], path: Path) -> bool:
    """
    Return when no daemon runs at *path* any longer, and whether one did.

    Raises:
        StartError: what listens there is not our daemon, or it does not end.
        ProgramError: systemd does not end it.
    """
    is_units = _end_unit(environment, path)
    if is_units is not None:
        return is_units
    listener, pid = find_listener(path), _holder_of(path)
    if listener is None and pid is None:
        return False
    if listener is not None and not listener.is_ours():
        raise StartError(f"the socket {path} belongs to another user", "run this as the user whose daemon it is")
    # Without a listener, the lock may be from a container that shares the folder, where the number means another process.
    if listener is None:
        # 0 is not a pid: `kill 0` would end the shell that it is typed into.
        hint = f"if that is atl-signd: kill {pid}" if pid else "see who has it: fuser " + quote(f"{path}.lock")
        raise StartError(f"a daemon{f' with pid {pid}' if pid else ''} holds {path}, but does not listen there", hint)
    if listener.pid != pid:
        cause = f"the process {listener.pid} listens at {path}, and is not a daemon of atl-sign"
        raise StartError(cause, "name another socket in ATL_SIGN_SOCK")
    end_process(path, pid)
    return True


def end_process(path: Path, pid: int) -> None:
    """End the daemon *pid*, which holds *path*; returns when both are gone, or raises StartError."""
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    while _holder_of(path) == pid or _runs(pid):
        if time.monotonic() > deadline:
            raise StartError(f"the daemon with pid {pid} does not end", f"kill -9 {pid}")
        time.sleep(_POLL_S)


def _runs(pid: int) -> bool:
    """Tell whether the process *pid* runs: the daemon lets go of its lock a moment before it ends. False without /proc."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]  # proc(5)
    except OSError:
        return False
    return state not in ("Z", "X")  # ended, and its parent has not asked yet


def _end_unit(environment: Mapping[str, str], path: Path) -> bool | None:
    """
    Stop the service when systemd listens at *path*, and tell whether it ran; None when systemd does not.

    Nobody connects to find that out: that would start the daemon. The socket stays, so that the next request starts it.
    """
    if path != unit_socket_path(environment) or find_program(environment, "systemctl") is None:
        return None
    manager = manager_environment(environment)
    if not _is_active(manager, SOCKET_UNIT):
        return None
    is_running = _is_active(manager, SERVICE_UNIT)
    call_program(manager, "systemctl", "--user", "stop", SERVICE_UNIT)
    return is_running


def _is_active(environment: Mapping[str, str], unit: str) -> bool:
    done = call_program(environment, "systemctl", "--user", "show", "--property=ActiveState", unit, may_fail=True)
    return done.returncode == 0 and any(state in done.stdout for state in ("=active", "=activating", "=reloading"))


def _holder_of(path: Path) -> int | None:
    """Return the pid of the daemon that holds the lock beside the socket at *path*, as it wrote it there; None without one."""
    try:
        if not is_claimed(path):
            return None
        text = path.with_name(f"{path.name}.lock").read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StartError(f"{path.parent} cannot be used: {exc.strerror}", "run this as the user whose daemon it is") from exc
    return int(text) if text.isdecimal() else 0
