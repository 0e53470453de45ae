"""OAuth 2.0 links of a daemon: added, given their app, and danced with over real sockets, as a user would."""

import http.client
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from atl_sign.sandbox.oauth2.records import App
from tests.lab import Daemon, Reply

Approve = Callable[[str], str]  # the consent's address → the address that the browser is sent to


def _find_port() -> int:
    """Return a port below those that the system gives out, which is free now, and another one in each process of the tests."""
    for port in random.Random().sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


PORT = _find_port()  # of the redirect address, where the provider compares it exactly


def redirect_of(url: str, port: int = PORT, host: str = "localhost") -> str:
    """Return the redirect address that is registered for a link whose authorization server is at *url*."""
    return f"http://{host}:{port}/callback/{urlsplit(url).netloc.replace(':', '-')}"


def put_link(daemon: Daemon, name: str, url: str, **settings: object) -> Reply:
    """Add a link of OAuth 2.0."""
    reply = daemon.request("PUT", f"/links/{name}", {"url": url, "scheme": "oauth2", "redirect_port": PORT, **settings})
    assert reply.status in (200, 201), reply.text
    return reply


def give_app(daemon: Daemon, name: str, app: App) -> None:
    """Tell the link its app: the id, which is a setting, and the secret, which goes to the store."""
    link = daemon.request("GET", f"/links/{name}").json
    fields = {key: value for key, value in link.items() if key not in ("name", "token", "file") and value is not None}
    assert daemon.request("PUT", f"/links/{name}", {**fields, "client_id": app.client_id}).status == 200
    if app.client_secret is not None:
        kept = daemon.request("PUT", f"/links/{name}/secret", {"secret": app.client_secret})
        assert (kept.status, kept.json) == (200, {"link": name}), kept.text


def begin(daemon: Daemon, name: str, callback: str = "loopback") -> dict[str, Any]:
    """Begin a dance."""
    reply = daemon.request("POST", "/dance", {"link": name, "callback": callback})
    assert reply.status == 201, reply.text
    begun: dict[str, Any] = reply.json
    return begun


def visit(url: str) -> tuple[int, str]:
    """Do the browser's last step; returns status and page."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def dance(daemon: Daemon, name: str, approve: Approve) -> dict[str, Any]:
    """Dance to its end by way of the listener; returns the state."""
    begun = begin(daemon, name)
    status, page = visit(approve(begun["authorize_url"]))
    assert status == 200, page
    state: dict[str, Any] = daemon.request("GET", f"/dance/{begun['id']}?wait=10").json
    return state


def sign(daemon: Daemon, url: str, method: str = "GET") -> Reply:
    """Ask for a header."""
    return daemon.request("POST", "/sign", {"method": method, "url": url})
