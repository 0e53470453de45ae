"""The daemon as a client sees it: does it answer on its socket, whose is it, and what does it say of itself."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from atl_sign.peer import Peer, read_peer

CONNECT_S = 2.0
STATUS_S = 15.0  # a start, and a keyring that has 3 s


class NoAnswerError(Exception):
    """The daemon did not answer, or with something else than it should."""


def find_listener(path: Path) -> Peer | None:
    """Return who listens at *path*, as the kernel names it: the process that made the socket; None when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_S)
        try:
            probe.connect(str(path))
            return read_peer(probe)
        except OSError:
            return None


def ask_status(path: Path, timeout_s: float = STATUS_S) -> dict[str, Any]:
    """Return the daemon's answer to `GET /status`; raises NoAnswerError."""
    connection = _Connection(path, timeout_s)
    try:
        connection.request("GET", "/status", headers={"Accept": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise NoAnswerError(f"no daemon answers at {path}: {exc}") from exc
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise NoAnswerError(f"what answers at {path} is no atl-signd")
    if response.status != 200:
        error = answer.get("error")
        raise NoAnswerError(str(error.get("message") if isinstance(error, dict) else response.reason))
    return answer


class _Connection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
