"""`atl-sign run` in a pid namespace of its own, as in a container that has the daemon's socket."""

import os
import subprocess
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import DEADLINE_S, REPOSITORY, Daemon, wait_for

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace without a user namespace needs root")
def test_a_lease_lives_with_run_in_another_pid_namespace(daemon: Daemon, sandbox: Sandbox) -> None:
    """The daemon watches the process that the kernel names; the pid that `run` sees there is another process's here."""
    daemon.dance(sandbox, "jira")
    words = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "bash",
        ATL_SIGN,
        "run",
        "--",
        "sh",
        "-c",
        "echo $ATL_SIGN_LEASE; exec sleep 60",
    ]
    with subprocess.Popen(words, env=daemon.environment, cwd=daemon.folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lease = daemon.request("GET", f"/leases/{process.stdout.readline().strip()}").json
        words_of_it = Path(f"/proc/{lease['lives_with']}/cmdline").read_text()
        process.kill()
        process.wait(DEADLINE_S)

    assert lease["state"] == "open"
    assert "\0run\0" in words_of_it
    wait_for(lambda: daemon.request("GET", f"/leases/{lease['id']}").json["state"] == "ended")
