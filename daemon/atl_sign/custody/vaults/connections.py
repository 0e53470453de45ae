"""One exchange with a vault: kept connections, an end to every wait, and nothing taken from the environment."""

import select
import shlex
import socket
import ssl
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock

from httptools import HttpParserError, HttpResponseParser

from atl_sign.config.vaults import VaultServer
from atl_sign.custody.vaults.problems import VaultError
from atl_sign.providers.tls_files import find_ca_path

CONNECTIONS_MAX = 16  # as many signatures as there are at once
CONNECT_S = 1.0
ANSWER_BYTES_MAX = 1 << 20
_NO_ANSWER = "the vault {} does not answer in time"


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a vault."""

    method: str  # in upper case
    path: str  # below `/v1/`
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)  # JSON


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A vault's answer."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes = field(repr=False)


class Connections:
    """The connections to one vault, each used by one thread at a time."""

    def __init__(self, server: VaultServer) -> None:
        """Connect to *server* when it is first asked."""
        self._server = server
        self._idle: list[_Connection] = []
        self._lock = Lock()
        self._places = BoundedSemaphore(CONNECTIONS_MAX)
        self._context: ssl.SSLContext | None = None

    def exchange(self, call: Call, deadline: float) -> RawAnswer:
        """Send *call* and return the answer, which is whole by *deadline* (`time.monotonic`); raises VaultError "unavailable"."""
        with self._place(deadline):
            while True:
                with self._lock:
                    connection = self._idle.pop() if self._idle else None
                is_kept = connection is not None
                connection = connection or self._connect(deadline)
                if is_kept and connection.has_ended():
                    connection.close()
                    continue
                try:
                    return self._exchange(connection, call, deadline)
                except ConnectionError as exc:
                    connection.close()
                    # A kept connection may have been closed as the request went out: then the vault has not read it.
                    if not is_kept:
                        raise self._broken(exc) from None
                except (OSError, HttpParserError, _HalfAnswerError, _TooLargeError) as exc:
                    connection.close()
                    raise self._broken(exc) from None

    def close(self) -> None:
        """Close those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, connection: "_Connection", call: Call, deadline: float) -> RawAnswer:
        connection.deadline = deadline
        found = connection.exchange(call)
        if found.may_go_on:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()
        return RawAnswer(found.status, found.headers, bytes(found.content))

    @contextmanager
    def _place(self, deadline: float) -> Iterator[None]:
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise VaultError("unavailable", _NO_ANSWER.format(self._server.name), "atl-sign doctor", was_sent=False)
        try:
            yield
        finally:
            self._places.release()

    def _connect(self, deadline: float) -> "_Connection":
        context = self._make_context()
        try:
            return _Connection(self._server, context, min(deadline, time.monotonic() + CONNECT_S))
        except OSError as exc:
            raise self._unreachable(exc) from None

    def _make_context(self) -> ssl.SSLContext | None:
        server = self._server
        if server.address is None or server.address.scheme != "https":
            return None
        if self._context is None:
            bundle = str(server.ca_bundle) if server.ca_bundle is not None else find_ca_path()
            try:
                context = ssl.create_default_context(cafile=bundle)
                if server.client_cert is not None:
                    self._check_private(server.client_cert)
                    context.load_cert_chain(server.client_cert, password="")  # or OpenSSL asks the terminal for one
            except (OSError, ValueError):
                files = bundle if server.client_cert is None else f"{bundle} or {server.client_cert}"
                raise VaultError(
                    "unavailable",
                    f"the certificates for the vault {server.name} cannot be used: {files}",
                    f"correct ca_bundle and client_cert of [vaults.{server.name}]",
                    was_sent=False,
                ) from None
            self._context = context
        return self._context

    def _check_private(self, path: Path) -> None:
        """Raise VaultError when others can read the key in the file at *path*; raises OSError when nobody can."""
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            words = f"others than you can read the key in {path}, the client_cert of the vault {self._server.name}"
            raise VaultError("unavailable", words, f"chmod 600 {shlex.quote(str(path))}", was_sent=False)

    def _unreachable(self, exc: OSError) -> VaultError:
        name, place = self._server.name, self._server.place
        if isinstance(exc, ssl.SSLCertVerificationError):
            words = f"its TLS certificate is not trusted ({exc.verify_message})"
            hint = f"set ca_bundle of [vaults.{name}] to its CA certificates, or correct its address"
        elif isinstance(exc, ssl.SSLError):
            words, hint = "TLS failed", f"check that the address of [vaults.{name}] is an https one, and its client_cert"
        elif isinstance(exc, socket.gaierror):
            words, hint = "host name not found", f"check the address of [vaults.{name}], and the network"
        elif isinstance(exc, TimeoutError):
            words, hint = "no answer in time", "check the network, and ask its operators"
        else:
            words = (exc.strerror or "connection failed").lower()
            hint = f"check the address of [vaults.{name}], and ask its operators"
            if self._server.socket is not None:
                hint = f"start the proxy, or correct socket of [vaults.{name}]"
        return VaultError("unavailable", f"the vault {name} at {place} cannot be reached: {words}", hint, was_sent=False)

    def _broken(self, exc: Exception) -> VaultError:
        name = self._server.name
        if isinstance(exc, TimeoutError):
            return VaultError("unavailable", _NO_ANSWER.format(name), "ask its operators, then try again")
        if isinstance(exc, _TooLargeError):
            return VaultError("unavailable", f"the vault {name} answers with more than any real answer has", "ask its operators")
        if isinstance(exc, HttpParserError):
            words = f"what answers at {self._server.place} does not speak HTTP"
            return VaultError("unavailable", words, f"check the address of [vaults.{name}]")
        if isinstance(exc, ssl.SSLError):  # a client certificate is refused after the handshake
            return VaultError(
                "unavailable", f"the vault {name} ended the TLS connection", f"check client_cert of [vaults.{name}]"
            )
        return VaultError("unavailable", f"the connection to the vault {name} broke", "try again")


