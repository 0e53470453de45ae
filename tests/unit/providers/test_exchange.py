"""HTTP out of the daemon against a server that misbehaves byte by byte."""

import gzip
import os
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from atl_sign import __version__
from atl_sign.base.errors import DaemonError, ProviderUnreachableError
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.exchange import _PLACES, ANSWER_BYTES_MAX, fetch, open_session, read_answer, within_deadline
from atl_sign.providers.tls_files import FILE_BYTES_MAX
from tests.lab import wait_for
from tests.unit.provider_lab import everything_shown, make_link
from tests.unit.raw_server import RawServer, header_of, make_certificate, reply, serve_tls

CANARY = "canary-header-5d21"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_authorities_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def ask(link: Link, path: str = "/rest", clock: Callable[[], float] = time.time) -> Answer:
    return within_deadline(link, lambda: fetch(link, path, {"Authorization": f'OAuth oauth_signature="{CANARY}"'}, clock))


def refusal(link: Link) -> ProviderUnreachableError:
    """Return the error of a request that does not get through; it never shows what was signed."""
    with pytest.raises(ProviderUnreachableError) as refused:
        ask(link)
    assert CANARY not in everything_shown(refused.value)
    assert str(refused.value).startswith(f"the provider of link {link.name} at {link.url.origin} cannot be reached: ")
    return refused.value


def is_thread_alive(link: Link) -> bool:
    return any(thread.name == f"provider-{link.name}" for thread in threading.enumerate())


# answers


def test_an_answer_comes_whole() -> None:
    """Status, headers in any case, text; the path goes below the base URL; nothing like a browser."""
    with RawServer(reply("grüezi", 201, {"X-Some": "thing"})) as server:
        answer = ask(make_link(server.url + "/jira"), "/rest/x?a=%2F&b")

    assert (answer.status, answer.headers["x-some"], answer.text) == (201, "thing", "grüezi")
    request = server.requests[0]
    assert request.startswith(b"GET /jira/rest/x?a=%2F&b HTTP/1.1\r\n")
    assert header_of(request, "Authorization") == f'OAuth oauth_signature="{CANARY}"'
    assert header_of(request, "User-Agent") == f"atl-sign/{__version__}"
    assert header_of(request, "X-Atlassian-Token") == "no-check"
    assert header_of(request, "Cookie") is None


@pytest.mark.parametrize(
    ("content_type", "body", "is_html"),
    [
        ("text/html;charset=UTF-8", "x", True),
        ("application/XHTML+xml", "x", True),
        ("text/plain", "\n <!DOCTYPE html>", True),
        ("application/json", "<html>", True),
        ("application/json", '{"a": "<html>"}', False),
        ("text/plain", "", False),
        ("application/xml", "<manifest/>", False),
    ],
)
def test_a_page_is_known_by_its_type_or_its_beginning(content_type: str, body: str, is_html: bool) -> None:
    """Login pages come with all sorts of types."""
    with RawServer(reply(body, headers={"Content-Type": content_type})) as server:
        assert ask(make_link(server.url)).is_html is is_html


@pytest.mark.parametrize(
    ("name", "user"), [("alice", "alice"), ("a%20b%C3%A4", "a bä"), ("anonymous", None), ("", None), (None, None)]
)
def test_the_header_names_the_user(name: str | None, user: str | None) -> None:
    """X-AUSERNAME comes percent-encoded (facts section 7)."""
    with RawServer(reply(headers={} if name is None else {"X-AUSERNAME": name})) as server:
        assert ask(make_link(server.url)).user == user


@pytest.mark.parametrize(
    ("body", "headers"), [("ä".encode(), {}), ("ä".encode("latin-1"), {"Content-Type": "text/plain; charset=ISO-8859-1"})]
)
def test_text_is_utf_8_unless_it_says_otherwise(body: bytes, headers: dict[str, str]) -> None:
    """requests would take Latin-1 for every text without a charset."""
    with RawServer(reply(body, headers=headers)) as server:
        assert ask(make_link(server.url)).text == "ä"


@pytest.mark.parametrize("charset", ["no-such-charset", '"'])
def test_an_unheard_of_charset_is_no_crash(charset: str) -> None:
    """The text comes as well as it can."""
    with RawServer(reply("abc", headers={"Content-Type": f"text/plain; charset={charset}"})) as server:
        assert ask(make_link(server.url)).text == "abc"


