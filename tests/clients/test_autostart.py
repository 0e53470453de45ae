"""Clients that find no daemon start one: one for all of them, which outlives them; and say why when none can be started."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.commands.autostart import LOG_BYTES_MAX
from atl_sign.sandbox import Sandbox
from tests.daemon.activation import end_autostarted, pid_in
from tests.lab import REPOSITORY, Daemon, wait_for

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder without a daemon, where clients may start one."""
    made = Daemon(ATL_SIGN_AUTOSTART="1")
    yield made
    end_autostarted(made)


def atl_sign(lab: Daemon, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ATL_SIGN), *arguments],
        env={**lab.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_first_command_starts_the_daemon_and_the_second_finds_it(lab: Daemon) -> None:
    """Nothing is printed but the answer; the twin with ATL_SIGN_AUTOSTART=0 fails with 3, and starts nothing."""
    off = atl_sign(lab, "status", ATL_SIGN_AUTOSTART="0")
    assert (off.returncode, off.stdout) == (3, "")
    assert off.stderr == f"atl-sign: there is no daemon on {lab.socket}\nhint: start it: atl-sign serve &\n"
    assert not lab.socket.parent.exists()

    first, second = (atl_sign(lab, "status", "--json") for _ in range(2))

    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout)["pid"] == json.loads(second.stdout)["pid"]


def test_the_doctor_starts_it_and_goes_on_without_it(lab: Daemon) -> None:
    """A daemon that has ended because nobody needed it is no fault; one that may not or cannot start is, and it is told why."""
    off = atl_sign(lab, "doctor", ATL_SIGN_AUTOSTART="0")
    shown = atl_sign(lab, "doctor", "--help")
    broken = atl_sign(lab, "doctor", ATL_SIGN_STORE="nonsense")
    assert (off.returncode, off.stderr, shown.returncode) == (1, "", 0)
    assert "broken   daemon" in off.stdout
    assert "broken   daemon" in broken.stdout
    assert broken.stderr.startswith("atl-signd: no store is called 'nonsense'\nhint: ")
    assert not lab.socket.exists()

    on = atl_sign(lab, "doctor", "--json")

    assert {check["check"]: check["result"] for check in json.loads(on.stdout)["checks"]}["daemon"] == "ok"
    assert on.stderr == ""


def test_the_daemon_holds_nothing_of_the_one_who_started_it(lab: Daemon) -> None:
    """Its own session and folder, no terminal, and none of the client's descriptors."""
    status = json.loads(atl_sign(lab, "status", "--json").stdout)

    process = Path(f"/proc/{status['pid']}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    assert int(fields[3]) == status["pid"]  # the session, proc(5)
    if os.geteuid() == 0:  # who else may not look into a process that is not dumpable
        assert (process / "cwd").readlink() == Path("/")
        assert (process / "fd/0").readlink() == Path("/dev/null")
        log = lab.folder / ".local/state/atl-sign/atl-signd.log"
        assert {(process / f"fd/{number}").readlink() for number in (1, 2)} == {log}
        assert log.stat().st_mode & 0o777 == 0o600


def test_ten_clients_at_once_start_one_daemon(lab: Daemon) -> None:
    """All ten get their answer, from the same process, and only one was ever started."""
    command = [str(ATL_SIGN), "status", "--json"]
    clients = [subprocess.Popen(command, env=lab.environment, stdout=-1, stderr=-1, text=True) for _ in range(10)]

    answers = [(*each.communicate(timeout=60), each.returncode) for each in clients]

    assert [(status, err) for _, err, status in answers] == [(0, "")] * 10
    assert len({json.loads(out)["pid"] for out, _, _ in answers}) == 1
    assert (lab.folder / ".local/state/atl-sign/atl-signd.log").read_text().count("serving at") == 1


def test_a_stale_socket_is_as_good_as_none(lab: Daemon) -> None:
    """After a kill -9: the connection is refused, a daemon is started, and a long form reaches it whole."""
    first = json.loads(atl_sign(lab, "status", "--json").stdout)["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{first}").exists())
    assert lab.socket.is_socket()
    lab.config.parent.mkdir(parents=True)
    lab.config.write_text('[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "me"\n')

    form = "a=" + "b" * 200_000
    done = subprocess.run(
        [str(ATL_SIGN), "header", "POST", "https://jira.example.com/x", "--form", "@-"],
        env=lab.environment,
        input=form,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert "there is no consumer key yet" in done.stderr  # the answer of the new daemon


def test_curl_starts_the_daemon_too(lab: Daemon, sandbox: Sandbox) -> None:
    """Whether the socket is missing or stale; the twin says that nothing was sent."""
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    lab.config.parent.mkdir(parents=True)
    lab.config.write_text(f'[links.jira]\nurl = "{sandbox.base_url("jira")}"\nconsumer_key = "me"\n')
    for _ in range(2):
        off = atl_sign(lab, "curl", "-sS", url, ATL_SIGN_AUTOSTART="0")
        assert off.returncode == 125
        assert "nothing was sent" in off.stderr
        assert "daemon" in off.stderr

        done = atl_sign(lab, "curl", "-sS", url)

        assert done.returncode == 125
        assert "there is no consumer key yet" in done.stderr
        pid = pid_in(lab.socket.with_name("agent.sock.lock"))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def test_why_it_does_not_start_is_said(lab: Daemon) -> None:
    """The daemon's own words, and status 3."""
    done = atl_sign(lab, "status", ATL_SIGN_STORE="plaintext")

    assert done.returncode == 3
    message, hint = done.stderr.splitlines()
    assert message == f"atl-sign: there is no daemon on {lab.socket}, and none could be started: no store is called 'plaintext'"
    assert hint.startswith("hint: name one of: ")


def test_a_home_that_cannot_be_written_costs_the_log_alone(lab: Daemon) -> None:
    """As in a container; the daemon starts, and when it does not, the way to see why is told."""
    (lab.folder / ".local").write_text("a file where the state folder should be")

    assert atl_sign(lab, "status").returncode == 0
    pid = pid_in(lab.socket.with_name("agent.sock.lock"))
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not lab.socket.exists())
    done = atl_sign(lab, "status", ATL_SIGN_STORE="plaintext")
    assert done.returncode == 3
    assert "none could be started: no store is called 'plaintext'\nhint: name one of" in done.stderr


