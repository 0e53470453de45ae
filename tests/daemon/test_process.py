"""The real process on its real socket: modes, other users, stale sockets, second instances, and every way to end."""

import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import termios
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import DEADLINE_S, Daemon, UnixConnection, wait_for

NOBODY = 65_534


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon in an interpreter of its own, as users have it: the process itself is what is tested here."""
    with Daemon() as started:
        yield started


def run(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", *arguments],
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def unread_by_peer(connection: socket.socket) -> int:
    """Return how many bytes sent on *connection* the other side has not taken yet (SIOCOUTQ, unix(7))."""
    count = array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, count)
    return count[0]


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def fits(file: IO[bytes]) -> bool:
    """Write 512 bytes more; tell whether the disk had room for them."""
    try:
        return file.write(b"x" * 512) == 512
    except OSError:
        return False


def test_socket_and_folder_are_private_from_the_moment_they_exist() -> None:
    """0600 in 0700, and never anything wider in between: the folder is watched while the daemon starts."""
    daemon = Daemon()
    seen = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            for path in (daemon.socket.parent, daemon.socket):
                try:
                    seen.add((path.name, stat.S_IMODE(path.lstat().st_mode)))
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with daemon:
            daemon.request("GET", "/status")
    finally:
        is_over.set()
        watcher.join()

    assert seen == {("atl-sign", 0o700), ("agent.sock", 0o600)}
    assert not daemon.socket.exists()


def test_a_foreign_user_is_cut_off_before_a_byte_is_parsed(daemon: Daemon) -> None:
    """Even when the modes would let him in; our own uid is served on the same socket."""
    for path in (daemon.folder, daemon.socket.parent.parent, daemon.socket.parent, daemon.socket):
        path.chmod(0o777)
    code = (
        "import socket, sys\n"
        f"peer = socket.socket(socket.AF_UNIX); peer.settimeout(10); peer.connect({str(daemon.socket)!r})\n"
        "try:\n"
        "    peer.sendall(b'GET /status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); answer = peer.recv(100)\n"
        "except (ConnectionResetError, BrokenPipeError):\n"
        "    answer = b''\n"
        "print(len(answer))\n"
    )

    foreign = subprocess.run(
        ["/usr/bin/env", "python3", "-c", code],
        user=NOBODY,
        group=NOBODY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    ours = subprocess.run(["/usr/bin/env", "python3", "-c", code], capture_output=True, text=True, timeout=30, check=False)

    assert (foreign.stdout, foreign.returncode) == ("0\n", 0), foreign.stderr
    assert int(ours.stdout) > 0


def test_a_second_daemon_refuses_and_says_who_is_there(daemon: Daemon) -> None:
    """With the pid of the first, which goes on."""
    second = run(daemon, "serve")

    assert second.returncode == 1
    assert f"a daemon with pid {daemon.process.pid} serves at {daemon.socket} already" in second.stderr  # type: ignore[union-attr]
    assert "hint: " in second.stderr
    assert daemon.request("GET", "/status").status == 200


def test_a_stale_socket_is_replaced(daemon: Daemon) -> None:
    """After a kill -9 the next start needs no repair by hand."""
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    assert daemon.socket.is_socket()

    daemon.start()

    assert daemon.request("GET", "/status").status == 200


def test_another_program_on_the_path_is_left_alone() -> None:
    """A socket that somebody answers on is not stale."""
    daemon = Daemon()
    daemon.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(daemon.socket))
        other.listen()
        refused = run(daemon, "serve")
    assert refused.returncode == 1
    assert f"pid {os.getpid()}" in refused.stderr
    daemon.close()


def test_a_file_on_the_path_is_left_alone() -> None:
    """Not everything there is a stale socket."""
    daemon = Daemon()
    daemon.socket.parent.mkdir(mode=0o700)
    daemon.socket.write_text("precious")

    refused = run(daemon, "serve")

    assert refused.returncode == 1
    assert daemon.socket.read_text() == "precious"
    daemon.close()


def test_a_path_over_107_bytes_is_refused() -> None:
    """sun_path holds no more; at 107 it works."""
    daemon = Daemon()
    stem = str(daemon.folder / "run")
    for length in (108, 107):
        path = f"{stem}/{'s' * (length - len(stem) - 1)}"
        daemon.environment["ATL_SIGN_SOCK"] = path
        daemon.socket = Path(path)
        if length == 108:
            refused = run(daemon, "serve")
            assert refused.returncode == 1
            assert "over 107 bytes" in refused.stderr
        else:
            daemon.start()
            assert daemon.request("GET", "/status").status == 200
    daemon.close()


def test_a_folder_that_others_may_write_to_is_refused() -> None:
    """Who can rename the socket away can put his own there."""
    daemon = Daemon()
    daemon.socket.parent.mkdir()
    daemon.socket.parent.chmod(0o777)

    refused = run(daemon, "serve")

    assert refused.returncode == 1
    assert "others may write" in refused.stderr
    daemon.close()


def test_an_unusable_folder_is_named() -> None:
    """A file stands where the folder should be."""
    daemon = Daemon()
    (daemon.folder / "run/atl-sign").write_text("")

    refused = run(daemon, "serve")

    assert refused.returncode == 1
    assert "cannot be used" in refused.stderr
    daemon.close()


def test_an_unknown_store_is_refused() -> None:
    """The store is named, never guessed."""
    daemon = Daemon(ATL_SIGN_STORE="plaintext")

    refused = run(daemon, "serve")

    assert refused.returncode == 1
    assert "plaintext" in refused.stderr
    daemon.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: int) -> None:
    """Status 0, no socket left."""
    with Daemon() as daemon:
        assert daemon.stop(number) == 0
        assert not daemon.socket.exists()


def test_sigterm_while_a_dance_waits(sandbox: Sandbox) -> None:
    """Who waits for the dance gets an answer, the callback's port is free, and the end is quick."""
    with Daemon() as daemon:
        daemon.link(sandbox, "jira")
        begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "loopback"}).json
        waiter = UnixConnection(daemon.socket)
        waiter.request("GET", f"/dance/{begun['id']}?wait=60")
        wait_for(lambda: unread_by_peer(waiter.sock) == 0)
        started_at = time.monotonic()

        assert daemon.stop() == 0

        assert time.monotonic() - started_at < 5
        assert json.loads(waiter.getresponse().read())["state"] == "cancelled"
        waiter.close()


