"""`atl-sign curl` and the daemon itself over real TLS: who is trusted, who is shown, and where the signed header goes."""

import shutil
from collections.abc import Iterator

import pytest

from tests.clients.differential.lab import run
from tests.clients.tls.conftest import NAME, TlsLab
from tests.clients.tls.front import DnsServer, PlainPort, TlsFront, TunnelProxy, field_of

server_alone = pytest.mark.parametrize("lab", ["server alone"], indirect=True)
mutual = pytest.mark.parametrize("lab", ["mutual"], indirect=True)
ALICE = '"name": "alice"'
UNTRUSTED = 60  # curl's status: the peer's certificate cannot be authenticated
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


# whom curl trusts


@server_alone
def test_the_links_authority_is_given_to_curl(lab: TlsLab) -> None:
    """And the request is signed; without it curl's own status comes out and the header went to nobody."""
    signatures(lab.front)

    status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stderr) == (0, "")
    assert ALICE in stdout
    assert [is_signed(value) for value in signatures(lab.front)] == [True]

    lab.set_link()
    signatures(lab.front)
    before = lab.front.connections
    status, stdout, stderr = lab.curl("-sS", lab.who)

    assert (status, stdout) == (UNTRUSTED, "")
    assert stderr.startswith("curl: (60) ")
    assert lab.front.heads == []
    assert lab.front.connections == before + 1  # curl 8.22 ends the handshake, and then the connection


@server_alone
def test_the_users_own_authority_wins(lab: TlsLab) -> None:
    """A good --cacert mends a wrong link, and a wrong one spoils a good link."""
    lab.set_link(ca_bundle=str(lab.certificates.stranger.path))
    signatures(lab.front)

    status, stdout, _ = lab.curl("-sS", "--cacert", str(lab.certificates.authority.path), lab.who)

    assert status == 0
    assert ALICE in stdout

    lab.set_link(ca_bundle=str(lab.certificates.authority.path))
    signatures(lab.front)

    assert lab.curl("-sS", "--cacert", str(lab.certificates.stranger.path), lab.who)[0] == UNTRUSTED
    assert lab.front.heads == []


@server_alone
@pytest.mark.parametrize("option", ["-k", "--insecure", "-sk"])
def test_insecure_needs_the_links_word(lab: TlsLab, option: str) -> None:
    """Refused before anything is sent, not even a handshake; with allow_insecure the certificate is not looked at."""
    lab.set_link()
    signatures(lab.front)
    before = lab.front.connections

    status, stdout, stderr = lab.curl("-sS", option, lab.who)

    assert (status, stdout) == (REFUSED, "")
    assert stderr.startswith("atl-sign: nothing was sent: ")
    assert "allow-insecure" in stderr
    assert (lab.front.heads, lab.front.connections) == ([], before)

    lab.set_link(allow_insecure=True)
    signatures(lab.front)
    status, stdout, _ = lab.curl("-sS", option, lab.who)

    assert status == 0
    assert ALICE in stdout
    assert [is_signed(value) for value in signatures(lab.front)] == [True]
    assert lab.curl("-sS", lab.who)[0] == UNTRUSTED  # the link's word alone switches nothing off


# whom curl shows


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
    alone = run(
        [shutil.which("curl") or "curl", "-q", "-sS", "--cacert", str(lab.certificates.authority.path), lab.who],
        None,
        lab.daemon.environment,
        lab.daemon.folder,
    )

    assert (status, stdout) == (alone[0], "")
    assert status not in (0, REFUSED)
    assert stderr.startswith(f"curl: ({status}) ")
    assert lab.front.heads == []


@mutual
def test_the_users_own_client_certificate_wins(lab: TlsLab) -> None:
    """A stranger's in the link is mended by --cert, and a good one is spoiled by it."""
    trusted = {"ca_bundle": str(lab.certificates.authority.path)}
    lab.set_link(**trusted, client_cert=str(lab.certificates.strange_client))
    signatures(lab.front)

    status, stdout, _ = lab.curl("-sS", "--cert", str(lab.certificates.client), lab.who)

    assert status == 0
    assert ALICE in stdout
    assert lab.front.shown == ["ann"]

    lab.set_link(**trusted, client_cert=str(lab.certificates.client))
    signatures(lab.front)

    assert lab.curl("-sS", "--cert", str(lab.certificates.strange_client), lab.who)[0] not in (0, REFUSED)
    assert lab.front.heads == []


# where names lead