def test_the_log_is_bounded(lab: Daemon) -> None:
    """One that grew too long is put aside at the next start; the one before that goes."""
    log = lab.folder / ".local/state/atl-sign/atl-signd.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (LOG_BYTES_MAX + 1))

    assert atl_sign(lab, "status").returncode == 0

    assert log.with_name("atl-signd.log.1").stat().st_size == LOG_BYTES_MAX + 1
    wait_for(lambda: "serving at" in log.read_text())
    assert log.stat().st_size < 1000


def fake_systemctl(lab: Daemon, script: str) -> Path:
    """Put a `systemctl` first on PATH that writes down its arguments and runs *script*; returns what it writes."""
    commands = lab.folder / "commands"
    commands.mkdir()
    (commands / "systemctl").write_text(f'#!/bin/bash\nprintf "%s\\n" "$*" >>"{lab.folder}/calls"\n{script}\n')
    (commands / "systemctl").chmod(0o755)
    lab.environment["PATH"] = f"{commands}:{lab.environment['PATH']}"
    units = lab.folder / "config/systemd/user"
    units.mkdir(parents=True)
    (units / "atl-signd.socket").touch()
    return lab.folder / "calls"


def test_an_installed_socket_unit_is_started(lab: Daemon) -> None:
    """By systemctl, which is played here; no process of ours is started beside it."""
    atl_signd = shutil.which("atl-signd", path=lab.environment["PATH"])
    calls = fake_systemctl(lab, f"exec setsid {atl_signd} serve >/dev/null 2>&1 </dev/null &")

    done = atl_sign(lab, "status")

    assert (done.returncode, done.stderr) == (0, "")
    assert calls.read_text() == "--user start atl-signd.socket\n"
    assert not (lab.folder / ".local/state/atl-sign/atl-signd.log").exists()


@pytest.mark.parametrize("reason", ["no manager", "another path"])
def test_units_that_are_of_no_use_here(lab: Daemon, reason: str) -> None:
    """A container with the same home has no manager; ATL_SIGN_SOCK names a path that the unit does not know."""
    calls = fake_systemctl(lab, "exit 1")
    if reason == "another path":
        lab.socket = lab.folder / "s"
        lab.environment["ATL_SIGN_SOCK"] = str(lab.socket)

    done = atl_sign(lab, "status")

    assert (done.returncode, done.stderr) == (0, "")
    assert calls.exists() == (reason == "no manager")
    assert (lab.folder / ".local/state/atl-sign/atl-signd.log").exists()


def test_the_command_itself_honours_the_switch(lab: Daemon) -> None:
    """So that a client may call it without looking."""
    command = ["atl-signd", "autostart"]
    off = subprocess.run(command, env={**lab.environment, "ATL_SIGN_AUTOSTART": "0"}, capture_output=True, text=True)
    assert (off.returncode, off.stdout) == (3, "")
    assert off.stderr == "atl-signd: ATL_SIGN_AUTOSTART=0 forbids starting a daemon\nhint: start it: atl-sign serve &\n"

    for _ in range(2):
        on = subprocess.run(command, env=lab.environment, capture_output=True, text=True)
        assert (on.returncode, on.stdout, on.stderr) == (0, "", "")
