"""The daemon's units in the user's own systemd: linked, enabled, started and proved; looked at; and removed without a trace."""

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from atl_sign import __version__
from atl_sign.base.folders import is_link, is_there
from atl_sign.commands.autostart import SERVICE_UNIT, SOCKET_UNIT, autostart, manager_environment, unit_folders, unit_socket_path
from atl_sign.commands.daemon_call import NoAnswerError, ask_status, describe_status, find_listener
from atl_sign.commands.programs import COMMAND_S, ProgramError, call_program, find_program, first_line, run_program
from atl_sign.commands.service.files import ServiceError, link_units, unlink_units
from atl_sign.commands.stopping import end_process
from atl_sign.server.installed import INSTALL_AGAIN, find_command, find_units
from atl_sign.server.listening import StartError, socket_path

LOG_HINT = f"its log says more: journalctl --user -u {SERVICE_UNIT} -n 30"
# Of a unit, for `find_failure` and for those who show its state.
PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,NeedDaemonReload,Result,NRestarts,ExecMainStatus"

_START_S = 600.0  # systemd ends a start by itself, when the unit's TimeoutStartSec= is over
_EXEC = "203/EXEC"  # systemd.exec(5), "Process Exit Codes": the command is not there
_INSTALL = "atl-sign service install"  # enters the command anew
_LOG_LINES = "40"
# Variables that a shell may have and the user manager lacks, so that the daemon there would act differently from the one here.
_SHELLS_OWN = ("ATL_SIGN_STORE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the daemon does not start, as what it "does", and what to do."""

    cause: str
    hint: str
    lacks_command: bool = False  # the unit names one that is not there


class SystemdUnits:
    """The socket unit and the service unit in the user's own systemd."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Work for the user whose *environment* this is."""
        self._environment = environment = manager_environment(environment)
        self._folder = unit_folders(environment)[0]
        self._socket = unit_socket_path(environment)

    def install(self) -> str:
        """
        Link, enable and start the units, and prove it by one request; without systemd, prove autostart.

        Raises:
            ServiceError: something is in the way, or no daemon answers.
            ProgramError: systemctl failed.
        """
        missing = self._why_no_manager()
        if missing is not None:
            return self._offer_autostart(missing)
        units, command = find_units(), find_command()
        if units is None or command is None:
            raise ServiceError("the package's unit files or its command are not where they were installed", INSTALL_AGAIN)
        is_first = not is_link(self._folder / SOCKET_UNIT)
        has_changed = link_units(self._folder, units, command)
        try:
            # An upgrade changes the files behind the links.
            has_changed = self._show(SERVICE_UNIT)["NeedDaemonReload"] == "yes" or has_changed
            self._systemctl("daemon-reload")
            self._systemctl("reset-failed", SOCKET_UNIT, SERVICE_UNIT, may_fail=True)
            if self._show(SOCKET_UNIT)["ActiveState"] != "active":
                self._end_other_daemon()
            self._systemctl("enable", "--now", SOCKET_UNIT)
            if has_changed and not is_first:
                self._systemctl("try-restart", SERVICE_UNIT)
            status = self._prove()
        except (ServiceError, ProgramError, StartError):
            if is_first:
                self._remove()
            raise
        return "\n".join([f"installed {self._folder / SOCKET_UNIT}", describe_status(status, self._socket), *self._warn(status)])

    def uninstall(self) -> str:
        """Stop, disable and unlink the units; nothing is left of what `install` made. Raises ProgramError."""
        is_alone = self._why_no_manager() is not None  # as in a container that shares the home folder
        found = unlink_units(self._folder) if is_alone else self._remove()
        self._clear_folder()
        return f"removed the units from {self._folder}" if found else f"there were no units in {self._folder}"

    def status(self) -> dict[str, Any]:
        """Return how the units and the daemon are, and in `hint` what to do when something is wrong."""
        is_installed = any(is_there(folder / SOCKET_UNIT) for folder in unit_folders(self._environment))
        fields: dict[str, Any] = {"installed": is_installed, "socket": None, "service": None, "unit": None, "daemon": None}
        fields |= {"version": None, "package": __version__, "hint": None}
        missing = self._why_no_manager()
        if missing is not None:
            fields["socket"] = missing
            fields["hint"] = "without systemd the clients start the daemon themselves (autostart)"
        else:
            sockets, services = self._show(SOCKET_UNIT), self._show(SERVICE_UNIT)
            fields["socket"] = f"{sockets['ActiveState']} ({sockets['SubState']}), {sockets['UnitFileState'] or 'not installed'}"
            fields["service"] = f"{services['ActiveState']} ({services['SubState']})"
            fields["unit"] = services["FragmentPath"] or None
            is_changed = "yes" in (sockets["NeedDaemonReload"], services["NeedDaemonReload"])  # by an upgrade
            if not is_installed or sockets["ActiveState"] != "active" or is_changed:
                fields["hint"] = "atl-sign service install"
            failure = find_failure(self._environment, services)
            if failure is not None:
                return fields | {"daemon": failure.cause, "hint": fields["hint"] or failure.hint}
            if services["ActiveState"] != "active":
                can_start = sockets["ActiveState"] == "active"
                waits = "is starting" if services["ActiveState"] == "activating" else "not running; the next request starts it"
                return fields | {"daemon": waits if can_start else "not running"}
        return fields | self._ask(fields["hint"])

    def _ask(self, hint: str | None) -> dict[str, Any]:
        path = socket_path(self._environment)
        if find_listener(path) is None:
            return {"daemon": "not running"}
        try:
            status = ask_status(path)
        except NoAnswerError as exc:
            return {"daemon": str(exc), "hint": hint or LOG_HINT}
        if status["version"] != __version__:
            hint = hint or "the daemon is another version than the package until it is idle, or: atl-sign restart"
        return {"daemon": f"runs with pid {status['pid']}", "version": status["version"], "hint": hint}

    def _why_no_manager(self) -> str | None:
        """Return why there is no user manager here, or None when there is one."""
        if find_program(self._environment, "systemctl") is None:
            return "there is no systemd here"
        done = self._systemctl("show-environment", may_fail=True)
        if done.returncode == 0:
            return None
        return f"no systemd user manager answers here: {first_line(done.stderr)}"

    def _offer_autostart(self, missing: str) -> str:
        try:
            autostart(self._environment)
            status = ask_status(socket_path(self._environment))
        except (StartError, NoAnswerError) as exc:
            hint = exc.hint if isinstance(exc, StartError) else "atl-sign serve"
            raise ServiceError(f"{missing}; and no daemon could be started: {exc}", hint) from exc
        return (
            f"{missing}; nothing was installed\natl-sign and the other clients start the daemon when none answers (autostart)\n"
            + describe_status(status, socket_path(self._environment))
        )

    def _end_other_daemon(self) -> None:
        """End a daemon that was started by hand or by a client: systemd is about to put its own socket in that one's place."""
        listener = find_listener(self._socket)
        if listener is None:
            return
        try:
            status = ask_status(self._socket)
        except NoAnswerError as exc:
            raise ServiceError(
                f"the process {listener.pid} listens at {self._socket} and is not a daemon of atl-sign", "end it first"
            ) from exc
        if status["pid"] != listener.pid or status["store"] == "memory":
            cause = "its secrets, which are only in memory, would be lost"
            raise ServiceError(f"a daemon with pid {listener.pid} runs already, and {cause}", "end it first: atl-sign stop")
        end_process(self._socket, listener.pid)

    def _prove(self) -> dict[str, Any]:
        """Start the service, which may take as long as its unit allows, and ask it how it is."""
        started = self._systemctl("start", SERVICE_UNIT, may_fail=True, timeout_s=_START_S)
        failure = find_failure(self._environment, self._show(SERVICE_UNIT)) if started.returncode != 0 else None
        if failure is not None:
            # The command has just been entered: another file of the unit, such as a drop-in of the user's, names another one.
            hint = f"see what the unit runs: systemctl --user cat {SERVICE_UNIT}" if failure.lacks_command else failure.hint
            raise ServiceError(f"the units are linked, but the daemon {failure.cause}", hint)
        try:
            return ask_status(self._socket)
        except NoAnswerError as exc:
            raise ServiceError(f"the units are started, but {exc}", LOG_HINT) from exc

    def _warn(self, status: Mapping[str, Any]) -> list[str]:
        """Return a line for each thing that will be otherwise than the user expects."""
        lines = []
        if status["store_state"] != "ready":
            lines.append(f"warning: the store {status['store']} is {status['store_state']}")
        if socket_path(self._environment) != self._socket:
            lines.append(f"warning: ATL_SIGN_SOCK leads clients of this shell elsewhere; the service listens at {self._socket}")
        done = self._systemctl("show-environment", may_fail=True)
        known = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        lines += [
            f"warning: the service does not know {name} of this shell: systemctl --user import-environment {name}"
            for name in _SHELLS_OWN
            if self._environment.get(name) and name not in known
        ]
        return lines

    def _remove(self) -> bool:
        # Stopped while they are linked: of a unit that is not, systemd does not know any more to remove the socket.
        self._systemctl("stop", SOCKET_UNIT, SERVICE_UNIT, may_fail=True)
        self._systemctl("disable", SOCKET_UNIT, SERVICE_UNIT, may_fail=True)
        found = unlink_units(self._folder)
        self._clear_folder()
        self._systemctl("daemon-reload")
        self._systemctl("reset-failed", SOCKET_UNIT, SERVICE_UNIT, may_fail=True)
        return found

    def _clear_folder(self) -> None:
        """Remove what is left of a socket that nobody serves, and its folder."""
        if find_listener(self._socket) is not None:
            return
        for end in ("", ".lock", ".start"):
            self._socket.with_name(f"{self._socket.name}{end}").unlink(missing_ok=True)
        with suppress(OSError):  # other things are in it, or it is not there
            self._socket.parent.rmdir()

    def _show(self, unit: str) -> dict[str, str]:
        done = self._systemctl("show", f"--property={PROPERTIES}", unit)
        return dict.fromkeys(PROPERTIES.split(","), "") | dict(line.partition("=")[::2] for line in done.stdout.splitlines())

    def _systemctl(
        self, *arguments: str, may_fail: bool = False, timeout_s: float = COMMAND_S
    ) -> "subprocess.CompletedProcess[str]":
        return call_program(self._environment, "systemctl", "--user", *arguments, timeout_s=timeout_s, may_fail=may_fail)


def find_failure(environment: Mapping[str, str], service: Mapping[str, str]) -> Failure | None:
    """
    Return why systemd cannot start the daemon, or keeps starting it in vain; None when it does not try, or did it.

    Args:
        environment: in which `journalctl --user` finds its journal.
        service: `PROPERTIES` of the service, as systemctl shows them.
    """
    state, restarts = service.get("ActiveState"), int(service.get("NRestarts") or 0)
    is_loop = state == "activating" and (service.get("SubState") == "auto-restart" or restarts > 0)
    if state != "failed" and not is_loop:
        return None
    status = service.get("ExecMainStatus") or "0"
    words, hint = "", ""
    log = run_program(environment, "journalctl", "--user", "-u", SERVICE_UNIT, "-o", "cat", "-n", _LOG_LINES, "--no-pager")
    for line in (log or "").splitlines():
        # Between two tries systemd shows the status of neither.
        if found := re.search(r"\bstatus=(\d+/\S+?)\b", line):
            status = found[1]
        if line.startswith("atl-signd: "):
            words = line.removeprefix("atl-signd: ")
        if line.startswith("hint: "):
            hint = line.removeprefix("hint: ")
    result = service.get("Result") or "success"
    ended = "ended before it was ready" if result == "success" else f"failed ({result})"
    if not status.startswith("0"):
        ended = f"ended with status {status}"
    tries = f", and systemd has restarted it {restarts} times" if restarts else ""
    return Failure(
        f"does not start: {words}{'; ' if words else ''}it {ended}{tries}",
        _INSTALL if status == _EXEC else hint or LOG_HINT,
        lacks_command=status == _EXEC,
    )