@pytest.mark.parametrize(("ahead_s", "expected"), [(0, 0.5), (3600, 3600.5), (-90, -89.5)])
def test_the_date_tells_the_clocks_offset(ahead_s: int, expected: float) -> None:
    """Against the middle of the exchange; the header has whole seconds."""
    with RawServer(reply(headers={"Date": formatdate(1_700_000_000 + ahead_s, usegmt=True)})) as server:
        answer = ask(make_link(server.url), clock=lambda: 1_700_000_000.0)

    assert answer.clock_offset_s == expected


@pytest.mark.parametrize("date", ["yesterday", "", "Mon, 99 Foo 2026 25:61:61 GMT", "Tue, 24 Nov 99999999999 10:00:00 GMT", None])
def test_a_broken_date_tells_nothing(date: str | None) -> None:
    """No offset rather than a wrong one."""
    with RawServer(reply(headers={} if date is None else {"Date": date})) as server:
        assert ask(make_link(server.url)).clock_offset_s is None


def test_a_date_without_a_zone_is_taken_as_utc() -> None:
    """HTTP dates are GMT, whatever a server leaves out."""
    with RawServer(reply(headers={"Date": "Tue, 14 Nov 2023 22:13:20 -0000"})) as server:
        assert ask(make_link(server.url), clock=lambda: 1_700_000_000.0).clock_offset_s == 0.5


def test_without_a_moment_there_is_no_offset() -> None:
    """The dance's answers come without one."""
    with RawServer(reply(headers={"Date": formatdate(0, usegmt=True)})) as server, requests.Session() as session:
        assert read_answer(open_session(session, make_link(server.url)).get(server.url, timeout=5)).clock_offset_s is None


# redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://elsewhere.example/login", "/login?x", "http://[broken", "http://u:p@h\x7f/", ""])
def test_redirects_are_answers(status: int, location: str) -> None:
    """The header is signed for one address: nothing goes anywhere else, however odd the Location is."""
    with RawServer(reply("moved", status, {"Location": location})) as server:
        answer = ask(make_link(server.url))

    assert answer.status == status
    assert answer.headers["Location"] == location
    assert len(server.requests) == 1


def test_cookies_are_not_kept() -> None:
    """A session cookie would stand beside the signature (facts section 3)."""
    with RawServer(reply(headers={"Set-Cookie": "JSESSIONID=1; Path=/"})) as server:
        link = make_link(server.url)
        ask(link)
        ask(link)

    assert header_of(server.requests[1], "Cookie") is None


# bounds


def test_an_answer_may_have_a_mebibyte_and_not_a_byte_more() -> None:
    """Whether the server says the length or not."""
    with RawServer(reply("x" * MIB), reply("x" * (MIB + 1)), b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 2 * MIB) as server:
        link = make_link(server.url)

        assert len(ask(link).text) == ANSWER_BYTES_MAX == MIB
        for _ in range(2):
            assert "its answer is larger than any real one" in refusal(link).message


def test_a_compressed_answer_is_bounded_as_it_grows() -> None:
    """10 MiB of nothing in 10 KiB."""
    bomb = gzip.compress(b"\0" * 10 * MIB)
    headers = {"Content-Encoding": "gzip"}
    with RawServer(reply(bomb, headers=headers), reply(gzip.compress(b"fine"), headers=headers)) as server:
        link = make_link(server.url)

        assert "its answer is larger than any real one" in refusal(link).message
        assert ask(link).text == "fine"


def test_silence_ends_at_the_deadline() -> None:
    """A provider that takes the request and says nothing."""
    with RawServer(lambda connection, _: server.hang(connection)) as server:
        link = make_link(server.url, timeout_s=0.3)
        started_at = time.monotonic()

        error = refusal(link)

        assert time.monotonic() - started_at < 2
        assert "no whole answer within 0.3 s" in error.message
        assert "timeout_s" in str(error.hint)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
    ids=["status", "header", "body", "counted-body", "closing-body"],
)
def test_a_byte_now_and_then_ends_at_the_deadline_too(beginning: bytes) -> None:
    """Each byte comes in time, the whole never: the caller is told, and the connection does not live on behind his back."""

    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(beginning)
        server.trickle(b"x" if beginning else b"HTTP/1.1 200 " + b"OK" * 5000, connection, 0.05)

    with RawServer(drip) as server:
        link = make_link(server.url, "dripping", timeout_s=0.3)
        started_at = time.monotonic()

        error = refusal(link)

        assert time.monotonic() - started_at < 2
        assert "no whole answer within 0.3 s" in error.message
        wait_for(server.is_hung_up_on.is_set)
        wait_for(lambda: not is_thread_alive(link))


