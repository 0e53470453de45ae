"""Another program called: without an input, in the C locale, and only until its deadline."""

import shutil
import subprocess
from collections.abc import Mapping

from atl_sign.base.errors import AtlSignError

PROGRAM_S = 5.0  # to print something
COMMAND_S = 60.0  # to do something


class ProgramError(AtlSignError):
    """A program is not there, cannot be run, does not end, or fails; says so, and in `hint` what to do."""


def find_program(environment: Mapping[str, str], name: str) -> str | None:
    """Return the path of the program called *name* on the PATH of *environment*."""
    return shutil.which(name, path=environment.get("PATH", ""))


def call_program(
    environment: Mapping[str, str], name: str, *arguments: str, timeout_s: float = COMMAND_S, may_fail: bool = False
) -> "subprocess.CompletedProcess[str]":
    """
    Run the program called *name* to its end.

    Args:
        environment: the program's, but for its locale; names the PATH.
        name: without a folder.
        arguments: the program's.
        timeout_s: after which it is ended.
        may_fail: return also what ended with another status than 0.

    Raises:
        ProgramError: it is not there, cannot be run, takes longer, or fails though it must not.
    """
    command = find_program(environment, name)
    shown_command = " ".join([name, *arguments])
    by_hand = f"try it by hand: {shown_command}"
    if command is None:
        raise ProgramError(f"there is no {name} here", f"install {name}, or correct PATH")
    try:
        done = subprocess.run(
            [command, *arguments],
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ProgramError(f"{shown_command} does not end", "look whether the machine is busy, then try again") from exc
    except OSError as exc:
        raise ProgramError(f"{command} cannot be run: {exc.strerror}", by_hand) from exc
    if done.returncode != 0 and not may_fail:
        raise ProgramError(f"{shown_command} failed: {first_line(done.stderr)}", by_hand)
    return done


def run_program(environment: Mapping[str, str], name: str, *arguments: str) -> str | None:
    """Return what the program called *name* prints; None when it is not there, fails, or takes over five seconds."""
    try:
        return call_program(environment, name, *arguments, timeout_s=PROGRAM_S).stdout
    except ProgramError:
        return None


def first_line(complaint: str) -> str:
    """Return the first line of what a program complained."""
    return complaint.strip().partition("\n")[0] or "it said nothing"
