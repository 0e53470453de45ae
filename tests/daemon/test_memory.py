"""What other processes of the daemon's own user get out of it: nothing, however it was started; and where that cannot hold."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.activation import SERVE, end_autostarted
from tests.lab import REPOSITORY, Daemon, wait_for
from tests.ordinary_user import as_ordinary_user, give_to_ordinary_user

SERVICE = REPOSITORY / "systemd/atl-signd.service"
WAYS = {"environ", "maps", "exe", "descriptors", "mem", "process_vm_readv", "pidfd_getfd", "ptrace"}
CONFINED = (sys.executable, "-m", "tests.tools.confine", str(SERVICE), *SERVE)
# As PrivateUsers=yes of a user unit, and rootless containers, do it.
NAMESPACE = ("unshare", "--user", "--map-current-user", *SERVE)


class OrdinaryDaemon(Daemon):
    """A daemon of an ordinary user, with a canary in its environment and a private key in its memory."""

    def __init__(self, **environment: str) -> None:
        super().__init__(ATL_SIGN_CANARY="canary-7f3a9c", PYTHONPATH=str(REPOSITORY), **environment)
        # The measurements of coverage are in a folder of somebody else's.
        self.environment = {name: value for name, value in self.environment.items() if not name.startswith("COV")}
        give_to_ordinary_user(self.folder)

    def serve(self, command: Sequence[str]) -> int:
        """Start the daemon by *command*, and let it make its key; returns its pid."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                as_ordinary_user(command), env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )
        wait_for(self._answers, self.log.read_text)
        return self.make_secrets()

    def make_secrets(self) -> int:
        """Let the daemon make its key; returns its pid."""
        self.run("atl-sign", "key", "new")
        return int(self.status()["pid"])

    def run(self, *command: str) -> str:
        """Return what *command* prints, as the daemon's user."""
        line = as_ordinary_user(command)
        done = subprocess.run(
            line, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.run("atl-sign", "status", "--json")))

    def doctor_on_memory(self) -> str:
        """Return how the doctor's check of it went; the other checks may find what they like."""
        line = as_ordinary_user(["atl-sign", "doctor", "--json"])
        done = subprocess.run(
            line, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=90, check=False
        )
        return {each["check"]: str(each["result"]) for each in json.loads(done.stdout)["checks"]}["memory"]

    def programs(self) -> list[str | None]:
        """Return the program in each line of the log of decisions."""
        return [json.loads(line).get("program") for line in self.run("atl-sign", "log", "--json").splitlines()]

    def attack(self, pid: int) -> dict[str, Any]:
        """Return what another process of the same user gets out of *pid*."""
        return dict(json.loads(self.run(sys.executable, "-m", "tests.tools.read_memory", str(pid))))


@pytest.fixture
def daemon() -> Iterator[OrdinaryDaemon]:
    lab = OrdinaryDaemon()
    yield lab
    lab.close()


@pytest.mark.parametrize("command", [SERVE, CONFINED], ids=["by hand", "unit"])
def test_nobody_of_the_same_user_can_look_into_it(daemon: OrdinaryDaemon, command: Sequence[str]) -> None:
    """Memory, environment, descriptors and control are refused, by hand and in the unit's confinement; nothing is warned of."""
    pid = daemon.serve(command)

    assert daemon.attack(pid) == dict.fromkeys(WAYS, "refused") | {"secrets": 0}
    assert daemon.status()["warnings"] == []
    assert daemon.doctor_on_memory() == "ok"
    assert {Path(str(program)).name for program in daemon.programs()} == {"curl"}


def test_nobody_can_look_into_one_that_a_client_started() -> None:
    """The same for a daemon that autostart made."""
    lab = OrdinaryDaemon(ATL_SIGN_AUTOSTART="1")
    try:
        assert lab.attack(lab.make_secrets()) == dict.fromkeys(WAYS, "refused") | {"secrets": 0}
    finally:
        end_autostarted(lab)


def test_in_a_user_namespace_of_its_users_all_is_open_and_warned_of(daemon: OrdinaryDaemon) -> None:
    """The twin: the owner of the namespace has every capability in it and reads the keys; `status` and `doctor` warn."""
    pid = daemon.serve(NAMESPACE)

    found = daemon.attack(pid)

    assert found.pop("secrets") > 0
    # These files are root's, as they are of every process that is not dumpable; what is in them is in the memory too.
    assert found == dict.fromkeys(WAYS, "open") | dict.fromkeys(("environ", "mem", "descriptors"), "refused")
    assert [each for each in daemon.status()["warnings"] if "can read the daemon's memory" in each]
    assert daemon.doctor_on_memory() == "warning"
    assert daemon.programs() == [None]  # nor can it tell who asks: its own capabilities end with the namespace
