"""A socket in front of the real vault: it hands requests on, and breaks off where a test wants it."""

import socket
from collections.abc import Callable
from typing import Literal

from tests.listener import Listener

# What becomes of a request: "pass" gives the vault's answer; "lose" lets the vault do it and closes instead of an answer; "halve"
# gives the first half of the answer; "refuse" closes before the vault has heard of it.
Fate = Literal["pass", "lose", "halve", "refuse"]


class Front(Listener):
    """A listener on 127.0.0.1; each request on it goes to the vault at *port* on a connection of its own."""

    def __init__(self, port: int, decide: Callable[[bytes], Fate] = lambda _: "pass") -> None:
        """
        Prepare a front; it serves inside `with`.

        Args:
            port: the vault's, on 127.0.0.1.
            decide: returns what becomes of the request that it is given.
        """
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.decide = decide
        self.requests: list[bytes] = []
        self._port = port

    def serve(self, connection: socket.socket) -> None:
        """Serve one request."""
        request = _read(connection)
        if not request:
            return
        fate = self.decide(request)
        self.requests.append(request)
        if fate == "refuse":
            return
        answer = self._ask(request)
        if fate == "pass":
            connection.sendall(answer)
        elif fate == "halve":
            connection.sendall(answer[: len(answer) // 2])

    def _ask(self, request: bytes) -> bytes:
        answer = b""
        with socket.create_connection(("127.0.0.1", self._port), 10) as vault:
            vault.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            while piece := vault.recv(65_536):
                answer += piece
        return answer

    def asked(self, *words: str) -> list[bytes]:
        """Return the requests whose first line has each of *words*."""
        return [each for each in self.requests if all(word.encode() in each.partition(b"\r\n")[0] for word in words)]


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        body += piece
    return head + b"\r\n\r\n" + body
