"""The process as a service: what it tells its manager, when it ends by itself, and that no request is lost then."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from atl_sign import __version__
from atl_sign.sandbox import Sandbox
from tests.daemon.activation import SERVE, Activator, Manager
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, UnixConnection, wait_for

PACKAGE = Path(__file__).resolve().parents[2] / "daemon/atl_sign"
SOON = "[daemon]\nidle_exit_minutes = 0.001\n"
ROUNDS, BURST = int(os.environ.get("ROUNDS", "12")), 4  # more rounds: docs/reliability.md


@pytest.fixture(scope="module")
def keyring() -> Iterator[KeyringLab]:
    """An unlocked keyring, which a daemon can read again without asking."""
    with KeyringLab() as lab:
        yield lab


def make_lab(keyring: KeyringLab | None = None, config: str = SOON, **environment: str) -> Daemon:
    """A daemon's folder with this configuration; its store is the keyring, or memory."""
    if keyring is not None:
        environment |= {"ATL_SIGN_STORE": "secret-service", **keyring.env}
    daemon = Daemon(**environment)
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(config)
    return daemon


def pid_of(daemon: Daemon) -> int:
    return int(daemon.request("GET", "/status").json["pid"])


def test_the_manager_is_told_how_the_daemon_is(tmp_path: Path) -> None:
    """READY when it answers, RELOADING with the moment and READY again after SIGHUP, STOPPING at the end; each with its words."""
    with Manager(tmp_path / "notify") as manager, Daemon(NOTIFY_SOCKET=str(manager.path)) as daemon:
        wait_for(lambda: manager.count("READY=1") == 1)
        daemon.config.parent.mkdir(parents=True)
        daemon.config.write_text('[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "me"\n')
        before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

        os.kill(daemon.process.pid, signal.SIGHUP)  # type: ignore[union-attr]
        wait_for(lambda: manager.count("READY=1") == 2)
        daemon.stop()

        first, reloading, second, stopping = manager.read()
        assert first == "READY=1\nSTATUS=0 links, store memory"
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert int(reloading.rpartition("=")[2]) >= before_us
        assert second == "READY=1\nSTATUS=1 links, store memory"
        assert stopping == "STOPPING=1\nSTATUS=ending"


