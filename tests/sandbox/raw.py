"""Requests as bytes, for what no HTTP library would send."""

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from atl_sign.sandbox import Sandbox
from tests.sandbox.consumer import Consumer


def talk(provider: Sandbox, request: bytes, *, closes: bool = True) -> bytes:
    """Send *request*, end the sending side when *closes*, and return all that comes back until the other side ends."""
    parts = urlsplit(next(iter(provider.base_url(name) for name in provider.state.sites)))
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(request)
        if closes:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


def send_raw(consumer: Consumer, target: bytes, headers: Mapping[str, str]) -> bytes:
    """Send a GET for *target* as it is."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"Host: {urlsplit(consumer.base).netloc}\r\nConnection: close\r\n{lines}\r\n".encode()
    return talk(consumer.provider, b"GET " + target + b" HTTP/1.1\r\n" + head)