def test_a_daemon_that_ends_takes_no_other_daemons_socket_away(daemon: Daemon) -> None:
    """The folder was removed (a cleaner of /run) and a second daemon made its own there: that socket is not the first's."""
    first = daemon.process
    assert first is not None
    shutil.rmtree(daemon.socket.parent)
    daemon.start()

    first.terminate()
    assert first.wait(DEADLINE_S) == 0

    assert daemon.request("GET", "/status").status == 200


def test_a_daemon_whose_socket_was_removed_is_named(daemon: Daemon) -> None:
    """Nobody answers, yet the lock is held: the next one says by whom, so that the user can end it."""
    daemon.socket.unlink()

    second = run(daemon, "serve")

    assert second.returncode == 1
    assert f"a daemon with pid {daemon.process.pid} has {daemon.socket}" in second.stderr  # type: ignore[union-attr]
    assert f"kill {daemon.process.pid}" in second.stderr  # type: ignore[union-attr]


def test_a_lock_without_a_pid_is_told_too() -> None:
    """Whoever holds it has just taken it."""
    daemon = Daemon()
    daemon.socket.parent.mkdir(mode=0o700)
    with daemon.socket.with_name("agent.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        second = run(daemon, "serve")

    assert second.returncode == 1
    assert "another daemon, which is just starting, has" in second.stderr
    daemon.close()


@pytest.mark.parametrize("is_default", [True, False])
def test_a_folder_that_others_may_read(is_default: bool) -> None:
    """0755 in the default place, where it is for us alone, becomes 0700; one that the user named is his."""
    daemon = Daemon()
    daemon.socket.parent.mkdir()
    daemon.socket.parent.chmod(0o755)
    if not is_default:
        daemon.environment["ATL_SIGN_SOCK"] = str(daemon.socket)
    with daemon:
        assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == (0o700 if is_default else 0o755)


def test_a_folder_in_a_folder_that_others_may_write_to_is_refused() -> None:
    """Who can rename the folder away can put his own there."""
    daemon = Daemon()
    daemon.socket.parent.parent.chmod(0o777)

    refused = run(daemon, "serve")

    assert refused.returncode == 1
    assert "others may rename" in refused.stderr
    daemon.close()


def test_systemd_hands_the_socket_over() -> None:
    """`systemd-socket-activate` listens, the first request starts the daemon, the socket's file is not ours to remove."""
    daemon = Daemon()
    daemon.socket.parent.mkdir(mode=0o700)
    command = ["systemd-socket-activate", "-l", str(daemon.socket)]
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "ATL_SIGN_STORE", "LANG", "PATH"):
        command += ["-E", f"{name}={daemon.environment[name]}"]
    with subprocess.Popen(
        [*command, sys.executable, "-m", "atl_sign.commands.cli", "serve"], env=daemon.environment, stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: listens(daemon.socket))  # the file is there before that
        status = daemon.request("GET", "/status")
        assert status.status == 200
        assert status.json["pid"] == process.pid
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    assert daemon.socket.is_socket()
    daemon.close()


