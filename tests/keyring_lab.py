"""
A real gnome-keyring for tests, on a session bus and in a home of its own.

    with KeyringLab() as lab:                       # unlocked; `KeyringLab(unlocked=False)` for one without any collection
        subprocess.run([...], env={**os.environ, **lab.env})

Debian packages: dbus-daemon, gnome-keyring.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

import secretstorage
from jeepney import DBusErrorResponse  # type: ignore[import-untyped]  # it has no annotations
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]
from jeepney.io.blocking import DBusConnection, Proxy, open_dbus_connection  # type: ignore[import-untyped]

from atl_sign.custody.stores.secret_service import _introduce

KEYRING = "gnome-keyring-daemon"
PASSWORD = b"the login password"
DEADLINE_S = 10.0

# Only these can be started by a message. The prompter, which on a desktop asks for the password, only leaves a
# file to tell of it, and waits.
_SERVICES = {
    "org.freedesktop.secrets": "{keyring} --start --foreground --components=secrets",
    "org.gnome.keyring.SystemPrompter": "/bin/sh -c 'echo $$ >{home}/prompted; exec sleep 60'",
}
_BUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={home}/bus</listen>
  <servicedir>{home}/services</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class KeyringLab:
    """One bus, one keyring, one home; every process of it ends with `close`."""

    def __init__(self, *, unlocked: bool = True, with_keyring: bool = True, preloaded: Path | None = None) -> None:
        """
        Describe the lab; `start` or `with` begins it.

        Args:
            unlocked: begin with an unlocked login collection, as after a log-in; else there is no collection at all.
            with_keyring: False for a bus on which nothing offers a keyring.
            preloaded: a library that changes how the keyring behaves.
        """
        self.home = Path(tempfile.mkdtemp(prefix="keyring-"))  # mode 0700
        self.env = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.home}/bus"}  # what a program needs to find this keyring
        self._unlocked = unlocked
        self._with_keyring = with_keyring
        self._preloaded = {} if preloaded is None else {"LD_PRELOAD": str(preloaded)}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopped: set[int] = set()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def session_env(self) -> dict[str, str]:
        """What a shell of this session has on top: the keyring's own home and runtime folder."""
        return {**self.env, "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)}

    @property
    def data(self) -> Path:
        """Where the collections' files are; made by the keyring when it has something to keep."""
        return self.home / ".local/share/keyrings"

    def start(self) -> None:
        """Start the bus, and the keyring unless it is to have no collection: then the first message starts it."""
        services = self.home / "services"
        services.mkdir(mode=0o700)
        for name, command in _SERVICES.items() if self._with_keyring else ():
            line = command.format(keyring=shutil.which(KEYRING), home=self.home)
            (services / f"{name}.service").write_text(f"[D-BUS Service]\nName={name}\nExec={line}\n")
        config = self.home / "bus.conf"
        config.write_text(_BUS_CONFIG.format(home=self.home))
        self._bus = self._spawn("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        self._await("the bus", (self.home / "bus").exists)
        if self._unlocked:
            self.unlock()

    def unlock(self, *, replace: bool = False) -> None:
        """Start a keyring whose login collection is unlocked, made when there is none; *replace* the one that runs."""
        before = self.pid()
        options = ["--replace"] if replace else []
        keyring = self._spawn(KEYRING, *options, "--unlock", "--foreground", "--components=secrets", stdin=subprocess.PIPE)
        assert keyring.stdin is not None
        keyring.stdin.write(PASSWORD)
        keyring.stdin.close()
        self._await("the unlocked keyring", lambda: self.pid() not in (None, before) and self._is_locked() is False)

    def lock(self) -> None:
        """Lock the default collection, as the screen's lock or the user can."""
        with closing(self._connect_to_keyring()) as connection:
            secretstorage.Collection(connection).lock()

    def read(self, name: str) -> list[str]:
        """Return the text of every item that atl-sign calls *name*, past all code of ours."""
        with closing(self._connect_to_keyring()) as connection:
            items = secretstorage.Collection(connection).search_items({"service": "atl-sign", "username": name})
            return [item.get_secret().decode() for item in items]

    def pid(self) -> int | None:
        """Return the process that is the keyring on this bus now, whoever started it; None when there is none."""
        try:
            with closing(self._connect()) as connection:
                (pid,) = Proxy(message_bus, connection).GetConnectionUnixProcessID("org.freedesktop.secrets")
        except (DBusErrorResponse, OSError):  # nobody has the name; there is no bus
            return None
        return int(pid)

    def stop_process(self) -> None:
        """Stop the keyring (SIGSTOP): it takes messages and answers none."""
        self._stop(self._keyring())

    def stop_bus(self) -> None:
        """Stop the bus itself (SIGSTOP): it takes connections and answers none."""
        self._stop(self._bus.pid)

    def continue_process(self) -> None:
        """Let what was stopped go on, with what has been waiting for it."""
        while self._stopped:
            with suppress(ProcessLookupError):
                os.kill(self._stopped.pop(), signal.SIGCONT)

    def kill(self) -> None:
        """Kill the keyring (SIGKILL); the next message starts another, which is locked."""
        pid = self._keyring()
        os.kill(pid, signal.SIGKILL)
        self._stopped.discard(pid)
        self._await("the bus to notice", lambda: self.pid() != pid)

    def has_prompted(self) -> bool:
        """Tell whether anything has asked for the user's password."""
        return (self.home / "prompted").exists()

    def close(self) -> None:
        """End the bus and all that it started, and remove the home."""
        self.continue_process()
        ours = {process.pid for process in self._processes}
        others = [pid for pid in (self.pid(), self._prompter()) if pid is not None and pid not in ours]
        for process in self._processes:
            process.terminate()
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for process in self._processes:
            process.wait(DEADLINE_S)
        self._await("the end of what the bus started", lambda: not any(_is_running(pid) for pid in others))
        shutil.rmtree(self.home)

    def _spawn(self, *command: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        # There is no such display: but with one named, the keyring believes that it can ask.
        environment = {**self.session_env, "PATH": os.environ["PATH"], "DISPLAY": ":99", **self._preloaded}
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, env=environment)
        self._processes.append(process)
        return process

    def _connect(self) -> DBusConnection:
        return open_dbus_connection(self.env["DBUS_SESSION_BUS_ADDRESS"])

    def _connect_to_keyring(self) -> DBusConnection:
        """Connect as the daemon does: what asks for a collection at once can end gnome-keyring (decision 2)."""
        connection = self._connect()
        _introduce(connection)
        return connection

    def _keyring(self) -> int:
        pid = self.pid()
        assert pid is not None, "no keyring runs in this lab"
        return pid

    def _prompter(self) -> int | None:
        return int((self.home / "prompted").read_text()) if self.has_prompted() else None

    def _is_locked(self) -> bool | None:
        try:
            with closing(self._connect_to_keyring()) as connection:
                return secretstorage.Collection(connection).is_locked()
        except secretstorage.ItemNotFoundException:
            return None

    def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._stopped.add(pid)

    def _await(self, what: str, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_there():
            assert time.monotonic() < deadline, f"{what} did not come: {(self.home / 'log').read_text()}"
            time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
