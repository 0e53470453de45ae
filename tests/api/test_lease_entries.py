"""The entries of leases in the file system, for other users and in containers, and their end: at once, however it comes."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon, UnixConnection, wait_for
from tests.lease_lab import MYSELF, ask, code_of, open_lease, revoke_all, send, sign
from tests.listener import Listener

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
# Connects by a folder that was opened while it could be, as a bind mount in a container gives it.
CLIENT = """
import os, socket, sys
folder, uid, name, request = os.open(sys.argv[1], os.O_PATH), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if uid: os.setgroups([]); os.setgid(uid); os.setuid(uid)
try:
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(f"/proc/self/fd/{folder}/{name}")
    s.sendall(request.encode()); answer = b""
    while more := s.recv(65536): answer += more
    print(answer.decode())
except OSError as exc: print(type(exc).__name__)
"""
GET = f"GET /jira{MYSELF} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SHOW = "GET /~/lease HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class SlowProxy(Listener):
    """A link's proxy that answers a question for the user with a drop at a time, without end; it knows nothing else."""

    def __init__(self) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sent = 0
        self.cut = threading.Event()  # a connection was cut from the other side

    def serve(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65_536)
            if not more:
                return
            data += more
        if MYSELF.encode() not in data:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not self.stopping.is_set():
                connection.sendall(b"1\r\nx\r\n")
                self.sent += 1
                time.sleep(0.005)
        except OSError:
            self.cut.set()


@pytest.fixture(scope="module")
def shared(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        yield daemon


@pytest.fixture
def leases(shared: Daemon) -> Iterator[Daemon]:
    yield shared
    revoke_all(shared)


@pytest.fixture
def slow(leases: Daemon) -> Iterator[SlowProxy]:
    """The link's proxy for one test."""
    link = leases.request("GET", "/links/jira").json
    fields = {"url": link["url"], "consumer_key": link["consumer_key"]}
    with SlowProxy() as proxy:
        assert leases.request("PUT", "/links/jira", {**fields, "proxy": proxy.url}).status == 200
        yield proxy
        assert leases.request("PUT", "/links/jira", fields).status == 200


def modes_of(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.lstat().st_mode) for each in (folder, *folder.iterdir())}


@pytest.mark.parametrize("peers", ["own", "any", [4242]])
def test_modes(leases: Daemon, peers: str | list[int]) -> None:
    """Open to others only where others are let in, and below a folder that is closed to them; the bundle is for reading."""
    lease = open_lease(leases, entries=["http", "sign", "port"], peers=peers)
    folder = Path(lease["sockets"]["http"]).parent

    is_wide = peers != "own"
    sockets = 0o666 if is_wide else 0o600
    wanted = {folder.name: 0o755 if is_wide else 0o700, "http.sock": sockets, "sign.sock": sockets, "ca.pem": 0o644}
    assert modes_of(folder) == wanted
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert lease["ca_file"] == str(folder / "ca.pem")


