"""
A certificate authority of the daemon's own, for the hosts of some links and for nothing else.

Its private key exists only in this process. It is installed nowhere: the programs that are started with it are given its
certificate in a file, beside the system's list.
"""

import os
import secrets
import ssl
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atl_sign.base.files import replace_whole
from atl_sign.providers.tls_files import SYSTEM_CA_FOLDER, holds_all, read_system_ca_bundle

LIFE_S_MAX = 30 * 86_400.0  # of a lease, whose key goes with it
CLOCKS_S = 300  # a container's clock may be behind ours

_ANY_ADDRESS = (x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0")))
_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)

_Address = IPv4Address | IPv6Address


class Authority:
    """A CA certificate for the hosts of some links, and certificates for each of them. Its key exists only in memory."""

    def __init__(self, hosts: Collection[str], life_s: float, now: Callable[[], datetime]) -> None:
        """
        Make an authority.

        Args:
            hosts: names and IP addresses, as URLs have them.
            life_s: how long its certificates are good for, at most `LIFE_S_MAX`.
            now: the time, in UTC.
        """
        self._hosts = {_plain(host) for host in hosts}
        self._contexts: dict[str, ssl.SSLContext] = {}
        moment = now()
        self._begins_at = moment - timedelta(seconds=CLOCKS_S)
        self.ends_at = moment + timedelta(seconds=min(life_s, LIFE_S_MAX))
        self._key = ec.generate_private_key(ec.SECP256R1())
        # Its name is its own: a list may have the certificates of several daemons and leases.
        self._name = _named(f"atl-sign proxy {secrets.token_hex(8)}")
        self._certificate = self._make_certificate()
        self.certificate_pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def context_for(self, host: str) -> ssl.SSLContext:
        """
        Return a server's TLS settings with a certificate for exactly *host*, made once.

        Raises:
            KeyError: it is not one of the authority's hosts.
        """
        plain = _plain(host)
        if plain not in self._hosts:
            raise KeyError(host)
        if plain not in self._contexts:
            self._contexts[plain] = self._make_context(plain)
        return self._contexts[plain]

    def _make_certificate(self) -> x509.Certificate:
        addresses = [address for host in self._hosts if (address := _as_address(host)) is not None]
        names = [host for host in self._hosts if _as_address(host) is None]
        # A kind of name that is not constrained would be allowed: where there is no name, "invalid" stands for none (RFC 6761).
        permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(names) or ["invalid"]]
        permitted += [x509.IPAddress(ip_network(address)) for address in addresses]
        constraints = x509.NameConstraints(permitted, None if addresses else _ANY_ADDRESS)
        return (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage("key_cert_sign"), critical=True)
            .add_extension(constraints, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _make_context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        address = _as_address(host)
        subject = x509.DNSName(host) if address is None else x509.IPAddress(address)
        # With a blank in it, the common name is not taken for a host's.
        certificate = (
            self._builder(_named("atl-sign proxy"), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature"), critical=True)
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0  # nobody comes back with one: a program has its own connection or a new process
        context.set_alpn_protocols(["http/1.1"])
        _load(context, certificate, key)
        return context

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        """Begin a certificate with what those of the authority and of its hosts have in common."""
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._begins_at)
            .not_valid_after(self.ends_at)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(authority_key, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )


def write_bundle(path: Path, authority: Authority, own_path: Path | None = None) -> None:
    """
    Write the system's CA certificates and that of *authority* to the file at *path*, which everybody may read.

    Args:
        path: where to.
        authority: whose certificate.
        own_path: gets only that of *authority*, for programs that read the system's folder anyway, whose name is in the first
            line; it is removed when not all of the system's are there. OpenSSL takes half a millisecond to read a certificate.

    Raises:
        OSError: one cannot be written, or the system's list cannot be read (UnusableFileError says why).
    """
    system = read_system_ca_bundle()
    if own_path is not None and holds_all(SYSTEM_CA_FOLDER, system):
        replace_whole(own_path, b"# beside %s\n%s" % (os.fsencode(SYSTEM_CA_FOLDER), authority.certificate_pem), mode=0o644)
    elif own_path is not None:
        own_path.unlink(missing_ok=True)
    replace_whole(path, b"%s\n%s" % (system.rstrip(), authority.certificate_pem), mode=0o644)


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Give *context* a certificate and its key, which it reads only from a file: this one has no name on any disk."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def _plain(host: str) -> str:
    """Return *host* as certificates have it: lower case, without brackets, and without the dot that ends a full name."""
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _as_address(host: str) -> _Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(only: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage == only for usage in _KEY_USAGES})
