"""The proxy's authority, as OpenSSL, curl, Python, Node and Go see it."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from atl_sign.providers.tls_files import UnusableFileError
from atl_sign.proxy import certificates
from atl_sign.proxy.certificates import Authority, write_bundle
from tests.unit.raw_server import RawServer, reply

NAME, V4, V6 = "jira.example.com", "127.0.0.1", "::1"
HOSTS = (NAME, V4, V6)
LIFE_S = 3600.0

Judge = Callable[[Path, str, int], bool]  # the CA certificates, the host that is meant, the port on 127.0.0.1 where it is


def make_authority(hosts: Collection[str] = HOSTS, *, age_s: float = 0.0, life_s: float = LIFE_S) -> Authority:
    return Authority(hosts, life_s, lambda: datetime.now(UTC) - timedelta(seconds=age_s))


def trust(authority: Authority, folder: Path) -> Path:
    path = folder / "ca.pem"
    path.write_bytes(authority.certificate_pem)
    return path


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def python(ca: Path, host: str, port: int) -> bool:
    """As Python 3.13 does it by default."""
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return tls.recv(4096).startswith(b"HTTP/1.1 200")
    except ssl.SSLCertVerificationError:
        return False


def curl(ca: Path, host: str, port: int) -> bool:
    there = f"{in_url(host)}:443:127.0.0.1:{port}"
    return run("curl", "-qsSf", "--noproxy", "*", "--cacert", str(ca), "--connect-to", there, f"https://{in_url(host)}/")


def openssl(ca: Path, host: str, port: int) -> bool:
    """The chain with the strict rules of RFC 5280, and the name."""
    leaf = ca.with_name("leaf.pem")
    leaf.write_text(ssl.get_server_certificate(("127.0.0.1", port)))
    name = ("-verify_ip" if is_address(host) else "-verify_hostname", host)
    return run("openssl", "verify", "-x509_strict", "-purpose", "sslserver", *name, "-CAfile", str(ca), str(leaf))


NODE = """
const [ca, host, port] = process.argv.slice(1);
const tls = require('node:tls');
const socket = tls.connect({
  host: '127.0.0.1', port, ca: require('node:fs').readFileSync(ca), ALPNProtocols: ['http/1.1'],
  servername: require('node:net').isIP(host) ? '' : host,
  checkServerIdentity: (_, certificate) => tls.checkServerIdentity(host, certificate),
}, () => process.exit(socket.alpnProtocol === 'http/1.1' ? 0 : 2));
socket.on('error', () => process.exit(1));
"""


def node(ca: Path, host: str, port: int) -> bool:
    return run("node", "-e", NODE, str(ca), host, str(port))


GO = """
package main
import ("crypto/tls"; "crypto/x509"; "os")
func main() {
	pool := x509.NewCertPool()
	pem, _ := os.ReadFile(os.Args[1])
	if !pool.AppendCertsFromPEM(pem) { os.Exit(2) }
	settings := &tls.Config{RootCAs: pool, ServerName: os.Args[2]}
	if _, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[3], settings); err != nil { os.Exit(1) }
}
"""


def go(ca: Path, host: str, port: int) -> bool:
    source = ca.with_name("judge.go")
    source.write_text(GO)
    return run("go", "run", str(source), str(ca), host, str(port))


def needing(judge: Judge, *marks: pytest.MarkDecorator) -> object:
    missing = pytest.mark.skipif(shutil.which(judge.__name__) is None, reason=f"{judge.__name__} is not installed")
    return pytest.param(judge, id=judge.__name__, marks=[*marks, missing])


judges = pytest.mark.parametrize(
    "judge",
    [pytest.param(python, id="python"), needing(curl), needing(openssl), needing(node), needing(go, pytest.mark.slow)],
)


@judges
@pytest.mark.parametrize("host", HOSTS)
def test_who_trusts_the_authority_connects_to_its_hosts(judge: Judge, host: str, tmp_path: Path) -> None:
    """By name and by address."""
    authority = make_authority()
    with RawServer(reply("fine"), tls=authority.context_for(host)) as server:
        assert judge(trust(authority, tmp_path), host, server.port)


@judges
def test_a_certificate_is_for_one_host(judge: Judge, tmp_path: Path) -> None:
    """Not for another one of the same authority, and not for a name below it."""
    authority = make_authority([NAME, "wiki.example.com"])
    with RawServer(reply("fine"), tls=authority.context_for(NAME)) as server:
        ca = trust(authority, tmp_path)

        assert not judge(ca, "wiki.example.com", server.port)
        assert not judge(ca, f"a.{NAME}", server.port)


@judges
@pytest.mark.parametrize(
    ("hosts", "outside"),
    [
        ([NAME], "bank.example"),
        ([NAME], "notjira.example.com"),
        ([NAME], V4),
        ([NAME], V6),
        ([V4], NAME),
        ([V4], "127.0.0.2"),
        ([V4], V6),
        ([V6, NAME], V4),
        ([], NAME),
        ([], V4),
    ],
)
def test_the_authority_is_good_for_its_hosts_alone(judge: Judge, hosts: list[str], outside: str, tmp_path: Path) -> None:
    """Even if its key gets out: a certificate that it issues for another host is refused by those who trust it."""
    authority = make_authority(hosts)
    with RawServer(reply("fine"), tls=authority._make_context(outside)) as server:
        assert not judge(trust(authority, tmp_path), outside, server.port)


@judges
def test_another_authority_is_not_trusted(judge: Judge, tmp_path: Path) -> None:
    """Two of ours have nothing to do with each other."""
    with RawServer(reply("fine"), tls=make_authority().context_for(NAME)) as server:
        assert not judge(trust(make_authority(), tmp_path), NAME, server.port)


@judges
def test_it_ends_with_its_life(judge: Judge, tmp_path: Path) -> None:
    """Its twin is still good a minute before."""
    for age_s, is_good in ((LIFE_S - 60, True), (LIFE_S + 1, False)):
        authority = make_authority(age_s=age_s)
        with RawServer(reply("fine"), tls=authority.context_for(NAME)) as server:
            assert judge(trust(authority, tmp_path), NAME, server.port) is is_good


@judges
def test_a_clock_that_is_behind_is_no_trouble(judge: Judge, tmp_path: Path) -> None:
    """By four minutes; by ten it is."""
    for behind_s, is_good in ((240, True), (600, False)):
        authority = make_authority(age_s=-behind_s)
        with RawServer(reply("fine"), tls=authority.context_for(NAME)) as server:
            assert judge(trust(authority, tmp_path), NAME, server.port) is is_good


@pytest.mark.parametrize(("life_s", "days"), [(86_400.0, 1), (30 * 86_400.0, 30), (90 * 86_400.0, 30)])
def test_it_lives_as_long_as_a_lease_can_at_most(tmp_path: Path, life_s: float, days: int) -> None:
    """A lease of a week has programs that read its certificate once; OpenSSL reads the dates."""
    ca = trust(make_authority(life_s=life_s), tmp_path)

    assert run("openssl", "x509", "-in", str(ca), "-noout", "-checkend", str(days * 86_400 - 60))
    assert not run("openssl", "x509", "-in", str(ca), "-noout", "-checkend", str(days * 86_400 + 1))


def test_settings_are_made_once_for_a_host_however_it_is_written() -> None:
    """As URLs, certificates and people write it."""
    authority = make_authority(["Jira.Example.com", "[::1]"])

    assert authority.context_for("jira.example.com") is authority.context_for("JIRA.example.com.")
    assert authority.context_for("::1") is authority.context_for("[::1]")


@pytest.mark.parametrize("host", ["bank.example", "a.jira.example.com", "example.com", "127.0.0.2", "", "*.example.com"])
def test_there_is_no_certificate_for_another_host(host: str) -> None:
    """Refused, not made."""
    with pytest.raises(KeyError):
        make_authority().context_for(host)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused() -> None:
    """A client that speaks TLS 1.1 at most is told so; the twin speaks 1.2."""
    context = make_authority().context_for(NAME)
    for version, refusal in ((ssl.TLSVersion.TLSv1_1, "TLSV1_ALERT_PROTOCOL_VERSION"), (ssl.TLSVersion.TLSv1_2, None)):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.set_ciphers("ALL:@SECLEVEL=0")
        client.minimum_version = client.maximum_version = version
        met = None
        with RawServer(reply("fine"), tls=context) as server, socket.create_connection(("127.0.0.1", server.port), 10) as plain:
            try:
                client.wrap_socket(plain).close()
            except ssl.SSLError as exc:
                met = exc.reason

        assert met == refusal


def test_no_key_is_left_in_a_descriptor_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reads certificates only from files; this one was in memory, and is closed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = set(Path("/proc/self/fd").iterdir())

    make_authority().context_for(NAME)

    assert set(Path("/proc/self/fd").iterdir()) == before
    assert list(tmp_path.iterdir()) == []


# the file


def test_the_bundle_has_the_systems_list_and_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """curl takes the proxy's certificate and the system's by one file; readable for everybody, whatever the umask."""
    system, ours = make_authority(), make_authority()
    listed = tmp_path / "system.pem"
    listed.write_bytes(b"# a comment\n" + system.certificate_pem.rstrip())
    monkeypatch.setenv("SSL_CERT_FILE", str(listed))
    bundle = tmp_path / "ca.pem"
    os.umask(0o077)

    write_bundle(bundle, ours)

    assert bundle.stat().st_mode & 0o7777 == 0o644
    for authority in (system, ours):
        with RawServer(reply("fine"), tls=authority.context_for(NAME)) as server:
            assert python(bundle, NAME, server.port)
    with RawServer(reply("fine"), tls=make_authority().context_for(NAME)) as server:
        assert not python(bundle, NAME, server.port)


def test_the_systems_own_list_is_found(tmp_path: Path) -> None:
    """Without a variable it is the one that the system's administrator keeps."""
    write_bundle(tmp_path / "ca.pem", make_authority())

    assert (tmp_path / "ca.pem").read_bytes().count(b"-----BEGIN CERTIFICATE-----") > 20


