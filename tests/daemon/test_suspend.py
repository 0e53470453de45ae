"""
A machine that sleeps for hours under a running daemon: what was to end meanwhile has ended, and everything else goes on.

In a sleep the wall clock and CLOCK_BOOTTIME go on, and CLOCK_MONOTONIC stands still. No machine is put to sleep here, and a time
namespace is of no use, for its offsets are fixed before a process enters it: `tests/tools/suspend.c` shows the daemon alone
those clocks as they are after a sleep.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.daemon.wrong_clocks import HOUR_S, WORD, SleepingDaemon
from tests.lab import UnixConnection, build_library, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library("suspend", tmp_path_factory.mktemp("suspend"))


@pytest.fixture
def sleeping(library: Path) -> Iterator[SleepingDaemon]:
    with SleepingDaemon(library) as started:
        yield started


def test_what_the_daemon_is_shown_is_a_sleep(library: Path, tmp_path: Path) -> None:
    """Five hours on two clocks, and none on the third."""
    (tmp_path / "slept").write_bytes((5 * HOUR_S).to_bytes(8, "little"))
    program = "import time; print(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())"
    environment = {"LD_PRELOAD": str(library), "SUSPENDED_FILE": str(tmp_path / "slept")}

    shown = subprocess.run(["python3", "-c", program], env={"PATH": "/usr/bin", **environment}, capture_output=True, check=True)

    here = (time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())
    ahead = [round((there - ours) / HOUR_S, 2) for there, ours in zip(map(float, shown.stdout.split()), here, strict=True)]
    assert ahead == [5, 5, 0]


def test_the_store_locks_itself_over_a_sleep(sleeping: SleepingDaemon, sandbox: Sandbox) -> None:
    """An hour open, as the setting says: asleep or awake is all the same. Half an hour is not enough."""
    sleeping.dance(sandbox, "jira")
    sleeping.sleep(0.5)
    started_at = sleeping.request("GET", "/status").json["uptime_s"]
    wait_for(lambda: sleeping.request("GET", "/status").json["uptime_s"] > started_at)  # a tick of the daemon's has passed
    assert sleeping.store_state() == "ready"

    sleeping.sleep(1.5)

    wait_for(lambda: sleeping.store_state() == "locked")
    assert sleeping.request("POST", "/sign", {"method": "GET", "url": sandbox.base_url("jira")}).code == "store_locked"
    assert sleeping.request("POST", "/unlock", {"passphrase": WORD}).status == 200
    assert sleeping.request("POST", "/links/jira/check").json["user"] == "alice"


def test_a_dance_ends_over_a_sleep(sleeping: SleepingDaemon, sandbox: Sandbox) -> None:
    """Its ten minutes are over; one that began afterwards is well; after hours nobody remembers the first."""
    sleeping.link(sandbox, "jira")
    begun = sleeping.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json
    code = sandbox.approve("jira", begun["authorize_url"])

    sleeping.sleep(0.25)
    over = sleeping.request("GET", f"/dance/{begun['id']}").json
    late = sleeping.request("POST", f"/dance/{begun['id']}", {"verifier": code})
    sleeping.dance(sandbox, "jira")

    assert over["state"] == "expired"
    assert late.code == "dance_expired"
    sleeping.sleep(0.5)
    assert sleeping.request("GET", f"/dance/{begun['id']}").code == "unknown_dance"
    assert sleeping.request("POST", "/links/jira/check").json["user"] == "alice"


def test_a_token_is_renewed_after_a_sleep(sleeping: SleepingDaemon) -> None:
    """It ended while the machine slept, and the session goes on: nobody dances. Connections of before are still good."""
    clock = [0.0]
    with Sandbox(["jira"], token_life_s=1200, clock=lambda: time.time() + clock[0]) as sandbox:
        sleeping.dance(sandbox, "jira")
        with closing(UnixConnection(sleeping.socket)) as before:
            before.request("GET", "/status")
            assert before.getresponse().read()

            sleeping.sleep(0.75)
            clock[0] = 0.75 * HOUR_S

            before.request("POST", "/links/jira/check")
            reply = before.getresponse()
            assert (reply.status, b"alice" in reply.read()) == (200, True)
        swaps = sum(each.target.endswith(b"/access-token") for each in sandbox.state.requests)
    assert swaps == 2  # the dance's, and the renewal


def test_the_daemon_has_been_up_as_long_as_the_wall_clock_says(sleeping: SleepingDaemon) -> None:
    """The sleep is in it."""
    awake = sleeping.request("GET", "/status").json

    sleeping.sleep(3)
    slept = sleeping.request("GET", "/status").json

    assert awake["uptime_s"] < HOUR_S
    assert slept["uptime_s"] >= 3 * HOUR_S
