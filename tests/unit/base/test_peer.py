"""Whom the kernel names at the other end of a socket, in the words of Linux and of macOS."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from atl_sign.base.peer import is_ancestor, read_loopback_uid, read_peer


class MacSocket:
    """What a connected socket of macOS answers: no Mac runs these tests."""

    def getsockopt(self, level: int, option: int, size: int = 0) -> int | bytes:
        """As <sys/un.h> has it: LOCAL_PEERCRED is 1 and gives a struct xucred, LOCAL_PEERPID is 2."""
        assert level == 0
        if option == 2:
            return 4711
        assert (option, size) == (1, 76)  # sizeof(struct xucred): two 32-bit words, a short, padding, 16 groups
        return struct.pack("<IIhxx16I", 0, 501, 2, 20, 12, *[0] * 14)


def test_the_kernel_of_linux_names_the_peer() -> None:
    """Process, user and group; it is ours."""
    ours, other = socket.socketpair()
    with ours, other:
        peer = read_peer(ours)

    assert (peer.pid, peer.uid, peer.gid, peer.is_ours()) == (os.getpid(), os.getuid(), os.getgid(), True)


def test_the_kernel_of_macos_names_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """By two options, in a struct of its own; it is not ours."""
    monkeypatch.delattr(socket, "SO_PEERCRED")

    peer = read_peer(MacSocket())  # type: ignore[arg-type]

    assert (peer.pid, peer.uid, peer.gid, peer.is_ours()) == (4711, 501, 20, False)


def started(*command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_ancestors_are_known_through_every_step() -> None:
    """A process is its own, its parent's and its grandparent's descendant, and nobody else's."""
    with started("sh", "-c", "sleep 60 & echo $!; read x; kill $!") as shell, started("sh", "-c", "read x") as other:
        assert shell.stdout is not None
        sleeper = int(shell.stdout.readline())

        assert is_ancestor(sleeper, sleeper)
        assert is_ancestor(shell.pid, sleeper)
        assert is_ancestor(os.getpid(), sleeper)
        assert not is_ancestor(sleeper, shell.pid)
        assert not is_ancestor(other.pid, sleeper)
        assert not is_ancestor(sleeper, os.getpid())
        for each in (shell, other):
            each.communicate("\n")
    assert not is_ancestor(os.getpid(), shell.pid), "it has ended"
    assert not is_ancestor(os.getpid(), 0), "a peer in a namespace that we do not see"


def test_a_process_that_names_itself_like_a_line_of_proc_is_read_right(tmp_path: Path) -> None:
    """Its name stands in brackets before the parent's pid, and can hold brackets and numbers of its own."""
    named = tmp_path / ") R 1 1 1"
    shutil.copy(shutil.which("sleep") or "", named)
    with started(str(named), "60") as process:
        assert ") R 1 1 1" in Path(f"/proc/{process.pid}/stat").read_text()
        assert is_ancestor(os.getpid(), process.pid)
        process.terminate()


def test_a_loopback_connection_has_its_users_uid() -> None:
    """As /proc/net/tcp has it for the other end of just this connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as ours, socket.create_connection(address) as more:
            for _ in (ours, more):
                taken, _where = listener.accept()
                with taken:
                    assert read_loopback_uid(taken) == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_another_users_connection_is_not_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = (
            f"import encodings.idna, os, socket; os.setuid(65534); s = socket.create_connection(('127.0.0.1', {port})); input()"
        )
        with started(sys.executable, "-c", code) as process:
            taken, _ = listener.accept()
            with taken:
                assert read_loopback_uid(taken) == 65534
                process.communicate("\n")
                # Closed, the kernel shows such a socket as root's: the daemon of root must not take it for its own.
                assert read_loopback_uid(taken) in (None, 65534)


def test_a_closed_connection_has_no_user() -> None:
    """Its row has no inode; it is nobody's, and root's least of all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        taken, _ = listener.accept()
        with taken:
            ours.close()
            assert read_loopback_uid(taken) is None


def test_without_proc_the_uid_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> str:
        raise FileNotFoundError

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        taken, _ = listener.accept()
        with taken:
            monkeypatch.setattr(Path, "read_text", fail)
            assert read_loopback_uid(taken) is None
