"""The daemon as one of its peers meets it: a call over its socket, with a deadline, and why there was no answer."""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from atl_sign.peer import read_peer

_CONNECT_S = 3.0
_ANSWER_BYTES_MAX = 16 << 20

Silence = Literal["absent", "dead", "silent", "foreign"]


class NoAnswerError(Exception):
    """There was no answer of a daemon; `kind` says how, and `pid` who holds the socket, as far as the kernel tells."""

    def __init__(self, kind: Silence, pid: int | None = None) -> None:
        """Tell of a socket that is not there (absent), that nobody serves (dead), or whose holder does not answer, or not so."""
        super().__init__(kind)
        self.kind = kind
        self.pid = pid


@dataclass(frozen=True, slots=True)
class DaemonAnswer:
    """What came back."""

    status: int
    fields: dict[str, Any]
    pid: int | None  # the daemon, when it made its socket itself; None when systemd did

    @property
    def error(self) -> dict[str, Any]:
        """The error's `code`, `message` and `hint`; empty when the call went well."""
        error = self.fields.get("error")
        return error if isinstance(error, dict) else {}


def call_daemon(path: Path, method: str, target: str, timeout_s: float) -> DaemonAnswer:
    """Send one request without a body to the socket at *path*; raises NoAnswerError. Each read has *timeout_s*."""
    connection = _Connection(path, timeout_s)
    pid = None
    try:
        connection.connect()
        peer = read_peer(connection.sock)
        pid = None if (peer.program or "").endswith("/systemd") else peer.pid
        connection.request(method, target, headers={"Accept": "application/json"})
        response = connection.getresponse()
        fields = json.loads(response.read(_ANSWER_BYTES_MAX))
    except FileNotFoundError:
        raise NoAnswerError("absent") from None
    except ConnectionRefusedError:
        raise NoAnswerError("dead") from None
    except (TimeoutError, BlockingIOError):
        raise NoAnswerError("silent", pid) from None
    except (OSError, http.client.HTTPException, ValueError):
        raise NoAnswerError("foreign", pid) from None
    finally:
        connection.close()
    if not isinstance(fields, dict):
        raise NoAnswerError("foreign", pid)
    return DaemonAnswer(response.status, fields, pid)


class _Connection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost")
        self._path = str(path)
        self._timeout_s = timeout_s
        self.sock: socket.socket

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CONNECT_S)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise
        self.sock.settimeout(self._timeout_s)
