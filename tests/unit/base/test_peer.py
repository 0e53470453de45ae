"""Whom the kernel names at the other end of a socket, in the words of Linux and of macOS."""

import os
import socket
import struct

import pytest

from atl_sign.base.peer import read_peer


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
