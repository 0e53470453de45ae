"""`atl-sign stop` and `restart`: a daemon that was started by a client, by hand, by systemd; none; and what is no daemon."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.activation import end_autostarted, pid_in
from tests.lab import REPOSITORY, Daemon, wait_for
from tests.ordinary_user import as_ordinary_user

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
ENDED = "the daemon has ended; the next command starts it again\n"
# Plays the user manager that has our socket active, and whose service is the process in the file `service`.
SYSTEMCTL = r"""#!/bin/bash
printf '%s\n' "$*" >>"$LAB/calls"
case "$*" in
*' show '*.socket) echo ActiveState=active ;;
*' show '*.service) if [[ -e $LAB/service ]]; then echo ActiveState=active; else echo ActiveState=inactive; fi ;;
*' stop atl-signd.service') [[ ! -e $LAB/service ]] || { kill "$(<"$LAB/service")" && rm "$LAB/service"; } ;;
esac
"""


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder without a daemon, where clients may start one."""
    made = Daemon(ATL_SIGN_AUTOSTART="1")
    yield made
    end_autostarted(made)


def run(lab: Daemon, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ATL_SIGN, *arguments], env={**lab.environment, **environment}, capture_output=True, text=True, timeout=60
    )


def pid_of(lab: Daemon) -> int | None:
    return pid_in(lab.socket.with_name(f"{lab.socket.name}.lock"))


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or waits only for its parent to see that."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_stop_returns_when_the_daemon_has_gone(lab: Daemon) -> None:
    """Socket and process; the twin: none runs, which is no failure; then the next command starts another."""
    assert run(lab, "stop").stdout == f"no daemon runs at {lab.socket}\n"
    first = json.loads(run(lab, "status", "--json").stdout)["pid"]

    done = run(lab, "stop")

    assert (done.returncode, done.stdout, done.stderr) == (0, ENDED, "")
    assert has_ended(first)
    assert not lab.socket.exists()
    again = run(lab, "stop")
    assert (again.returncode, again.stdout, again.stderr) == (0, f"no daemon runs at {lab.socket}\n", "")
    assert json.loads(run(lab, "status", "--json").stdout)["pid"] != first


def test_restart_starts_it_with_this_environment(lab: Daemon) -> None:
    """Also where none ran; what it prints is how the new one is."""
    started = run(lab, "restart")
    first = pid_of(lab)
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout == f"atl-signd 0.1.0 answers at {lab.socket}: pid {first}, store memory ready\n"

    again = run(lab, "restart", ATL_SIGN_STORE="file")

    assert again.stdout == f"atl-signd 0.1.0 answers at {lab.socket}: pid {pid_of(lab)}, store file locked\n"
    assert pid_of(lab) != first


def test_restart_ends_nothing_that_it_may_not_start_again(lab: Daemon) -> None:
    """ATL_SIGN_AUTOSTART=0: the daemon goes on."""
    run(lab, "status")
    first = pid_of(lab)

    refused = run(lab, "restart", ATL_SIGN_AUTOSTART="0")

    assert (refused.returncode, "nothing was ended" in refused.stderr) == (1, True)
    assert (pid_of(lab), first is not None) == (first, True)


def test_restart_says_why_no_daemon_starts(lab: Daemon) -> None:
    """With the status of a client without one."""
    refused = run(lab, "restart", ATL_SIGN_STORE="nonsense")

    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("atl-sign: no store is called 'nonsense'\nhint: ")


def test_a_daemon_in_the_foreground_ends_with_status_0(daemon: Daemon) -> None:
    """As by ^C; here the one of the tests, which nobody else has started."""
    assert daemon.process is not None

    assert run(daemon, "stop").stdout == ENDED

    assert daemon.process.wait(10) == 0


def test_a_daemon_that_hangs_is_told_with_its_pid(daemon: Daemon) -> None:
    """A stopped process takes no SIGTERM; the hint's command ends it, and nothing else was harmed."""
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    program = (
        "import os; from atl_sign.commands import stopping; stopping.END_S = 0.5; raise SystemExit(stopping.run_stop(os.environ))"
    )
    try:
        refused = subprocess.run([sys.executable, "-c", program], env=daemon.environment, capture_output=True, text=True)
    finally:
        daemon.process.send_signal(signal.SIGCONT)

    pid = daemon.process.pid
    assert (refused.returncode, refused.stderr) == (
        1,
        f"atl-sign: the daemon with pid {pid} does not end\nhint: kill -9 {pid}\n",
    )


def test_another_program_on_the_socket_is_left_alone(lab: Daemon) -> None:
    """Ours, but no daemon; and with a lock file that names a process which is none of it."""
    lab.socket.parent.mkdir(mode=0o700)
    lock = lab.socket.with_name(f"{lab.socket.name}.lock")
    lock.write_text(f"{os.getppid()}\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(lab.socket))
        listener.listen()

        refused = run(lab, "stop")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"atl-sign: the process {os.getpid()} listens at {lab.socket}, and is not a daemon")
    lock.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's socket")
def test_a_lock_without_a_pid_gives_no_command_that_ends_the_shell(lab: Daemon) -> None:
    """`kill 0` would; a lock is held before its pid is in it."""
    lock = lab.socket.with_name(f"{lab.socket.name}.lock")
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        done = run(lab, "stop")

    assert done.returncode == 1
    assert done.stderr == (
        f"atl-sign: a daemon holds {lab.socket}, but does not listen there\nhint: see who has it: fuser {lock}\n"
    )


def test_another_users_daemon_is_left_alone(daemon: Daemon) -> None:
    """Whoever is told its socket: the daemon goes on."""
    daemon.folder.chmod(0o755)
    (daemon.folder / "run").chmod(0o755)
    daemon.socket.parent.chmod(0o755)
    daemon.socket.chmod(0o666)

    refused = subprocess.run(
        as_ordinary_user([sys.executable, "-m", "atl_sign.commands.cli", "stop"]),
        env={**daemon.environment, "HOME": "/nonexistent", "ATL_SIGN_SOCK": str(daemon.socket)},
        capture_output=True,
        text=True,
    )

    assert refused.returncode == 1, refused.stderr
    assert str(daemon.socket.parent) in refused.stderr
    assert "run this as the user whose daemon it is" in refused.stderr
    assert daemon.request("GET", "/status").status == 200


def test_systemds_service_is_stopped_by_systemd(daemon: Daemon) -> None:
    """The socket stays, nobody connects to it, and a service that does not run is not started to be stopped."""
    commands = daemon.folder / "commands"
    commands.mkdir()
    (commands / "systemctl").write_text(SYSTEMCTL)
    (commands / "systemctl").chmod(0o755)
    assert daemon.process is not None
    (daemon.folder / "service").write_text(str(daemon.process.pid))
    played = {"PATH": f"{commands}:{daemon.environment['PATH']}", "LAB": str(daemon.folder)}

    assert run(daemon, "stop", **played).stdout == ENDED
    wait_for(lambda: daemon.process is None or daemon.process.poll() is not None)
    with socket.socket(socket.AF_UNIX) as listener:  # systemd's own, which takes no connection here
        listener.bind(str(daemon.socket))
        listener.listen()
        assert run(daemon, "stop", **played).stdout == f"no daemon runs at {daemon.socket}\n"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()

    calls = (daemon.folder / "calls").read_text()
    assert calls.count("--user stop atl-signd.service") == 2
    assert "atl-signd.socket" not in calls.replace("show --property=ActiveState atl-signd.socket", "")
