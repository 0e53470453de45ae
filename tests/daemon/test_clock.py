"""
A machine's clock that jumps an hour under a running daemon, and a daemon that stands still for a while (as in a suspend).

libfaketime moves the clock of the daemon's process alone, and not the monotonic one; its file is read again at each call.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from atl_sign.sandbox import Sandbox
from tests.daemon.wrong_clocks import JumpingDaemon
from tests.lab import Daemon, UnixConnection

pytestmark = pytest.mark.slow

LIFE_S = 1800


@pytest.fixture
def jumping() -> Iterator[JumpingDaemon]:
    with JumpingDaemon() as started:
        yield started


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_jumps_an_hour_costs_nobody_anything(jumping: JumpingDaemon, sandbox: Sandbox, seconds: int) -> None:
    """A dance that waits is finished, an idle connection is still good, and the provider's clock is learned, twice."""
    jumping.dance(sandbox, "jira")
    begun = jumping.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json
    code = sandbox.approve("jira", begun["authorize_url"])
    with closing(UnixConnection(jumping.socket)) as idle:
        idle.request("GET", "/status")
        assert idle.getresponse().read()

        jumping.jump(seconds)

        assert abs(clock_offset(jumping) + seconds) < 60  # the daemon believes the jump, so this test is one
        assert jumping.request("GET", f"/dance/{begun['id']}").json["state"] == "waiting"
        started_at = time.monotonic()
        jumping.request("GET", f"/dance/{begun['id']}?wait=0.2")
        assert time.monotonic() - started_at < 5
        idle.request("GET", "/status")
        assert json.loads(idle.getresponse().read())["uptime_s"] < 600
    finished = jumping.request("POST", f"/dance/{begun['id']}", {"verifier": code})
    assert finished.json["state"] == "granted", finished.text
    jumping.jump(0)
    assert jumping.request("POST", "/links/jira/check").json["user"] == "alice"


def clock_offset(daemon: Daemon) -> float:
    """What a check says of the provider's clock; it learns it on the way."""
    return float(daemon.request("POST", "/links/jira/check").json["clock_offset_s"])


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_token_outlives_a_clock_that_jumps(jumping: JumpingDaemon, seconds: int) -> None:
    """One hour ahead it seems to have ended half an hour ago: it is renewed, and nobody needs a dance, then or after."""
    with Sandbox(["jira"], token_life_s=LIFE_S) as sandbox:
        jumping.dance(sandbox, "jira")
        for offset in (seconds, 0):
            jumping.jump(offset)

            reply = jumping.request("POST", "/links/jira/check")

            assert reply.status == 200, reply.text
        swaps = sum(each.target.endswith(b"/access-token") for each in sandbox.state.requests)
    assert (swaps > 1) == (seconds > 0)  # the first is the dance's


def test_a_daemon_that_stood_still_goes_on(daemon: Daemon, sandbox: Sandbox) -> None:
    """What came meanwhile is answered afterwards: a request, a wait for a dance, one on a connection of before."""
    daemon.dance(sandbox, "jira")
    begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json
    code = sandbox.approve("jira", begun["authorize_url"])
    assert daemon.process is not None
    with closing(UnixConnection(daemon.socket)) as before, closing(UnixConnection(daemon.socket)) as meanwhile:
        before.request("GET", "/status")
        assert before.getresponse().read()
        daemon.process.send_signal(signal.SIGSTOP)
        before.request("GET", f"/dance/{begun['id']}?wait=0.5")
        meanwhile.request("GET", "/key")
        time.sleep(1.5)  # longer than the loop's tick, and than the wait
        daemon.process.send_signal(signal.SIGCONT)

        assert json.loads(before.getresponse().read())["state"] == "waiting"
        assert meanwhile.getresponse().status == 200
    assert daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code}).json["state"] == "granted"
    assert daemon.request("POST", "/links/jira/check").status == 200
