"""`atl-sign why` with the real programs."""

import json
import subprocess

from atl_sign.sandbox import Sandbox
from tests.lab import REPOSITORY, Daemon
from tests.lease_lab import open_lease, send

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")


def why(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", ATL_SIGN, "why", *words], env=daemon.environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_why_prints_cause_and_remedy(daemon: Daemon, sandbox: Sandbox) -> None:
    """The youngest first, all or one lease's; nothing is a sentence on standard error, and another word an error."""
    daemon.dance(sandbox, "jira")
    nothing = why(daemon)
    first, second = (open_lease(daemon, links=["jira"], name=name) for name in ("first", "second"))
    send(first, "/jira/rest/api/2/issue/WEB-1/transitions", "POST")
    send(second, "/jira/rest/api/2/issue/WEB-1", "DELETE")

    everything, one, as_json, unknown = why(daemon), why(daemon, "first"), why(daemon, "--json"), why(daemon, "third")
    quiet = open_lease(daemon, links=["jira"], name="third")
    of_quiet = why(daemon, "third")

    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "nothing was refused since the daemon started, as far as it knows\n"
    assert [line.partition("  ")[2].partition(" (")[0] for line in everything.stdout.splitlines()[::3]] == [
        f"lease {second['id']}",
        f"lease {first['id']}",
    ]
    assert one.stdout == "\n".join(everything.stdout.splitlines()[3:]) + "\n"
    assert "  hint: " in one.stdout
    assert one.stdout.rstrip().endswith("--allow jira:transition")
    assert [each["lease"] for each in json.loads(as_json.stdout)["refusals"]] == [second["id"], first["id"]]
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("atl-sign: there is no such lease")
    assert (of_quiet.returncode, of_quiet.stdout, of_quiet.stderr.startswith("nothing of lease third was")) == (0, "", True)
    assert quiet["name"] == "third"
