"""Leases of a real daemon, for tests: opened on its main socket, and used at their own entries."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from tests.lab import DEADLINE_S, Daemon, Reply, UnixConnection

if TYPE_CHECKING:
    from atl_sign.sandbox import Received, Sandbox

MYSELF = "/rest/api/2/myself"


def open_lease(daemon: Daemon, **fields: Any) -> dict[str, Any]:
    """Open a lease; returns the answer's fields."""
    reply = daemon.request("POST", "/leases", fields)
    assert reply.status == 201, reply.text
    return dict(reply.json)


def revoke_all(daemon: Daemon) -> None:
    """Leave a shared daemon as it was."""
    for lease in daemon.request("GET", "/leases").json["leases"]:
        assert daemon.request("DELETE", f"/leases/{lease['id']}").status == 204


def ask(
    path: str,
    method: str,
    target: str,
    fields: Mapping[str, Any] | bytes | None = None,
    *,
    text: bool = False,
    form: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request to the socket at *path*, on a connection of its own, as `Daemon.request` does."""
    sent = {"Accept": "text/plain" if text else "application/json", **(headers or {})}
    body = fields
    if isinstance(fields, Mapping):
        body = urlencode(fields).encode() if form else json.dumps(fields).encode()
        sent.setdefault("Content-Type", "application/x-www-form-urlencoded" if form else "application/json")
    with closing(UnixConnection(Path(path))) as connection:
        connection.request(method, target, body=body, headers=sent)  # type: ignore[arg-type]  # bytes or None by now
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read().decode())


def sign(lease: Mapping[str, Any], url: str, method: str = "GET", **fields: Any) -> Reply:
    """Ask for a header at the lease's sign.sock."""
    return ask(lease["sockets"]["sign"], "POST", "/sign", {"method": method, "url": url, **fields})


def send(lease: Mapping[str, Any], target: str = f"/jira{MYSELF}", method: str = "GET", **more: Any) -> Reply:
    """Send one request through the lease's http.sock."""
    return ask(lease["sockets"]["http"], method, target, headers={"Host": "localhost", **more})


def code_of(reply: Reply) -> str:
    """Return the code of a refusal of the proxy's."""
    return {name.lower(): value for name, value in reply.headers.items()}.get("x-atl-sign", "")


@contextmanager
def arrivals(sandbox: "Sandbox") -> Iterator[list["Received"]]:
    """Give a list that holds, after the `with`, what reached the sandbox within it."""
    before, found = sandbox.state.count, list["Received"]()
    yield found
    count = sandbox.state.count - before
    found += sandbox.state.requests[-count:] if count else []


def exchange(lease: Mapping[str, Any], data: bytes, kind: str = "http") -> bytes:
    """Send *data* as it is to a socket of the lease, or to its port; returns all that comes until the connection is closed."""
    if kind == "port":
        address = urlsplit(lease["url"])
        connection = socket.create_connection((address.hostname or "", address.port or 0), DEADLINE_S)
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE_S)
        connection.connect(lease["sockets"][kind])
    with connection:
        connection.sendall(data)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
        return answer
