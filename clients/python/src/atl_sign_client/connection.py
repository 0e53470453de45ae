"""One HTTP connection to the daemon, with one deadline for connection, request and whole answer."""

from __future__ import annotations

import http.client
import os
import socket
import time
from typing import Any

from atl_sign_client.errors import AtlSignError
from atl_sign_client.finding import check_peer, check_socket, hint_for, no_daemon

ANSWER_BYTES_MAX = 1_048_576
_HEAD = (
    b"POST %b HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
)
_FULL_QUEUE_PAUSE_S = 0.005


class StaleConnectionError(Exception):
    """The other end has gone, and not a byte of an answer came: the request may be sent again on another connection."""


class _DeadlineSocket(socket.socket):
    """A Unix socket whose reads end at `deadline`, however slowly bytes trickle in; http.client limits only pauses."""

    deadline = 0.0  # time.monotonic()

    def wait_at_most(self) -> None:
        """Let the next operation take what is left of the time."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self.settimeout(left)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Read within the deadline: what the file object of `makefile` calls."""
        self.wait_at_most()
        return super().recv_into(*args, **kwargs)


class Connection:
    """An open connection; for one thread at a time, and for the process that opened it."""

    def __init__(self, path: str, connected: _DeadlineSocket) -> None:
        """Take a connected socket; `open_connection` makes one."""
        self.path = path
        self.pid = os.getpid()
        self.is_open = True
        self._socket = connected

    def ask(self, target: str, body: bytes, deadline: float) -> tuple[int, bytes]:
        """
        Post *body*, JSON, to *target*; returns status and body of the answer.

        Raises:
            StaleConnectionError: the other end closed before it answered.
            AtlSignError: daemon_timeout, bad_answer.
        """
        self._socket.deadline = deadline
        is_done, problem, response = False, "", None
        try:
            self._socket.wait_at_most()
            # In one piece: HTTPConnection sends head and body apart, which wakes the daemon twice for each call.
            self._socket.sendall(_HEAD % (target.encode("ascii"), len(body)) + body)
            response = http.client.HTTPResponse(self._socket, method="POST")
            response.begin()
            if response.length is not None and response.length <= ANSWER_BYTES_MAX:
                content = response.read()
                is_done = not response.will_close
                return response.status, content
            problem = "is longer than a daemon's, or does not say how long it is"
        except socket.timeout:
            raise timed_out(self.path) from None
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as exc:
            raise StaleConnectionError from exc
        except http.client.IncompleteRead:
            problem = "ended in the middle"
        except (http.client.HTTPException, OSError, ValueError) as exc:
            problem = f"is not HTTP ({type(exc).__name__})"
        finally:
            if not is_done:
                if response is not None:
                    response.close()  # it has the socket's descriptor too
                self.close()
        # Outside the handlers: their exceptions hold what was read, which may be half a signature.
        raise AtlSignError("bad_answer", f"the answer on {self.path} {problem}", "is it atl-signd that listens there?")

    def close(self) -> None:
        """Close it; in a child process the parent's end stays open."""
        self.is_open = False
        self._socket.close()


def open_connection(path: str, deadline: float) -> Connection:
    """
    Connect to the daemon at *path*.

    Raises:
        AtlSignError: no_daemon, daemon_timeout, bad_socket.
    """
    check_socket(path)
    opened = _DeadlineSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.deadline = deadline
    try:
        _connect(opened, path)
        check_peer(opened, path)
    except socket.timeout:
        opened.close()
        raise timed_out(path) from None
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError) as exc:
        opened.close()
        raise no_daemon(f"no daemon answers on {path}", path) from exc
    except OSError as exc:
        opened.close()
        raise AtlSignError(
            "bad_socket", f"the socket {path} cannot be used: {exc.strerror}", "name another in ATL_SIGN_SOCK"
        ) from exc
    except BaseException:
        opened.close()
        raise
    return Connection(path, opened)


def timed_out(path: str) -> AtlSignError:
    """Return the error for a daemon that is there and silent."""
    return AtlSignError("daemon_timeout", f"the daemon on {path} did not answer in time", hint_for(path, "atl-sign restart"))


def _connect(opened: _DeadlineSocket, path: str) -> None:
    while True:
        opened.wait_at_most()
        try:
            opened.connect(path)
        except BlockingIOError:  # the queue of connections is full; with a timeout set the kernel does not wait for a place
            time.sleep(_FULL_QUEUE_PAUSE_S)
        else:
            return
