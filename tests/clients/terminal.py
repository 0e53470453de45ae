"""A shell in a pseudo-terminal, and the commands and files that its completion meets: what a person at the keyboard gets."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import REPOSITORY

COMPLETION = REPOSITORY / "clients/completion"
DEADLINE_S = 20.0
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>]|\].*?(?:\x07|\x1b\\))")


class Terminal:
    """One interactive shell; type to it and read what stands between two marks."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        master, slave = pty.openpty()
        self._master = master
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(environment), cwd=folder, start_new_session=True
        )
        os.close(slave)
        self._seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def hang_up(self) -> None:
        """Close the terminal's other end; nothing can be typed or read any more."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        """Return the first match in what the shell prints from here on; what stands before it is used up."""
        deadline = time.monotonic() + DEADLINE_S
        while not (match := re.search(pattern, self._seen, re.S)):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._master], [], [], max(left, 0))
            assert ready, f"waited for {pattern!r}, got {self._seen!r}"
            self._seen += _ESCAPES.sub("", os.read(self._master, 65536).decode(errors="replace"))
        self._seen = self._seen[match.end() :]
        return match


def find_shell(name: str) -> str:
    """The path of a shell, which `make system-packages` installs."""
    path = shutil.which(name)
    assert path, f"{name} is not installed: make system-packages"
    return path
