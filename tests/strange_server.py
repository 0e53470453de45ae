"""An OAuth 2.0 server whose every answer a test writes, byte for byte, and the words of its app and of the browser."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.listener import Listener
from tests.unit.raw_server import reply

# Each secret that goes over the wire, to be looked for wherever it has no place.
SECRET = "canary-client-secret"
CODE = "canary-code"
ACCESS, REFRESH = "canary-access-1", "canary-refresh-1"
DEVICE = "canary-device-code"
CLIENT_ID = "the-app"
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
PAGE = "<!doctype html><html><title>Single sign-on</title><p>Please log in.</p></html>"
TOKENS = {"access_token": ACCESS, "token_type": "Bearer", "expires_in": 3600, "refresh_token": REFRESH, "scope": "read"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the server got it."""

    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """The form, of which each field is there once."""
        pairs = parse_qsl(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    @property
    def everything(self) -> str:
        """All of it, to be searched."""
        return f"{self.target}\n{self.headers}\n{self.body.decode('latin-1')}"


Script = Callable[[socket.socket, Asked], None]


class StrangeServer(Listener):
    """A listener on 127.0.0.1 that answers by path; what it was not told to answer is not found."""

    def __init__(self) -> None:
        """Prepare a server without any answer; it serves inside `with`."""
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests: list[Asked] = []
        self._answers: dict[str, list[bytes | Script]] = {}
        self._lock = threading.Lock()

    def answer(self, path: str, *answers: bytes | Script) -> None:
        """Answer requests for *path* by *answers* from now on, in their order; the last one serves every further request."""
        with self._lock:
            self._answers[path] = list(answers)

    def asked(self, path: str) -> list[Asked]:
        """Return the requests for *path*."""
        return [each for each in self.requests if each.target.partition("?")[0] == path]

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        asked = _read(connection)
        if asked is None:
            return
        with self._lock:
            self.requests.append(asked)
            answers = self._answers.get(asked.target.partition("?")[0], [reply("nothing is here", 404)])
            found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, bytes):
            connection.sendall(found)
        else:
            found(connection, asked)

    def hang(self, connection: socket.socket, _: Asked) -> None:
        """Say nothing until the other side has gone."""
        connection.settimeout(0.05)
        while not self.stopping.is_set():
            try:
                if not connection.recv(1024):
                    return
            except TimeoutError:
                continue


def _read(connection: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    method, target, _ = line.split(" ")
    return Asked(method, target, headers, body)


def reset(connection: socket.socket, _: Asked) -> None:
    """Break the connection after the request has come: a TCP reset instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def as_json(value: Any, status: int = 200, **headers: str) -> bytes:
    """Return *value* as an answer."""
    return reply(json.dumps(value), status, {**JSON, **headers})


def tokens(**changes: Any) -> bytes:
    """Return the answer that gives tokens, with *changes*; `...` leaves a field out."""
    fields = {**TOKENS, **changes}
    return as_json({name: value for name, value in fields.items() if value is not ...})


def refusal(word: str, status: int = 400, **headers: str) -> bytes:
    """Return a refusal as RFC 6749 §5.2 has it."""
    return as_json({"error": word, "error_description": "canary-description"}, status, **headers)


def settings_of(server: StrangeServer, **others: object) -> dict[str, object]:
    """Return the settings of a link whose app is at *server*, by addresses."""
    return {
        "url": f"{server.url}/api",
        "scheme": "oauth2",
        "flavour": "generic",
        "client_id": CLIENT_ID,
        "authorize_url": f"{server.url}/authorize",
        "token_url": f"{server.url}/token",
        "timeout_s": 5,
        **others,
    }


def sent_by(authorize_url: str) -> dict[str, str]:
    """Return what the address of a consent asks for."""
    return dict(parse_qsl(urlsplit(authorize_url).query, strict_parsing=True))


def back_from(authorize_url: str, *more: tuple[str, str], **changes: str | None) -> str:
    """
    Return the address that the browser comes back to.

    Args:
        authorize_url: the consent's.
        more: further parameters.
        changes: to code and state; None leaves one out.
    """
    asked = sent_by(authorize_url)
    fields = {"code": CODE, "state": asked["state"], **changes}
    pairs = [(name, value) for name, value in fields.items() if value is not None]
    return f"{asked['redirect_uri']}?{urlencode([*pairs, *more])}"