def listens(path: Path) -> bool:
    """Tell whether somebody listens on the Unix socket, without a connection: it would start the daemon. See proc(5)."""
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if fields[7:] == [str(path)]:
            return int(fields[3], 16) & 0x10000 != 0  # __SO_ACCEPTCON
    return False


def test_neither_core_nor_memory_can_be_read(daemon: Daemon) -> None:
    """The core limit is 0; and a program of the same user can read the memory of another one, but not the daemon's."""
    limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()  # type: ignore[union-attr]
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    daemon.stop()
    # Root's capabilities would let it read everything, so nobody has any here.
    plain = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    serve = [*plain, sys.executable, "-m", "atl_sign.commands.cli", "serve"]

    with (
        subprocess.Popen(serve, env=daemon.environment, stderr=subprocess.DEVNULL) as ours,
        subprocess.Popen([*plain, sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as other,
    ):
        try:
            wait_for(lambda: can_connect(daemon.socket))
            assert other.stdout is not None
            other.stdout.readline()
            for process, can_be_read in ((ours, False), (other, True)):
                for name in ("environ", "mem"):
                    tried = subprocess.run(
                        [*plain, sys.executable, "-c", f"open('/proc/{process.pid}/{name}', 'rb')"], stderr=PIPE
                    )
                    assert (tried.returncode == 0) == can_be_read, (name, can_be_read)
                    assert can_be_read or b"PermissionError" in tried.stderr
        finally:
            ours.terminate()
            other.kill()


def test_usage_errors_end_with_2(daemon: Daemon) -> None:
    """As argparse has it."""
    assert run(daemon).returncode == 2
    assert run(daemon, "nonsense").returncode == 2
    assert run(daemon, "--help").returncode == 0


def test_a_full_disk_while_the_configuration_is_written_loses_nothing(sandbox: Sandbox) -> None:
    """`config_unwritable`, the old file still stands, and the daemon goes on."""
    daemon = Daemon()
    config = daemon.folder / "config"
    config.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(config)], check=False).returncode == 0
    assert mounted, "mounting a small tmpfs needs root"
    try:
        with daemon:
            assert daemon.request("PUT", "/links/a", {"url": sandbox.base_url("jira")}).status == 201
            before = daemon.config.read_text()
            with (config / "filler").open("wb", buffering=0) as filler:
                while fits(filler):
                    pass

            reply = daemon.request("PUT", "/links/b", {"url": sandbox.base_url("bamboo"), "consumer_key": "x" * 200})

            assert (reply.status, reply.code) == (503, "config_unwritable")
            assert daemon.config.read_text() == before
            (config / "filler").unlink()
            assert daemon.request("PUT", "/links/b", {"url": sandbox.base_url("bamboo")}).status == 201
            daemon.stop()
    finally:
        subprocess.run(["umount", str(config)], check=True)
        daemon.close()
