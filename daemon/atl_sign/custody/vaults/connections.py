"""One exchange with a vault: kept connections, an end to every wait, and nothing taken from the environment."""

import io
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import BadStatusLine, HTTPConnection, HTTPException
from threading import BoundedSemaphore, Lock
from typing import Any

from atl_sign.config.vaults import VaultServer
from atl_sign.custody.vaults.problems import VaultError
from atl_sign.providers.tls_files import find_ca_path

CONNECTIONS_MAX = 8
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
    headers: Mapping[str, str]
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
                except (ConnectionError, BadStatusLine) as exc:
                    connection.close()
                    # A kept connection may have been closed as the request went out: then the vault has not read it.
                    if not is_kept:
                        raise self._broken(exc) from None
                except (OSError, HTTPException) as exc:
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
        connection.request(call.method, f"/v1/{call.path}", call.body, dict(call.headers))
        with connection.getresponse() as response:
            content = response.read(ANSWER_BYTES_MAX + 1)
            is_whole = response.isclosed()
        if len(content) > ANSWER_BYTES_MAX:
            connection.close()
            raise VaultError("unavailable", f"the vault {self._server.name} answers with more than any real answer has")
        if response.will_close or not is_whole:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return RawAnswer(response.status, dict(response.headers), content)

    @contextmanager
    def _place(self, deadline: float) -> Iterator[None]:
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise VaultError("unavailable", _NO_ANSWER.format(self._server.name), "atl-sign doctor", was_sent=False)
        try:
            yield
        finally:
            self._places.release()

    def _connect(self, deadline: float) -> "_Connection":
        server = self._server
        connection = _Connection(server, self._make_context() if server.socket is None else None)
        connection.deadline = min(deadline, time.monotonic() + CONNECT_S)
        try:
            connection.connect()
        except OSError as exc:
            raise self._unreachable(exc) from None
        return connection

    def _make_context(self) -> ssl.SSLContext | None:
        server = self._server
        if server.address is None or server.address.scheme != "https":
            return None
        if self._context is None:
            bundle = str(server.ca_bundle) if server.ca_bundle is not None else find_ca_path()
            try:
                context = ssl.create_default_context(cafile=bundle)
                if server.client_cert is not None:
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
        if isinstance(exc, ssl.SSLError):  # a client certificate is refused after the handshake
            return VaultError(
                "unavailable", f"the vault {name} ended the TLS connection", f"check client_cert of [vaults.{name}]"
            )
        return VaultError("unavailable", f"the connection to the vault {name} broke", "try again")


class _Connection(HTTPConnection):
    """A connection whose every read and write ends at `deadline`, by `time.monotonic`."""

    deadline = 0.0

    def __init__(self, server: VaultServer, context: ssl.SSLContext | None) -> None:
        address = server.address
        super().__init__("localhost" if address is None else address.host.strip("[]"), None if address is None else address.port)
        self._server = server
        self._context = context

    def left_s(self) -> float:
        """Return the seconds until the deadline; raises TimeoutError after it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def has_ended(self) -> bool:
        """Tell whether the other side has closed it, or sends what nobody asked for."""
        return self.sock is None or bool(select.select([self.sock], [], [], 0)[0])

    def connect(self) -> None:
        """Open it."""
        if self._server.socket is not None:
            opened = socket.socket(socket.AF_UNIX)
            opened.settimeout(self.left_s())
            try:
                opened.connect(str(self._server.socket))
            except OSError:
                opened.close()
                raise
        else:
            opened = socket.create_connection((self.host, self.port), self.left_s())
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            try:
                opened.settimeout(self.left_s())
                opened = self._context.wrap_socket(opened, server_hostname=self._server.server_name or self.host)
            except OSError:
                opened.close()
                raise
        self.sock = _Socket(opened, self)


class _Socket:
    """The part of a socket that http.client uses."""

    def __init__(self, opened: socket.socket, connection: _Connection) -> None:
        self._opened = opened
        self._connection = connection

    def sendall(self, data: Any) -> None:
        self._opened.settimeout(self._connection.left_s())
        self._opened.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # http.client only reads
        return io.BufferedReader(_Reader(self._opened, self._connection))

    def fileno(self) -> int:
        return self._opened.fileno()

    def close(self) -> None:
        self._opened.close()  # for good when the last reader is closed, too


class _Reader(io.RawIOBase):
    """Reads from a socket until the deadline of its connection."""

    def __init__(self, opened: socket.socket, connection: _Connection) -> None:
        self._opened = opened
        self._raw = opened.makefile("rb", buffering=0)
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._opened.settimeout(self._connection.left_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
