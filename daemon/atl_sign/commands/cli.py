"""The command line of the daemon's own process: `atl-signd`."""

import gc
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from atl_sign import __version__
from atl_sign.base.terminal import complain, say
from atl_sign.commands.command_line import CommandLine, UsageError, read_line, show_help, suggest
from atl_sign.commands.table.handed_over import HANDED_OVER
from atl_sign.commands.table.rows import usage_of

_USAGE = 2
_NO_DAEMON = 3  # as the clients' own status for that
_GC_WHILE_LOADING = (100_000, 50, 1_000)  # by default the garbage collector runs dozens of times, a tenth of the start
_EX_CONFIG = 78  # sysexits.h: trying again does not help, which our unit tells systemd


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `atl-signd`; returns its exit status: 0 done, 1 refused, 2 usage, 3 no daemon."""
    file_size = _allow_large_files()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller may ignore it; then a program that fails seems to succeed
    # All files that we make are only for our user, and an inherited umask could even keep us from our own folders.
    umask = os.umask(0o077)
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if name == "sandbox":  # it has options of its own
        from atl_sign.sandbox.__main__ import main as run_sandbox

        return run_sandbox(given[1:])
    if name == "--version":
        from atl_sign.server.installed import read_build

        say(f"atl-signd {__version__} ({read_build()})")
        return 0
    if name in ("-h", "--help", ""):
        say(*_list_commands(), out=sys.stdout if name else sys.stderr)
        return 0 if name else _USAGE
    command = HANDED_OVER.get(name)
    if command is None:
        complain("atl-signd", f"there is no command {name}{suggest(name, HANDED_OVER, 'atl-signd ')}", "atl-signd --help")
        return _USAGE
    try:
        line = read_line(command, given[1:])
        if line.wants_help:
            say(*show_help(command).split("\n"))
            return 0
        if name == "run":
            return _run_run(line, umask, file_size)
        return _RUN[name](line)
    except UsageError as exc:
        complain("atl-sign", exc)
        say(*exc.usage.split("\n"), out=sys.stderr)
        return _USAGE


def _list_commands() -> list[str]:
    """Return what `--help` prints: the commands that only this program has a page for."""
    rows = [row for row in HANDED_OVER.values() if row.page == "atl-signd"]
    lines = [f"  {row.name:12}{row.summary}" for row in rows]
    head = ["usage: atl-signd COMMAND …", "", "The daemon of atl-sign, and what belongs to its own process.", ""]
    return [*head, *lines, "", "atl-signd COMMAND --help prints what a command takes, --version the version."]


def _run_doctor(line: CommandLine) -> int:
    from atl_sign.commands.doctor.examine import run_doctor

    if line.has("--redact") and not line.has("--report"):
        raise UsageError("--redact goes with --report", usage_of(HANDED_OVER["doctor"]))
    name = line.words[0] if line.words else None
    return run_doctor(os.environ, name, as_json=line.has("--json"), report=line.get("--report"), redact=line.has("--redact"))


def _run_setup(line: CommandLine) -> int:
    from atl_sign.commands.setup_guide import run_setup

    return run_setup(os.environ, line.words[0] if line.words else None)


def _run_stop(_line: CommandLine) -> int:
    from atl_sign.commands.stopping import run_stop

    return run_stop(os.environ)


def _run_restart(_line: CommandLine) -> int:
    from atl_sign.commands.stopping import run_restart

    return run_restart(os.environ)


def _run_service(line: CommandLine) -> int:
    from atl_sign.commands.service.run import run_service

    return run_service(line.form.verb, os.environ, as_json=line.has("--json"))


def _run_demo(line: CommandLine) -> int:
    from atl_sign.commands.demo import run_demo

    return run_demo(may_open_browser=not line.has("--no-browser"))


def _run_git(line: CommandLine) -> int:
    from atl_sign.commands.git_setup import run_git

    return run_git(os.environ, line.form.verb, line.words[0], as_json=line.has("--json"))


def _run_lease(line: CommandLine) -> int:
    from atl_sign.commands.lease import run_lease

    if line.form.verb == "log":
        return _run_lease_log(line)
    return run_lease(os.environ, line)


def _run_lease_log(line: CommandLine) -> int:
    from atl_sign.commands.calling import FAILURES, report
    from atl_sign.commands.leases import find_lease_id

    try:
        lease = find_lease_id(os.environ, line.words[0], as_json=line.has("--json"))
    except FAILURES as exc:
        return report(exc)
    return _run_log(line, lease)


def _run_why(line: CommandLine) -> int:
    from atl_sign.commands.why import run_why

    return run_why(os.environ, line.words[0] if line.words else None, as_json=line.has("--json"))


def _run_run(line: CommandLine, umask: int, file_size: tuple[int, int]) -> int:
    from atl_sign.commands.run import Inherited, run_with_lease

    limits = {resource.RLIMIT_FSIZE: file_size, resource.RLIMIT_CORE: resource.getrlimit(resource.RLIMIT_CORE)}
    _keep_no_core()
    return run_with_lease(os.environ, line, Inherited(umask, limits))


def _run_unlock(line: CommandLine) -> int:
    from atl_sign.commands.unlock import run_unlock

    _keep_no_core()
    new, change = line.has("--new"), line.has("--change")
    if line.has("--key") and (new or change):
        raise UsageError("--new and --change are for the store, --key for a token", usage_of(HANDED_OVER["unlock"]))
    if line.has("--try-again") and not line.has("--key"):
        raise UsageError("--try-again goes with --key", usage_of(HANDED_OVER["unlock"]))
    if line.has("--key"):
        from atl_sign.commands.unlock import run_unlock_key

        return run_unlock_key(
            os.environ,
            line.get("--key") or None,
            try_again=line.has("--try-again"),
            from_stdin=line.has("--stdin"),
            as_json=line.has("--json"),
        )
    return run_unlock(os.environ, new=new, change=change, from_stdin=line.has("--stdin"), as_json=line.has("--json"))


def _run_ask(line: CommandLine) -> int:
    from atl_sign.commands.ask import run_ask

    _keep_no_core()
    return run_ask(os.environ, line.words[0])


def _run_qr(line: CommandLine) -> int:
    from atl_sign.commands.qr import run_qr

    return run_qr(line.words[0])


def _run_store(line: CommandLine) -> int:
    from atl_sign.commands.store_move import run_store_move

    _keep_no_core()
    volatile, from_stdin = line.has("--volatile"), line.has("--stdin")
    return run_store_move(os.environ, line.words[0], volatile=volatile, from_stdin=from_stdin, as_json=line.has("--json"))


def _run_offer(_line: CommandLine) -> int:
    from atl_sign.commands.store_move import run_offer

    _keep_no_core()
    return run_offer(os.environ)


def _keep_no_core() -> None:
    """Let no file keep the secret that will be in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _allow_large_files() -> tuple[int, int]:
    """
    Raise an inherited file size limit, before Python writes what it compiles; returns it as it was.

    It leaves a file that it cannot write whole in parts (3.11); no later start can read it: `EOFError: marshal data too short`.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if hard != resource.RLIM_INFINITY:
        sys.dont_write_bytecode = True
    return before


def _descriptor(line: CommandLine, name: str) -> int | None:
    """Return the number of the file descriptor that the option *name* has, if it was given; raises UsageError."""
    text = line.get(name)
    if text is not None and not text.isdecimal():
        raise UsageError(f"option {name} needs a number", usage_of(HANDED_OVER["serve"]))
    return None if text is None else int(text)


def _descriptors(line: CommandLine, name: str) -> tuple[int, int] | None:
    """Return the two file descriptors that the option *name* has with a comma between, if it was given; raises UsageError."""
    text = line.get(name)
    if text is None:
        return None
    first, _, second = text.partition(",")
    if not first.isdecimal() or not second.isdecimal():
        raise UsageError(f"option {name} needs two numbers", usage_of(HANDED_OVER["serve"]))
    return int(first), int(second)


def _run_serve(line: CommandLine) -> int:
    key_fd, report_fd = _descriptor(line, "--key-fd"), _descriptor(line, "--report-fd")
    passed_on = _descriptors(line, "--passed-on")
    gc.set_threshold(*_GC_WHILE_LOADING)  # before the imports
    from atl_sign.base.variables import absolute_paths
    from atl_sign.server.listening import StartError, TakenError
    from atl_sign.server.process import end_past_waiting_threads
    from atl_sign.server.serve import serve

    os.environ.update(absolute_paths(os.environ))  # the daemon leaves this folder
    try:
        serve(os.environ, key_fd, passed_on, report_fd)
    except StartError as exc:
        complain("atl-signd", exc, exc.hint)
        if report_fd is not None:
            report = {"message": str(exc), "hint": exc.hint, "is_taken": isinstance(exc, TakenError)}
            os.write(report_fd, json.dumps(report).encode())
        return _EX_CONFIG if os.environ.get("NOTIFY_SOCKET") else 1
    end_past_waiting_threads()
    return 0


def _run_log(line: CommandLine, lease: str | None = None) -> int:
    from atl_sign.commands.log import LogFilter, NothingRecordedError, follow_log, parse_since, show_log

    since, as_json, follow = line.get("--since"), line.has("--json"), line.has("--follow")

    def write(text: str) -> None:
        say(text, flush=follow)

    try:
        moment = None if since is None else parse_since(since, datetime.now(UTC))
    except ValueError as exc:
        complain("atl-sign", exc, "write 30m, 2h or 7d, or a date like 2026-11-25")
        return 2
    wanted = LogFilter(line.get("--link"), moment, lease or line.get("--lease"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a path may hold what the terminal's encoding has not
    position = None
    try:
        try:
            position = show_log(os.environ, wanted, as_json=as_json, write=write)
            sys.stdout.flush()
        except NothingRecordedError as exc:
            if not follow:
                complain("atl-sign", exc, exc.hint)
                return 1
        if follow:
            follow_log(os.environ, wanted, position, as_json=as_json, write=write)
        sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        return _end_quietly()
    except OSError as exc:
        what = "the output cannot be written" if exc.filename is None else f"{exc.filename} cannot be read"
        complain("atl-sign", f"{what}: {exc.strerror}", "atl-sign doctor")
        return _end_quietly(1)
    return 0


def _end_quietly(status: int = 0) -> int:
    """End as a program whose reader has seen enough: `| head` is not an error."""
    with suppress(OSError):  # not a file, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _run_autostart(_line: CommandLine) -> int:
    from atl_sign.base.variables import absolute_paths
    from atl_sign.commands.autostart import autostart
    from atl_sign.server.listening import StartError

    try:
        autostart({**os.environ, **absolute_paths(os.environ)})
    except StartError as exc:
        complain("atl-signd", exc, exc.hint)
        return _NO_DAEMON
    return 0


def _run_vault(line: CommandLine) -> int:
    from atl_sign.commands.vault import run_vault_policy

    key, store = line.get("--key"), line.get("--store")
    if key is None and store is None:
        raise UsageError("vault policy needs --key or --store", usage_of(HANDED_OVER["vault"]))
    if line.has("--make-key") and key is None:
        raise UsageError("--make-key goes with --key", usage_of(HANDED_OVER["vault"]))
    return run_vault_policy(key, store, makes_key=line.has("--make-key"))


_RUN: dict[str, Callable[[CommandLine], int]] = {
    "ask": _run_ask,
    "autostart": _run_autostart,
    "demo": _run_demo,
    "doctor": _run_doctor,
    "git": _run_git,
    "lease": _run_lease,
    "log": _run_log,
    "offer": _run_offer,
    "qr": _run_qr,
    "restart": _run_restart,
    "serve": _run_serve,
    "service": _run_service,
    "setup": _run_setup,
    "stop": _run_stop,
    "store": _run_store,
    "unlock": _run_unlock,
    "vault": _run_vault,
    "why": _run_why,
}

if __name__ == "__main__":
    sys.exit(main())
