"""The last answer of a daemon that cannot start, to those who wait on systemd's socket: the reason, in the usual shape."""

import re
import socket
import time
from contextlib import suppress

from atl_sign.api.answers import answer_error
from atl_sign.base.errors import DaemonError
from atl_sign.base.peer import read_peer

REQUEST_S = 1.0  # for the request to come in: its peer connected some time ago
_BYTES_MAX = 1 << 16
_WANTS_TEXT = re.compile(rb"^accept:\s*text/plain", re.I | re.M)


def refuse_waiting(listener: socket.socket, error: DaemonError) -> int:
    """Answer each connection that waits in the queue of *listener* with *error*; returns how many there were."""
    listener.setblocking(False)
    count = 0
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # BlockingIOError: nobody is left
            return count
        count += 1
        with connection, suppress(OSError):
            if read_peer(connection).is_ours():
                _refuse(connection, error)


def _refuse(connection: socket.socket, error: DaemonError) -> None:
    head = _read_head(connection)
    body, headers = answer_error(error, as_text=_WANTS_TEXT.search(head) is not None)
    lines = b"".join(b"%b: %b\r\n" % each for each in headers)
    connection.sendall(
        b"HTTP/1.1 %d Service Unavailable\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
        % (error.status, lines, len(body), body)
    )


def _read_head(connection: socket.socket) -> bytes:
    deadline = time.monotonic() + REQUEST_S
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _BYTES_MAX:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = connection.recv(_BYTES_MAX)
        if not chunk:
            break
        head += chunk
    return head