def test_a_byte_now_and_then_over_tls_ends_too(tmp_path: Path) -> None:
    """The same under TLS."""
    certificate = make_certificate(tmp_path, "authority")

    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        server.trickle(b"x", connection, 0.05)

    with RawServer(drip, tls=serve_tls(certificate)) as server:
        link = make_link(server.url, "dripping-tls", timeout_s=0.3, ca_bundle=certificate)

        assert "no whole answer within 0.3 s" in refusal(link).message
        wait_for(lambda: not is_thread_alive(link))


def test_a_byte_of_the_tls_handshake_now_and_then_ends_too(tmp_path: Path) -> None:
    """Before its end the handshake alone has the connection: its thread stayed until the provider lost patience."""
    half_a_record = b"\x16\x03\x03\x40\x00" + b"\x02" * 16_000
    with RawServer(lambda connection, _: server.trickle(half_a_record, connection, 0.05)) as server:
        url = server.url.replace("http:", "https:")
        link = make_link(url, "dripping-hands", timeout_s=0.3, ca_bundle=make_certificate(tmp_path, "authority"))

        assert "no whole answer within 0.3 s" in refusal(link).message
        wait_for(server.is_hung_up_on.is_set)
        wait_for(lambda: not is_thread_alive(link))


def test_a_connection_that_opens_after_the_deadline_is_cut_off_at_once() -> None:
    """The resolver or the network took the whole time: nobody waits for the answer any more."""
    go_on = threading.Event()
    link = make_link("http://127.0.0.1:1", "opened-late", timeout_s=0.1)
    with RawServer(lambda connection, _: server.hang(connection)) as server:

        def ask_late() -> Answer:
            go_on.wait(10)
            return fetch(make_link(server.url, timeout_s=60), "/x", {}, time.time)

        with pytest.raises(ProviderUnreachableError):
            within_deadline(link, ask_late)
        go_on.set()

        wait_for(lambda: not is_thread_alive(link))


def test_a_call_in_time_gives_its_result_and_its_own_errors() -> None:
    """What is not of the network goes through as it is."""
    link = make_link("http://127.0.0.1:1")

    def fail() -> None:
        raise KeyError("ours")

    assert within_deadline(link, lambda: 5) == 5
    with pytest.raises(KeyError, match="ours"):
        within_deadline(link, fail)


def test_a_late_call_without_a_connection_is_left_alone() -> None:
    """It may hang in the resolver, where nobody can end it."""
    link = make_link("http://127.0.0.1:1", timeout_s=0.1)
    go_on = threading.Event()

    with pytest.raises(ProviderUnreachableError, match=r"no whole answer within 0\.1 s"):
        within_deadline(link, lambda: go_on.wait(10))

    go_on.set()


# how many at once


class Busy:
    """Calls that go on until the `with` ends, each in a thread of its own."""

    def __init__(self, *links: Link) -> None:
        self._go_on = threading.Event()
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=within_deadline, args=(link, self._wait)) for link in links]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
            assert self._begun.acquire(timeout=5)
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        for thread in self._threads:
            thread.join(5)

    def _wait(self) -> None:
        self._begun.release()
        self._go_on.wait(5)


