"""The local process at the other end of the socket, as the kernel names it."""

import os
import select
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)
# macOS: <sys/un.h> and <sys/ucred.h>. struct xucred: version, uid, number of groups, 16 groups.
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
_XUCRED = struct.Struct("2Ih2x16I")
_ANCESTORS_MAX = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected: the kernel's word at the time of `connect`, not the process's own."""

    pid: int
    uid: int
    gid: int
    program: str | None = None  # the executable's path, where the system tells; by now the process may have become another

    def is_ours(self) -> bool:
        """Tell whether the peer runs as the daemon's own user; nobody else is served, root neither."""
        return self.uid == os.geteuid()


def read_peer(connection: socket.socket) -> Peer:
    """Return the peer of *connection*, a connected Unix stream socket; raises OSError for any other socket."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    else:
        _, uid, _, gid, *_ = _XUCRED.unpack(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
        pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    return Peer(pid, uid, gid, _read_program(pid))


def _read_program(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 - with each connection, and Path takes four times as long
    except OSError:  # gone, hidden from us, or another system
        return None


def has_hung_up(connection: socket.socket) -> bool:
    """Tell whether the peer of *connection*, on a Unix socket or TCP, has closed it; that it sends no more does not say so."""
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def read_loopback_uid(connection: socket.socket) -> int | None:
    """Return the user of the process at the other end of *connection*, TCP over IPv4 on this machine; None if not told."""
    there, here = connection.getpeername(), connection.getsockname()
    wanted = [_as_proc_has_it(*there[:2]), _as_proc_has_it(*here[:2])]
    try:
        lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    except OSError:  # another system
        return None
    rows = (line.split() for line in lines)
    # A socket that its process has closed already has no inode any more, and root for its user.
    return next((int(row[7]) for row in rows if row[1:3] == wanted and row[9] != "0"), None)


def _as_proc_has_it(address: str, port: int) -> str:
    """Return an address as /proc/net/tcp has it (proc(5)): the bytes of the IP address in the machine's order, in hex."""
    number = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    return f"{number:08X}:{port:04X}"


def is_ancestor(pid: int, of: int) -> bool:
    """Tell whether the process *pid* is the process *of*, its parent, or one further up; False when the system does not tell."""
    for _ in range(_ANCESTORS_MAX):
        if pid == of:
            return True
        try:
            status = Path(f"/proc/{of}/stat").read_text(errors="replace")
        except OSError:
            return False
        of = int(status.rpartition(")")[2].split()[1])  # the name before it, in brackets, can hold anything
        if of <= 0:
            return False
    return False


def read_environment(pid: int) -> dict[str, str]:
    """Return the environment that the process *pid* of our user was started with; empty when the system does not tell it."""
    folder = Path(f"/proc/{pid}")
    try:
        if folder.stat().st_uid != os.geteuid():  # by now another process may have the number, which root could read
            return {}
        content = (folder / "environ").read_bytes()
    except OSError:  # gone, hidden from us, or another system
        return {}
    pairs = (os.fsdecode(each).partition("=") for each in content.split(b"\0"))
    return {name: value for name, _, value in pairs if name}
