"""What systemd does for a socket unit, as far as the tests need it: listen, start the daemon for who comes, start it again."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.lab import DEADLINE_S, Daemon, wait_for

SERVE = (sys.executable, "-m", "atl_sign.commands.cli", "serve")
# LISTEN_PID is the pid of the process itself, which a shell knows that then becomes it.
_WITH_PID = 'exec 3<&"$1"; shift; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'


class Activator:
    """Holds the listening socket of *lab*, whose daemon it starts when a connection waits, as often as it ends."""

    def __init__(self, lab: Daemon, command: Sequence[str] = SERVE) -> None:
        self.lab = lab
        self.pids: list[int] = []
        self.statuses: list[int] = []
        self._command = command
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.lab.socket.parent.mkdir(mode=0o700, exist_ok=True)
        self._listener.bind(str(self.lab.socket))
        self._listener.listen(1024)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(DEADLINE_S)
        self._listener.close()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start one daemon on the socket."""
        descriptor = self._listener.fileno()
        with self.lab.log.open("ab") as log:
            return subprocess.Popen(
                ["bash", "-c", _WITH_PID, "bash", str(descriptor), *self._command],
                env=self.lab.environment,
                cwd=self.lab.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
            )

    def _run(self) -> None:
        while not self._is_over.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            with self.spawn() as process:
                self.pids.append(process.pid)
                while process.poll() is None:
                    if self._is_over.is_set():
                        process.terminate()
                        process.wait(DEADLINE_S)
                        return
                    time.sleep(0.01)
                self.statuses.append(process.returncode)


class Manager:
    """The datagram socket of a service manager; keeps what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def read(self) -> list[str]:
        """Return every message so far."""
        while True:
            try:
                self.messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.messages

    def count(self, word: str) -> int:
        """Return how many messages begin with *word*."""
        return sum(message.startswith(word) for message in self.read())


def pid_in(lock: Path) -> int | None:
    """Return the pid of the daemon that has *lock*, if it runs."""
    text = lock.read_text().strip() if lock.exists() else ""
    return int(text) if text and Path(f"/proc/{text}").exists() else None


def end_autostarted(lab: Daemon) -> None:
    """End the daemon that is nobody's child any more, and remove its folder."""
    pid = pid_in(lab.socket.with_name(f"{lab.socket.name}.lock"))
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
    lab.close()