def test_one_origin_has_four_calls_and_leaves_the_others_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the links are called; when one ends there is a place again."""
    monkeypatch.setattr("atl_sign.providers.exchange.WAIT_S_MAX", 0.1)
    slow = [make_link(f"http://slow.invalid/c{number}", f"l{number}") for number in range(5)]
    other = make_link("http://other.invalid")

    with Busy(*slow[:4]):
        with pytest.raises(ProviderUnreachableError) as refused:
            within_deadline(slow[4], lambda: None)
        assert within_deadline(other, lambda: 5) == 5

    assert str(refused.value) == (
        "the provider of link l4 at http://slow.invalid cannot be reached: too many requests wait for providers"
    )
    assert refused.value.hint == "try again in a moment, or lower the timeout_s of links that do not answer"
    assert within_deadline(slow[4], lambda: 5) == 5


def test_sixteen_calls_go_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold threads of the 40 that answer everybody."""
    monkeypatch.setattr("atl_sign.providers.exchange.WAIT_S_MAX", 0.1)
    links = [make_link(f"http://h{number % 4}.invalid", f"l{number}") for number in range(16)]
    other = make_link("http://other.invalid")

    with Busy(*links), pytest.raises(ProviderUnreachableError, match="too many requests wait for providers"):
        within_deadline(other, lambda: None)

    assert within_deadline(other, lambda: 5) == 5


def test_a_queue_of_sixteen_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seventeenth that would wait is refused at once: those who wait hold threads too. The sixteen get their turn."""
    monkeypatch.setattr("atl_sign.providers.exchange.WAIT_S_MAX", 5.0)
    link = make_link("http://slow.invalid")
    queue = [threading.Thread(target=lambda: done.append(within_deadline(link, lambda: 5))) for _ in range(16)]
    done: list[int] = []

    with Busy(*[link] * 4):
        for thread in queue:
            thread.start()
        wait_for(lambda: _PLACES._waiting == 16)
        began_at = time.monotonic()
        with pytest.raises(ProviderUnreachableError, match="too many requests wait for providers"):
            within_deadline(link, lambda: None)
        assert time.monotonic() - began_at < 2
    for thread in queue:
        thread.join(5)

    assert done == [5] * 16
    assert not _PLACES._taken
    assert _PLACES._waiting == 0


def test_a_call_that_fails_or_is_late_gives_its_place_back() -> None:
    """Four times four of them, and the next still gets through."""
    link = make_link("http://slow.invalid", timeout_s=0.01)
    go_on = threading.Event()

    def fail() -> None:
        raise KeyError("ours")

    for call, error in ((fail, KeyError), (lambda: go_on.wait(10), ProviderUnreachableError)) * 5:
        with pytest.raises(error):
            within_deadline(link, call)
    go_on.set()

    assert within_deadline(link, lambda: 5) == 5


# broken connections


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        reply(b"no gzip", headers={"Content-Encoding": "gzip"}),
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=["hang-up", "ssh", "tls", "half", "half-chunk", "bad-chunk", "bad-gzip", "many-headers", "long-header"],
)
def test_a_broken_answer_is_told_as_such(script: bytes) -> None:
    """Whatever answers there, it is no provider."""
    with RawServer(script) as server:
        assert "the connection broke, or what answers there does not speak HTTP" in refusal(make_link(server.url)).message


def test_a_closed_port_is_told_as_such() -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    error = refusal(make_link(f"http://127.0.0.1:{port}"))

    assert "nobody takes the connection there" in error.message
    assert "base URL" in str(error.hint)


def test_an_unknown_host_is_told_as_such() -> None:
    """RFC 6761: nothing is called so. An address that speaks of resolving is no reason for these words."""
    assert "its host name is not known" in refusal(make_link("http://nobody.invalid")).message
    with RawServer(b"") as server:
        assert "host name" not in refusal(make_link(f"{server.url}/name-resolution")).message


# TLS


def test_a_trusted_authority_is_enough(tmp_path: Path) -> None:
    """The link's own bundle; the twin without it is refused."""
    certificate = make_certificate(tmp_path, "authority")
    with RawServer(reply("fine"), tls=serve_tls(certificate)) as server:
        assert ask(make_link(server.url, ca_bundle=certificate)).text == "fine"

        error = refusal(make_link(server.url))

    assert "its TLS certificate is not trusted (self-signed certificate)" in error.message
    assert "ca_bundle" in str(error.hint)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_can_name_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """For links without a bundle of their own, which counts before it; a file that is not there is told, not passed over."""
    certificate, other = make_certificate(tmp_path, "authority"), make_certificate(tmp_path, "other")
    monkeypatch.setenv(variable, str(certificate))
    with RawServer(reply("fine"), tls=serve_tls(certificate)) as server:
        assert ask(make_link(server.url)).text == "fine"
        assert "not trusted" in refusal(make_link(server.url, ca_bundle=other)).message

        monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
        error = refusal(make_link(server.url))

    assert f"the file {tmp_path / 'missing.pem'} cannot be used: No such file or directory" in error.message
    assert variable in str(error.hint)


