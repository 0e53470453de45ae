"""
A server that writes down what reaches it, byte for byte, and passes it on to a provider, or answers by itself.

usage: recorder.py FOLDER [PORT-OF-THE-PROVIDER]

Prints its own address once it listens. The n-th request goes to FOLDER/n.request, without its Authorization line, which goes to
FOLDER/n.authorization; the status line of the answer goes to FOLDER/n.status. The host that the client named reaches the provider
unchanged, so that signatures hold.

These paths, below any other, it answers by itself:

    /recorder/redirect/CODE?TARGET    a redirect; TARGET is an address, percent-encoded
    /recorder/slow/SECONDS?TARGET     the same with 302, after so many seconds
    /recorder/fail/CODE/COUNT/KEY     CODE for the first COUNT requests with that KEY, then 200; "Retry-After: 1" when KEY says so
    /recorder/anonymous               200, to a user who is not known
    /recorder/problem                 401, as a provider that refuses a signature
    /recorder/cookie/NAME             200, which sets that cookie
    /recorder/bytes/COUNT             200, with so many bytes
    /recorder/echo                    200, with the method and the path that came
"""

import re
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote

RECORDED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nConnection: close\r\n\r\nrecorded\n"
DEADLINE_S = 20


class Recorder:
    """Where requests are written, and where they go on to."""

    def __init__(self, folder: Path, provider_port: int | None) -> None:
        """Write to *folder*; without *provider_port* every answer is our own."""
        self._folder = folder
        self._provider_port = provider_port
        self._count = 0
        self._failures: Counter[str] = Counter()
        self._lock = Lock()

    def serve(self, connection: socket.socket) -> None:
        """Read one request, write it down, answer it, and close."""
        with connection:
            connection.settimeout(DEADLINE_S)
            head, body = read_request(connection)
            if not head:
                return
            lines = head.split(b"\r\n")
            signed = [line for line in lines if line.lower().startswith(b"authorization:")]
            with self._lock:
                self._count += 1
                name = str(self._count)
            (self._folder / f"{name}.authorization").write_bytes(b"\n".join(signed))
            rest = b"\r\n".join(line for line in lines if line not in signed)
            (self._folder / f"{name}.request").write_bytes(rest + b"\r\n\r\n" + body)
            own = self._answer(lines[0].decode("latin-1"))
            answer = own or RECORDED
            if own is None and self._provider_port is not None:
                once = [line for line in lines if not line.lower().startswith(b"connection:")] + [b"Connection: close", b"", body]
                answer = ask_provider(self._provider_port, b"\r\n".join(once))
            # Before the client has its answer, so that who waits for the client finds the file.
            (self._folder / f"{name}.status").write_bytes(answer.partition(b"\r\n")[0])
            connection.sendall(answer)

    def _answer(self, request_line: str) -> bytes | None:
        method, target, _ = request_line.split(" ")
        path, _, query = target.partition("?")
        _, found, what = path.partition("/recorder/")
        if not found:
            return None
        name, *rest = what.split("/")
        headers, status, body = "", "200 OK", f"{method} {target}\n".encode("latin-1")
        if name == "redirect":
            status, headers = f"{rest[0]} Moved", f"Location: {unquote(query, 'latin-1')}\r\n"
            body = b"body of a redirect\n"
        elif name == "slow":
            time.sleep(int(rest[0]))
            status, headers = "302 Moved", f"Location: {unquote(query, 'latin-1')}\r\n"
        elif name == "fail":
            with self._lock:
                self._failures[what] += 1
                count = self._failures[what]
            if count <= int(rest[1]):
                status = f"{rest[0]} Fails"
                headers = "Retry-After: 1\r\n" if "after" in rest[2] else ""
                body = b"a long body of a failure, longer than what comes after it\n"
        elif name == "anonymous":
            headers = "X-AUSERNAME: anonymous\r\n"
        elif name == "problem":
            status = "401 Unauthorized"
            headers = 'WWW-Authenticate: OAuth realm="http%3A%2F%2Fx", oauth_problem="token_rejected"\r\n'
        elif name == "cookie":
            headers = f"Set-Cookie: {rest[0]}=1; Path=/\r\n"
        elif name == "bytes":
            body = bytes(int(rest[0]))
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n".encode("latin-1")
        return head + (b"" if method == "HEAD" else body)


def ask_provider(port: int, request: bytes) -> bytes:
    """Return the provider's whole answer; the request asks it to close the connection after that."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as provider:
        provider.sendall(request)
        while more := provider.recv(65536):
            answer += more
    return answer


def read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return a request's head, without the empty line, and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    is_chunked = False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if name.lower() == b"transfer-encoding":
            is_chunked = True
        if name.lower() == b"expect":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if is_chunked:
        while not body.endswith(b"0\r\n\r\n"):
            more = connection.recv(65536)
            if not more:
                break
            body += more
        return head, re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", body).removesuffix(b"\r\n")
    whole = bytearray(body)
    while len(whole) < length:
        more = connection.recv(1 << 20)
        if not more:
            break
        whole += more
    return head, bytes(whole)


def main() -> None:
    """Serve until killed."""
    recorder = Recorder(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(f"http://127.0.0.1:{server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            Thread(target=recorder.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
