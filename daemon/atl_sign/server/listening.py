"""The listening socket: where it is, whether its place is safe, one daemon a path, bound with its mode or from systemd."""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atl_sign.base.errors import AtlSignError
from atl_sign.base.files import open_without_waiting
from atl_sign.base.folders import ForeignFolderError, explain_failure, make_folder, runtime_folder
from atl_sign.base.ownership import find_weak_spot
from atl_sign.base.peer import read_peer

SOCKET_PATH_BYTES_MAX = 107  # sun_path holds 108 with the zero at its end (unix(7))
BACKLOG = 1024
_AGAIN = "atl-sign restart"
_FIRST_INHERITED_FD = 3  # sd_listen_fds(3)
_Socket = socket.socket  # beside a field called socket


class StartError(AtlSignError):
    """The daemon cannot start; says why, and in `hint` what to do."""


class TakenError(StartError):
    """Somebody has the socket's path already, or is about to let go of it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, and what is ours to remove at the end; nothing is when systemd listens."""

    socket: socket.socket
    path: Path | None = None
    identity: tuple[int, int] | None = None  # device and inode of the socket's file
    lock: int | None = None  # a descriptor
    proxy: _Socket | None = None  # the proxy's, if systemd listens

    def pass_on(self) -> tuple[int, int] | None:
        """Let the program that this process becomes inherit socket and lock; returns their descriptors, None for systemd's."""
        if self.lock is None:
            return None
        passed_on = self.socket.fileno(), self.lock
        for number in passed_on:
            os.set_inheritable(number, True)
        return passed_on

    def remove(self) -> None:
        """Remove the socket's file, unless another daemon's stands there by now, close the socket, and let go of the lock."""
        if self.path is not None and self._is_at(self.path):
            self.path.unlink(missing_ok=True)
        self.socket.close()
        if self.lock is not None:
            os.close(self.lock)

    def _is_at(self, path: Path) -> bool:
        try:
            return _identity(path) == self.identity
        except FileNotFoundError:
            return False  # a cleaner of /run was here


def open_listener(environment: Mapping[str, str], passed_on: tuple[int, int] | None = None) -> Listener:
    """
    Return the listening socket; raises StartError.

    Args:
        environment: says whether systemd handed one over, and else where ours is, by `socket_path`.
        passed_on: what `Listener.pass_on` returned in the program that this process was before.
    """
    inherited = take_inherited_sockets(environment)
    if inherited:
        return Listener(inherited[0], proxy=inherited[1] if len(inherited) > 1 else None)
    path = socket_path(environment)
    if passed_on is not None:
        return _take_over(path, *passed_on)
    lock = _claim(path, is_default=not environment.get("ATL_SIGN_SOCK"))
    try:
        listener = _bind(path)
    except StartError:
        os.close(lock)
        raise
    return Listener(listener, path, _identity(path), lock)


def socket_path(environment: Mapping[str, str]) -> Path:
    """
    Return where the socket is, by the one rule that every client follows (design, section 3).

    Raises:
        StartError: the path is longer than a socket's address can be, or names a folder.
    """
    if environment.get("ATL_SIGN_SOCK"):
        if environment["ATL_SIGN_SOCK"].endswith("/"):  # Path would drop it, and no client finds a socket there
            message = f"ATL_SIGN_SOCK ends in a slash, which names a folder: {environment['ATL_SIGN_SOCK']}"
            raise StartError(message, "name a file in it, such as agent.sock")
        path = Path(environment["ATL_SIGN_SOCK"])
    else:
        path = (runtime_folder(environment) or Path.home() / ".local/state") / "atl-sign/agent.sock"
    path = path.absolute()
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise StartError(f"the socket's path is over {SOCKET_PATH_BYTES_MAX} bytes: {path}", "set ATL_SIGN_SOCK to a shorter one")
    return path


def passed_descriptors(environment: Mapping[str, str]) -> set[int]:
    """Return the descriptors that systemd has passed to this process (sd_listen_fds(3))."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return set()
    return set(range(_FIRST_INHERITED_FD, _FIRST_INHERITED_FD + min(int(count), 1024)))


def take_inherited_sockets(environment: Mapping[str, str]) -> list[socket.socket]:
    """
    Return the listening sockets that systemd handed over (sd_listen_fds(3)): the main one, then the proxy's; raises StartError.

    The list is empty if no socket started the daemon. A unit of an earlier version has only the main one.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    if environment.get("LISTEN_FDS") not in ("1", "2"):
        raise StartError("systemd handed over another number of sockets than one or two", "atl-sign service install")
    return [_take_inherited(_FIRST_INHERITED_FD + number) for number in range(int(environment["LISTEN_FDS"]))]


