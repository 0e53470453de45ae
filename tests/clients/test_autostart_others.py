"""git's helper and the clients for Python and Node start the daemon that they do not find, as atl-sign does."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.activation import end_autostarted, pid_in
from tests.lab import REPOSITORY, Daemon, wait_for

LIMIT_S = 40.0  # the longest is 15 s
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
        check=not client.startswith("bash"),  # a command line fails, a credential helper does not
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


def link_unit(lab: Daemon) -> None:
    """Leave what `atl-sign service install` links."""
    unit = lab.folder / "config/systemd/user/atl-signd.socket"
    unit.parent.mkdir(parents=True)
    unit.symlink_to(REPOSITORY / "systemd/atl-signd.socket")


@pytest.mark.parametrize("client", [*ASKED, "bash"])
def test_where_systemd_has_the_socket_it_knows_why(lab: Daemon, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is `service status`; without the unit, or on another path, the twin starts a daemon by hand."""
    monkeypatch.setitem(ASKED, "bash", ["atl-sign", "header", "GET", "https://bb.example.com/x"])
    by_hand = ask(lab, client, ATL_SIGN_AUTOSTART="0")
    link_unit(lab)

    by_systemd = ask(lab, client, ATL_SIGN_AUTOSTART="0")
    elsewhere = ask(lab, client, ATL_SIGN_AUTOSTART="0", ATL_SIGN_SOCK=str(lab.folder / "other"))

    assert "atl-sign serve &" in by_hand
    assert "atl-sign serve &" in elsewhere
    assert by_systemd.rstrip().endswith("atl-sign service status")
    assert "serve" not in by_systemd


@pytest.mark.slow
@pytest.mark.parametrize("client", [*ASKED, "bash", "bash with a long call"])
def test_nobody_waits_longer_where_systemd_starts_no_daemon(
    lab: Daemon, client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The connection stays in systemd's queue: each client ends at its own limit, a call of minutes after a short one."""
    monkeypatch.setitem(ASKED, "bash", ["atl-sign", "header", "GET", "https://bb.example.com/x"])
    monkeypatch.setitem(ASKED, "bash with a long call", ["atl-sign", "check", "bb"])
    helper = tmp_path / "git-credential-atl-sign"  # its 65 s are for a provider
    helper.write_text(Path(ASKED["git"][0]).read_text().replace("\nWAIT_S=65 ", "\nWAIT_S=3 "))
    helper.chmod(0o755)
    monkeypatch.setitem(ASKED, "git", [str(helper), *ASKED["git"][1:]])
    link_unit(lab)
    lab.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(lab.socket))
        lab.socket.chmod(0o600)
        listener.listen(1024)
        before = time.monotonic()

        said = ask(lab, client)

    assert said.rstrip().endswith("atl-sign service status")
    assert time.monotonic() - before < LIMIT_S
