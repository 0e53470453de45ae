"""
An HTTPS provider that costs little and verifies nothing, in a process of its own: `python -m tests.benchmarks.provider PEM`.

It gives a token to anybody, sends as many bytes as `/down/N` asks for, takes uploads, and answers all else with a small JSON.
"""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PIECE = bytes(1 << 18)
_JSON = b'{"name":"alice","displayName":"Alice","active":true,"version":"9.12.0","baseUrl":"https://127.0.0.1/jira"}'
_TOKEN = b"oauth_token=token&oauth_token_secret=secret&oauth_callback_confirmed=true&oauth_expires_in=157680000"


@contextmanager
def provider(certificate: Path) -> Iterator[int]:
    """Give the port of a provider that shows *certificate*, a PEM file with its key."""
    command = [sys.executable, "-m", "tests.benchmarks.provider", str(certificate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _serve(connection: socket.socket, context: ssl.SSLContext) -> None:
    buffer = bytearray(len(PIECE))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), context.wrap_socket(connection, server_side=True) as peer:
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                more = peer.recv(65_536)
                if not more:
                    return
                pending += more
            head, _, pending = pending.partition(b"\r\n\r\n")
            fields = head.lower()
            if b"\r\nexpect: 100-continue" in fields:
                peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            _, found, length = fields.partition(b"\r\ncontent-length:")
            left = int(length.split(b"\r\n")[0]) if found else 0
            if left <= len(pending):
                pending = pending[left:]
            else:
                left -= len(pending)
                pending = b""
                while left:
                    count = peer.recv_into(buffer, min(left, len(buffer)))
                    if not count:
                        return
                    left -= count
            target = head.split(b" ")[1]
            _, found, size = target.partition(b"/down/")
            if found:
                left = int(size)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % left)
                while left:
                    piece = PIECE if left >= len(PIECE) else PIECE[:left]
                    peer.sendall(piece)
                    left -= len(piece)
                continue
            kind, body = (b"text/plain", _TOKEN) if b"/oauth/" in target else (b"application/json", _JSON)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body))


def main() -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        os.write(1, b"%d\n" % listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, context), daemon=True).start()


if __name__ == "__main__":
    main()
