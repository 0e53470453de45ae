"""The daemon as one of its peers meets it: a call over its socket, with a deadline, and why there was no answer."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from atl_sign.base.errors import AtlSignError
from atl_sign.base.peer import Peer, read_peer

STATUS_S = 15.0  # a start, and a keyring that has 3 s

_CONNECT_S = 3.0
_ANSWER_BYTES_MAX = 16 << 20
_STATUS = {"version", "pid", "store", "store_state"}

Silence = Literal["absent", "dead", "closed", "silent", "foreign", "failing"]


class NoAnswerError(AtlSignError):
    """There was no answer of a daemon; `kind` says how, and `pid` who holds the socket, as far as the kernel tells."""

    def __init__(self, kind: Silence, words: str, pid: int | None = None) -> None:
        """
        Report a socket that is not there (absent), that nobody serves (dead), or that cannot be reached (closed).

        Or one whose holder does not answer (silent), is another user or not a daemon (foreign), or has only an error (failing).
        """
        super().__init__(words)
        self.kind = kind
        self.pid = pid


@dataclass(frozen=True, slots=True)
class DaemonAnswer:
    """The answer, decoded."""

    status: int
    fields: dict[str, Any]
    pid: int | None  # the daemon, when it made its socket itself; None when systemd did

    @property
    def error(self) -> dict[str, Any]:
        """The error's `code`, `message` and `hint`; empty when the call went well."""
        error = self.fields.get("error")
        return error if isinstance(error, dict) else {}


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """The answer, as it came."""

    status: int
    code: str | None  # the error's
    text: str
    pid: int | None  # as in DaemonAnswer


def call_daemon(path: Path, method: str, target: str, timeout_s: float) -> DaemonAnswer:
    """Send one request without a body to the socket at *path*, as by `send_call`, and return the fields of the JSON answer."""
    answer = send_call(path, method, target, timeout_s)
    try:
        fields = json.loads(answer.text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise _not_ours(path, answer.pid)
    return DaemonAnswer(answer.status, fields, answer.pid)


def send_call(
    path: Path,
    method: str,
    target: str,
    timeout_s: float,
    *,
    accept: str = "application/json",
    fields: Mapping[str, bytes] | None = None,
) -> RawAnswer:
    """
    Send one request to the socket at *path*, with *fields* as a form; raises NoAnswerError. Each read has *timeout_s*.

    Nothing is sent to another user's process: the path may lead through a folder that they can change.
    """
    connection = _Connection(path, timeout_s)
    pid = None
    no_answer = f"no daemon answers at {path}"
    headers = {"Accept": accept}
    body = None
    if fields:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(fields)
    try:
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError, TimeoutError, BlockingIOError):
            raise
        except OSError as exc:
            raise NoAnswerError("closed", f"{no_answer}: {(exc.strerror or type(exc).__name__).lower()}") from None
        peer = read_peer(connection.sock)
        pid = None if (peer.program or "").endswith("/systemd") else peer.pid
        if not peer.is_ours():
            raise NoAnswerError(
                "foreign", f"no daemon of yours answers at {path}: the user with uid {peer.uid} listens there", pid
            )
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return RawAnswer(response.status, response.getheader("Atl-Sign-Code"), response.read(_ANSWER_BYTES_MAX).decode(), pid)
    except FileNotFoundError:
        raise NoAnswerError("absent", f"{no_answer}: there is no such socket") from None
    except ConnectionRefusedError:
        raise NoAnswerError("dead", f"{no_answer}: nobody listens there") from None
    except (TimeoutError, BlockingIOError):
        raise NoAnswerError("silent", f"{no_answer} within {timeout_s:g} s", pid) from None
    except ConnectionError:  # also http.client.RemoteDisconnected
        raise NoAnswerError("foreign", f"{no_answer}: the connection was closed", pid) from None
    except OSError as exc:
        raise NoAnswerError("foreign", f"{no_answer}: {(exc.strerror or type(exc).__name__).lower()}", pid) from None
    except (http.client.HTTPException, ValueError):
        raise _not_ours(path, pid) from None
    finally:
        connection.close()


def _not_ours(path: Path, pid: int | None) -> NoAnswerError:
    return NoAnswerError("foreign", f"no daemon answers at {path}: the program that listens there is not atl-signd", pid)


def find_listener(path: Path) -> Peer | None:
    """Return who listens at *path*, as the kernel names it: the process that made the socket; None when nobody does."""
    connection = _Connection(path, _CONNECT_S)
    try:
        connection.connect()
        return read_peer(connection.sock)
    except OSError:
        return None
    finally:
        connection.close()


def ask_status(path: Path, timeout_s: float = STATUS_S) -> dict[str, Any]:
    """
    Return the daemon's answer to `GET /status`, which has at least version, pid, store and store_state.

    Raises:
        NoAnswerError: there is none; as "failing", when the daemon says why it cannot give one.
    """
    answer = call_daemon(path, "GET", "/status", timeout_s)
    if answer.status != 200 and "message" in answer.error:
        raise NoAnswerError("failing", str(answer.error["message"]), answer.pid)
    if answer.status != 200 or not answer.fields.keys() >= _STATUS:
        raise NoAnswerError("foreign", f"the program that answers at {path} is not atl-signd", answer.pid)
    return answer.fields


def describe_status(status: Mapping[str, Any], path: Path) -> str:
    """Return one line on the daemon at *path*, which answered with *status*."""
    return (
        f"atl-signd {status['version']} answers at {path}: pid {status['pid']}, store {status['store']} {status['store_state']}"
    )


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
