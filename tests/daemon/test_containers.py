"""A lease in a container: users and namespaces, the mounted folder, no network, and the end."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.container_lab import IN_CONTAINER, Podman, folder_of, inside, run_inside
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon
from tests.lease_lab import MYSELF, arrivals, open_lease, revoke_all

OTHER, THIRD = 100_000, 100_001  # as rootless engines and `userns-remap` map users that are not root inside
SOCKET = f"{IN_CONTAINER}/http.sock"
GET = ["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket"]
ME = f"http://localhost/jira{MYSELF}"
# curl(1), EXIT CODES
NO_CONNECTION = 7
CUT = {NO_CONNECTION, 52, 55, 56}  # at once: the first is what curl reports when it has not sent anything by then

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users and mounts need root")


@pytest.fixture(scope="module")
def linked(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        yield daemon


@pytest.fixture
def jira(linked: Daemon) -> Iterator[Daemon]:
    yield linked
    revoke_all(linked)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_a_container_has_its_lease_and_nothing_else(jira: Daemon, sandbox: Sandbox, root: Path) -> None:
    """No network, a read-only mount: the lease works within its rules, and nothing else is there to be reached."""
    lease, other = open_lease(jira, links=["jira"]), open_lease(jira, links=["jira"])
    home = sandbox.base_url("jira")

    good = run_inside(root, lease, *GET, SOCKET, ME)
    with arrivals(sandbox) as seen:
        denied = run_inside(root, lease, *GET, SOCKET, "-X", "DELETE", "http://localhost/jira/rest/api/2/issue/WEB-1")
        main = run_inside(root, lease, *GET, str(jira.socket), "http://localhost/status")
        by_lease = run_inside(root, lease, *GET, SOCKET, "http://localhost/status")
        another = run_inside(root, lease, *GET, f"{folder_of(other)}/http.sock", ME)
        outside = run_inside(root, lease, *GET, f"{IN_CONTAINER}/../{other['id']}/http.sock", ME)
        network = run_inside(root, lease, "curl", "-sS", "-m", "5", f"{home}{MYSELF}")
        written = run_inside(root, lease, "sh", "-c", f"rm -f {SOCKET}; touch {IN_CONTAINER}/x")

    assert (good.returncode, good.stdout) == (0, "200"), good.stderr
    assert denied.stdout == "403"
    assert by_lease.stdout == "403"
    assert [each.returncode for each in (main, another, outside, network)] == [NO_CONNECTION] * 4
    assert "Read-only file system" in written.stderr
    assert Path(lease["sockets"]["http"]).is_socket()
    assert seen == []


@pytest.mark.parametrize(
    ("peers", "uid", "answer"),
    [
        ("own", 0, "200"),  # rootless engine, or our own uid
        ("own", OTHER, NO_CONNECTION),  # the folder's mode
        ("any", OTHER, "200"),
        ([OTHER], OTHER, "200"),
        ([OTHER], THIRD, CUT),  # gets to the socket, and is no peer of the lease
        ([OTHER], 0, CUT),  # neither is its owner, by this way
    ],
)
def test_the_peer_is_the_user_outside(jira: Daemon, root: Path, peers: Any, uid: int, answer: Any) -> None:
    """Root inside, whatever it is outside: that one counts."""
    lease = open_lease(jira, links=["jira"], peers=peers)

    done = run_inside(root, lease, *GET, SOCKET, ME, uid=uid)

    if isinstance(answer, str):
        assert (done.returncode, done.stdout) == (0, answer), done.stderr
        assert jira.request("GET", f"/leases/{lease['id']}").json["last_peer"]["uid"] == uid
    else:
        assert done.returncode in ({answer} if isinstance(answer, int) else answer)


FORWARDERS = {
    "socat": f"socat TCP-LISTEN:8701,bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:{SOCKET}",
    "python": f"""python3 -c '
import asyncio
async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
async def serve(reader, writer):
    there = await asyncio.open_unix_connection("{SOCKET}")
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    writer.close()
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", 8701) as server:
        await server.serve_forever()
asyncio.run(main())'""",
}


@pytest.mark.parametrize("forwarder", FORWARDERS)
def test_a_tool_that_needs_tcp(jira: Daemon, sandbox: Sandbox, root: Path, forwarder: str) -> None:
    """A forwarder on the container's own loopback: as a base URL and as a proxy."""
    if forwarder == "socat" and shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    lease = open_lease(jira, links=["jira"])
    port = "http://127.0.0.1:8701"
    get = "curl -sS -m 20 -o /dev/null -w '%{http_code} '"
    script = f"""
        ip link set lo up
        {FORWARDERS[forwarder]} &
        for _ in 1 2 3 4 5 6 7 8 9; do curl -s -m 5 {port} -o /dev/null && break; sleep 0.5; done
        {get} {port}/jira{MYSELF}; {get} -x {port} {sandbox.base_url("jira")}{MYSELF}; {get} {port}/jira{MYSELF} -X PUT
        kill %1
    """

    done = run_inside(root, lease, "bash", "-c", script)

    assert done.stdout.split() == ["200", "200", "403"], done.stderr


def test_a_revocation_from_outside_stops_the_container(jira: Daemon, root: Path) -> None:
    """The mount keeps the folder, but nobody listens there."""
    lease = open_lease(jira, links=["jira"])
    script = f"while curl -sSf -m 20 -o /dev/null --unix-socket {SOCKET} {ME}; do echo; sleep 0.1; done; echo over"
    with subprocess.Popen(
        inside(root, lease, "sh", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        assert jira.request("DELETE", f"/leases/{lease['id']}").status == 204
        stdout, stderr = process.communicate(timeout=DEADLINE_S)

    assert stdout.endswith("over\n")
    assert "(7)" in stderr or "(56)" in stderr or "(52)" in stderr


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """podman, where containers can be made at all."""
    assert shutil.which("podman") is not None, "make system-packages installs it"
    # Not below pytest's own folder: that of a parallel run is too long for podman, which takes 50 characters.
    with TemporaryDirectory(prefix="atl-sign-") as folder:
        found = Podman(Path(folder))
        done = found.run([], "id")
        if done.returncode != 0:
            pytest.skip(f"podman makes no containers here: {done.stderr.strip()[-200:]}")
        yield found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peers", "options", "status"),
    [
        ("own", [], 0),
        ("own", ["--user", "4242"], NO_CONNECTION),
        ("own", ["--uidmap", "0:100000:65536"], NO_CONNECTION),
        ("any", ["--uidmap", "0:100000:65536"], 0),
        ("4242", ["--user", "4242"], 0),
        ("4242", ["--user", "4243"], CUT),
    ],
)
def test_podman(jira: Daemon, podman: Podman, peers: str, options: list[str], status: Any) -> None:
    """The options of `lease new --docker`, for each way in which engines map users."""
    done = jira.run_program("lease", "new", "--link", "jira", "--docker", "--peers", peers)
    assert done.returncode == 0, done.stderr
    given = shlex.split(done.stdout)

    ask = "curl -s -m 20 -o /dev/null -w '%{http_code} ' --unix-socket"
    script = f"{ask} {SOCKET} {ME}; echo $?; {ask} {jira.socket} http://localhost/status; echo $?"
    done = podman.run([*given, *options], "sh", "-c", script)

    assert done.returncode == 0, done.stderr
    answer, returned, main_answer, main_returned = done.stdout.split()
    assert int(returned) in ({status} if isinstance(status, int) else status)
    assert answer == ("200" if status == 0 else "000")
    assert (main_answer, int(main_returned)) == ("000", NO_CONNECTION)