def test_ours_is_in_a_file_of_its_own_if_the_folder_has_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `openssl rehash` makes it; the file goes when a certificate is not there, or only by another name than its hash."""
    folder, listed, own = tmp_path / "certificates", tmp_path / "system.pem", tmp_path / "own.pem"
    folder.mkdir()
    pems = [make_authority().certificate_pem for _ in range(3)]
    for number, pem in enumerate(pems[:2]):
        (folder / f"{number}.pem").write_bytes(pem)
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    (folder / "2.pem").write_bytes(pems[2])
    monkeypatch.setattr(certificates, "SYSTEM_CA_FOLDER", folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(listed))
    listed.write_bytes(b"".join(pem.replace(b"\n", b"\r\n") for pem in pems[:2]))
    ours = make_authority()

    write_bundle(tmp_path / "ca.pem", ours, own)

    assert own.read_bytes() == b"# beside %s\n%s" % (bytes(folder), ours.certificate_pem)
    assert own.stat().st_mode & 0o7777 == 0o644
    listed.write_bytes(b"".join(pems))
    write_bundle(tmp_path / "ca.pem", ours, own)
    assert not own.exists()
    monkeypatch.setattr(certificates, "SYSTEM_CA_FOLDER", tmp_path / "none")
    write_bundle(tmp_path / "ca.pem", ours, own)
    assert not own.exists()


def test_a_folder_of_certificates_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no certificate in PEM is left out."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "a.pem").write_bytes(make_authority().certificate_pem)
    (folder / "b.pem").write_bytes(make_authority().certificate_pem)
    (folder / "README").write_bytes(b"\xff\0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder))

    write_bundle(tmp_path / "ca.pem", make_authority())

    content = (tmp_path / "ca.pem").read_bytes()
    assert content.count(b"-----BEGIN CERTIFICATE-----") == 3
    assert b"\0" not in content


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_list_that_is_named_and_cannot_be_used_is_an_error(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of our certificate alone would break every other HTTPS; the old one stays."""
    if content is not None:
        (tmp_path / "system.pem").write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    (tmp_path / "ca.pem").write_text("old")

    with pytest.raises(UnusableFileError, match=r"system\.pem cannot be used"):
        write_bundle(tmp_path / "ca.pem", make_authority())

    assert (tmp_path / "ca.pem").read_text() == "old"