@server_alone
@pytest.mark.parametrize("trust", [("--doh-insecure",), ()], ids=" ".join)
def test_the_line_does_not_say_where_an_http_name_leads(lab: TlsLab, plain: PlainPort, trust: tuple[str, ...]) -> None:
    """curl alone sends the request to whoever the DNS server of the line names; here it is refused before anyone is asked."""
    base = f"http://provider.example:{plain.port}/jira"
    reply = lab.daemon.request("PUT", "/links/plain", {"url": base, "consumer_key": "tls"})
    assert reply.status in (200, 201), reply.text
    with DnsServer(lab.certificates.server) as dns:
        line = ("-sS", *trust, "--doh-url", dns.url, f"{base}/x")
        status, stdout, stderr = lab.curl(*line)

        assert (status, stdout) == (REFUSED, "")
        assert "--doh-url would show the signature to another server" in stderr
        assert (dns.questions, plain.heads) == ([], [])

        environment = {**lab.daemon.environment, "CURL_CA_BUNDLE": str(lab.certificates.authority.path)}
        alone = run([shutil.which("curl") or "curl", "-q", *line], None, environment, lab.daemon.folder)

        assert alone[:2] == (0, b"plain")
        assert dns.questions
        assert field_of(plain.heads[-1], "Host") == f"provider.example:{plain.port}"


@server_alone
def test_an_https_name_may_be_asked_for_anywhere(lab: TlsLab) -> None:
    """The twin: the server must show that it is the one that is meant, so the request goes out signed."""
    signatures(lab.front)

    status, stdout, _ = lab.curl("-sS", "--doh-insecure", "--doh-url", "https://127.0.0.1:1/", lab.who)

    assert status == 0
    assert ALICE in stdout
    assert [is_signed(value) for value in signatures(lab.front)] == [True]


# redirects


@server_alone
def test_a_redirect_to_http_is_not_followed(lab: TlsLab, plain: PlainPort) -> None:
    """Neither signed nor unsigned: the http server hears nothing at all."""
    lab.front.redirects["/jira/away"] = f"http://127.0.0.1:{plain.port}/jira/rest"
    signatures(lab.front)

    status, stdout, stderr = lab.curl("-sSL", f"{lab.front.origin}/jira/away")

    assert (status, stdout) == (1, "")
    assert "from https to http" in stderr
    assert [is_signed(value) for value in signatures(lab.front)] == [True]
    assert plain.heads == []


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
    As curl does with credentials; the other host gets the request without the header, by an authority that the user trusts.

    What the link trusts counts for the link alone: without the user's word the other host is not even asked.
    """
    trusted = ("--cacert", str(lab.certificates.authority.path))
    port = int(lab.sandbox.base_url("jira").split(":")[2].split("/")[0])
    with TlsFront(lab.certificates.server, port) as other:
        lab.front.redirects["/jira/gone"] = f"{other.origin}/jira/rest/api/2/serverInfo"
        signatures(lab.front)

        status, stdout, _ = lab.curl("-sSL", *trusted, f"{lab.front.origin}/jira/gone")

        assert status == 0
        assert '"version"' in stdout
        assert [is_signed(value) for value in signatures(lab.front)] == [True]
        assert len(other.heads) == 1
        assert signatures(other) == [None]

        assert lab.curl("-sSL", f"{lab.front.origin}/jira/gone")[0] == UNTRUSTED
        assert other.heads == []


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
@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_users_own_proxy_wins(lab: TlsLab, how: str) -> None:
    """The link's is not even connected to."""
    with TunnelProxy() as links, TunnelProxy() as mine:
        lab.set_link(ca_bundle=str(lab.certificates.authority.path), proxy=links.url)
        signatures(lab.front)
        links.heads.clear()
        status, stdout, _ = (
            lab.curl("-sS", "--proxy", mine.url, lab.who) if how == "option" else lab.curl("-sS", lab.who, https_proxy=mine.url)
        )

    assert status == 0
    assert ALICE in stdout
    assert (len(mine.heads), len(links.heads)) == (1, 0)
    assert [is_signed(value) for value in signatures(lab.front)] == [True]


@server_alone
def test_a_proxy_that_does_not_tunnel_is_curls_failure(lab: TlsLab) -> None:
    """The twin of both: curl's own status, nothing at the provider."""
    with TlsFront(lab.certificates.server, 1) as gate:  # speaks TLS where CONNECT is wanted
        lab.set_link(ca_bundle=str(lab.certificates.authority.path), proxy=f"http://127.0.0.1:{gate.port}")
        signatures(lab.front)

        status, stdout, stderr = lab.curl("-sS", lab.who)

    assert status not in (0, REFUSED)
    assert stdout == ""
    assert stderr.startswith(f"curl: ({status}) ")
    assert (lab.front.heads, gate.heads) == ([], [])
