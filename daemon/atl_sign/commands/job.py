"""A program in a process group of its own, with the terminal, as a shell's job control has it: stopped, continued, signalled."""

import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_PASSED_ON = {
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
    signal.SIGTSTP,
}
_STOPPING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Terminal:
    """The terminal that controls this process, as far as this process's group has it."""

    def __init__(self, descriptor: int) -> None:
        """Use the terminal that is open as *descriptor*."""
        self._descriptor = descriptor
        self._group = os.getpgrp()
        self._modes: list[Any] | None = termios.tcgetattr(descriptor) if self.is_ours else None

    @classmethod
    def open(cls) -> "Terminal | None":
        """Return the controlling terminal; None without one."""
        try:
            return cls(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        except (OSError, termios.error):
            return None

    @property
    def is_ours(self) -> bool:
        """Whether this process's group is in the foreground."""
        return self._foreground() == self._group

    def give_to(self, group: int) -> None:
        """Put *group* in the foreground. SIGTTOU must be held."""
        with suppress(OSError):  # the terminal has hung up, or the group has ended
            os.tcsetpgrp(self._descriptor, group)

    def take_from(self, group: int) -> None:
        """Put this process's group in the foreground if *group* is there, or one that has ended. SIGTTOU must be held."""
        foreground = self._foreground()
        if foreground == group or (foreground > 0 and not _exists(foreground)):
            self.give_to(self._group)

    def restore_modes(self) -> None:
        """Undo what a program that was killed did to the terminal, such as turning the echo off."""
        if self._modes is not None and self.is_ours:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._modes)

    def _foreground(self) -> int:
        try:
            return os.tcgetpgrp(self._descriptor)
        except OSError:
            return -1


@contextmanager
def held_signals() -> Iterator[set[signal.Signals]]:
    """
    Hold back every signal that a job is waited for with, for a `with`; gives the mask that the job's program needs.

    Signals that this process ignores stay ignored, in the program too: that is how nohup works.
    """
    wanted = {each for each in _PASSED_ON if signal.getsignal(each) != signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*wanted, signal.SIGCHLD, signal.SIGCONT, signal.SIGTTOU})
    try:
        yield {signal.Signals(each) for each in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Job:
    """A program that runs, the leader of its process group. Signals are held, as by `held_signals`."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: Terminal | None, *, has_terminal: bool) -> None:
        """Wait for *process*; it was given the *terminal* if *has_terminal*."""
        self._process = process
        self._group = process.pid
        self._terminal = terminal
        self._has_terminal = has_terminal

    def wait(self) -> int:
        """Return the exit status when the program has ended, 128+N after signal N; until then pass signals on to its group."""
        waited_for = signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {*_PASSED_ON, signal.SIGCHLD, signal.SIGCONT}
        while True:
            number = signal.sigwait(waited_for)
            if number == signal.SIGCONT:
                self._resume()
            elif number != signal.SIGCHLD:
                self._send(number)
            elif (status := self._take_status()) is not None:
                return status

    def _take_status(self) -> int | None:
        """Return the exit status; None while the program runs or is stopped."""
        while True:
            pid, status = os.waitpid(self._group, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return None
            if os.WIFSTOPPED(status):
                self._follow_stop(signal.Signals(os.WSTOPSIG(status)))
                continue
            code = self._process.returncode = os.waitstatus_to_exitcode(status)
            if self._terminal is not None:
                self._terminal.take_from(self._group)
                if code < 0:
                    self._terminal.restore_modes()
            return code if code >= 0 else 128 - code

    def _follow_stop(self, number: signal.Signals) -> None:
        """Stop too, so that the shell that started this process gets its terminal."""
        if self._terminal is None:
            return
        if number in (signal.SIGTTIN, signal.SIGTTOU) and self._terminal.is_ours:
            # In a pipeline the terminal is given only to a program that asks for it: others in the pipeline may read it.
            self._has_terminal = True
            self._resume()
            return
        self._terminal.take_from(self._group)
        number = number if number in _STOPPING else signal.SIGTSTP
        # The whole group, as ^Z would: a script that started this process must not go on waiting in the foreground.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        os.kill(0, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # here it stops
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Without a shell above, the kernel ignores it, and nobody else would continue the program.
        if number == signal.SIGTSTP and signal.SIGCONT not in signal.sigpending():
            self._resume()

    def _resume(self) -> None:
        if self._has_terminal and self._terminal is not None and self._terminal.is_ours:
            self._terminal.give_to(self._group)
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or became another user's
            os.killpg(self._group, number)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
