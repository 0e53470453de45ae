"""The command line of the daemon's own process: `atl-signd`."""

import argparse
import gc
import io
import json
import logging
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from atl_sign import __version__
from atl_sign.base.terminal import ArgumentParser, complain, say

_NO_DAEMON = 3  # as the clients' own status for that
_LAST_THREADS_S = 0.3  # for those that are about to end
_GC_WHILE_LOADING = (100_000, 50, 1_000)  # by default the garbage collector runs dozens of times, a tenth of the start
_EX_CONFIG = 78  # sysexits.h: trying again does not help, which our unit tells systemd


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `atl-signd`; returns its exit status: 0 done, 1 refused, 2 usage, 3 no daemon."""
    _allow_large_files()
    os.umask(0o077)  # all that we make is for our user alone, and an inherited umask could even keep us from our own folders
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = ArgumentParser(prog="atl-signd", description="The daemon of atl-sign, and what belongs to its own process.")
    parser.add_argument("--version", action="version", version=f"atl-signd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, words: str, program: str = "atl-sign") -> argparse.ArgumentParser:
        # People type atl-sign, which hands over to us.
        listed: dict[str, Any] = {} if name in (*_CHECKS, "offer") else {"help": words}  # atl-sign's help has the others
        return commands.add_parser(name, **listed, description=f"{words[0].upper()}{words[1:]}.", prog=f"{program} {name}")

    serving = add("serve", "serve on the Unix socket until SIGTERM")
    serving.add_argument(
        "--key-fd", type=_descriptor, metavar="N", help="descriptor that gives the passphrase of the store's file"
    )
    serving.add_argument("--passed-on", type=_descriptors, help=argparse.SUPPRESS)  # from the version that ran before
    serving.add_argument("--report-fd", type=_descriptor, help=argparse.SUPPRESS)  # for autostart: why there is no daemon
    demo = add("demo", "sandbox, daemon, dance and signed curl in a throw-away folder")
    demo.add_argument("--no-browser", action="store_true", help="approve by itself even where a browser is")
    log = add("log", "the decisions that were recorded")
    log.add_argument("--follow", action="store_true", help="go on with what comes")
    log.add_argument("--link", metavar="NAME", help="of one link alone")
    log.add_argument("--since", metavar="TIME", help="30m, 2h or 7d ago, or a date or time like 2026-11-25T08:00 (UTC)")
    log.add_argument("--json", action="store_true", help="the lines as they were recorded")
    doctor = add("doctor", "what is wrong here, and the command that mends it")
    doctor.add_argument("name", nargs="?", metavar="NAME", help="look at this link alone")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.add_argument("--report", nargs="?", const="", metavar="FILE", help="write a bundle for a bug report, without secrets")
    doctor.add_argument("--redact", action="store_true", help="with --report: without hosts and paths")
    commands.add_parser("sandbox", help="a provider to try against", add_help=False)
    add("autostart", "start the daemon when none answers, and wait until it does; what clients call", "atl-signd")
    guide = add("setup", "from nothing to the first signed request: address, store, key, form, dance, check")
    guide.add_argument("name", nargs="?", metavar="NAME", help="the link to continue with")
    add("stop", "end the daemon; the next command starts it again")
    add("restart", "end the daemon and start it, for another version or another ATL_SIGN_STORE")
    service = add("service", "have systemd start it at log-in")
    service.add_argument("action", choices=("install", "uninstall", "status"), help="what to do")
    service.add_argument("--json", action="store_true", help="with status: print it as JSON")
    _add_calls(add)
    add("offer", "offer a store to a person at a terminal; what atl-sign calls when the daemon has none", "atl-signd")
    if given[:1] == ["sandbox"]:  # it has options of its own
        from atl_sign.sandbox.__main__ import main as run_sandbox

        return run_sandbox(given[1:])
    chosen, unknown = parser.parse_known_args(given)
    if unknown:
        commands.choices[chosen.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    if chosen.command in _CHECKS:
        _CHECKS[chosen.command](commands.choices[chosen.command], chosen)
    if chosen.command == "doctor" and chosen.redact and chosen.report is None:
        parser.error("--redact goes with --report")
    return _run(chosen)


def _add_calls(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that the bash command hands over because they ask for passphrases or change other programs' settings."""
    for name, usage, words in (
        ("git", "git setup NAME | git remove NAME", "let git authenticate to a Bitbucket"),
        ("unlock", "unlock [--new | --change] [--stdin]", "read the store again"),
        ("store", "store move BACKEND [--volatile] [--stdin]", "carry the secrets over to another store"),
    ):
        parser = add(name, words)
        parser.usage = f"atl-sign {usage}"
        parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
        parser.add_argument("--json", action="store_true", help="print the daemon's JSON answer")
        if name == "git":
            continue
        if name == "unlock":
            parser.add_argument("--new", action="store_true", help="make the file, with a passphrase of your choice")
            parser.add_argument("--change", action="store_true", help="give the file another passphrase")
        else:
            parser.add_argument("--volatile", action="store_true", help="needed for memory, which ends with the daemon")
        parser.add_argument("--stdin", action="store_true", help="read the passphrase from standard input, one line each")


