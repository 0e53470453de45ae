"""`atl-sign run`: a program with a lease that ends with it."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from atl_sign.base.terminal import complain
from atl_sign.commands.calling import FAILURES, Conversation, report
from atl_sign.commands.command_line import CommandLine
from atl_sign.commands.job import Job, Terminal, held_signals
from atl_sign.commands.lease_opening import open_lease, read_terms, revoke_quietly
from atl_sign.commands.table.lease import RUN
from atl_sign.commands.table.tools import Tool
from atl_sign.commands.tools import LinkOfLease, Pointed, choose_links, find_tool, pointed, show_products

NOT_STARTED = 125  # as env(1), timeout(1) and others have it
_NOT_RUNNABLE = 126
_NOT_FOUND = 127

_MAIN_SOCKET = "ATL_SIGN_SOCK"


@dataclass(frozen=True, slots=True)
class Inherited:
    """Properties of this process that it has changed, as they were; a program that it starts gets them so."""

    umask: int
    limits: Mapping[int, tuple[int, int]]  # by resource.RLIMIT_…

    def restore(self) -> None:
        """Bring them back; in the new process."""
        os.umask(self.umask)
        for kind, limit in self.limits.items():
            resource.setrlimit(kind, limit)


def run_with_lease(environment: Mapping[str, str], line: CommandLine, inherited: Inherited) -> int:
    """Run the program that *line* names, with a lease; returns its exit status, or 125, 126 or 127."""
    fields = read_terms(line, RUN) | {
        "entries": "\n".join(["http", "port", *(["sign"] if line.has("--sign") else [])]),
        "tunnel": "false" if line.has("--no-tunnel") else "true",
        # In a pid namespace, the daemon has another number for this process.
        "lives_with": "caller",
        # The other words of the command may hold secrets.
        "purpose": f"run {PurePath(line.words[0]).name}"[:100],
    }
    try:
        tool = find_tool(line.options["--tool"]) if line.has("--tool") else None
        daemon = Conversation(environment, as_json=False)
        # First: a product may take its time, and until the program runs, ^C ends this process at once.
        links = show_products(daemon, tool, line.get_all("--link")) if tool is not None else []
        if tool is not None:
            choose_links(tool, links)
        lease = open_lease(daemon, fields)
        with held_signals() as mask:
            try:
                with _pointed(tool, lease, links) as start:
                    removed = {_MAIN_SOCKET, *start.removed}
                    passed_on = {name: value for name, value in environment.items() if name not in removed}
                    variables = {**passed_on, **lease["env"], **start.variables}
                    return _run(line.words, variables, inherited, mask)
            finally:
                revoke_quietly(daemon, lease)
    except KeyboardInterrupt as exc:
        return report(exc)
    except FAILURES as exc:
        report(exc)
        return NOT_STARTED


def _pointed(tool: Tool | None, lease: Mapping[str, Any], links: Sequence[LinkOfLease]) -> AbstractContextManager[Pointed]:
    return nullcontext(Pointed({}, ())) if tool is None else pointed(tool, lease["url"], lease["secret"], links)


def _run(command: Sequence[str], variables: Mapping[str, str], inherited: Inherited, mask: set[signal.Signals]) -> int:
    terminal = Terminal.open()
    # Beside a pipe there may be others that read the terminal, such as a pager: then it is given when the program asks for it.
    has_terminal = terminal is not None and terminal.is_ours and os.isatty(0) and os.isatty(1)

    def prepare() -> None:  # in the new process
        if has_terminal and terminal is not None:
            terminal.give_to(os.getpid())
        inherited.restore()
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command line
            command,
            env=variables,
            close_fds=False,  # the caller may have opened some for it, such as <(…)
            process_group=0,
            preexec_fn=prepare,  # noqa: PLW1509 - there are no threads
        )
    except (OSError, subprocess.SubprocessError) as exc:
        if terminal is not None:
            terminal.take_from(-1)  # the new process had it, and has ended
        return _explain(command[0], exc)
    return Job(process, terminal, has_terminal=has_terminal).wait()


def _explain(name: str, exc: OSError | subprocess.SubprocessError) -> int:
    """Print why the program called *name* does not run; returns the exit status."""
    sys.stdout.flush()
    if isinstance(exc, FileNotFoundError):
        complain("atl-sign", f"there is no program {name}", "correct its name, or PATH")
        return _NOT_FOUND
    if isinstance(exc, OSError):
        complain("atl-sign", f"{name} cannot be run: {exc.strerror}", "check that it is a program, and that you may execute it")
        return _NOT_RUNNABLE
    complain("atl-sign", f"{name} cannot be started: {exc}")
    return NOT_STARTED
