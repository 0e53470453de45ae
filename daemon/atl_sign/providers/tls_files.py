"""The files that TLS is set up with: which ones count for a link, and whether OpenSSL can be given them."""

import os
import re
import ssl
import stat
from pathlib import Path

from atl_sign.config.links import Link

FILE_BYTES_MAX = 16 << 20  # a system's list of authorities has a quarter of a MiB

# Where systems keep the authorities that their administrators trust; certifi's list, which requests takes, lacks the company's.
_SYSTEM_CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# Where OpenSSL finds each by the hash of its name. The curl of Debian and others reads it besides the file that it is given.
SYSTEM_CA_FOLDER = Path("/etc/ssl/certs")
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_NO_CERTIFICATES = "no certificates in PEM"
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class UnusableFileError(OSError):
    """OpenSSL must not, or cannot, be given one of the files; the arguments are which and why, and what to do."""


def find_ca_bundle(link: Link) -> str | bool:
    """Return the file of the authorities that *link* trusts; one that is named counts even if it is not there."""
    return str(link.ca_bundle) if link.ca_bundle is not None else _find_system_ca_bundle()


def find_ca_path(link: Link | None = None) -> str:
    """Return the file or folder of `find_ca_bundle`, without a link that of the system; certifi's file where there is none."""
    bundle = _find_system_ca_bundle() if link is None else find_ca_bundle(link)
    if isinstance(bundle, str):
        return bundle
    import certifi

    return certifi.where()


def read_system_ca_bundle() -> bytes:
    """
    Return the CA certificates in PEM that links trust if they name none.

    Raises:
        UnusableFileError: what a variable names cannot be read, is too large, or has no certificates in PEM.
    """
    path, setting = Path(find_ca_path()), _ca_setting()
    _check_kind(path, setting, is_folder_fine=True)
    try:
        files = sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path]
        found = [content for content in (file.read_bytes() for file in files) if b"-----BEGIN CERTIFICATE-----" in content]
    except OSError as exc:
        raise _unusable(path, _reason(exc, _NO_CERTIFICATES), setting) from None
    if not found:
        raise _unusable(path, _NO_CERTIFICATES, setting)
    return b"\n".join(found)


def holds_all(folder: Path, bundle: bytes) -> bool:
    """Tell whether every certificate of *bundle* (PEM) is in *folder* under its hash, as openssl-rehash(1) links it there."""
    wanted = _list_certificates(bundle)
    try:
        for file in folder.iterdir():
            if _HASHED_NAME.fullmatch(file.name) and file.is_file():
                wanted -= _list_certificates(file.read_bytes())
    except OSError:
        return False
    return not wanted


def _list_certificates(pem: bytes) -> set[bytes]:
    return {b"".join(body.split()) for body in _CERTIFICATE.findall(pem)}


def _find_system_ca_bundle() -> str | bool:
    named = [path for path in map(os.environ.get, _CA_VARIABLES) if path]
    return next((path for path in (*named, *_SYSTEM_CA_BUNDLES) if path in named or Path(path).exists()), True)


def check_files(link: Link) -> None:
    """
    Look at the files of *link* before OpenSSL reads them: it reads a device or a pipe for ever, past every deadline.

    A missing file passes: opening it reports that.

    Raises:
        UnusableFileError: one is not a regular file, or larger than `FILE_BYTES_MAX`.
    """
    bundle = find_ca_bundle(link)
    if isinstance(bundle, str):
        _check_kind(Path(bundle), _ca_setting(link), is_folder_fine=True)
    if link.client_cert is not None:
        _check_kind(link.client_cert, "the link's client_cert")


def load_files(link: Link) -> None:
    """Set TLS up with the files of *link*, only to name one that does not work; raises UnusableFileError: OpenSSL names none."""
    check_files(link)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except ssl.SSLError:
        words = "this machine's OpenSSL cannot set TLS up: its configuration may name a FIPS module that is not there"
        raise UnusableFileError(
            words, "openssl list -providers shows what it has; OPENSSL_CONF names its configuration"
        ) from None
    bundle = find_ca_bundle(link)
    if isinstance(bundle, str) and not Path(bundle).is_dir():
        try:
            context.load_verify_locations(bundle)
        except OSError as exc:
            raise _unusable(bundle, _reason(exc, _NO_CERTIFICATES), _ca_setting(link)) from None
    if link.client_cert is not None:
        try:
            context.load_cert_chain(link.client_cert, password=lambda: "")  # without one OpenSSL would ask the terminal
        except OSError as exc:
            words = _reason(exc, "no certificate with its unencrypted key, both in PEM")
            raise _unusable(link.client_cert, words, "the link's client_cert") from None


def _check_kind(path: Path, setting: str, *, is_folder_fine: bool = False) -> None:
    try:
        status = path.stat()
    except OSError:
        return
    if is_folder_fine and stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, "it is not a regular file", setting)
    if status.st_size > FILE_BYTES_MAX:
        raise _unusable(path, f"it is larger than {FILE_BYTES_MAX >> 20} MiB", setting)


def _ca_setting(link: Link | None = None) -> str:
    return "ca_bundle" if link is not None and link.ca_bundle is not None else f"one of {', '.join(_CA_VARIABLES)}"


def _unusable(path: Path | str, words: str, setting: str) -> UnusableFileError:
    return UnusableFileError(f"the file {path} cannot be used: {words}", f"check {setting}")


def _reason(exc: OSError, not_pem: str) -> str:
    return not_pem if isinstance(exc, ssl.SSLError) else exc.strerror or type(exc).__name__
