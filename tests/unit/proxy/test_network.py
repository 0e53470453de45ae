"""A link's own view of the network: certificates, proxies, and the words for what is in the way."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.base.urls import parse_url
from atl_sign.config.links import Link
from atl_sign.providers.exchange import fetch, within_deadline
from atl_sign.proxy.certificates import Authority as ShortLived
from atl_sign.proxy.upstream import NotSentError
from tests.clients.tls.front import Authority, TunnelProxy, field_of, make_authority
from tests.unit.provider_lab import everything_shown, make_link
from tests.unit.proxy.upstream_lab import Client, TlsTunnelProxy, run
from tests.unit.raw_server import RawServer, make_certificate, reply, serve_tls

CANARY = "canary-header-5d21"
PASSWORD = "canary-pass-77aa"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path, "authority")


@pytest.fixture(name="server")
def _server(authority: Authority) -> Iterator[RawServer]:
    """A provider behind TLS."""
    with RawServer(reply("fine"), tls=serve_tls(authority.issue("server"))) as started:
        yield started


def get(link: Link) -> bytes:
    """Return the body of an answer."""
    found = []

    async def work(client: Client) -> None:
        found.append((await client.ask(link, headers=[(b"Authorization", CANARY.encode())])).body)

    run(work)
    return found[0]


def refusal(link: Link) -> NotSentError:
    """Return the error of a request of which nothing was sent; it shows neither the header nor a proxy's password."""
    with pytest.raises(NotSentError) as refused:
        get(link)
    shown = everything_shown(refused.value)
    assert refused.value.nothing_sent
    assert CANARY not in shown
    assert PASSWORD not in shown
    return refused.value


def same_as_requests(link: Link) -> str:
    """Return why *link* cannot be reached; the daemon says just the same of its own requests."""
    error = refusal(link)
    with pytest.raises(ProviderUnreachableError) as refused:
        within_deadline(link, lambda: fetch(link, "/x", {}, time.time))
    assert (error.code, error.message, error.hint) == (refused.value.code, refused.value.message, refused.value.hint)
    return error.message.partition("cannot be reached: ")[2]


# reaching


def test_nobody_is_there() -> None:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert same_as_requests(make_link(f"http://127.0.0.1:{port}")) == "nobody takes the connection there"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 63 + "." + "b" * 63 + ".invalid"])
def test_a_name_is_not_known(host: str) -> None:
    """The top-level domain is made for this (RFC 6761)."""
    assert same_as_requests(make_link(f"http://{host}", timeout_s=20)) == "its host name is not known"


def test_one_address_of_several_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses, one that does not answer, and one that does; the twin has only the first two."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(silent.getsockname())
    with socket.create_server(("127.0.0.1", 0)) as free:
        refusing = free.getsockname()

    def resolved(addresses: list[tuple[str, int]]) -> Callable[..., object]:
        async def getaddrinfo(*_: object, **__: object) -> object:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

        return getaddrinfo

    with RawServer(reply("fine")) as server:
        link = make_link("http://several.invalid", timeout_s=1)
        three = [silent.getsockname(), refusing, ("127.0.0.1", server.port)]
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", staticmethod(resolved(three)))
        assert get(link) == b"fine"
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", staticmethod(resolved(three[:2])))
        assert "no whole answer within 1 s" in refusal(link).message
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", staticmethod(resolved(three[1:2])))
        assert "nobody takes the connection there" in refusal(link).message
    for opened in (silent, *fillers):
        opened.close()


def test_ipv6_is_reached() -> None:
    """The brackets are the URL's."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = RawServer(reply("fine"))
    server.listener.close()
    server.listener = listener
    with server:
        assert get(make_link(f"http://[::1]:{listener.getsockname()[1]}")) == b"fine"


# TLS


def test_the_links_authorities_count(server: RawServer, authority: Authority, tmp_path: Path) -> None:
    """Its own, and no others; one in a folder as OpenSSL names them there will do."""
    folder = tmp_path / "folder"
    folder.mkdir()
    name = subprocess.run(
        ["openssl", "x509", "-in", str(authority.path), "-noout", "-subject_hash"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / f"{name}.0").write_bytes(authority.path.read_bytes())

    assert get(make_link(server.url, ca_bundle=authority.path)) == b"fine"
    assert get(make_link(server.url, ca_bundle=folder)) == b"fine"
    assert "its TLS certificate is not trusted" in same_as_requests(make_link(server.url))
    stranger = make_authority(tmp_path, "stranger").path
    assert "its TLS certificate is not trusted" in same_as_requests(make_link(server.url, ca_bundle=stranger))


def test_the_environments_authorities_count(
    server: RawServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a link that names none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))

    assert get(make_link(server.url)) == b"fine"
    stranger = make_authority(tmp_path, "stranger").path
    assert "its TLS certificate is not trusted" in same_as_requests(make_link(server.url, ca_bundle=stranger))


def test_a_certificate_is_for_its_host(server: RawServer, authority: Authority) -> None:
    """This one is for an address."""
    url = server.url.replace("127.0.0.1", "localhost")

    assert "its TLS certificate is not trusted" in same_as_requests(make_link(url, ca_bundle=authority.path))


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """OpenSSL's word says so."""
    expired = ShortLived(["127.0.0.1"], 60, lambda: datetime.now(UTC) - timedelta(hours=1))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(expired.certificate_pem)
    with RawServer(reply("fine"), tls=expired.context_for("127.0.0.1")) as server:
        assert same_as_requests(make_link(server.url, ca_bundle=ca)) == (
            "its TLS certificate is not trusted (certificate has expired)"
        )