class _Connection:
    """A connection whose every read and write ends at `deadline`, by `time.monotonic`."""

    def __init__(self, server: VaultServer, context: ssl.SSLContext | None, deadline: float) -> None:
        """Open it; raises OSError."""
        self.deadline = deadline
        address = server.address
        self._host = "localhost" if address is None else address.origin.partition("://")[2]
        if address is None:
            self._socket = socket.socket(socket.AF_UNIX)
        else:
            self._socket = socket.create_connection((address.host.strip("[]"), address.port), self._left_s())
        try:
            self._socket.settimeout(self._left_s())
            if address is None:
                self._socket.connect(str(server.socket))
            else:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None and address is not None:
                name = server.server_name or address.host.strip("[]")
                self._socket = context.wrap_socket(self._socket, server_hostname=name)
        except OSError:
            self._socket.close()
            raise

    def has_ended(self) -> bool:
        """Tell whether the other side has closed it, or sends what nobody asked for."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def exchange(self, call: Call) -> "_Reading":
        """Send *call* and return its answer, whole; raises OSError, and HttpParserError for what is not HTTP."""
        lines = [f"{call.method} /v1/{call.path} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in call.headers.items()]
        if call.body is not None:
            lines.append(f"Content-Length: {len(call.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("ascii")
        self._socket.settimeout(self._left_s())
        self._socket.sendall(head + (call.body or b""))
        reading = _Reading()
        while not reading.is_complete:
            self._socket.settimeout(self._left_s())
            try:
                received = self._socket.recv(1 << 16)
            except ConnectionError:
                received = b""
            if not received:
                if reading.ends_with_connection:
                    break
                raise ConnectionResetError if reading.count == 0 else _HalfAnswerError
            reading.feed(received)
        return reading

    def close(self) -> None:
        self._socket.close()

    def _left_s(self) -> float:
        """Return the seconds until the deadline; raises TimeoutError after it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Reading:
    """An answer as it comes in."""

    def __init__(self) -> None:
        self.is_complete = False
        self.count = 0  # of bytes, head and all
        self.ends_with_connection = False  # as HTTP/1.0 has it, in which a vault answers on its TLS port
        self.may_go_on = False  # whether the connection can be used again
        self.headers: dict[str, str] = {}
        self.content = bytearray()
        self._parser = HttpResponseParser(self)

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    def feed(self, received: bytes) -> None:
        """Take the next bytes; raises HttpParserError, and _TooLargeError."""
        self.count += len(received)
        self._parser.feed_data(received)
        if self.count > ANSWER_BYTES_MAX:
            raise _TooLargeError

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.ends_with_connection = not {"content-length", "transfer-encoding"} & self.headers.keys()

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.may_go_on = bool(self._parser.should_keep_alive())  # later the parser says no


class _HalfAnswerError(Exception):
    """The connection ended in the middle of an answer: the vault has done what it was asked for, perhaps."""


class _TooLargeError(Exception):
    """The vault sends more than any real answer has."""
