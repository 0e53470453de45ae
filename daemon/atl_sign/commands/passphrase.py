"""
A passphrase or a token, from a person or a script: never an argument, never in the environment, never shown.

It is asked on the terminal; without one by the program that `SSH_ASKPASS` names, or by pinentry.
Scripts bring it by standard input.
"""

import os
import select
import signal
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from atl_sign.commands.calling import CommandError
from atl_sign.commands.programs import find_program

_LINE_BYTES_MAX = 65536
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Asker:
    """Where passphrases come from in this run."""

    def __init__(self, environment: Mapping[str, str], *, from_stdin: bool, what: str = "passphrase") -> None:
        """Ask in *environment* for *what*, or read each *from_stdin*, a line."""
        self._what = what
        self._environment = environment
        self._from_stdin = from_stdin

    def ask(self, prompt: str) -> bytes:
        """Return the answer to *prompt*, not empty; raises CommandError."""
        passphrase = self._read(prompt)
        if not passphrase:
            raise CommandError(f"the {self._what} is empty; nothing was changed")
        return passphrase

    def ask_new(self) -> bytes:
        """Return a new passphrase: a person types it twice; raises CommandError."""
        passphrase = self.ask("New passphrase of the atl-sign store: ")
        if not self._from_stdin and self.ask("Once more: ") != passphrase:
            raise CommandError("the two are not the same; nothing was changed")
        return passphrase

    def _read(self, prompt: str) -> bytes:
        if self._from_stdin:
            return _read_line()
        try:
            terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return self._ask_program(prompt)
        try:
            return _ask_terminal(terminal, prompt)
        finally:
            os.close(terminal)

    def _ask_program(self, prompt: str) -> bytes:
        program = self._environment.get("SSH_ASKPASS")
        if program:
            done = self._call([program, prompt])
            if done.returncode != 0:
                raise CommandError(f"no {self._what} was given")
            return done.stdout.rstrip(b"\n")
        pinentry = find_program(self._environment, "pinentry")
        if pinentry is None:
            hint = "name a program in SSH_ASKPASS, install pinentry, or use --stdin"
            raise CommandError(f"there is no terminal to ask for the {self._what} on", hint)
        # The Assuan protocol, of which we need four lines.
        asked = f"SETDESC atl-sign\nSETPROMPT {prompt.removesuffix(': ')}\nGETPIN\nBYE\n"
        said = self._call([pinentry], asked.encode(), stderr=subprocess.DEVNULL).stdout
        pins = [line[2:] for line in said.split(b"\n") if line.startswith(b"D ")]
        if not pins:
            hint = "where pinentry cannot ask, name a program in SSH_ASKPASS, or use --stdin"
            raise CommandError(f"no {self._what} was given", hint)
        # It escapes only these three.
        return pins[-1].replace(b"%0A", b"\n").replace(b"%0D", b"\r").replace(b"%25", b"%")

    def _call(self, command: list[str], text: bytes = b"", **more: Any) -> "subprocess.CompletedProcess[bytes]":
        """Run *command* with *text* as its input, for as long as the person takes; raises CommandError when it cannot be run."""
        try:
            return subprocess.run(command, env=dict(self._environment), input=text, stdout=subprocess.PIPE, check=False, **more)
        except OSError as exc:
            raise CommandError(f"no {self._what} was given: {command[0]} cannot be run: {exc.strerror}") from exc


def _read_line() -> bytes:
    """Return the next line of standard input; raises CommandError when there is none."""
    line = bytearray()
    # Byte by byte: what follows is for the next question, or another program.
    while (byte := os.read(0, 1)) not in (b"", b"\n") and len(line) < _LINE_BYTES_MAX:
        line += byte
    if not byte and not line:
        raise CommandError("standard input holds no passphrase")
    return bytes(line).replace(b"\0", b"")


def _ask_terminal(terminal: int, prompt: str) -> bytes:
    with _without_echo(terminal), _signals_in_a_pipe() as signals:
        os.write(terminal, prompt.encode())
        try:
            # A signal that comes just before a read does not interrupt it: Python's handlers would wait for the person's line.
            select.select([terminal, signals], [], [])
            line = os.read(terminal, _LINE_BYTES_MAX)
        finally:
            os.write(terminal, b"\n")
    return line.removesuffix(b"\n")


@contextmanager
def _signals_in_a_pipe() -> Iterator[int]:
    """Give the end of a pipe that can be read as soon as a signal has come."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)  # set_wakeup_fd asks for it
    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(before)
        os.close(readable)
        os.close(writable)


@contextmanager
def _without_echo(terminal: int) -> Iterator[None]:
    """Take the echo away, and put it back, also when a signal ends the process."""
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~termios.ECHO

    def end(number: int, _frame: FrameType | None) -> None:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    handlers = {number: signal.getsignal(number) for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    for number in handlers:
        signal.signal(number, end)
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
