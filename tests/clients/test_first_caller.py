"""What the first caller's environment and limits were decides nothing for later callers of the daemon that it has started."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.activation import end_autostarted, pid_in
from tests.keyring_lab import KeyringLab
from tests.lab import REPOSITORY, Daemon

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
NOBODY = 65_534


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder without a daemon, where clients may start one that keeps its secrets in a keyring."""
    made = Daemon(ATL_SIGN_AUTOSTART="1", ATL_SIGN_STORE="secret-service")
    yield made
    end_autostarted(made)


def atl_sign(lab: Daemon, *arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command from a shell that has done *before*."""
    return subprocess.run(
        ["bash", "-c", f'{before}\nexec "$@"', "bash", str(ATL_SIGN), *arguments],
        env={**lab.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def daemon_pid(lab: Daemon) -> int:
    pid = pid_in(lab.socket.with_name("agent.sock.lock"))
    assert pid is not None
    return pid


# the session bus


@pytest.mark.parametrize("first", ["no bus", "a stale bus", "a bus without a keyring"])
def test_a_later_caller_brings_its_bus(lab: Daemon, first: str) -> None:
    """cron, `su`, a session that is over: the same daemon keeps its key in the keyring of those who have one."""
    with KeyringLab() as keyring, KeyringLab(unlocked=False, with_keyring=False) as empty:
        address = {"no bus": {}, "a stale bus": {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}}.get(first, empty.env)
        without = atl_sign(lab, "key", "new", **address)
        assert without.returncode == 1
        assert "bus" in without.stderr
        pid = daemon_pid(lab)

        made = atl_sign(lab, "key", "new", **keyring.env)

        assert (made.returncode, made.stderr) == (0, "")
        assert daemon_pid(lab) == pid
        assert len(keyring.read("consumer-key")) == 1
        assert atl_sign(lab, "status", "--json").stdout.count('"ready"') == 1  # and it stays reached for those without a bus


def test_a_new_session_replaces_the_old_one(lab: Daemon) -> None:
    """After logging out and in again there is another bus, with the same keyring on it as far as the user can tell."""
    with KeyringLab() as old:
        assert atl_sign(lab, "key", **old.env).returncode == 1  # none yet
        pid = daemon_pid(lab)
    with KeyringLab() as new:
        made = atl_sign(lab, "key", "new", **new.env)

        assert (made.returncode, made.stderr) == (0, "")
        assert len(new.read("consumer-key")) == 1
        assert daemon_pid(lab) == pid


def test_the_runtime_folders_bus_needs_no_variable(lab: Daemon) -> None:
    """systemd puts it there, and neither cron nor `su -` tells of it."""
    with KeyringLab() as keyring:
        (lab.folder / "run/bus").symlink_to(keyring.home / "bus")

        made = atl_sign(lab, "key", "new")

        assert (made.returncode, made.stderr) == (0, "")
        assert len(keyring.read("consumer-key")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_another_users_bus_gets_no_secret(lab: Daemon) -> None:
    """A bus that lets everybody in, of another user, whom `su` left in the environment."""
    with KeyringLab() as keyring:
        keyring.home.chmod(0o755)
        open_bus = Path(keyring.home / "open")
        config = (keyring.home / "bus.conf").read_text().replace(f"{keyring.home}/bus<", f"{open_bus}/bus<")
        config = config.replace("<policy", "<auth>ANONYMOUS</auth><auth>EXTERNAL</auth><allow_anonymous/><policy", 1)
        config = config.replace('<allow own="*"/>', '<allow own="*"/><allow user="*"/>')
        open_bus.mkdir()
        os.chown(open_bus, NOBODY, NOBODY)
        (keyring.home / "open.conf").write_text(config)
        command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "dbus-daemon", f"--config-file={keyring.home}/open.conf"]
        foreign = subprocess.Popen([*command, "--nofork", "--nopidfile", "--print-address"], stdout=subprocess.PIPE, text=True)
        assert foreign.stdout is not None
        address = foreign.stdout.readline().strip()
        try:
            refused = atl_sign(lab, "key", "new", DBUS_SESSION_BUS_ADDRESS=address)
        finally:
            foreign.terminate()
            foreign.wait()
            foreign.stdout.close()

        assert address.startswith("unix:path=")
        assert "cannot be reached" in refused.stderr
