"""What may listen on a daemon's socket instead of a daemon: it answers what a test wrote, byte for byte."""

import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.listener import DEADLINE_S, Listener

SIGNATURE = 'OAuth oauth_signature="canary-signature"'

Script = Callable[["FakeDaemon", socket.socket], None]


def answer(fields: object, status: str = "200 OK", *, length: int | None = None) -> bytes:
    """Return a whole answer in JSON; *length* is another one than the true one."""
    body = json.dumps(fields).encode() if not isinstance(fields, bytes) else fields
    size = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), size, body)


SIGNED = answer({"authorization": SIGNATURE, "link": "fake", "scheme": "oauth1"})


class FakeDaemon(Listener):
    """A Unix socket in a folder of its own; the n-th request gets the n-th answer, further ones the last."""

    def __init__(self, *answers: bytes | Script, closes: bool = False) -> None:
        """Prepare; it serves inside `with`. With *closes* each connection ends after one answer."""
        super().__init__(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.folder = Path(tempfile.mkdtemp(prefix="atls-"))
        self.path = self.folder / "agent.sock"
        self.requests: list[dict[str, Any]] = []
        self._answers = answers
        self._closes = closes
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.listener.bind(os.fspath(self.path))
        self.listener.listen(64)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        shutil.rmtree(self.folder)

    def hang(self, connection: socket.socket) -> None:
        """Say nothing more."""
        self.stopping.wait(DEADLINE_S)

    def trickle(self, connection: socket.socket) -> None:
        """Begin an answer and send a byte of it now and then."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.stopping.wait(0.02):
            connection.sendall(b"x")

    def serve(self, connection: socket.socket) -> None:
        """Answer request after request."""
        with connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while (field := stream.readline().strip().lower()) != b"":
                    if field.startswith(b"content-length:"):
                        length = int(field.partition(b":")[2])
                body = json.loads(stream.read(length))
                with self._lock:
                    script = self._answers[min(len(self.requests), len(self._answers) - 1)]
                    self.requests.append({"target": line.split()[1].decode(), **body})
                if callable(script):
                    script(self, connection)
                    return
                connection.sendall(script)
                if self._closes:
                    return