def _check_git(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    verb = chosen.words[0] if chosen.words else None
    if verb is None:
        parser.error("git needs a verb: setup or remove")
    if verb not in ("setup", "remove"):
        parser.error(f"there is no git {verb}")
    if len(chosen.words) != 2:
        parser.error(f"git takes 2 argument(s), not {len(chosen.words)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", chosen.words[1]):
        parser.error("a link's name is up to 64 letters, digits, dots, dashes and underscores")


def _check_unlock(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    if chosen.words:
        parser.error(f"unlock takes 0 argument(s), not {len(chosen.words)}")
    if chosen.new and chosen.change:
        parser.error("--new and --change exclude each other")


def _check_store(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    if chosen.words[:1] != ["move"]:
        parser.error("store needs a verb: move")
    if len(chosen.words) != 2:
        parser.error("store move takes the store to move to")


_CHECKS = {"git": _check_git, "unlock": _check_unlock, "store": _check_store}


def _run(chosen: argparse.Namespace) -> int:
    """Run the command that was chosen; each imports what it needs, and no more."""
    if chosen.command == "serve":
        return _serve(chosen.key_fd, chosen.passed_on, chosen.report_fd)
    if chosen.command == "autostart":
        return _autostart()
    if chosen.command == "log":
        return _log(chosen.link, chosen.since, as_json=chosen.json, follow=chosen.follow)
    if chosen.command == "doctor":
        from atl_sign.commands.doctor.examine import run_doctor

        return run_doctor(os.environ, chosen.name, as_json=chosen.json, report=chosen.report, redact=chosen.redact)
    if chosen.command == "setup":
        from atl_sign.commands.setup_guide import run_setup

        return run_setup(os.environ, chosen.name)
    if chosen.command in ("git", "unlock", "store", "offer"):
        return _run_call(chosen)
    if chosen.command in ("stop", "restart"):
        from atl_sign.commands.stopping import run_restart, run_stop

        return (run_stop if chosen.command == "stop" else run_restart)(os.environ)
    if chosen.command == "service":
        from atl_sign.commands.service.run import run_service

        return run_service(chosen.action, os.environ, as_json=chosen.json)
    from atl_sign.commands.demo import run_demo

    return run_demo(may_open_browser=not chosen.no_browser)


def _run_call(chosen: argparse.Namespace) -> int:
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
    )  # no file of a passphrase in memory
    if chosen.command == "git":
        from atl_sign.commands.git_setup import run_git

        return run_git(os.environ, *chosen.words, as_json=chosen.json)
    if chosen.command == "unlock":
        from atl_sign.commands.unlock import run_unlock

        return run_unlock(os.environ, new=chosen.new, change=chosen.change, from_stdin=chosen.stdin, as_json=chosen.json)
    from atl_sign.commands.store_move import run_offer, run_store_move

    if chosen.command == "offer":
        return run_offer(os.environ)
    return run_store_move(os.environ, chosen.words[1], volatile=chosen.volatile, from_stdin=chosen.stdin, as_json=chosen.json)


def _allow_large_files() -> None:
    """
    Raise an inherited file size limit, before Python writes what it compiles.

    What it cannot write whole it leaves in parts (3.11), and no later start can read them: `EOFError: marshal data too short`.
    """
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if hard != resource.RLIM_INFINITY:
        sys.dont_write_bytecode = True


def _descriptor(text: str) -> int:
    """Return the number of a file descriptor; ValueError, which argparse tells, when it is none."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _descriptors(text: str) -> tuple[int, int]:
    """Return two of them, with a comma between; ValueError when it is anything else."""
    first, second = text.split(",")
    return _descriptor(first), _descriptor(second)


def _serve(key_fd: int | None, passed_on: tuple[int, int] | None, report_fd: int | None) -> int:
    gc.set_threshold(*_GC_WHILE_LOADING)  # before the imports
    from atl_sign.base.variables import absolute_paths
    from atl_sign.server.listening import StartError, TakenError
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
    _end_past_waiting_threads()
    return 0


def _log(link: str | None, since: str | None, *, as_json: bool, follow: bool) -> int:
    from atl_sign.commands.log import LogFilter, NothingRecordedError, follow_log, parse_since, show_log

    def write(text: str) -> None:
        say(text, flush=follow)

    try:
        wanted = LogFilter(link, None if since is None else parse_since(since, datetime.now(UTC)))
    except ValueError as exc:
        complain("atl-sign", exc, "write 30m, 2h or 7d, or a date like 2026-11-25")
        return 2
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
    """End as a program whose reader has seen enough: `| head` is no error."""
    with suppress(OSError):  # not a file, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _autostart() -> int:
    from atl_sign.base.variables import absolute_paths
    from atl_sign.commands.autostart import autostart
    from atl_sign.server.listening import StartError

    try:
        autostart({**os.environ, **absolute_paths(os.environ)})
    except StartError as exc:
        complain("atl-signd", exc, exc.hint)
        return _NO_DAEMON
    return 0


def _end_past_waiting_threads() -> None:
    """End the process at once when threads still wait for a provider; the interpreter would wait with them, up to `timeout_s`."""
    deadline = time.monotonic() + _LAST_THREADS_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                os._exit(0)  # as safe as a kill -9, after which nothing needs repair (design, section 8)


if __name__ == "__main__":
    sys.exit(main())
