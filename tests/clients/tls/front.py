"""TLS in front of a provider, a proxy that makes tunnels, and the certificates for both; all made here, all on 127.0.0.1."""

import datetime
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.listener import DEADLINE_S, Listener

_LOOPBACK = IPv4Address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that signs what it is asked to; its certificate is in *path*."""

    path: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def issue(self, name: str) -> Path:
        """Write a certificate for *name*, good for 127.0.0.1, with its key, both in one PEM file; returns the file."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_named(name), self.name, key)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(_LOOPBACK)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        path = self.path.with_name(f"{name}.pem")
        path.touch(0o600)
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return path


def make_authority(folder: Path, name: str) -> Authority:
    """Return an authority with its self-signed certificate in *folder*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(name)
    certificate = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(path, key, subject)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


class Port(Listener):
    """A port on 127.0.0.1."""

    def __init__(self) -> None:
        """Listen; connections are taken inside `with`."""
        super().__init__(socket.create_server(("127.0.0.1", 0), backlog=64))
        self.port = int(self.listener.getsockname()[1])


class TlsFront(Port):
    """
    A TLS port that takes one request a connection, notes it, and answers from a provider's plain port, which sees the same Host.

    A path in *redirects* is answered here with a redirect to its address.
    """

    def __init__(self, certificate: Path, provider_port: int, *, client_authority: Path | None = None) -> None:
        """Prepare a front; with *client_authority* only who shows a certificate of that authority is let in."""
        super().__init__()
        self.heads: list[str] = []  # of every request that came through TLS
        self.shown: list[str] = []  # the common names of the client certificates that came with them
        self.redirects: dict[str, str] = {}
        self._provider_port = provider_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        # A client learns of a refused certificate inside the handshake, not after it.
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2
        if client_authority is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client_authority)

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as wrapped:
            head, body = read_request(wrapped)
            if not head:
                return
            self.heads.append(head)
            shown = wrapped.getpeercert()
            if shown:
                names = dict(pair for part in shown["subject"] for pair in part)  # type: ignore[misc]  # pairs
                self.shown.append(str(names["commonName"]))
            target = head.split(" ")[1]
            if target in self.redirects:
                answer = (
                    f"HTTP/1.1 302 Found\r\nLocation: {self.redirects[target]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                wrapped.sendall(answer.encode())
                return
            with socket.create_connection(("127.0.0.1", self._provider_port), DEADLINE_S) as provider:
                provider.sendall(head.replace("\r\n", "\r\nConnection: close\r\n", 1).encode("latin-1") + b"\r\n\r\n" + body)
                while more := provider.recv(65_536):
                    wrapped.sendall(more)


class TunnelProxy(Port):
    """A proxy that takes CONNECT alone; everything that it sees in the clear is in *heads*, all that it passes in *passed*."""

    def __init__(self) -> None:
        """Prepare a proxy."""
        super().__init__()
        self.heads: list[str] = []
        self.passed = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        head, _ = read_request(connection)
        self.heads.append(head)
        method, target = head.split(" ")[:2]
        if method != "CONNECT":
            connection.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), DEADLINE_S) as provider:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self._pass, args=(provider, connection), name="front-back")
            back.start()
            self._pass(connection, provider)
            back.join(DEADLINE_S)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.passed += data
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class PlainPort(Port):
    """An http port that notes what comes, and answers 200."""

    def __init__(self) -> None:
        """Prepare a port."""
        super().__init__()
        self.heads: list[str] = []

    def serve(self, connection: socket.socket) -> None:
        self.heads.append("connected")
        head, _ = read_request(connection)
        self.heads.append(head)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain")


def read_request(connection: socket.socket) -> tuple[str, bytes]:
    """Return one request's head without the empty line, and its body by Content-Length; ("", b"") when nothing came."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return "", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = int(field_of(text, "Content-Length") or "0")
    while len(body) < length:
        more = connection.recv(65_536)
        if not more:
            break
        body += more
    return text, body


def field_of(head: str, name: str) -> str | None:
    """Return the value of the header called *name*, or None."""
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None
