"""One TLS handshake with a provider, looked at: whose certificate, until when, trusted by which file, and what fails in words."""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from certifi import where as certifi_file
from cryptography import x509

from atl_sign.base.errors import AtlSignError
from atl_sign.base.text import shorten
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link
from atl_sign.providers.tls_files import UnusableFileError, find_ca_bundle, load_files

# OpenSSL's codes (x509_vfy.h); its own words name neither the file nor what to do.
_NO_ISSUER = frozenset({2, 20, 21, 27})
_SELF_SIGNED, _SELF_SIGNED_ROOT = 18, 19
_NOT_YET, _EXPIRED, _WRONG_HOST, _WRONG_ADDRESS = 9, 10, 62, 64


@dataclass(frozen=True, slots=True)
class Certificate:
    """The fields of a provider's certificate."""

    names: tuple[str, ...]  # the hosts it is for
    issuer: str
    starts_at: datetime
    ends_at: datetime


class TlsError(AtlSignError):
    """The handshake failed; says why, and in `hint` what to do."""


def ca_file(link: Link) -> str:
    """Return the file or the folder of the authorities that count for *link*."""
    bundle = find_ca_bundle(link)
    return bundle if isinstance(bundle, str) else certifi_file()


def shake_hands(link: Link, connection: socket.socket) -> Certificate:
    """
    Begin TLS on *connection*, as the daemon would for *link*, and close it; return what the provider showed.

    Raises:
        TlsError: it cannot be begun. When the certificate is at fault, another handshake tells what it says: call `explain`.
        ssl.SSLCertVerificationError: the certificate is not trusted.
    """
    try:
        context = _make_context(link)
    except TlsError:
        connection.close()
        raise
    try:
        with context.wrap_socket(connection, server_hostname=link.url.host.strip("[]")) as wrapped:
            return _parse(wrapped.getpeercert(binary_form=True))
    except ssl.SSLCertVerificationError:
        raise
    except TimeoutError:
        raise TlsError("TLS does not begin: no answer", "a firewall or a proxy in between may swallow it; try again") from None
    except ssl.SSLError as exc:
        raise _explain_protocol(link, exc) from None
    except OSError:
        raise TlsError("the connection broke as TLS began", "check that this is the https port") from None


def explain(link: Link, exc: ssl.SSLCertVerificationError, connection: socket.socket) -> TlsError:
    """Return *exc* in words, with what the certificate says; *connection* is a new one, and closed afterwards."""
    shown = None
    with suppress(OSError, ValueError):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # only to read what the certificate says: nothing is sent
        with context.wrap_socket(connection, server_hostname=link.url.host.strip("[]")) as wrapped:
            shown = _parse(wrapped.getpeercert(binary_form=True))
    code, host, file = exc.verify_code, link.url.host, ca_file(link)
    if code == _EXPIRED:
        when = f" on {shown.ends_at:%Y-%m-%d}" if shown is not None and shown.ends_at < datetime.now(UTC) else ""
        return TlsError(
            f"its certificate, or one above it, ended{when}", "the administrator renews it; look at this clock too: date"
        )
    if code == _NOT_YET:
        when = f" before {shown.starts_at:%Y-%m-%d %H:%M} UTC" if shown is not None else " yet"
        return TlsError(f"its certificate is not valid{when}", "look at this machine's clock: date")
    if code in (_WRONG_HOST, _WRONG_ADDRESS):
        names = f", but for {', '.join(shown.names)}" if shown is not None and shown.names else ""
        return TlsError(f"its certificate is not for {host}{names}", "give the link the address that the certificate names")
    issuer = f" ({shown.issuer})" if shown is not None else ""
    command = format_link_command(link, ca_bundle="FILE")
    ca_hint = f"add the authority's certificate to the system's, or give it to the link: {command}"
    if code == _SELF_SIGNED:
        return TlsError(f"its certificate{issuer} is signed by itself, and not in {file}", ca_hint)
    if code == _SELF_SIGNED_ROOT:
        return TlsError(f"the authority at the top of its chain is not in {file}; its certificate is issued by{issuer}", ca_hint)
    if code in _NO_ISSUER:
        return TlsError(
            f"the authority{issuer} that issued its certificate is not in {file}, and the server does not send it",
            f"the administrator adds the intermediate certificate, if the server leaves one out; else {ca_hint}",
        )
    return TlsError(f"its certificate is not trusted: {exc.verify_message}", ca_hint)


def _make_context(link: Link) -> ssl.SSLContext:
    try:
        load_files(link)
    except UnusableFileError as exc:
        raise TlsError(*exc.args) from None
    file = ca_file(link)
    is_folder = Path(file).is_dir()
    try:
        # Only named ones: without a name this would add the system's.
        context = ssl.create_default_context(cafile=None if is_folder else file, capath=file if is_folder else None)
    except OSError as exc:
        raise TlsError(f"the authorities in {file} cannot be read: {exc.strerror}", "check ca_bundle") from None
    if link.client_cert is not None:
        context.load_cert_chain(link.client_cert, password=lambda: "")
    return context


def _parse(der: bytes | None) -> Certificate:
    certificate = x509.load_der_x509_certificate(der or b"")
    names: list[str] = []
    with suppress(x509.ExtensionNotFound, ValueError):
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [shorten(str(name.value)) for name in extension if isinstance(name, x509.DNSName | x509.IPAddress)]
    issuer = shorten(certificate.issuer.rfc4514_string())
    return Certificate(tuple(names[:8]), issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _explain_protocol(link: Link, exc: ssl.SSLError) -> TlsError:
    reason = exc.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return TlsError("what answers there does not speak TLS", "check the port, and whether the address is an http one")
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        command = format_link_command(link, client_cert="FILE")
        return TlsError("the server ended the handshake: it may want a client certificate", f"give the link one: {command}")
    if "PROTOCOL" in reason or "VERSION" in reason:
        return TlsError("the server speaks only versions of TLS that this machine refuses", "the administrator turns TLS 1.2 on")
    return TlsError(f"TLS failed ({reason or 'no reason given'})", "check that this is the https port")
