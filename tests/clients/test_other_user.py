"""Another user gets no byte of any client and answers none of them, also when the environment leads through their folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.impostor import FORGED, Impostor
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
    pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed"),
]

URL = "http://127.0.0.1:1/jira/rest/api/2/myself"
ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")
PASSPHRASE = "canary-passphrase"
GIT = "protocol=http\nhost=127.0.0.1:1\npath=jira/scm/x.git\n\n"
PYTHON = f"""
import sys, atl_sign_client as c
for _ in range(int(sys.argv[1])):
    try: print(c.AtlSign().sign("GET", "{URL}").authorization)
    except c.AtlSignError as exc: print(exc.code, file=sys.stderr)
"""
NODE = f"""
import {{AtlSign}} from '{REPOSITORY / "clients/node/index.js"}';
// Another spelling for each, or the first connection that is let through would be kept and used for all.
for (let n = 0; n < Number(process.argv[1]); n++) {{
	const named = process.env.ATL_SIGN_SOCK ?? `${{process.env.XDG_RUNTIME_DIR}}/atl-sign/agent.sock`;
	const socketPath = named.replace('/run/', `/run/${{'./'.repeat(n % 20)}}`);
	await new AtlSign({{socketPath}}).sign({{method: 'GET', url: '{URL}'}}).then(
		signed => console.log(signed.authorization), error => console.error(error.code));
}}
"""


@dataclass(frozen=True)
class Client:
    """One that asks the daemon."""

    command: list[str]
    stdin: str = ""
    runs: int = 40  # a race is lost once in two to ten of them where it can be lost


CLIENTS = {
    "header": Client([ATL_SIGN, "header", "GET", URL]),
    "unlock": Client([ATL_SIGN, "unlock", "--stdin"], PASSPHRASE + "\n", runs=10),
    "status": Client([ATL_SIGN, "status"]),
    "curl": Client([ATL_SIGN, "curl", "--dry-run", URL]),
    "git": Client([str(REPOSITORY / "clients/git/git-credential-atl-sign"), "get"], GIT),
    "python": Client([sys.executable, "-c", PYTHON, "200"], runs=1),
    "node": Client(["node", "--input-type=module", "-e", NODE, "200"], runs=1),
    "autostart": Client([sys.executable, "-m", "atl_sign.commands.cli", "autostart"], runs=10),
    "doctor": Client([sys.executable, "-m", "atl_sign.commands.cli", "doctor"], runs=5),
    "service": Client([sys.executable, "-m", "atl_sign.commands.cli", "service", "status"], runs=5),
}
BY_CURL = ["header", "status", "curl", "git"]
CURL = """#!/bin/sh
# The worst moment: what was looked at was the victim's, and what is connected to is not.
mv -T "$NEXT" "$LINK" 2>/dev/null
exec REAL "$@"
"""


@pytest.fixture
def victim(fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon with a link that covers the URL."""
    daemon = Daemon(fork_server)
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('[links.jira]\nurl = "http://127.0.0.1:1/jira"\nconsumer_key = "me"\n')
    with daemon:
        yield daemon


def run(client: Client, daemon: Daemon, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    if client.command[0] == "node" and shutil.which("node") is None:
        pytest.skip("Node is not installed")
    own = {"PYTHONPATH": f"{REPOSITORY / 'clients/python/src'}:{REPOSITORY / 'daemon'}"}
    env = {name: value for name, value in {**daemon.environment, **own, **environment}.items() if value}
    return subprocess.run(
        client.command,
        env=env,
        cwd=daemon.folder,
        input=client.stdin,
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
    )


def ways(impostor: Impostor) -> dict[str, dict[str, str]]:
    """The variables by which a program of the victim's comes to the impostor's folder."""
    return {
        "ATL_SIGN_SOCK": {"ATL_SIGN_SOCK": str(impostor.socket)},
        "XDG_RUNTIME_DIR": {"XDG_RUNTIME_DIR": str(impostor.link)},
    }


@pytest.mark.parametrize("way", ["ATL_SIGN_SOCK", "XDG_RUNTIME_DIR"])
@pytest.mark.parametrize("name", CLIENTS)
def test_nothing_comes_to_an_impostor(victim: Daemon, name: str, way: str) -> None:
    """Whose link leads to the victim's folder and to their own by turns of a few milliseconds."""
    client = CLIENTS[name]
    with Impostor(victim.folder / "run") as impostor:
        for _ in range(client.runs):
            done = run(client, victim, ways(impostor)[way])

            assert FORGED not in done.stdout
            assert impostor.captured() == []


@pytest.mark.parametrize("name", BY_CURL)
def test_not_even_when_the_link_moves_at_the_worst_moment(victim: Daemon, name: str, tmp_path: Path) -> None:
    """After the command has looked, just before curl is started: the link is moved by what stands for curl on PATH."""
    real = shutil.which("curl")
    shim = tmp_path / "curl"
    shim.write_text(CURL.replace("REAL", str(real)))
    shim.chmod(0o755)
    with Impostor(victim.folder / "run", period_s=0) as impostor:
        environment = {
            "PATH": f"{tmp_path}:{victim.environment['PATH']}",
            "NEXT": str(impostor.next),
            "LINK": str(impostor.link),
        }
        done = run(CLIENTS[name], victim, {"ATL_SIGN_SOCK": str(impostor.socket), **environment})

        assert impostor.link.readlink() == impostor.folder / "own"  # it was moved
        assert impostor.captured() == []
    assert FORGED not in done.stdout


@pytest.mark.parametrize("name", CLIENTS)
def test_an_impostor_who_stands_still_is_refused(victim: Daemon, name: str) -> None:
    """Their own socket, open to all, at a path that only they can change."""
    with Impostor(victim.folder / "run", period_s=0) as impostor:
        done = run(CLIENTS[name], victim, {"ATL_SIGN_SOCK": str(impostor.folder / "own/atl-sign/agent.sock")})

        assert impostor.captured() == []
    assert FORGED not in done.stdout
    assert done.stderr != "" or done.returncode != 0 or name in ("doctor", "service"), done.stdout


@pytest.mark.parametrize("name", ["header", "unlock", "status", "git", "python", "node"])
def test_the_victims_own_daemon_is_asked(victim: Daemon, name: str) -> None:
    """The twin: at its place, by a path that is relative, and by a link of one's own, the daemon's own words come."""
    own = victim.folder / "own link"
    own.symlink_to(victim.folder / "run")
    sockets = [str(victim.socket), str(own / "atl-sign/agent.sock")]
    if name != "node":  # its program takes a folder called run
        sockets.append("run/atl-sign/agent.sock")
    for path in sockets:
        done = run(CLIENTS[name], victim, {"ATL_SIGN_SOCK": path})

        said = done.stdout + done.stderr
        assert {
            "header": "no consumer key yet",
            "unlock": "passphrase",
            "status": "dance_needed: ",
            "git": "the provider of link jira",
            "python": "key",
            "node": "key",
        }[name] in said, said


@pytest.mark.parametrize("name", [*BY_CURL, "unlock"])
def test_a_folder_that_others_may_write_into_is_refused(victim: Daemon, name: str) -> None:
    """They could exchange the socket in it; the twin that they may only enter is asked."""
    folder = victim.socket.parent
    for mode, is_refused in ((0o777, True), (0o720, True), (0o702, True), (0o755, False)):
        folder.chmod(mode)
        done = run(CLIENTS[name], victim, {"ATL_SIGN_SOCK": str(victim.socket)})

        assert ("other users can change the folder of the socket" in done.stderr) == is_refused, done.stderr
