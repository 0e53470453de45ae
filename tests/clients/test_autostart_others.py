"""git's helper and the clients for Python and Node start the daemon that they do not find, as atl-sign does."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.activation import end_autostarted, pid_in
from tests.lab import REPOSITORY, Daemon, wait_for

LINK = '[links.bb]\nurl = "https://bb.example.com"\nconsumer_key = "me"\n'
ASKED = {
    "git": [str(REPOSITORY / "clients/git/git-credential-atl-sign"), "--link", "bb", "get"],
    "python": [
        sys.executable,
        "-c",
        "import sys, atl_sign_client as c\n"
        "try: c.AtlSign().sign('GET', 'https://bb.example.com/x')\n"
        "except c.AtlSignError as exc: print(exc.code, exc.message, exc.hint, file=sys.stderr)",
    ],
    "node": [
        "node",
        "--input-type=module",
        "-e",
        f"import {{AtlSign}} from '{REPOSITORY / 'clients/node/index.js'}';\n"
        "await new AtlSign().sign({method: 'GET', url: 'https://bb.example.com/x'})"
        ".catch(error => console.error(error.code, error.message, error.hint));",
    ],
}


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder without a daemon, where clients may start one."""
    made = Daemon(ATL_SIGN_AUTOSTART="1")
    made.config.parent.mkdir(parents=True)
    made.config.write_text(LINK)
    yield made
    end_autostarted(made)


def ask(lab: Daemon, client: str, **environment: str) -> str:
    """What the client says of why there is no signature."""
    if client == "node" and shutil.which("node") is None:
        pytest.skip("Node is not installed")
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY / "clients/python/src"),
    }
    done = subprocess.run(
        ASKED[client],
        env={**lab.environment, **own, **environment},
        input="protocol=https\nhost=bb.example.com\n\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("client", ASKED)
def test_it_starts_the_daemon(lab: Daemon, client: str) -> None:
    """Where there is no socket, and where a killed daemon left one; the twin with ATL_SIGN_AUTOSTART=0 starts nothing."""
    for _ in range(2):
        said = ask(lab, client, ATL_SIGN_AUTOSTART="0")
        assert "daemon" in said or "nobody answers" in said
        assert "could be started" not in said
        assert pid_in(lab.socket.with_name("agent.sock.lock")) is None

        said = ask(lab, client)

        assert "could be started" not in said
        assert "there is no consumer key yet" in said or "bb" in said, said  # the daemon's own words
        pid = pid_in(lab.socket.with_name("agent.sock.lock"))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize("client", ASKED)
def test_why_none_could_be_started_is_said(lab: Daemon, client: str) -> None:
    """The daemon's own words."""
    said = ask(lab, client, ATL_SIGN_STORE="plaintext")

    assert "none could be started" in said
    assert "no store is called 'plaintext'" in said
    assert pid_in(lab.socket.with_name("agent.sock.lock")) is None


@pytest.mark.parametrize("client", ["python", "node"])
def test_a_socket_that_the_program_names_is_left_to_it(lab: Daemon, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started on it."""
    named = {
        "python": ("AtlSign()", "AtlSign(socket_path='/nowhere/s')"),
        "node": ("AtlSign()", "AtlSign({socketPath: '/nowhere/s'})"),
    }
    monkeypatch.setitem(ASKED, client, [word.replace(*named[client]) for word in ASKED[client]])

    assert ask(lab, client).startswith("no_daemon there is no daemon on /nowhere/s")

    assert not lab.socket.parent.exists()
