"""Somebody at a terminal, who types what is asked for; `setsid --ctty` gives the command a terminal of its own."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

DEADLINE_S = 60.0


class Person:
    """One command in a pseudo-terminal."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            ["env", "--default-signal", "setsid", "--wait", "--ctty", *command],  # under nohup, signals are ignored
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""
        self._from = 0  # what stands before is used up

    def answer(self, question: str, text: str) -> None:
        """Type *text* when *question*, a pattern, was asked."""
        self.read_until(question)
        self.type(f"{text}\n")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + DEADLINE_S
        while not (match := re.search(pattern, self.seen[self._from :], re.S)):
            ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"waited for {pattern!r}, got {self.seen!r}"
            try:
                part = os.read(self._master, 65536)
            except OSError:  # the other end is closed
                part = b""
            assert part, f"waited for {pattern!r}, and it ended after {self.seen!r}"
            self.seen += part.decode(errors="replace").replace("\r\n", "\n")
        self._from += match.end()
        return match

    def has_echo(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def finish(self) -> int:
        """Read to the end, and return the exit status."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"it does not end after {self.seen!r}"
            try:
                part = os.read(self._master, 65536)
            except OSError:
                break
            if not part:
                break
            self.seen += part.decode(errors="replace").replace("\r\n", "\n")
        os.close(self._master)
        return self._process.wait(DEADLINE_S)