def test_signs_of_life_come_from_the_event_loop(tmp_path: Path) -> None:
    """Several within the time that the manager waits; the twin, a stopped process, gives none."""
    with Manager(tmp_path / "notify") as manager:
        watchdog = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
        with Daemon(**watchdog) as daemon:
            wait_for(lambda: manager.count("WATCHDOG=1") >= 3)
            os.kill(daemon.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
            manager.read()
            before = manager.count("WATCHDOG=1")
            time.sleep(0.5)  # the absence of something has no condition to wait for
            assert manager.count("WATCHDOG=1") == before
            os.kill(daemon.process.pid, signal.SIGCONT)  # type: ignore[union-attr]


def test_a_watchdog_for_another_process_is_none_of_ours(tmp_path: Path) -> None:
    """WATCHDOG_PID names whom it is for."""
    with Manager(tmp_path / "notify") as manager:
        others = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
        with Daemon(**others) as daemon:
            wait_for(lambda: manager.count("READY=1") == 1)
            pid_of(daemon)
        assert manager.count("WATCHDOG=1") == 0


def test_a_broken_file_keeps_what_can_be_read_and_is_told(tmp_path: Path) -> None:
    """After SIGHUP: the good link stays, the status says that there is a problem, the log says which."""
    with Manager(tmp_path / "notify") as manager, Daemon(NOTIFY_SOCKET=str(manager.path)) as daemon:
        wait_for(lambda: manager.count("READY=1") == 1)
        daemon.config.parent.mkdir(parents=True)
        good = '[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "me"\n'
        daemon.config.write_text(f'{good}[links.wiki]\nurl = "nonsense"\nconsumer_key = "me"\n')

        os.kill(daemon.process.pid, signal.SIGHUP)  # type: ignore[union-attr]
        wait_for(lambda: manager.count("READY=1") == 2)

        assert "STATUS=1 links, store memory, 1 problems in the configuration: atl-sign status" in manager.messages[-1]
        assert "links.wiki: url: the URL is not absolute" in daemon.log.read_text()
        status = daemon.request("GET", "/status").json
        assert (len(status["links"]), len(status["warnings"])) == (1, 1)


def test_a_manager_that_is_gone_is_no_reason_to_end(tmp_path: Path) -> None:
    """The log says that it could not be told."""
    with Daemon(NOTIFY_SOCKET=str(tmp_path / "nobody")) as daemon:
        assert daemon.request("GET", "/status").status == 200
        wait_for(lambda: "the service manager cannot be notified of READY" in daemon.log.read_text())


def test_it_ends_when_idle_and_comes_back_with_the_next_request(keyring: KeyringLab) -> None:
    """Started by the socket, and the keyring can be read again: another process answers the next time."""
    lab = make_lab(keyring)
    with Activator(lab) as activator:
        first = pid_of(lab)
        wait_for(lambda: activator.statuses == [0])

        assert pid_of(lab) not in (first, 0)
    assert "nobody needed me for a while" in lab.log.read_text()
    lab.close()


@pytest.mark.parametrize("reason", ["memory", "locked", "never", "by hand", "dance", "connection"])
def test_it_does_not_end(keyring: KeyringLab, sandbox: Sandbox, reason: str) -> None:
    """When secrets would go with it, the setting says never, nobody would start it again, or somebody waits."""
    locked = KeyringLab() if reason == "locked" else None
    if locked is not None:
        locked.start()
    ring = {"memory": None, "locked": locked}.get(reason, keyring)
    lab = make_lab(ring, "[daemon]\nidle_exit_minutes = 0\n" if reason == "never" else SOON)
    twin = make_lab(keyring)
    try:
        if reason == "by hand":
            lab.start()
        with Activator(twin) as proof, Activator(lab) if reason != "by hand" else nullcontext() as running:
            first = pid_of(lab)
            if reason == "dance":
                lab.link(sandbox, "jira")
                begun = lab.request("POST", "/dance", {"link": "jira", "callback": "oob"})
                assert begun.status == 201
            if locked is not None:  # the key is in memory alone now
                lab.make_key()
                locked.lock()
            idle = None
            if reason == "connection":
                idle = UnixConnection(lab.socket)
                idle.request("GET", "/status")
                idle.getresponse().read()
            pid_of(twin)
            wait_for(lambda: proof.statuses == [0])  # in this time it would have ended, too
            pid_of(twin)
            wait_for(lambda: proof.statuses == [0, 0])

            assert pid_of(lab) == first
            if running is not None:
                assert running.statuses == []
            if idle is not None:
                idle.close()
    finally:
        for each in (lab, twin):
            each.close()
        if locked is not None:
            locked.close()


def test_one_that_never_reached_its_store_ends() -> None:
    """It has nothing that the next one would lack, and that one may find what was not there before."""
    with KeyringLab(unlocked=False) as empty:
        lab = make_lab(empty)
        with Activator(lab) as activator:
            assert lab.request("GET", "/key").code == "keyring_missing"

            wait_for(lambda: activator.statuses == [0])
        lab.close()


@pytest.mark.slow
def test_no_request_is_lost_while_it_ends(keyring: KeyringLab) -> None:
    """Bursts after pauses about as long as it takes to end: the daemon ends many times, and each request gets its answer."""
    lab = make_lab(keyring)
    chance = random.Random(1)
    pids: list[int] = []

    def ask(delay_s: float) -> int:
        time.sleep(delay_s)
        return pid_of(lab)

    with Activator(lab) as activator, ThreadPoolExecutor(BURST) as clients:
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(1.0, 2.2))
            pids += clients.map(ask, [chance.uniform(0, 0.1) for _ in range(BURST)])
    assert set(activator.statuses) <= {0}
    lab.close()
    print(f"{len(pids)} requests, {len(set(pids))} daemons")
    assert len(set(pids)) >= 3
    assert len(pids) == ROUNDS * BURST


class Installation:
    """A copy of the package, from which the daemon of *lab* runs, and which is replaced by other versions."""

    def __init__(self, lab: Daemon, folder: Path) -> None:
        copy = folder / "site/atl_sign"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        # Coverage is measured of the original.
        lab.environment = {name: value for name, value in lab.environment.items() if not name.startswith("COV")}
        lab.environment["PYTHONPATH"] = str(copy.parent)
        self._file = copy / "__init__.py"
        self._text = self._file.read_text()

    def upgrade(self, version: str) -> None:
        """Put another version in its place, as pip does: the old file is removed."""
        self._file.unlink()
        self._file.write_text(re.sub('__version__ = ".*"', f'__version__ = "{version}"', self._text))


def version_of(daemon: Daemon) -> str:
    return str(daemon.request("GET", "/status").json["version"])