def reach(lease: dict[str, Any], uid: int, name: str = "http.sock", request: str = GET, before: Sequence[str] = ()) -> str:
    """Send *request* as the user *uid*, who has the lease's folder; returns the answer, or an error's name."""
    folder = Path(lease["sockets"]["http"]).parent
    done = subprocess.run(
        [*before, sys.executable, "-c", CLIENT, str(folder), str(uid), name, request],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_root
@pytest.mark.parametrize(
    ("peers", "is_served"), [("own", False), ("any", True), ([NOBODY], True), ([4242], False), ([NOBODY, 4242], True)]
)
def test_another_user(leases: Daemon, peers: str | list[int], is_served: bool) -> None:
    """Who has the folder, by a mount: served only where the lease names them, at either socket."""
    lease = open_lease(leases, links=["jira"], entries=["http", "sign"], peers=peers)

    for name, request in (("http.sock", GET), ("http.sock", SHOW), ("sign.sock", SHOW)):
        answer = reach(lease, NOBODY, name, request)
        if is_served:
            assert answer.startswith("HTTP/1.1 200 "), answer
        elif peers == "own":
            assert answer == "PermissionError\n"
        else:  # the mode lets them connect, and the kernel's word about them ends it
            assert answer in ("\n", "ConnectionResetError\n", "BrokenPipeError\n")
    assert leases.request("GET", f"/leases/{lease['id']}").json["allowed"] == int(is_served)
    if is_served:
        assert leases.request("GET", f"/leases/{lease['id']}").json["last_peer"]["uid"] == NOBODY


@needs_root
def test_a_lease_for_a_uid_is_not_for_its_owner(leases: Daemon) -> None:
    """The list is the list: root is not on it."""
    lease = open_lease(leases, links=["jira"], peers=[NOBODY])

    assert reach(lease, 0) in ("\n", "ConnectionResetError\n", "BrokenPipeError\n")
    assert reach(lease, NOBODY).startswith("HTTP/1.1 200 ")


@needs_root
def test_another_user_gets_no_further(leases: Daemon) -> None:
    """Without a mount, the folders on the way are closed, whatever the lease's own mode is."""
    lease = open_lease(leases, links=["jira"], peers="any")
    code = f"import os, socket; os.setuid({NOBODY}); socket.socket(socket.AF_UNIX).connect({lease['sockets']['http']!r})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert "PermissionError" in done.stderr


def can(command: Sequence[str]) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize(
    "view",
    [
        ("unshare", "--user", "--map-root-user", "--net"),
        ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"),
        ("unshare", "--net"),
    ],
    ids=["user-net", "user-mount-pid", "net"],
)
def test_a_containers_view(leases: Daemon, view: tuple[str, ...]) -> None:
    """In namespaces of its own, the owner's process has the lease by its socket, and no network."""
    if not can(view):
        pytest.skip(f"the kernel forbids {' '.join(view)}")
    lease = open_lease(leases, links=["jira"])

    assert reach(lease, 0, before=view).startswith("HTTP/1.1 200 ")


def test_a_read_only_mount_is_enough(leases: Daemon, tmp_path: Path) -> None:
    """In it the socket works, and nothing can be put in its place."""
    view = ("unshare", "--user", "--map-root-user", "--mount") if os.geteuid() else ("unshare", "--mount")
    script = (
        'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && cd "$2"'
        " && ! touch x 2>/dev/null && ! rm http.sock 2>/dev/null"
        ' && curl -sS --unix-socket http.sock "$3"'
    )
    if not can(view):
        pytest.skip("the kernel forbids mounts of one's own")
    lease = open_lease(leases, links=["jira"])
    folder = Path(lease["sockets"]["http"]).parent

    mounted = subprocess.run(
        [
            *view,
            "bash",
            "-c",
            script,
            "bash",
            folder,
            tmp_path,
            f"http://localhost/jira{MYSELF}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert mounted.returncode == 0, mounted.stderr
    assert json.loads(mounted.stdout)["name"] == "alice"


def begin_transfer(lease: dict[str, Any]) -> tuple[UnixConnection, http.client.HTTPResponse]:
    connection = UnixConnection(Path(lease["sockets"]["http"]))
    connection.request("GET", f"/jira{MYSELF}", headers={"Host": "localhost"})
    response = connection.getresponse()
    assert response.status == 200
    assert response.read(5) == b"xxxxx"
    return connection, response


def drain(response: http.client.HTTPResponse) -> tuple[int, bool]:
    """Read what still comes; returns how much, and whether it ended as a whole answer does."""
    count = 0
    while True:
        try:
            data = response.read1(65_536)
        except (OSError, http.client.HTTPException):
            return count, False
        if not data:
            return count, True
        count += len(data)


@pytest.mark.parametrize("state", ["open", "used_up", "child", "child_suspended", "child_used_up"])
def test_a_revocation_cuts_a_transfer(leases: Daemon, slow: SlowProxy, state: str) -> None:
    """Before the 204 is there: nothing comes after it, and the provider's connection is gone too."""
    lease = open_lease(leases, links=["jira"], uses=1 if state == "used_up" else None)
    used = lease
    if state.startswith("child"):
        fields = {"uses": 1} if state == "child_used_up" else {}
        used = ask(lease["sockets"]["http"], "POST", "/~/leases", fields, headers={"Host": "localhost"}).json
    connection, response = begin_transfer(used)
    if state == "child_suspended":
        assert leases.request("POST", f"/leases/{used['id']}/suspend").status == 200

    assert leases.request("DELETE", f"/leases/{lease['id']}").status == 204
    sent = slow.sent

    assert slow.cut.wait(DEADLINE_S)
    count, is_whole = drain(response)
    connection.close()
    assert not is_whole
    assert count <= sent
    assert slow.sent - sent <= 20, "what was under way when the connection was cut"
    assert not Path(lease["sockets"]["http"]).parent.exists()
    with pytest.raises(OSError):  # noqa: PT011
        send(used)
    assert leases.request("GET", f"/leases/{used['id']}").json["state"] == "revoked"


def test_an_end_of_time_cuts_a_transfer(leases: Daemon, slow: SlowProxy) -> None:
    """The look is once a second."""
    lease = open_lease(leases, links=["jira"], expires_in_s=1)
    connection, response = begin_transfer(lease)

    assert slow.cut.wait(DEADLINE_S)
    assert drain(response)[1] is False
    connection.close()
    assert code_of(send(lease)) == "lease_expired"


def test_a_kept_connection_of_a_sign_socket_is_cut(leases: Daemon, sandbox: Sandbox) -> None:
    """It can ask nothing more."""
    lease = open_lease(leases, links=["jira"], entries=["sign"])
    with contextlib.closing(UnixConnection(Path(lease["sockets"]["sign"]))) as connection:
        connection.request("GET", "/~/lease")
        assert connection.getresponse().read()
        assert leases.request("DELETE", f"/leases/{lease['id']}").status == 204
        with pytest.raises((OSError, http.client.HTTPException)):  # noqa: PT012 - at either
            connection.request("GET", "/~/lease")
            connection.getresponse()
    with pytest.raises(OSError):  # noqa: PT011
        sign(lease, f"{sandbox.base_url('jira')}{MYSELF}")


# Opens a lease that lives with the grandparent, as `run` does with its command.
OPENER = """
import http.client, json, os, socket, sys
c = http.client.HTTPConnection("x"); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])
c.request("POST", "/leases", json.dumps({"lives_with": int(sys.argv[2])}), {"Content-Type": "application/json"})
print(c.getresponse().read().decode(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lease_ends_with_its_process(leases: Daemon, number: int) -> None:
    """However it dies; the folder is gone."""
    command = [sys.executable, "-c", OPENER, str(leases.socket)]
    script = '"${@:1}" $$; read x'
    with subprocess.Popen(
        ["bash", "-c", script, "bash", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lease = json.loads(process.stdout.readline())
        assert lease["lives_with"] == process.pid
        folder = Path(lease["sockets"]["http"]).parent
        child = ask(lease["sockets"]["http"], "POST", "/~/leases", {"uses": 1}, headers={"Host": "localhost"}).json
        assert folder.is_dir()

        process.send_signal(number)
        process.wait(DEADLINE_S)

    wait_for(lambda: leases.request("GET", f"/leases/{lease['id']}").json["state"] == "ended")
    wait_for(lambda: not folder.exists())
    assert leases.request("GET", f"/leases/{child['id']}").json["state"] == "ended"


def test_a_lease_lives_with_no_stranger(leases: Daemon) -> None:
    """Another process of the same user is not an ancestor."""
    with subprocess.Popen(["sleep", "60"]) as other:
        refused = leases.request("POST", "/leases", {"lives_with": other.pid})
        other.kill()

    assert (refused.status, refused.code) == (400, "bad_request")
    assert leases.request("POST", "/leases", {"lives_with": os.getpid()}).status == 201, "the twin"


def test_there_is_room_for_64(leases: Daemon) -> None:
    """And all work; one more is refused, and after an end there is room again."""
    opened = [open_lease(leases, links=["jira"], entries=["http", "sign"]) for _ in range(64)]

    refused = leases.request("POST", "/leases", {})
    assert (refused.status, refused.code) == (409, "too_many_leases")
    assert {send(lease).status for lease in opened[::9]} == {200}
    assert leases.request("DELETE", f"/leases/{opened[5]['id']}").status == 204
    open_lease(leases)


def test_a_killed_daemon_leaves_no_folder_for_the_next(fork_server: ForkServer) -> None:
    """What it left is removed at the start; the leases are forgotten."""
    with Daemon(fork_server) as daemon:
        daemon.request("PUT", "/links/jira", {"url": "http://127.0.0.1:1/jira"})
        lease = open_lease(daemon, entries=["http", "sign"])
        folder = Path(lease["sockets"]["http"]).parent.parent
        daemon.stop(signal.SIGKILL)
        assert Path(lease["sockets"]["http"]).exists()

        daemon.start()

        assert daemon.request("GET", "/leases").json["leases"] == []
        assert not folder.exists()
        open_lease(daemon)
        daemon.stop()
        assert not folder.exists(), "an orderly end removes them itself"


def test_a_stale_link_in_the_folders_place_is_not_followed(fork_server: ForkServer, tmp_path: Path) -> None:
    """The folder of a killed daemon is removed, and nothing that a symbolic link in it, or in its place, leads to."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("")
    daemon = Daemon(fork_server)
    folder = daemon.socket.parent / "leases"
    (folder / "1a2b3c4d").mkdir(parents=True)
    daemon.socket.parent.chmod(0o700)
    (folder / "1a2b3c4d/x").symlink_to(kept)
    (folder / "x").symlink_to(kept)
    with daemon:
        assert daemon.request("GET", "/leases").status == 200
        assert (kept / "file").exists()
        assert not folder.exists()
        daemon.stop()
        folder.symlink_to(kept)
        daemon.start()
        assert daemon.request("GET", "/leases").status == 200
        assert (kept / "file").exists()


@pytest.mark.slow
@needs_root
def test_a_full_disk_opens_nothing_when_lines_are_required(fork_server: ForkServer) -> None:
    """Nor changes or resumes a lease; a revocation is done, and says so."""
    daemon = Daemon(fork_server)
    disk = daemon.folder / ".local/state/atl-sign"
    disk.mkdir(mode=0o700, parents=True)
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('audit = "required"\n[links.jira]\nurl = "http://127.0.0.1:1/jira"\nconsumer_key = "me"\n')
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", disk], check=True)
    try:
        with daemon:
            lease = open_lease(daemon, uses=5)
            other = open_lease(daemon)
            daemon.request("POST", f"/leases/{other['id']}/suspend")
            with (disk / "rest").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1024))
            with contextlib.suppress(OSError), (disk / "audit.jsonl").open("ab", buffering=0) as file:
                while True:  # the rest of its last page
                    file.write(b"\n")

            for method, path, fields in (
                ("POST", "/leases", {"name": "new"}),
                ("PATCH", f"/leases/{lease['id']}", {"uses": 9}),
                ("POST", f"/leases/{other['id']}/resume", None),
            ):
                reply = daemon.request(method, path, fields)
                assert (reply.status, reply.code) == (503, "audit_unavailable")
            states = {each["id"]: each["state"] for each in daemon.request("GET", "/leases").json["leases"]}
            assert sorted(states.values()) == ["open", "revoked", "suspended"]
            assert daemon.request("GET", f"/leases/{lease['id']}").json["uses_left"] == 5
            assert daemon.request("DELETE", f"/leases/{lease['id']}").status == 204
            assert len(list((daemon.socket.parent / "leases").iterdir())) == 1
            (disk / "rest").unlink()
            assert daemon.request("POST", "/leases", {"name": "new"}).status == 201
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
        daemon.close()
