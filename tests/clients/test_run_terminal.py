"""`atl-sign run` at a terminal, below a shell with job control: who has the terminal, ^Z, `fg`, `bg` and ^C."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.terminal import Terminal, find_shell
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, wait_for

# The shell's terminal must control its session: then ^Z and ^C are signals.
CONTROLLED = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")
CTRL_C, CTRL_D, CTRL_Z = "\x03", "\x04", "\x1a"


@pytest.fixture(scope="module")
def jira(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon with a link."""
    with Daemon(fork_server, TERM="dumb", HISTFILE="/dev/null") as daemon:
        daemon.link(sandbox, "jira")
        yield daemon


@contextmanager
def shell(daemon: Daemon) -> Iterator[Terminal]:
    """A bash with job control, and a command `run` for what is tested."""
    command = [sys.executable, "-c", CONTROLLED, find_shell("bash"), "--norc", "--noprofile", "-i"]
    with Terminal(command, daemon.environment, daemon.folder) as terminal:
        terminal.type(f"PS1='~> '; run() {{ command bash {ATL_SIGN} run -- \"$@\"; }}; bind 'set enable-bracketed-paste off'\n")
        terminal.type("echo rea''dy\n")
        terminal.read_until(r"ready\r\n~> ")
        yield terminal


def state_of(pid: str) -> str:
    """The letter that proc(5) has for the process's state; T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def runs(pid: str) -> bool:
    try:
        return state_of(pid) != "Z"
    except OSError:
        return False


def parent_of(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]


def leases(daemon: Daemon) -> set[str]:
    """The states of the leases."""
    return {lease["state"] for lease in daemon.request("GET", "/leases").json["leases"]}


def test_stop_and_continue(jira: Daemon) -> None:
    """^Z stops both and gives the shell its terminal; fg continues both, and the program reads the terminal again."""
    with shell(jira) as terminal:
        terminal.type("run sh -c 'echo pid $$; exec cat'\n")
        pid = terminal.read_until(r"pid (\d+)\r\n")[1]
        above = parent_of(pid)
        terminal.type("one\n")
        terminal.read_until(r"one\r\none\r\n")

        terminal.type(CTRL_Z)
        terminal.read_until(r"Stopped.*?~> ")
        assert (state_of(pid), state_of(above)) == ("T", "T")
        assert leases(jira) == {"open"}

        terminal.type("fg\n")
        terminal.read_until(r"run sh.*?\r\n|bash .*?\r\n")
        wait_for(lambda: state_of(pid) == "S")
        assert state_of(above) != "T"
        terminal.type("two\n")
        terminal.read_until(r"two\r\ntwo\r\n")
        terminal.type(CTRL_Z)
        terminal.read_until(r"Stopped.*?~> ")
        terminal.type("fg\n")
        terminal.type("three\n")
        terminal.read_until(r"three\r\n")  # typed ahead, it may not be echoed

        terminal.type(CTRL_D)
        terminal.read_until("~> ")
        terminal.type("echo status $?\n")
        terminal.read_until(r"status 0\r\n")
    assert "open" not in leases(jira)


def test_interrupt_goes_to_the_program(jira: Daemon) -> None:
    """Which may handle it and go on; the one that does not ends with 130, and so does `run`."""
    with shell(jira) as terminal:
        terminal.type('run bash -c \'trap "echo cau""ght" INT; echo rea""dy; while read -r x; do echo "got <$x>"; done\'\n')
        terminal.read_until(r"ready\r\n")
        terminal.type(CTRL_C)
        terminal.read_until(r"caught\r\n")
        terminal.type("go\n")
        terminal.read_until(r"got <go>\r\n")
        terminal.type(CTRL_D)
        terminal.read_until("~> ")
        terminal.type("echo status $?\n")
        terminal.read_until(r"status 0\r\n")

        terminal.type("run sleep 60.1\n")
        wait_for(lambda: "open" in leases(jira))
        terminal.read_until(r"sleep 60.1\r\n")
        wait_for(lambda: "sleep\x0060.1\0" in command_lines())
        terminal.type(CTRL_C)
        terminal.read_until("~> ")
        terminal.type("echo status $?\n")
        terminal.read_until(r"status 130\r\n")
    assert "open" not in leases(jira)


def command_lines() -> list[str]:
    """Return those of every process; other tests have theirs, and what starts a program has the program's at its end."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return found


def test_a_program_in_the_background_goes_on(jira: Daemon) -> None:
    """bg continues it without the terminal; when it reads, it is stopped until fg."""
    with shell(jira) as terminal:
        terminal.type("run sh -c 'echo pid $$; read -r x; echo \"got <$x>\"; exit 3'\n")
        pid = terminal.read_until(r"pid (\d+)\r\n")[1]
        terminal.type(CTRL_Z)
        terminal.read_until(r"Stopped.*?~> ")

        terminal.type("bg\n")
        terminal.read_until("~> ")
        wait_for(lambda: state_of(pid) == "T" and state_of(parent_of(pid)) == "T")  # it reads
        terminal.type("echo still''here\n")  # the shell has its terminal
        terminal.read_until(r"stillhere\r\n")

        terminal.type("fg\n")
        wait_for(lambda: state_of(pid) == "S")
        terminal.type("words\n")
        terminal.read_until(r"got <words>\r\n")
        terminal.read_until("~> ")
        terminal.type("echo status $?\n")
        terminal.read_until(r"status 3\r\n")


