"""`atl-sign curl` and the daemon itself over real TLS: who is trusted, who is shown, and where the signed header goes."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.differential.lab import SCRIPT, run
from tests.clients.tls.conftest import NAME, TlsLab, dance
from tests.clients.tls.front import PlainPort, TlsFront, TunnelProxy, field_of
from tests.lab import Daemon

server_alone = pytest.mark.parametrize("lab", ["server alone"], indirect=True)
mutual = pytest.mark.parametrize("lab", ["mutual"], indirect=True)
ALICE = '"name": "alice"'
UNTRUSTED = 60  # curl's status: the peer's certificate cannot be authenticated
UNREACHABLE = 7  # curl's: no connection
REFUSED = 125


@pytest.fixture
def plain() -> Iterator[PlainPort]:
    """An http server that must hear nothing."""
    with PlainPort() as port:
        yield port


def signatures(front: TlsFront) -> list[str | None]:
    """Return each request's Authorization header, and forget all that came: setting a link asks the provider who it is."""
    found = [field_of(head, "Authorization") for head in front.heads]
    front.heads.clear()
    front.shown.clear()
    return found


def is_signed(value: str | None) -> bool:
    return value is not None and value.startswith("OAuth ")


# the daemon's own requests


def test_dance_and_check_go_through_tls(lab: TlsLab) -> None:
    """The fixture has danced; the check is alice's. A client certificate is shown on every request where there is one."""
    reply = lab.daemon.request("POST", f"/links/{NAME}/check")

    assert reply.status == 200, reply.text
    assert reply.json["user"] == "alice"
    if lab.front.shown:
        assert lab.front.shown == ["ann"] * len(lab.front.heads)
    assert len(lab.front.heads) >= 3  # two legs and the check


def test_check_without_the_authority_sends_nothing(lab: TlsLab) -> None:
    """The twin: the system trusts no such certificate, so no request is made."""
    lab.set_link()
    signatures(lab.front)

    reply = lab.daemon.request("POST", f"/links/{NAME}/check")

    assert reply.code == "provider_unreachable"
    assert lab.front.heads == []


# whom the daemon trusts, and what it shows


@server_alone
def test_the_links_authority_counts(lab: TlsLab) -> None:
    """And the request is signed; without it the header goes to nobody, and the reason is told."""
    signatures(lab.front)

    status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stderr) == (0, "")
    assert ALICE in stdout
    assert [is_signed(value) for value in signatures(lab.front)] == [True]

    lab.set_link()
    signatures(lab.front)
    status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stdout) == (UNREACHABLE, "")
    assert "its TLS certificate is not trusted" in stderr
    assert lab.front.heads == []


@server_alone
@pytest.mark.parametrize("option", ["-k", "--insecure", "-sk", "--cacert x", "--cert x", "--proxy http://127.0.0.1:1"])
def test_the_connection_to_the_product_is_the_links(lab: TlsLab, option: str) -> None:
    """Refused before anything is sent, not even a handshake."""
    signatures(lab.front)
    before = lab.front.connections

    status, stdout, stderr = lab.curl("-sS", *option.split(), lab.who)

    assert (status, stdout) == (REFUSED, "")
    assert stderr.startswith("atl-sign: nothing was sent: ")
    assert "hint: set the link's " in stderr
    assert (lab.front.heads, lab.front.connections) == ([], before)


@server_alone
def test_curl_trusts_the_proxy_for_the_links_host_alone(lab: TlsLab) -> None:
    """curl checks the daemon's certificate as any other; with the system's list alone it ends."""
    status, _, stderr = lab.curl("-sSv", lab.who)

    assert status == 0
    assert "issuer: CN=atl-sign proxy" in stderr
    assert "SSL certificate verify ok" in stderr

    reply = lab.daemon.request("GET", "/proxy").json
    line = ["-q", "-sS", "-x", f"socks5h://localhost{reply['socket']}", lab.who]
    alone = run([shutil.which("curl") or "curl", *line], None, lab.daemon.environment, lab.daemon.folder)

    assert alone[0] == UNTRUSTED