def test_another_version_ends_it_at_the_next_idle_moment(keyring: KeyringLab, tmp_path: Path) -> None:
    """Long before the idle time; the one that comes back is the other version. Its twin without an upgrade stays."""
    lab, twin = make_lab(keyring, ""), make_lab(keyring, "")
    installation = Installation(lab, tmp_path)
    with Activator(twin) as other, Activator(lab) as activator:
        stays, first = pid_of(twin), pid_of(lab)
        installation.upgrade("9.1")

        wait_for(lambda: activator.statuses == [0])

        assert version_of(lab) == "9.1"
        assert pid_of(lab) != first
        assert pid_of(twin) == stays
        assert other.statuses == []
    assert "another version is installed" in lab.log.read_text()
    lab.close()
    twin.close()


def start_alone(lab: Daemon) -> None:
    """Start the daemon of *lab* on a socket of its own, in an interpreter of its own."""
    with lab.log.open("ab") as log:
        lab.process = subprocess.Popen(
            SERVE, env=lab.environment, cwd=lab.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    wait_for(lab._answers)


def has_left(lab: Daemon, times: int = 1) -> bool:
    """Tell whether it has seen another version so often, and takes no more connections as the old one."""
    return lab.log.read_text().count("leaving: another version is installed") == times


@pytest.mark.slow
def test_without_systemd_it_becomes_the_other_version(keyring: KeyringLab, sandbox: Sandbox, tmp_path: Path) -> None:
    """Twice, with the same pid, socket, link and token. Requests of the moment in which it does are answered by the new one."""
    lab = make_lab(keyring, "")
    installation = Installation(lab, tmp_path)
    start_alone(lab)
    assert lab.process is not None
    lab.dance(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/x"
    inode = lab.socket.stat().st_ino
    for times, version in enumerate(("9.1", "9.2"), 1):
        installation.upgrade(version)
        wait_for(lambda: has_left(lab, times), deadline_s=60)  # noqa: B023 - it is over before the next round
        with ThreadPoolExecutor(BURST) as clients:
            assert set(clients.map(version_of, [lab] * BURST)) == {version}
        assert lab.request("POST", "/sign", {"method": "GET", "url": url}).status == 200
    assert lab.process.poll() is None
    assert (pid_of(lab), lab.socket.stat().st_ino) == (lab.process.pid, inode)

    assert lab.stop() == 0
    assert not lab.socket.exists()
    lab.close()


@pytest.mark.slow
def test_without_systemd_it_stays_when_secrets_would_go(keyring: KeyringLab, tmp_path: Path) -> None:
    """With the store memory; its twin with a keyring becomes the other version in that time, and fails where that is broken."""
    lab, twin = make_lab(None, ""), make_lab(keyring, "")
    installations = [Installation(each, tmp_path / str(number)) for number, each in enumerate((lab, twin))]
    for each in (lab, twin):
        start_alone(each)
    installations[0].upgrade("9.1")
    time.sleep(0.5)  # so that the twin's leaving proves that it could have left
    installations[1].upgrade('9.1"\nraise ImportError("half")  # "')

    wait_for(lambda: has_left(twin), deadline_s=60)

    assert version_of(lab) == __version__
    assert twin.process is not None
    assert twin.process.wait(60) == 1
    assert "ImportError: half" in twin.log.read_text()
    for each in (lab, twin):
        each.close()


@pytest.mark.parametrize("text", [False, True])
def test_who_waits_is_told_why_there_is_no_daemon(text: bool) -> None:
    """A store of an unknown name: the one who waits gets the reason at once, and systemd the status that ends its tries."""
    lab = make_lab(None, "", NOTIFY_SOCKET="@nobody", ATL_SIGN_STORE="plaintext")
    with Activator(lab) as activator:
        reply = lab.request("GET", "/status", text=text)
        wait_for(lambda: activator.statuses == [78])

    assert reply.status == 503
    if text:
        assert reply.text.startswith("no store is called 'plaintext'\nhint: ")
    else:
        assert (reply.code, reply.message) == ("store_unavailable", "no store is called 'plaintext'")
    lab.close()


def test_sighup_before_the_start_is_over_ends_nothing() -> None:
    """A terminal that closes, or an early reload: the daemon comes up."""
    daemon = Daemon()
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            [sys.executable, "-m", "atl_sign.commands.cli", "serve"],
            env=daemon.environment,
            cwd=daemon.folder,
            stdout=log,
            stderr=log,
        )
    wait_for(daemon.socket.with_name("agent.sock.lock").exists)

    os.kill(daemon.process.pid, signal.SIGHUP)

    wait_for(daemon._answers)
    assert daemon.request("GET", "/status").json["pid"] == daemon.process.pid
    daemon.close()
