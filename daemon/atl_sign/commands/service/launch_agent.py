"""The daemon as a launch agent of macOS: launchd starts it at log-in and after a crash."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atl_sign import __version__
from atl_sign.base.folders import is_there
from atl_sign.commands.daemon_call import NoAnswerError, ask_status, describe_status, find_listener
from atl_sign.commands.programs import call_program
from atl_sign.commands.service.files import LABEL, ServiceError, write_launch_agent
from atl_sign.server.installed import INSTALL_AGAIN, find_command
from atl_sign.server.listening import socket_path

_START_S = 15.0


class LaunchAgent:
    """The daemon as a launch agent of macOS: launchd starts it at log-in and after a crash."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Work for the user whose *environment* this is."""
        self._environment = environment
        self._path = Path.home() / f"Library/LaunchAgents/{LABEL}.plist"
        self._domain = f"gui/{os.getuid()}"

    def install(self) -> str:
        """Write the agent, start it, and prove it by one request; raises ServiceError and ProgramError."""
        command = find_command()
        if command is None:
            raise ServiceError("the package's command is not where it was installed", INSTALL_AGAIN)
        path = socket_path(self._environment)
        has_changed = write_launch_agent(self._path, command, Path.home() / f"Library/Logs/{LABEL}.log")
        is_loaded = self._is_loaded()
        if is_loaded and has_changed:
            self._launchctl("bootout", f"{self._domain}/{LABEL}", may_fail=True)
        if not is_loaded or has_changed:
            self._launchctl("bootstrap", self._domain, str(self._path))
        deadline = time.monotonic() + _START_S
        while find_listener(path) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            status = ask_status(path)
        except NoAnswerError as exc:
            raise ServiceError(f"the agent is loaded, but {exc}", f"look into ~/Library/Logs/{LABEL}.log") from exc
        return f"installed {self._path}\n{describe_status(status, path)}"

    def uninstall(self) -> str:
        """Stop the agent and remove it; raises ProgramError."""
        if self._is_loaded():
            self._launchctl("bootout", f"{self._domain}/{LABEL}")
        found = is_there(self._path)
        self._path.unlink(missing_ok=True)
        return f"removed {self._path}" if found else f"there was no {self._path}"

    def status(self) -> dict[str, Any]:
        """Return how the agent and the daemon are."""
        is_loaded = self._is_loaded()
        path = socket_path(self._environment)
        fields: dict[str, Any] = {"installed": is_there(self._path), "agent": "loaded" if is_loaded else "not loaded"}
        fields |= {"daemon": "not running", "version": None, "package": __version__}
        fields["hint"] = None if fields["installed"] and is_loaded else "atl-sign service install"
        if find_listener(path) is not None:
            try:
                status = ask_status(path)
            except NoAnswerError as exc:
                return fields | {"daemon": str(exc), "hint": fields["hint"] or f"look into ~/Library/Logs/{LABEL}.log"}
            fields |= {"daemon": f"runs with pid {status['pid']}", "version": status["version"]}
            if status["version"] != __version__ and fields["hint"] is None:
                fields["hint"] = f"the daemon is another version than the package: launchctl kickstart -k {self._domain}/{LABEL}"
        return fields

    def _is_loaded(self) -> bool:
        return self._launchctl("print", f"{self._domain}/{LABEL}", may_fail=True).returncode == 0

    def _launchctl(self, *arguments: str, may_fail: bool = False) -> "subprocess.CompletedProcess[str]":
        return call_program(self._environment, "launchctl", *arguments, may_fail=may_fail)