@server_alone
def test_curl_reads_one_certificate_if_it_has_the_systems_in_a_folder(lab: TlsLab, tmp_path: Path) -> None:
    """Of a host beside the link, the folder's certificates count as before; a curl with another folder gets all in one file."""
    # The user's own variable says nothing of the folder.
    assert ca_file_of(lab.curl("-sSv", lab.who, CURL_CA_BUNDLE="/nonexistent")[2]) == "proxy-own-ca.pem"
    assert ca_file_of(lab.curl("-sSv", lab.who)[2]) == "proxy-own-ca.pem"
    folder = tmp_path / "certificates"
    folder.mkdir()
    shutil.copy(lab.certificates.authority.path, folder / "authority.pem")
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    environment = {**lab.daemon.environment, "ATL_SIGN_SOCK": str(lab.daemon.socket)}
    in_its_place = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(folder), "/etc/ssl/certs"]
    with TlsFront(lab.certificates.server, jira_port(lab)) as other:
        lab.front.redirects["/jira/gone"] = f"{other.origin}/jira/rest/api/2/serverInfo"
        line = [str(SCRIPT), "curl", "-sSL", f"{lab.front.origin}/jira/gone"]

        assert run(line, None, environment, lab.daemon.folder)[0] == UNTRUSTED
        status, stdout, stderr = run([*in_its_place, *line], None, environment, lab.daemon.folder)

    assert (status, stderr) == (0, b"")
    assert b'"version"' in stdout

    # With the option, curl would not take the file for its requests: it has the folder when it is asked for it.
    asked = f'case "$*" in *--unix-socket*) set -- --capath {folder} "$@" ;; esac'
    (tmp_path / "curl").write_text(f'#!/bin/sh\n{asked}\nexec {shutil.which("curl")} "$@"\n')
    (tmp_path / "curl").chmod(0o755)
    path = f"{tmp_path}:{lab.daemon.environment['PATH']}"
    for _ in range(2):  # asked, and remembered
        assert ca_file_of(lab.curl("-sSv", lab.who, PATH=path)[2]) == "proxy-ca.pem"
    assert lab.daemon.request("GET", "/refusals").json["refusals"] == []


@server_alone
def test_curl_gets_all_certificates_in_one_file_if_the_folder_lacks_one(lab: TlsLab) -> None:
    """The daemon was told of another file than the system's."""
    lab.daemon.stop()
    lab.daemon.environment["SSL_CERT_FILE"] = str(lab.certificates.authority.path)
    lab.daemon.start()

    assert ca_file_of(lab.curl("-sSv", lab.who)[2]) == "proxy-ca.pem"


def ca_file_of(stderr: str) -> str:
    """Return the name of the file that curl has read its certificates from, as -v says it."""
    return next(line.rpartition("/")[2] for line in stderr.splitlines() if "CAfile: " in line)


@mutual
def test_the_links_client_certificate_is_shown(lab: TlsLab) -> None:
    """In a real mutual handshake; without it there is none, and the header went to nobody."""
    signatures(lab.front)

    status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stderr) == (0, "")
    assert ALICE in stdout
    assert lab.front.shown == ["ann"]
    assert [is_signed(value) for value in signatures(lab.front)] == [True]

    lab.set_link(ca_bundle=str(lab.certificates.authority.path))
    signatures(lab.front)
    status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stdout) == (UNREACHABLE, "")
    assert "cannot be reached" in stderr
    assert lab.front.heads == []


# redirects


@server_alone
def test_a_redirect_to_http_goes_on_as_curl_does_it(lab: TlsLab, plain: PlainPort) -> None:
    """Unsigned; the twin is a line that forbids it."""
    lab.front.redirects["/jira/away"] = f"http://127.0.0.1:{plain.port}/jira/rest"
    signatures(lab.front)

    status, stdout, _ = lab.curl("-sSL", f"{lab.front.origin}/jira/away")

    assert (status, stdout) == (0, "plain")
    assert [is_signed(value) for value in signatures(lab.front)] == [True]
    assert plain.heads[0] == "connected"
    assert field_of(plain.heads[1], "Authorization") is None

    assert lab.curl("-sSL", "--proto-redir", "=https", f"{lab.front.origin}/jira/away")[0] == 1
    assert len(plain.heads) == 2


