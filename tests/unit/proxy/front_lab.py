"""A proxy in this process with real links, tokens and sockets; a provider that counts what reaches it; curl, and raw sockets."""

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from atl_sign.access.decision import Rules
from atl_sign.access.lease import Lease, Terms
from atl_sign.access.presets.loading import parse_rules
from atl_sign.agent.build import make_agent
from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.peer import Peer
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.proxy.front import Entry, Proxy
from atl_sign.schemes.registry import SCHEME_SETTINGS
from atl_sign.schemes.static import StaticToken
from tests.audit_lab import PEER, make_audit
from tests.listener import Listener
from tests.unit.provider_lab import make_grant, private_key
from tests.unit.raw_server import make_certificate, serve_tls

TOKEN = "canary-proxy-token-0001"
SECRET = "atls_canary-lease-secret"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Seen:
    """One request as the provider got it."""

    head: bytes
    body: bytes = b""
    is_whole: bool = False  # the body has ended as the head said

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    def find_all(self, name: str) -> list[str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].lower() == name.lower()]


Script = Callable[[socket.socket, Seen], None]


class Provider(Listener):
    """A server on 127.0.0.1 that keeps connections, and what it was sent; each request gets the next answer, or the last."""

    def __init__(self, *answers: bytes | Script, tls: ssl.SSLContext | None = None, reads_body: bool = True) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.port = int(self.listener.getsockname()[1])
        self.seen: list[Seen] = []
        self._answers = list(answers) or [OK]
        self._tls = tls
        self._reads_body = reads_body
        self._streams: list[socket.socket] = []

    def __exit__(self, *error: Any) -> None:
        for stream in self._streams:  # the listener has lost those that were wrapped
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        super().__exit__(*error)

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def answer_with(self, *answers: bytes | Script) -> None:
        self._answers = list(answers)

    def serve(self, connection: socket.socket) -> None:
        stream = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
        self._streams.append(stream)
        with stream:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = stream.recv(65_536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                seen = Seen(head)
                self.seen.append(seen)
                answer = self._answers[min(len(self.seen), len(self._answers)) - 1]
                if self._reads_body:
                    data = self._read_body(stream, seen, data)
                    seen.is_whole = True
                if isinstance(answer, bytes):
                    stream.sendall(answer)
                else:
                    answer(stream, seen)

    def _read_body(self, stream: socket.socket, seen: Seen, data: bytes) -> bytes:
        left, body = bytearray(data), bytearray()

        def take(count: int) -> bytearray:
            while len(left) < count:
                more = stream.recv(65_536)
                if not more:
                    seen.body = bytes(body + left)
                    raise OSError("the body broke off")
                left.extend(more)
            taken = left[:count]
            del left[:count]
            return taken

        if seen.find_all("transfer-encoding") == ["chunked"]:
            size = 1
            while size:
                line = bytearray()
                while not line.endswith(b"\r\n"):
                    line += take(1)
                size = int(line, 16)
                body += take(size)
                take(2)
        else:
            body = take(int((seen.find_all("content-length") or ["0"])[0]))
        seen.body = bytes(body)
        return bytes(left)


class ProxyLab:
    """The proxy in a thread's event loop; entries are Unix sockets and ports."""

    def __init__(self, folder: Path, own_app: Any = None) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxy-lab")
        self._own_app = own_app
        self._sockets = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
        self._servers: list[asyncio.Server] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._config: list[str] = []

    def __enter__(self) -> Self:
        self.safe = Safe(MemoryStore())
        self.config = ConfigFile(self.folder / "config.toml", SCHEME_SETTINGS)
        self.audit = make_audit()
        self.agent = make_agent(self.config, self.safe, Dances(), self.audit)
        self._thread.start()
        self.proxy = self.run(self._make_proxy())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        shutil.rmtree(self._sockets)

    async def _make_proxy(self) -> Proxy:
        return Proxy(self.agent, self._own_app)

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.proxy.aclose()
        await asyncio.sleep(0.01)  # transports that were aborted close in the loop's next round

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def add_link(self, name: str, url: str, scheme: str = "bearer", **settings: str | float) -> None:
        """Configure a link, with a token."""
        lines = [
            f"[links.{name}]",
            f'url = "{url}"',
            f'scheme = "{scheme}"',
            *(f"{key} = {json.dumps(setting)}" for key, setting in settings.items()),
        ]
        if scheme == "oauth1":
            lines.append('consumer_key = "unit-tests"')
            self.safe.put_key(private_key())
        self._config += lines
        self.config.path.write_text("\n".join(self._config) + "\n")
        self.config.forget()
        link = self.config.settings().links.get(name)
        grant = make_grant() if scheme == "oauth1" else Grant(StaticToken(Secret(TOKEN), "me" if scheme == "basic" else None))
        self.safe.put_token(link, grant)

    def make_lease(self, *links: str, allow: tuple[str, ...] = ("* /**",), uses: int | None = None, **terms: Any) -> Lease:
        rules = Rules(parse_rules(allow), ())
        terms = {"entries": frozenset({"http"}), **terms}
        return Lease("aa", Terms(links=frozenset(links), rules=rules, **terms), 3600, uses, secret=SECRET)

    def open(self, lease: Lease | None = None, authority: Any = None) -> str:
        """Open a Unix socket for *lease*, or the owner's own; returns its path."""
        path = str(self._sockets / f"{len(self._servers)}.sock")
        entry = Entry(lease, lambda: authority)

        async def start() -> None:
            self._servers.append(await asyncio.start_unix_server(self._serve(entry, PEER), path))

        self.run(start())
        return path

    def open_port(self, lease: Lease | None, authority: Any = None) -> int:
        entry = Entry(lease, lambda: authority, is_port=True)

        async def start() -> int:
            server = await asyncio.start_server(self._serve(entry, None), "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return int(self.run(start()))

    def _serve(self, entry: Entry, peer: Peer | None) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self.tasks.add(task)
            try:
                await self.proxy.serve(reader, writer, entry, peer)
            except asyncio.CancelledError:
                pass
            finally:
                self.tasks.discard(task)

        return serve

    def cancel_all(self) -> None:
        """What the server does when a lease ends."""

        async def cancel() -> None:
            for task in self.tasks:
                task.cancel()

        self.run(cancel())


def curl(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["curl", "-qsS", "-m", "20", *arguments], input=stdin, capture_output=True, check=False)


def connect(entry: str | int) -> socket.socket:
    if isinstance(entry, int):
        return socket.create_connection(("127.0.0.1", entry), 10)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(entry)
    return connection


def talk(entry: str | int, data: bytes, *, ends: bool = False) -> bytes:
    """Send *data* as it is, and return all that comes until the proxy closes the connection."""
    with connect(entry) as connection:
        with suppress(BrokenPipeError):
            connection.sendall(data)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def talk_in_turn(entry: str | int, *requests: bytes) -> bytes:
    """Send each of *requests* after the answer to the one before, and return all that comes until the connection is closed."""
    answers = bytearray()
    with connect(entry) as connection:
        for request in requests[:-1]:
            connection.sendall(request)
            answers += _read_answer(connection, has_body=not request.startswith(b"HEAD "))
        connection.sendall(requests[-1])
        return bytes(answers) + read_all(connection)


def _read_answer(connection: socket.socket, *, has_body: bool) -> bytes:
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        data = connection.recv(1)
        assert data, "the connection ended"
        answer += data
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", answer)
    left = int(length[1]) if length is not None and has_body and bytes(answer).split()[1] not in (b"204", b"304") else 0
    while left:
        data = connection.recv(left)
        assert data, "the connection ended"
        answer += data
        left -= len(data)
    return bytes(answer)


def read_all(connection: socket.socket) -> bytes:
    answer = bytearray()
    with suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            answer += data
    return bytes(answer)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def code_of(answer: bytes) -> str:
    """Return the code of a refusal."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    return next((line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("x-atl-sign:")), "")


@contextmanager
def tls_provider(folder: Path, *answers: bytes | Script, **options: Any) -> Iterator[tuple[Provider, Path]]:
    """A provider over TLS, and the file with its certificate."""
    certificate = make_certificate(folder, "provider")
    with Provider(*answers, tls=serve_tls(certificate), **options) as provider:
        yield provider, certificate


def authorizations(provider: Provider) -> list[list[str]]:
    return [seen.find_all("authorization") for seen in provider.seen]


class Echo(Listener):
    """What a tunnel may lead to."""

    def __init__(self) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.port = int(self.listener.getsockname()[1])

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65_536):
            connection.sendall(data)
