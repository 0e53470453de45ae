"""A server that answers what a test wrote, byte for byte: for providers that no well-behaved HTTP server imitates."""

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.listener import Listener

_LOOPBACK = IPv4Address("127.0.0.1")

Script = Callable[[socket.socket, bytes], None]


class RawServer(Listener):
    """A listener on 127.0.0.1; each connection is one request, in a thread of its own."""

    def __init__(self, *scripts: Script | bytes, tls: ssl.SSLContext | None = None) -> None:
        """
        Prepare a server; it serves inside `with`.

        Args:
            scripts: one per request, in their order; the last one serves every further request too. Bytes are sent as they are.
            tls: makes it an https server.
        """
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.requests: list[bytes] = []
        self.is_hung_up_on = threading.Event()  # set when a `hang` or `trickle` notices that the other side has gone
        self._scripts = scripts
        self._tls = tls
        self._lock = threading.Lock()
        self.port = int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def hang(self, connection: socket.socket, _: bytes = b"") -> None:
        """Say nothing more."""
        self.trickle(b"", connection)

    def trickle(self, data: bytes, connection: socket.socket, pause_s: float = 0.05) -> None:
        """Send *data* byte by byte, over and over; an empty one is silence. Ends when the other side does."""
        connection.settimeout(pause_s)
        position = 0
        while not self.stopping.is_set():
            with suppress(TimeoutError, ssl.SSLWantReadError):
                try:
                    if not connection.recv(1024):
                        break
                except (ConnectionError, ssl.SSLEOFError):
                    break
            if data:
                with suppress(OSError):
                    connection.sendall(data[position % len(data) :][:1])
                position += 1
        self.is_hung_up_on.set()

    def serve(self, connection: socket.socket) -> None:
        """Answer one request, over TLS where that is wanted."""
        if self._tls is not None:
            with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                self._answer(wrapped)
        else:
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while (b"\r\n\r\n" not in request and request[:1].isalpha()) or not request:  # what is no HTTP is answered at once
            data = connection.recv(65_536)
            if not data:
                return
            request += data
        with self._lock:
            script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
            self.requests.append(request)
        if isinstance(script, bytes):
            connection.sendall(script)
        else:
            script(connection, request)


def reply(body: bytes | str = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole HTTP answer."""
    content = body.encode() if isinstance(body, str) else body
    head = {"Content-Type": "text/plain", "Content-Length": str(len(content)), "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def header_of(request: bytes, name: str) -> str | None:
    """Return the value of the header called *name* in *request*, or None."""
    for line in request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


def make_certificate(folder: Path, name: str, *, password: bytes | None = None, host: str | None = None) -> Path:
    """Write a self-signed certificate for 127.0.0.1, or for *host*, with its key, both in one PEM file; returns the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) if host else x509.IPAddress(_LOOPBACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    path = folder / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
    path.chmod(0o600)
    return path


def serve_tls(certificate: Path, *, client_authority: Path | None = None) -> ssl.SSLContext:
    """Return a server's TLS context; with *client_authority* it wants a client certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_authority)
    return context