@server_alone
def test_a_redirect_inside_the_link_is_signed_anew(lab: TlsLab) -> None:
    """Two requests, two signatures, and the second is the one that the provider takes."""
    lab.front.redirects["/jira/moved"] = "/jira/rest/api/2/myself"
    signatures(lab.front)

    status, stdout, stderr = lab.curl("-sSL", f"{lab.front.origin}/jira/moved")

    assert (status, stderr) == (0, "")
    assert ALICE in stdout
    found = signatures(lab.front)
    assert [is_signed(value) for value in found] == [True, True]
    assert found[0] != found[1]


@server_alone
def test_a_redirect_to_another_https_host_goes_on_unsigned(lab: TlsLab) -> None:
    """
    By an authority that the system trusts: what the link trusts counts for the link alone.
    """
    port = jira_port(lab)
    with TlsFront(lab.certificates.server, port) as other:
        lab.front.redirects["/jira/gone"] = f"{other.origin}/jira/rest/api/2/serverInfo"
        signatures(lab.front)

        assert lab.curl("-sSL", f"{lab.front.origin}/jira/gone")[0] == UNTRUSTED
        assert [is_signed(value) for value in signatures(lab.front)] == [True]
        assert other.heads == []
        assert lab.curl("-sS", f"{other.origin}/jira/rest")[0] == REFUSED  # no redirect has led there

    with Daemon(SSL_CERT_FILE=str(lab.certificates.authority.path)) as daemon, TlsFront(lab.certificates.server, port) as other:
        lab.front.redirects["/jira/gone"] = f"{other.origin}/jira/rest/api/2/serverInfo"
        trusting = TlsLab(lab.sandbox, lab.front, daemon, lab.certificates)
        dance(trusting, {})
        signatures(lab.front)

        status, stdout, _ = trusting.curl("-sSL", f"{lab.front.origin}/jira/gone")

        assert status == 0
        assert '"version"' in stdout
        assert [is_signed(value) for value in signatures(lab.front)] == [True]
        assert signatures(other) == [None]


def jira_port(lab: TlsLab) -> int:
    """Return the port of the sandbox's Jira, behind TLS."""
    return int(lab.sandbox.base_url("jira").split(":")[2].split("/")[0])


# proxies


@server_alone
def test_the_links_proxy_tunnels_and_sees_no_header(lab: TlsLab) -> None:
    """A CONNECT and then nothing but TLS: neither header nor path nor token passes in the clear."""
    with TunnelProxy() as proxy:
        lab.set_link(ca_bundle=str(lab.certificates.authority.path), proxy=proxy.url)
        signatures(lab.front)
        proxy.heads.clear()
        proxy.passed = b""

        status, stdout, _ = lab.curl("-sS", lab.who)

    assert status == 0
    assert ALICE in stdout
    (signed,) = signatures(lab.front)
    assert signed is not None
    assert is_signed(signed)
    assert len(proxy.heads) == 1
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{lab.front.port} HTTP/1.")
    assert field_of(proxy.heads[0], "Authorization") is None
    assert field_of(proxy.heads[0], "Proxy-Authorization") is None
    assert len(proxy.passed) > len(signed)
    assert b"OAuth" not in proxy.passed
    assert b"/rest/api" not in proxy.passed


@server_alone
def test_the_users_proxy_is_not_the_links(lab: TlsLab) -> None:
    """A proxy in the caller's environment is for the caller's own connections, of which there is none here."""
    with TunnelProxy() as links, TunnelProxy() as mine:
        lab.set_link(ca_bundle=str(lab.certificates.authority.path), proxy=links.url)
        signatures(lab.front)
        links.heads.clear()
        status, stdout, _ = lab.curl("-sS", lab.who, https_proxy=mine.url, no_proxy="*")

    assert status == 0
    assert ALICE in stdout
    assert (len(mine.heads), len(links.heads)) == (0, 1)
    assert [is_signed(value) for value in signatures(lab.front)] == [True]


@server_alone
def test_a_proxy_that_does_not_tunnel_is_told(lab: TlsLab) -> None:
    """The twin: nothing at the provider."""
    with TlsFront(lab.certificates.server, 1) as gate:  # speaks TLS where CONNECT is wanted
        lab.set_link(ca_bundle=str(lab.certificates.authority.path), proxy=f"http://127.0.0.1:{gate.port}")
        signatures(lab.front)

        status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stdout) == (UNREACHABLE, "")
    assert "cannot be reached" in stderr
    assert (lab.front.heads, gate.heads) == ([], [])