def _take_inherited(descriptor: int) -> socket.socket:
    hint = "each ListenStream= of the .socket unit is a path"
    try:
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError as exc:
        raise StartError(f"systemd handed over nothing: {exc.strerror}", hint) from exc
    if not is_socket:
        raise StartError("systemd handed over something that is not a socket", hint)
    listener = socket.socket(fileno=descriptor)
    listener.set_inheritable(False)
    if listener.family != socket.AF_UNIX:
        listener.close()
        raise StartError("systemd handed over a socket that is not a Unix socket", hint)
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise StartError("systemd handed over a socket that does not listen for connections", f"{hint}; Accept=no")
    return listener


def check_way(folder: Path) -> None:
    """
    Make sure that no other user can put something else in the place of *folder*, or of anything on the way to it.

    Raises:
        StartError: somebody can.
        OSError: it cannot be looked at.
    """
    spot = find_weak_spot(folder)
    if spot is not None:
        raise StartError(spot.cause, "set ATL_SIGN_SOCK to a path that only you can change")


def open_lock(path: Path, *, is_default: bool) -> int:
    """
    Return the descriptor of the lock file at *path*, which is made, with its folder, when it is not there.

    Args:
        path: a file beside the socket.
        is_default: the folder is only for us, and not one that the user named.

    Raises:
        StartError: the folder cannot be used, or others could put something else in its place.
    """
    folder = path.parent
    try:
        make_folder(folder)
        check_way(folder)
        status = folder.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise StartError(
                f"others may write into {folder}", "set ATL_SIGN_SOCK to a path in a folder that only you can change (mode 0700)"
            )
        if is_default and stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)  # it is only for us; a folder that the user named may be for more than the socket
        return open_without_waiting(path, os.O_RDWR | os.O_CREAT)
    except ForeignFolderError as exc:
        raise StartError(f"{folder} cannot be used: {exc.strerror}", exc.hint) from exc
    except OSError as exc:
        raise StartError(
            f"{folder} cannot be used: {explain_failure(exc, path)}", "set ATL_SIGN_SOCK to a path in a folder of yours"
        ) from exc


def is_claimed(path: Path) -> bool:
    """Tell whether a daemon holds the lock beside the socket at *path*."""
    try:
        lock = open_without_waiting(path.with_name(f"{path.name}.lock"), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _claim(path: Path, *, is_default: bool) -> int:
    """Take the lock beside the socket, which lives as long as we do; returns its descriptor."""
    lock = open_lock(path.with_name(f"{path.name}.lock"), is_default=is_default)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        os.close(lock)
        who = _who_answers(path)
        if who is not None:
            raise TakenError(f"{who} serves at {path} already", "use that one, or end it: atl-sign stop") from exc
        who = f"a daemon with pid {pid}" if pid.isdecimal() else "another daemon, which is just starting,"
        raise TakenError(
            f"{who} has {path}, and does not answer there: it is starting or ending, or its socket was removed",
            f"try again in a moment, or end it: kill {pid}" if pid.isdecimal() else "try again in a moment",
        ) from exc
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _take_over(path: Path, descriptor: int, lock: int) -> Listener:
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as exc:
        raise StartError(f"the socket at {path} was not passed on: {exc.strerror}", _AGAIN) from exc
    try:
        if listener.getsockname() != str(path):
            raise StartError(f"the socket that was passed on is not the one at {path}", _AGAIN)
        identity = _identity(path)
    except (StartError, FileNotFoundError) as exc:
        listener.close()
        if isinstance(exc, StartError):
            raise
        raise StartError(f"the socket at {path} was removed", _AGAIN) from exc
    for number in (descriptor, lock):
        os.set_inheritable(number, False)
    return Listener(listener, path, identity, lock)


def _bind(path: Path) -> socket.socket:
    """Return a listening socket at *path*; the holder of the lock beside it may replace a stale one."""
    if path.is_socket():
        who = _who_answers(path)
        if who is not None:
            raise StartError(
                f"{who} serves at {path} already", "another program listens there; set ATL_SIGN_SOCK to another path"
            )
    try:
        return bind_own(path)
    except OSError as exc:
        raise StartError(f"{path} cannot be made: {exc.strerror}", "remove what is there, or set ATL_SIGN_SOCK") from exc


def bind_own(path: Path) -> socket.socket:
    """Return a listening socket at *path*, for the holder of the lock in that folder; raises OSError."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise OSError(errno.ENAMETOOLONG, f"its path is over {SOCKET_PATH_BYTES_MAX} bytes")
    if path.is_socket():
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the moment the file is there: uvicorn's own uds= would open it to all afterwards.
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    return listener


def _who_answers(path: Path) -> str | None:
    """Return the words for the process that listens at *path*, as the kernel names it; None when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
            return f"a daemon with pid {read_peer(probe).pid}"
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError:  # it does not speak our kind of socket, or its queue is full: somebody is there all the same
            return "another program"


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
