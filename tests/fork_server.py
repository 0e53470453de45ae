"""
A process that has imported the program once and forks a daemon or a `doctor` for each test that asks.

Imports are 1.1 of a daemon's 1.3 CPU seconds.
`ForkServer` is the tests' side; `python -m tests.fork_server FD` is the process, which runs no thread and so may fork.
What the interpreter itself reads at its start (PYTHON*, LD_PRELOAD, the locale) is the server's, not the test's.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

_ANSWER_S = 60.0
_MESSAGE_BYTES = 1 << 17


class ForkedProcess:
    """One forked daemon, with what the tests use of `subprocess.Popen`."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._taking = threading.Lock()
        self._ended = os.pidfd_open(
            pid
        )  # readable once it has ended; until the server has asked for its status the pid is its own

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._take_status()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; raises subprocess.TimeoutExpired after *timeout* seconds."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("atl-signd serve", timeout or 0)
            self._take_status()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _take_status(self) -> None:
        with self._taking:  # a test may wait in two threads
            if self.returncode is None:
                self.returncode = self._server.ask({"status": self.pid})
                os.close(self._ended)


class ForkServer:
    """The server process, started with the first daemon that is asked for; a context manager that ends it."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._ours: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours is not None and self._process is not None:
            self._ours.close()
            self._process.wait(_ANSWER_S)

    def start(self, arguments: list[str], environment: Mapping[str, str], folder: Path, log: Path) -> ForkedProcess:
        """Return a new process that runs `atl-signd` with *arguments*, its output at the end of *log*."""
        return self._fork(arguments, environment, folder, (log, log))

    def run(
        self, arguments: list[str], environment: Mapping[str, str], folder: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `atl-signd` with *arguments* to its end; raises subprocess.TimeoutExpired after *timeout* seconds."""
        with tempfile.TemporaryDirectory() as outside:
            output, errors = Path(outside, "output"), Path(outside, "errors")
            process = self._fork(arguments, environment, folder, (output, errors))
            try:
                status = process.wait(timeout)
            finally:
                process.kill()
                process.wait()
            return subprocess.CompletedProcess(["atl-signd", *arguments], status, output.read_text(), errors.read_text())

    def _fork(
        self, arguments: list[str], environment: Mapping[str, str], folder: Path, outputs: tuple[Path, Path]
    ) -> ForkedProcess:
        asked = {
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder),
            "outputs": [str(output) for output in outputs],
        }
        return ForkedProcess(self, self.ask(asked))

    def ask(self, asked: Mapping[str, Any]) -> int:
        """Send one message; returns the number that comes back."""
        with self._asking:
            if self._ours is None:
                self._begin()
            assert self._ours is not None
            self._ours.send(json.dumps(asked).encode())
            answer = self._ours.recv(_MESSAGE_BYTES)
        assert answer, "the fork server has ended"
        return int(json.loads(answer))

    def _begin(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(_ANSWER_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "LANG": "C.UTF-8"},
                cwd=Path(__file__).parent.parent,
            )


def serve(connection: socket.socket) -> int:
    """Fork until the tests' side hangs up; returns the exit status, of a forked daemon in its own process."""
    import atl_sign.api.app
    import atl_sign.commands.doctor.examine
    import atl_sign.providers.who_am_i
    import atl_sign.server.serve  # noqa: F401 # all for the children

    # What is never collected is neither copied page by page nor torn down one by one in a child: half of its CPU time.
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a process with threads must not fork"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while asked := connection.recv(_MESSAGE_BYTES):
        message = json.loads(asked)
        if "status" in message:
            _, status = os.waitpid(message["status"], 0)  # the asker has seen its end
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                connection.close()
                return _run(**message)
        connection.send(json.dumps(answer).encode())
    return 0


def _run(arguments: list[str], environment: dict[str, str], folder: str, outputs: list[str]) -> int:
    from atl_sign.commands.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for module, constants in json.loads(environment.pop("TESTS_CONSTANTS", "{}")).items():
        vars(import_module(module)).update(constants)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    for descriptor, path in enumerate(outputs, start=1):
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, descriptor)
        os.close(output)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))
