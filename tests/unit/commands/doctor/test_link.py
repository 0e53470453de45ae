"""The doctor's way to a provider: names, ports, proxies, and real TLS with certificates that are wrong in one way each."""

import datetime
import socket
import ssl
import subprocess
import threading
import warnings
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from atl_sign.base.findings import GRANT_CHECKS, NETWORK_CHECKS, Finding
from atl_sign.commands.doctor import link as doctor_link
from atl_sign.commands.doctor.link import check_grant, check_network
from atl_sign.config.links import Link
from atl_sign.sandbox import Sandbox
from tests.unit.provider_lab import make_link
from tests.unit.raw_server import RawServer, make_certificate, reply, serve_tls

MANIFEST = reply("<manifest><typeId>jira</typeId><version>9</version></manifest>", headers={"Content-Type": "application/xml"})


def found(link: Link) -> dict[str, Finding]:
    findings = check_network(link)
    assert tuple(finding.check for finding in findings) == NETWORK_CHECKS
    assert {finding.link for finding in findings} == {link.name}
    return {finding.check.removeprefix("link."): finding for finding in findings}


def results(findings: dict[str, Finding]) -> str:
    """The results' first letters."""
    return "".join(finding.result[0] for finding in findings.values())


class Authority:
    """Signs certificates; its own is in `file`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test authority")])
        self.file = folder / "authority.pem"
        certificate = self._builder(self.name, self.key, -30, 30).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file.write_bytes(certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, begin: int = -10, end: int = 100, host: str = "127.0.0.1") -> Path:
        """Write certificate and key for *host*, good from *begin* to *end* days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        name: x509.GeneralName = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        builder = self._builder(subject, key, begin, end).add_extension(x509.SubjectAlternativeName([name]), critical=False)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / f"server{begin}{end}{host}.pem"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + pem)
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: int, end: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=begin))
            .not_valid_after(now + datetime.timedelta(days=end))
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_good_provider(sandbox: Sandbox) -> None:
    """Everything is ok."""
    findings = found(make_link(sandbox.base_url("jira")))

    assert results(findings) == "ooooooo"
    assert findings["manifest"].cause.startswith("jira 9.")


def test_a_name_that_is_not_known() -> None:
    """`.invalid` never is (RFC 2606)."""
    findings = found(make_link("https://jira.invalid"))

    assert results(findings) == "obsssss"
    assert "jira.invalid is not known" in findings["dns"].cause