def test_without_any_bundle_the_libraries_own_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system without a list of authorities; still nobody unknown is trusted."""
    monkeypatch.setattr("atl_sign.providers.tls_files._SYSTEM_CA_BUNDLES", (str(tmp_path / "missing.pem"),))
    with RawServer(reply("fine"), tls=serve_tls(make_certificate(tmp_path, "authority"))) as server:
        assert "its TLS certificate is not trusted" in refusal(make_link(server.url)).message


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file or directory"), ("no PEM", "no certificates in PEM"), ("", "no certificates in PEM")],
)
def test_a_broken_bundle_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    """The file and what is wrong with it, not "certificate not trusted"."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    with RawServer(reply("fine"), tls=serve_tls(make_certificate(tmp_path, "authority"))) as server:
        error = refusal(make_link(server.url, ca_bundle=bundle))

    assert f"the file {bundle} cannot be used: {words}" in error.message
    assert error.hint == "check ca_bundle"


def test_a_folder_of_authorities_is_a_bundle_too(tmp_path: Path) -> None:
    """As OpenSSL has it; an empty one trusts nobody."""
    folder = tmp_path / "authorities"
    folder.mkdir()
    with RawServer(reply("fine"), tls=serve_tls(make_certificate(tmp_path, "authority"))) as server:
        assert "not trusted" in refusal(make_link(server.url, ca_bundle=folder)).message


def test_another_name_in_the_certificate_is_told(tmp_path: Path) -> None:
    """It is trusted, but for another host."""
    certificate = make_certificate(tmp_path, "authority")
    with RawServer(reply("fine"), tls=serve_tls(certificate)) as server:
        error = refusal(make_link(f"https://localhost:{server.port}", ca_bundle=certificate))

    assert "Hostname mismatch" in error.message


def test_a_client_certificate_is_shown_when_the_link_has_one(tmp_path: Path) -> None:
    """The server lets nobody in without one; the twin has none."""
    certificate, mine = make_certificate(tmp_path, "authority"), make_certificate(tmp_path, "mine")
    with RawServer(reply("fine"), tls=serve_tls(certificate, client_authority=mine)) as server:
        assert ask(make_link(server.url, ca_bundle=certificate, client_cert=mine)).text == "fine"

        error = refusal(make_link(server.url, ca_bundle=certificate))

    assert "TLS failed" in error.message or "the connection broke" in error.message


@pytest.mark.parametrize("kind", ["missing", "empty", "encrypted", "without key"])
def test_a_broken_client_certificate_is_named(tmp_path: Path, kind: str) -> None:
    """Nobody is asked for a password: the daemon has no terminal, or worse, it has one."""
    certificate, mine = make_certificate(tmp_path, "authority"), tmp_path / "mine.pem"
    if kind == "empty":
        mine.write_text("")
    elif kind == "encrypted":
        make_certificate(tmp_path, "mine", password=b"secret")
    elif kind == "without key":
        mine.write_text(certificate.read_text().partition("-----BEGIN PRIVATE KEY")[0])
    with RawServer(reply("fine"), tls=serve_tls(certificate, client_authority=certificate)) as server:
        error = refusal(make_link(server.url, ca_bundle=certificate, client_cert=mine))

    words = "No such file or directory" if kind == "missing" else "no certificate with its unencrypted key, both in PEM"
    assert f"the file {mine} cannot be used: {words}" in error.message
    assert error.hint == "check the link's client_cert"