def test_started_in_the_background(jira: Daemon) -> None:
    """It does not take the terminal from the shell, and may write to it."""
    with shell(jira) as terminal:
        terminal.type("run sh -c 'echo wro''te; sleep 0.2' &\n")
        terminal.read_until(r"wrote\r\n")
        terminal.type("echo status $?\n")
        terminal.read_until(r"status 0\r\n")
        terminal.type("wait; echo over $?\n")
        terminal.read_until(r"over 0\r\n")


def test_in_a_pipeline_the_others_have_the_terminal_too(jira: Daemon) -> None:
    """A pager behind it can read keys; the program gets the terminal when it asks for it."""
    with shell(jira) as terminal:
        terminal.type('run echo out | { read -r x; read -r y </dev/tty; echo "pager <$x> <$y>"; }\n')
        terminal.read_until(r"\r\n")
        terminal.type("key\n")
        terminal.read_until(r"pager <out> <key>\r\n")

        terminal.type("run sh -c 'echo 1; read -r x </dev/tty; echo \"program <$x>\"' | cat\n")
        terminal.read_until(r"\r\n1\r\n")
        terminal.type("key\n")
        terminal.read_until(r"program <key>\r\n")
        terminal.read_until("~> ")
        terminal.type("run sleep 60.2 | cat\n")
        terminal.read_until(r"\r\n")
        wait_for(lambda: "sleep\x0060.2\0" in command_lines())
        terminal.type(CTRL_C)
        terminal.read_until("~> ")
        terminal.type("echo status $?\n")
        terminal.read_until(r"status \d+\r\n")


def test_without_a_shell_above_nothing_is_stopped(jira: Daemon) -> None:
    """As in `ssh -t HOST atl-sign run …`: nobody could continue it, and ^Z is ignored as for any program."""
    command = [sys.executable, "-c", CONTROLLED, "bash", ATL_SIGN, "run", "--", "sh", "-c", "echo pid $$; exec cat"]
    with Terminal(command, jira.environment, jira.folder) as terminal:
        pid = terminal.read_until(r"pid (\d+)\r\n")[1]
        terminal.type("one\n")
        terminal.read_until(r"one\r\none\r\n")
        terminal.type(CTRL_Z)
        wait_for(lambda: state_of(pid) == "S")
        terminal.type("two\n")
        terminal.read_until(r"two\r\ntwo\r\n")
        terminal.type(CTRL_D)
        wait_for(lambda: "open" not in leases(jira))


def test_the_terminal_is_as_before_when_the_program_is_killed(jira: Daemon) -> None:
    """Its echo is on again, and the shell has it."""
    with shell(jira) as terminal:
        terminal.type("stty -a | grep -o ' -\\?echo '\n")
        assert terminal.read_until(r"\r\n (-?echo) \r\n")[1] == "echo"
        terminal.type("run sh -c 'stty -echo -icanon; kill -9 $$'; stty -a | grep -o ' -\\?echo '\n")
        assert terminal.read_until(r"\r\n (-?echo) \r\n")[1] == "echo"
        terminal.type("run no-such-program; echo status $?\n")
        terminal.read_until(r"status 127\r\n")


def test_control_characters_of_a_lease_do_not_reach_the_terminal(jira: Daemon) -> None:
    """Of a purpose, in the list and alone."""
    with shell(jira) as terminal:
        terminal.type(f"bash {ATL_SIGN} lease new --name escape --purpose $'a\\e[31mb\\nid: c\\r' && echo d''one\n")
        shown = terminal.read_until(r"^.*?done\r\n")[0]
        terminal.type(f"bash {ATL_SIGN} lease list; bash {ATL_SIGN} lease show escape; bash {ATL_SIGN} lease revoke escape\n")
        shown += terminal.read_until(r"^.*?revoked \w+ \(escape\)\r\n")[0]

    assert shown.count("a\\u001b[31mb\\nid: c\\r") == 3
    assert not re.search(r"[\x00-\x08\x0e-\x1f]", shown)


def test_a_terminal_that_hangs_up_ends_both(jira: Daemon) -> None:
    """As when a window is closed: with a shell above, and without one."""
    plain = [sys.executable, "-c", CONTROLLED, "bash", ATL_SIGN, "run", "--", "sh", "-c", "echo pid $$; exec sleep 60"]
    with Terminal(plain, jira.environment, jira.folder) as terminal:
        pid = terminal.read_until(r"pid (\d+)\r\n")[1]
        above = parent_of(pid)
        terminal.hang_up()
        wait_for(lambda: not (runs(pid) or runs(above)))
        wait_for(lambda: "open" not in leases(jira))
    with shell(jira) as terminal:
        terminal.type("run sh -c 'echo pid $$; exec sleep 60'\n")
        pid = terminal.read_until(r"pid (\d+)\r\n")[1]
        above = parent_of(pid)
        terminal.hang_up()
        wait_for(lambda: not (runs(pid) or runs(above)))
        wait_for(lambda: "open" not in leases(jira))
