"""
`atl-sign` started with signals ignored, as by nohup (SIGHUP), a script's `&` (SIGINT, SIGQUIT) or systemd (SIGPIPE).

A shell cannot take such a disposition back (POSIX, XCU 2.12), so that what it does must not need the signal.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.bad_daemons import BadDaemon
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, wait_for

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM)
LINES = (
    ("help",),
    ("link", "list"),
    ("header", "GET", "http://127.0.0.1:9/jira/rest"),
    ("curl", "-sS", "http://127.0.0.1:9/jira/rest"),
    ("curl", "--version"),
    ("check", "jira"),
    ("unlock",),
    ("lnk",),
)


def with_signals(ignored: Collection[signal.Signals]) -> Callable[[], None]:
    """What a child does before its program: ignore these, and have the rest as a shell at a terminal gives them."""

    def set_them() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    return set_them


@pytest.fixture(scope="module")
def daemon(fork_server: ForkServer) -> Iterator[Daemon]:
    """One with a link that no dance was done for, at an address where nobody answers."""
    made = Daemon(fork_server)
    made.config.parent.mkdir(parents=True)
    made.config.write_text('[links.jira]\nurl = "http://127.0.0.1:9/jira"\nconsumer_key = "me"\n')
    with made:
        yield made


def run(daemon: Daemon, line: tuple[str, ...], ignored: Collection[signal.Signals]) -> tuple[int, str, str]:
    done = subprocess.run(
        [ATL_SIGN, *line],
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=with_signals(ignored),
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_command_does_the_same(daemon: Daemon, line: tuple[str, ...]) -> None:
    """Output, messages and status, with all of them ignored at once."""
    expected = run(daemon, line, ())

    assert run(daemon, line, SIGNALS) == expected
    assert (expected[1] or expected[2]) != ""


def begin_dance(daemon: Daemon, ignored: Collection[signal.Signals]) -> "subprocess.Popen[str]":
    """Return a dance that waits for the browser."""
    process = subprocess.Popen(
        [ATL_SIGN, "dance", "jira", "--no-browser"],
        env=daemon.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=with_signals(ignored),  # noqa: PLW1509 - there are no threads
    )
    assert process.stderr is not None
    assert any("^C cancels" in line for line in process.stderr)
    return process


def dances(daemon: Daemon) -> int:
    return int(daemon.request("GET", "/status").json["dances"])


@pytest.mark.slow
def test_a_dance_survives_what_its_caller_ignores(sandbox: Sandbox, fork_server: ForkServer) -> None:
    """Under nohup the end of the terminal does not cancel it, and SIGTERM does; the twin: without nohup SIGHUP cancels it."""
    with Daemon(fork_server) as daemon:
        daemon.link(sandbox, "jira")
        kept = begin_dance(daemon, (signal.SIGHUP, signal.SIGINT))
        for number in (signal.SIGHUP, signal.SIGINT):
            kept.send_signal(number)
        time.sleep(0.3)  # nothing is to happen
        assert kept.poll() is None
        assert dances(daemon) == 1
        kept.send_signal(signal.SIGTERM)
        kept.communicate(timeout=60)
        assert kept.returncode == 128 + signal.SIGTERM
        wait_for(lambda: dances(daemon) == 0)

        ended = begin_dance(daemon, ())
        ended.send_signal(signal.SIGHUP)
        ended.communicate(timeout=60)

        assert ended.returncode == 128 + signal.SIGHUP
        wait_for(lambda: dances(daemon) == 0)


def curls_of(group: int) -> list[int]:
    """The processes of that session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("ignored", [(), SIGNALS], ids=["default", "ignored"])
def test_an_endless_answer_leaves_no_process_behind(ignored: Collection[signal.Signals]) -> None:
    """The curl that reads it is ended also when SIGTERM and SIGPIPE do nothing to it."""
    with BadDaemon("huge_chunked") as bad:
        process = subprocess.Popen(
            [ATL_SIGN, "status"],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "ATL_SIGN_SOCK": str(bad.socket), "ATL_SIGN_AUTOSTART": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=with_signals(ignored),  # noqa: PLW1509 - there are no threads
        )
        _, said = process.communicate(timeout=60)

        assert (process.returncode, "is not atl-signd" in said) == (3, True), said
        wait_for(lambda: curls_of(process.pid) == [])
