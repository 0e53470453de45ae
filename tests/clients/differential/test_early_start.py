"""The curl that asks the daemon starts before it is known what to ask: it asks nothing then, and nobody leaves it behind."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.clients.differential.lab import REFUSED, SCRIPT, Lab
from tests.clients.differential.processes import members, started
from tests.lab import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def _is_asking(process: int) -> bool:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # ended meanwhile
        return False
    return command.startswith(b"curl\0") and b"\0--unix-socket\0" in command


def test_a_refused_line_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    """As soon as the refusal is there, no process is."""
    command = [str(SCRIPT), "curl", "-u", "ann:x", lab.concrete("http://SERVER/jira/x")]

    with started(command, lab.environment, tmp_path) as process:
        assert process.wait(20) == REFUSED
        assert members(process.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_signal_leaves_it_behind(lab: Lab, number: signal.Signals, tmp_path: Path) -> None:
    """Even where the script has no time to say goodbye, it reads the end of its configuration and is gone."""
    command = [str(SCRIPT), "curl", "-s", "-d", "@-", lab.concrete("http://SERVER/jira/x")]
    lab.recorder.take()

    with started(command, lab.environment, tmp_path, subprocess.PIPE) as process:
        # The form is still to come, and until then there is nothing to ask.
        wait_for(lambda: any(map(_is_asking, members(process.pid))))
        os.kill(process.pid, number)
        process.wait(20)
        wait_for(lambda: not members(process.pid), lambda: f"{members(process.pid)} outlive it", 3)

    assert lab.recorder.take() == []