@pytest.mark.parametrize("kind", ["device", "pipe", "large"])
@pytest.mark.parametrize("setting", ["ca_bundle", "client_cert", "SSL_CERT_FILE"])
def test_only_regular_files_are_given_to_openssl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, kind: str
) -> None:
    """It reads a device for ever, past every deadline, with 100 % CPU and gigabytes; a pipe keeps a thread for each attempt."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "some.pem"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        path.write_bytes(b"")
        os.truncate(path, FILE_BYTES_MAX + 1)
    settings: dict[str, Any] = {setting: path} if setting.islower() else {}
    monkeypatch.setenv("SSL_CERT_FILE", str(path) if not settings else "")
    with RawServer(reply("fine"), tls=serve_tls(make_certificate(tmp_path, "authority"))) as server:
        link = make_link(server.url, f"file-{setting}-{kind}", **settings)
        error = refusal(link)

    words = "it is larger than 16 MiB" if kind == "large" else "it is not a regular file"
    assert f"the file {path} cannot be used: {words}" in error.message
    assert setting in str(error.hint)
    assert not is_thread_alive(link)
    assert server.requests == []


def test_https_to_an_http_port_is_told() -> None:
    """A typing error in the scheme."""
    with RawServer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        error = refusal(make_link(f"https://127.0.0.1:{server.port}", timeout_s=2.0))

    assert "TLS failed" in error.message
    assert "https" in str(error.hint)


# proxies and the rest of the environment


def test_the_links_proxy_is_used() -> None:
    """The whole address goes to the proxy; the host itself need not even resolve."""
    with RawServer(reply("through")) as proxy:
        answer = ask(make_link("http://provider.invalid/jira", proxy=proxy.url))

    assert answer.text == "through"
    assert proxy.requests[0].startswith(b"GET http://provider.invalid/jira/rest HTTP/1.1\r\n")


def test_https_goes_through_a_tunnel() -> None:
    """The proxy sees the host alone, never the signed header; one that refuses is named."""
    with RawServer(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        error = refusal(make_link("https://provider.invalid", proxy=proxy.url))

    assert "the proxy does not let us through: it requires a user name and a password (status 407)" in error.message
    assert error.hint == "check the user name and the password of the link's proxy"
    assert proxy.requests[0].startswith(b"CONNECT provider.invalid:443 HTTP/1.")
    assert CANARY.encode() not in proxy.requests[0]


@pytest.mark.parametrize(
    ("variable", "url"), [("HTTP_PROXY", "http://provider.invalid"), ("https_proxy", "https://provider.invalid")]
)
def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    """For links without one of their own."""
    with RawServer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv(variable, proxy.url)
        link = make_link(url)
        if variable == "HTTP_PROXY":
            assert ask(link).status == 502
        else:
            assert refusal(link).hint == "check the proxies in the daemon's environment"

    assert len(proxy.requests) == 1


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight to the provider; the twin without it goes to the proxy."""
    with RawServer(reply("provider")) as server, RawServer(reply("proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert ask(make_link(server.url)).text == "proxy"

        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert ask(make_link(server.url)).text == "provider"
        assert ask(make_link(server.url, proxy=proxy.url)).text == "proxy"


def test_a_proxy_that_is_down_is_named() -> None:
    """Not the provider."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert "the proxy does not let us through" in refusal(make_link("http://h.invalid", proxy=f"http://127.0.0.1:{port}")).message


@pytest.mark.parametrize("proxy", ["bogus://127.0.0.1:1", "http:///nowhere"])
def test_a_proxy_of_no_kind_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Only the environment can hold such a thing: the file's are looked at when they are read."""
    monkeypatch.setenv("HTTP_PROXY", proxy)

    error = refusal(make_link("http://h.invalid"))

    assert "the proxy's address is of no kind that works here" in error.message
    assert error.hint == "check the proxies in the daemon's environment"


def test_netrc_adds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests would put Basic in the place of our header."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login alice password canary-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(reply()) as server:
        ask(make_link(server.url))
        requests.get(server.url, timeout=5)  # the twin: this is what would happen

    assert header_of(server.requests[0], "Authorization") == f'OAuth oauth_signature="{CANARY}"'
    assert str(header_of(server.requests[1], "Authorization")).startswith("Basic ")


def test_an_error_of_ours_passes_the_deadline() -> None:
    """A refusal that the call itself makes is not taken for a network's."""
    link = make_link("http://127.0.0.1:1")

    class OursError(DaemonError):
        code = "ours"
        status = 500

    def fail() -> None:
        raise OursError("ours")

    with pytest.raises(OursError):
        within_deadline(link, fail)


def test_an_error_of_the_system_is_told_in_general_words() -> None:
    """One that belongs to no request and to no file of the link."""

    def fail() -> None:
        raise OSError("odd")

    with pytest.raises(ProviderUnreachableError, match="the connection broke"):
        within_deadline(make_link("http://127.0.0.1:1"), fail)