def test_what_speaks_no_tls_is_named(authority: Authority) -> None:
    """The address is an http one."""
    with RawServer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        link = make_link(server.url.replace("http:", "https:"), ca_bundle=authority.path)

        assert same_as_requests(link) == "TLS failed"


def test_a_handshake_that_does_not_end_is_not_waited_for(authority: Authority) -> None:
    """Half a record, and then a byte now and then."""
    half_a_record = b"\x16\x03\x03\x40\x00" + b"\x02" * 16_000
    with RawServer(lambda connection, _: server.trickle(half_a_record, connection)) as server:
        link = make_link(server.url.replace("http:", "https:"), ca_bundle=authority.path, timeout_s=0.5)

        assert same_as_requests(link) == "no whole answer within 0.5 s"


def test_ten_seconds_are_enough_to_connect(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here less: a link whose answers take long still connects soon, or not at all."""
    monkeypatch.setattr("atl_sign.proxy.network.CONNECT_S", 0.3)
    with RawServer(lambda connection, _: server.hang(connection)) as server:
        error = refusal(make_link(server.url.replace("http:", "https:"), ca_bundle=authority.path, timeout_s=300))

    assert "no connection within 0.3 s" in error.message
    assert error.hint == "check the base URL, the network and the link's proxy"


@pytest.mark.parametrize(
    ("setting", "content"),
    [
        *((setting, content) for setting in ("ca_bundle", "client_cert") for content in (None, b"", b"no PEM", "pipe")),
        ("client_cert", "folder"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    setting: str, content: bytes | str | None, server: RawServer, authority: Authority, tmp_path: Path
) -> None:
    """Which one, and why."""
    path = tmp_path / "file.pem"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "folder":
        path.mkdir()
    files: dict[str, Any] = {"ca_bundle": authority.path, setting: path}
    link = make_link(server.url, **files)

    assert f"the file {path} cannot be used: " in same_as_requests(link)


def test_an_encrypted_key_is_refused_and_not_asked_for(server: RawServer, authority: Authority, tmp_path: Path) -> None:
    """OpenSSL would read a password from the terminal."""
    encrypted = make_certificate(tmp_path, "encrypted", password=b"secret")

    words = same_as_requests(make_link(server.url, ca_bundle=authority.path, client_cert=encrypted))

    assert words.endswith("no certificate with its unencrypted key, both in PEM")


def test_the_client_certificate_is_shown(authority: Authority, tmp_path: Path) -> None:
    """To a provider that wants one; not by a link that has none, and not another authority's."""
    tls = serve_tls(authority.issue("server"), client_authority=authority.path)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # so that it is refused in the handshake
    with RawServer(reply("fine"), tls=tls) as server:
        assert get(make_link(server.url, ca_bundle=authority.path, client_cert=authority.issue("ann"))) == b"fine"
        eve = make_authority(tmp_path, "stranger").issue("eve")
        for refused in (None, eve):
            assert same_as_requests(make_link(server.url, ca_bundle=authority.path, client_cert=refused)) == "TLS failed"


def test_a_renewed_certificate_counts_from_the_next_connection_on(authority: Authority, tmp_path: Path) -> None:
    """The setting is the same file; a daemon lives for weeks."""
    tls = serve_tls(authority.issue("server"), client_authority=authority.path)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    file = tmp_path / "client.pem"

    async def work(client: Client) -> None:
        link = make_link(server.url, ca_bundle=authority.path, client_cert=file)
        file.write_bytes(make_authority(tmp_path, "stranger").issue("eve").read_bytes())
        with pytest.raises(NotSentError, match="TLS failed"):
            await client.ask(link)
        file.write_bytes(authority.issue("ann").read_bytes())
        assert (await client.ask(link)).body == b"fine"

    with RawServer(reply("fine"), tls=tls) as server:
        run(work)


# proxies


def credentials(head: str) -> str | None:
    return field_of(head, "Proxy-Authorization")


@pytest.mark.parametrize("how", ["link", "https_proxy", "ALL_PROXY"])
def test_a_proxy_makes_the_tunnel(how: str, server: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link's, or the environment's; it sees where to, and nothing of the request."""
    with TunnelProxy() as proxy:
        if how != "link":
            monkeypatch.setenv(how, proxy.url)
        assert get(make_link(server.url, ca_bundle=authority.path, proxy=proxy.url if how == "link" else None)) == b"fine"

    assert [head.split("\r\n")[:2] for head in proxy.heads] == [
        [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1", f"Host: 127.0.0.1:{server.port}"]
    ]
    assert CANARY.encode() not in proxy.passed


def test_the_links_proxy_wins(server: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's is not even connected to, nor does its list of exceptions count."""
    with TunnelProxy() as proxy, TunnelProxy() as other:
        monkeypatch.setenv("https_proxy", other.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(make_link(server.url, ca_bundle=authority.path, proxy=proxy.url)) == b"fine"

    assert (len(proxy.heads), other.connections) == (1, 0)


@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_exceptions_count(exception: str, server: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the daemon's own requests."""
    with TunnelProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("NO_PROXY", exception)
        assert get(make_link(server.url, ca_bundle=authority.path)) == b"fine"

    assert proxy.connections == 0


def test_the_proxy_is_that_for_the_address_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway's address may be excepted where the link's own is not."""

    async def work(client: Client) -> None:
        link = make_link("http://site.example")
        origin = parse_url(gateway.url + "/")
        incoming = await client.send(link, origin=origin)
        await incoming.aclose()

    with RawServer(reply()) as gateway:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        run(work)

    assert len(gateway.requests) == 1


def test_the_environments_proxy_gets_its_password(
    server: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percent escapes are read; the value is RFC 7617's for these words."""
    with TunnelProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//Aladdin:open%20sesame@"))
        assert get(make_link(server.url, ca_bundle=authority.path)) == b"fine"

    assert [credentials(head) for head in proxy.heads] == ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]


def test_a_proxy_in_tls_makes_the_tunnel(server: RawServer, authority: Authority, tmp_path: Path) -> None:
    """TLS in TLS; it is trusted as the provider is, and gets no client certificate. Its twin is a stranger's."""
    certificate = authority.issue("proxy")
    with TlsTunnelProxy(serve_tls(certificate)) as proxy:
        assert get(make_link(server.url, ca_bundle=authority.path, proxy=proxy.url)) == b"fine"
        assert len(proxy.heads) == 1
    strange = make_authority(tmp_path, "stranger").issue("proxy")
    with TlsTunnelProxy(serve_tls(strange)) as proxy:
        error = refusal(make_link(server.url, ca_bundle=authority.path, proxy=proxy.url))
        assert "is not trusted" in error.message
        assert proxy.heads == []


def test_without_tls_a_proxy_gets_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9112 section 3.2.2, with the target as it is; the link's header stays the last one."""

    async def work(client: Client) -> None:
        got = await client.ask(make_link("http://jira.example/base"), b"/a//b?c=%2f", headers=[(b"Authorization", b"last")])
        assert got.body == b"fine"

    with RawServer(reply("fine")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//a:b@"))
        run(work)

    lines = proxy.requests[0].split(b"\r\n")
    assert lines[0] == b"GET http://jira.example/a//b?c=%2f HTTP/1.1"
    assert lines[1:4] == [b"Host: jira.example:80", b"Proxy-Authorization: Basic YTpi", b"Authorization: last"]


@pytest.mark.parametrize("status", [403, 407, 502, 503, 500])
def test_a_proxy_that_makes_no_tunnel_says_why(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its status; nothing of the request was sent."""
    with RawServer(reply(status=status)) as proxy:
        assert f"(status {status})" in same_as_requests(make_link("https://jira.example", proxy=proxy.url))
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", f"//me:{PASSWORD}@"))
        assert f"(status {status})" in same_as_requests(make_link("https://jira.example"))


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\n\r\nmore"])
def test_a_proxy_that_does_not_speak_http_is_the_proxys_fault(answer: bytes) -> None:
    """Nor may it speak in the provider's place."""
    with RawServer(answer) as proxy:
        error = refusal(make_link("https://jira.example", proxy=proxy.url))

    assert "the proxy does not let us through" in error.message
    assert error.hint == "check the link's proxy"


def test_a_proxy_that_is_not_there_is_the_proxys_fault() -> None:
    """The provider may be fine."""
    assert same_as_requests(make_link("https://jira.example", proxy="http://127.0.0.1:1")) == "the proxy does not let us through"


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:1", "http://", "http://127.0.0.1:99999"])
def test_a_proxy_of_another_kind_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not gone around."""
    monkeypatch.setenv("https_proxy", address)

    assert "the proxy's address is of no kind that works here" in refusal(make_link("https://jira.example")).message


# loading


def loaded_by(code: str) -> set[str]:
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_"))}
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(command, env=unmeasured, capture_output=True, text=True, check=True).stdout.split())


def test_the_start_loads_nothing_of_the_proxy_and_the_proxy_no_second_library() -> None:
    """h11 takes 20 ms, requests 150."""
    proxy = loaded_by("import atl_sign.proxy.upstream")

    assert loaded_by("import atl_sign.server.serve") & {"h11", "atl_sign.proxy.upstream", "atl_sign.proxy.certificates"} == set()
    assert "h11" in proxy
    assert "requests" not in proxy