def test_a_port_that_nobody_has() -> None:
    """Bound, and not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        findings = found(make_link(f"https://127.0.0.1:{taken.getsockname()[1]}"))

    assert results(findings) == "oobssss"
    assert "connection refused" in findings["tcp"].cause


def test_a_good_certificate(authority: Authority) -> None:
    """With its authority, its end, and the file."""
    with RawServer(MANIFEST, tls=serve_tls(authority.issue())) as server:
        findings = found(make_link(server.url, ca_bundle=authority.file))

    assert results(findings) == "ooooo" + "os"  # the server sends no date
    assert "issued by CN=the test authority, trusted by " in findings["tls"].cause


def test_a_certificate_that_ends_soon_is_warned_of(authority: Authority) -> None:
    """Before it ends."""
    with RawServer(MANIFEST, tls=serve_tls(authority.issue(end=5))) as server:
        finding = found(make_link(server.url, ca_bundle=authority.file))["tls"]

    assert finding.result == "warning"
    assert finding.cause.startswith("it ends in 4 days")


@pytest.mark.parametrize(
    ("begin", "end", "host", "words"),
    [
        (-10, -1, "127.0.0.1", "ended on "),
        (2, 10, "127.0.0.1", "is not valid before "),
        (-10, 10, "192.0.2.1", "is not for 127.0.0.1, but for 192.0.2.1"),
        (-10, 10, "wiki.example.com", "is not for 127.0.0.1, but for wiki.example.com"),
    ],
)
def test_a_wrong_certificate(authority: Authority, begin: int, end: int, host: str, words: str) -> None:
    """Says in words what is wrong with it."""
    with RawServer(MANIFEST, tls=serve_tls(authority.issue(begin, end, host))) as server:
        findings = found(make_link(server.url, ca_bundle=authority.file))

    assert results(findings) == "ooobsss"
    assert words in findings["tls"].cause
    assert findings["tls"].hint


def test_an_unknown_authority(authority: Authority, tmp_path: Path) -> None:
    """Self-signed, or signed by one that is not in the file; the file is named."""
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other", "other")
    with RawServer(MANIFEST, tls=serve_tls(other)) as server:
        finding = found(make_link(server.url, ca_bundle=authority.file))["tls"]
    assert "(CN=other) is signed by itself, and not in " in finding.cause
    with RawServer(MANIFEST, tls=serve_tls(authority.issue())) as server:
        finding = found(make_link(server.url, ca_bundle=other))["tls"]
    assert f"the authority (CN=the test authority) that issued its certificate is not in {other}" in finding.cause
    assert str(finding.hint).endswith(f"atl-sign link add jira {server.url} --ca-bundle FILE --timeout 5 --replace")
    chain = authority.issue()
    chain.write_bytes(chain.read_bytes() + authority.file.read_bytes())
    with RawServer(MANIFEST, tls=serve_tls(chain)) as server:
        finding = found(make_link(server.url, ca_bundle=other))["tls"]
    assert "the authority at the top of its chain is not in" in finding.cause


def test_the_link_s_authorities_count_alone(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the environment's beside them; and a folder of authorities is one too, as OpenSSL names the files in it."""
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other", "other")
    folder = tmp_path / "folder"
    folder.mkdir()
    hashed = subprocess.run(
        ["openssl", "x509", "-in", authority.file, "-noout", "-hash"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / f"{hashed}.0").write_bytes(authority.file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # OpenSSL's own variable for its defaults
    with RawServer(MANIFEST, tls=serve_tls(authority.issue())) as server:
        wrong = found(make_link(server.url, ca_bundle=other))["tls"]
        named = found(make_link(server.url))["tls"]
        monkeypatch.delenv("SSL_CERT_FILE")
        hidden = found(make_link(server.url))["tls"]
        right = found(make_link(server.url, ca_bundle=folder))["tls"]

    assert (wrong.result, named.result, hidden.result, right.result) == ("broken", "ok", "broken", "ok")
    assert str(folder) in right.cause


def test_a_client_certificate(authority: Authority, tmp_path: Path) -> None:
    """A server that wants one says so in TLS 1.2 at once; with one it is well."""
    mine = make_certificate(tmp_path, "mine")
    tls = serve_tls(authority.issue(), client_authority=mine)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with RawServer(MANIFEST, tls=tls) as server:
        without = found(make_link(server.url, ca_bundle=authority.file))["tls"]
        given = found(make_link(server.url, ca_bundle=authority.file, client_cert=mine))["tls"]

    assert (without.result, given.result) == ("broken", "ok")
    command = f"--ca-bundle {authority.file} --client-cert FILE --timeout 5 --replace"
    assert without.hint == f"give the link one: atl-sign link add jira {server.url} {command}"


def test_an_old_tls(authority: Authority) -> None:
    """TLS 1.1, which this machine's OpenSSL refuses."""
    tls = serve_tls(authority.issue())
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what is tested
        tls.minimum_version = ssl.TLSVersion.TLSv1_1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with RawServer(MANIFEST, tls=tls) as server:
        finding = found(make_link(server.url, ca_bundle=authority.file))["tls"]

    assert finding.result == "broken"
    assert "versions of TLS that this machine refuses" in finding.cause


def test_a_server_that_hangs_up() -> None:
    """As TLS begins."""
    with RawServer(b"") as server:
        finding = found(make_link(server.url.replace("http:", "https:")))["tls"]

    assert finding.result == "broken"


def test_what_is_no_tls(tmp_path: Path) -> None:
    """An http server on the https port; one that hangs up; a bundle that is none."""
    with RawServer(reply("hello")) as server:
        link = make_link(server.url.replace("http:", "https:"))
        finding = found(link)["tls"]
    assert finding.result == "broken"
    assert "speak TLS" in finding.cause or "connection broke" in finding.cause
    (tmp_path / "ca.pem").write_text("hello")
    with RawServer(MANIFEST, tls=serve_tls(make_certificate(tmp_path, "me"))) as server:
        finding = found(make_link(server.url, ca_bundle=tmp_path / "ca.pem"))["tls"]
    assert "no certificates in PEM" in finding.cause
    assert finding.hint == "check ca_bundle"


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up."""
    monkeypatch.setattr(doctor_link, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = found(make_link(f"https://127.0.0.1:{silent.getsockname()[1]}"))["tls"]

    assert finding.cause == "TLS does not begin: no answer"


def test_an_http_address_elsewhere_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one on this machine, by number or by name."""
    assert (
        doctor_link._check_tls(make_link("http://jira.example.com"), lambda: pytest.fail("nobody is called")).result == "warning"
    )
    for here in ("http://localhost:1", "http://[::1]:1", "http://127.0.0.2:1"):
        assert doctor_link._check_tls(make_link(here), lambda: pytest.fail("nobody is called")).result == "ok"


def test_a_proxy(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNECT goes through it, with its password; names and ports are its business; the password is told nobody."""
    with RawServer(MANIFEST, tls=serve_tls(authority.issue())) as server:

        def pass_on(connection: socket.socket, request: bytes) -> None:
            connection.sendall(b"HTTP/1.1 200 Yes\r\n\r\n")
            with socket.create_connection(("127.0.0.1", server.port)) as onward:

                def copy(source: socket.socket, sink: socket.socket) -> None:
                    try:
                        while data := source.recv(65_536):
                            sink.sendall(data)
                        sink.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass

                connection.settimeout(None)
                there = threading.Thread(target=copy, args=(connection, onward))
                there.start()
                copy(onward, connection)
                there.join()

        with RawServer(pass_on) as proxy:
            monkeypatch.setenv("https_proxy", f"http://ann:canary-7f3a9c@127.0.0.1:{proxy.port}")
            monkeypatch.setenv("no_proxy", "")
            findings = found(make_link(server.url, ca_bundle=authority.file))
            asked = proxy.requests[0]

    assert results(findings) == "osso" + "oos"
    assert f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode() in asked
    assert b"Proxy-Authorization: Basic YW5uOmNhbmFyeS03ZjNhOWM=" in asked  # base64 of "ann:canary-7f3a9c"
    assert "canary" not in str(findings)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "it answered with status 407"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "it answered not as an HTTP proxy"),
        (b"", "it answered not as an HTTP proxy"),
    ],
)
def test_a_proxy_that_refuses(script: bytes, words: str) -> None:
    """With what it said."""
    with RawServer(script) as proxy:
        findings = found(make_link("https://jira.invalid", proxy=proxy.url))

    assert results(findings) == "bssssss"
    assert words in findings["proxy"].cause
    what = "the user name and the password of " if b" 407 " in script else ""
    assert findings["proxy"].hint == f"check {what}the link's proxy"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://:3128", "without a host"),
        ("http://127.0.0.1:x", "cannot be read"),
        ("http://proxy.invalid:3128", "proxy.invalid is not known"),
    ],
)
def test_a_proxy_of_no_use(monkeypatch: pytest.MonkeyPatch, address: str, words: str) -> None:
    """Named by the environment."""
    monkeypatch.setenv("https_proxy", address)

    findings = found(make_link("https://jira.invalid"))

    assert results(findings) == "bssssss"
    assert words in findings["proxy"].cause


@pytest.mark.parametrize("kind", ["https", "socks5"])
def test_a_proxy_of_another_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the daemon may well get through, and the doctor does not see through, is no fault; the product's answer decides."""
    with RawServer(b"") as proxy:
        monkeypatch.setenv("http_proxy", f"{kind}://127.0.0.1:{proxy.port}")
        findings = found(make_link("http://jira.invalid"))

    assert results(findings) == "ssssbss"
    assert f"{kind}://127.0.0.1:{proxy.port}" in findings["proxy"].cause


def test_what_is_no_product(sandbox: Sandbox) -> None:
    """A wrong context path; a product of another kind."""
    findings = found(make_link(f"{sandbox.base_url('jira')}/wrong"))
    assert results(findings) == "oooobss"
    assert "404" in findings["manifest"].cause
    with RawServer(MANIFEST.replace(b"jira", b"sona")) as server:
        findings = found(make_link(server.url))
    assert findings["manifest"].result == "warning"


def test_base_url_and_clock() -> None:
    """Another base URL, and clocks that are a little and much off; the twin is `test_a_good_provider`."""
    with Sandbox(["jira"], base_url="https://jira.example.com") as sandbox:
        link = make_link(f"http://127.0.0.1:{sandbox.port}/jira")
        findings = found(link)
        assert findings["base-url"].result == "warning"
        assert "--signing-url https://jira.example.com/jira --timeout" in str(findings["base-url"].hint)
        for offset, result in ((120, "warning"), (-3600, "broken")):
            now = sandbox.clock
            sandbox.clock = lambda offset=offset, now=now: now() + offset  # type: ignore[misc]
            finding = found(link)["clock"]
            sandbox.clock = now
            assert finding.result == result
            assert ("ahead" if offset > 0 else "behind") in finding.cause


def test_a_base_url_that_is_none() -> None:
    """No command is made of it."""
    manifest = MANIFEST.replace(b"</typeId>", b"</typeId><url>https://x/../y?$(id)</url>").replace(b"Content-Length", b"X-Was")
    with RawServer(manifest) as server:
        finding = found(make_link(server.url))["base-url"]

    assert finding.result == "warning"
    assert finding.hint == "ask the administrator to correct the product's base URL"


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    """Nobody, one that is silent, one of another version, one that talks nonsense."""
    link = make_link("https://jira.invalid")
    assert {finding.cause for finding in check_grant(link, tmp_path / "none", 1)} == {"no daemon answers"}
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        findings = check_grant(link, path, 0.2)
    assert [finding.check for finding in findings] == list(GRANT_CHECKS)
    assert "did not answer within 0.2 s" in findings[0].cause
