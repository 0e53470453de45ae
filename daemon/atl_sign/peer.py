"""The local process at the other end of the socket, as the kernel names it."""

import os
import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected: the kernel's word at the time of `connect`, not the process's own."""

    pid: int
    uid: int
    gid: int

    def is_ours(self) -> bool:
        """Tell whether the peer runs as the daemon's own user; nobody else is served, root neither."""
        return self.uid == os.geteuid()


def read_peer(connection: socket.socket) -> Peer:
    """Return the peer of *connection*, a connected Unix stream socket; raises OSError for any other socket."""
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
