"""The loopback listener on real sockets: what gets through to the dance, what doesn't, and what the browser is told."""

import base64
import errno
import hashlib
import http.client
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadRequestError
from atl_sign.grants import loopback as callback
from atl_sign.grants.loopback import CallbackListener, CallbackPage
from atl_sign.grants.loopback_page import render_page
from atl_sign.schemes.base import Consent, RedirectPlace
from atl_sign.schemes.oauth1.scheme import OAuth1
from tests.unit.provider_lab import make_link

TOKEN = "canary-request-token"
VERIFIER = "canary-verifier"
QUERY = f"oauth_token={TOKEN}&oauth_verifier={VERIFIER}"
GRANTED = CallbackPage("Signed in to jira", "atl-sign can sign.", is_good=True)
FAILED = CallbackPage("Sign-in to jira failed", "atl-sign failed.", is_good=False, command="atl-sign dance jira")
DEADLINE_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What came back to the browser."""

    status: int
    headers: dict[str, str]
    text: str


class Dance:
    """A stand-in for the dance behind the listener: knows its token, counts what came."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.on_receive: Callable[[], object] = lambda: None
        self.listener = CallbackListener(RedirectPlace(), self.receive, FAILED)

    def receive(self, query: str) -> CallbackPage:
        answer = OAuth1().read_redirect(make_link("http://h.example"), Consent("", Secret(TOKEN)), query)
        self.received.append((TOKEN, answer.reveal()))
        self.on_receive()
        if self.error is not None:
            raise self.error
        return GRANTED

    def __enter__(self) -> Self:
        self.listener.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    @property
    def port(self) -> int:
        return urlsplit(self.listener.url).port or 0

    @property
    def path(self) -> str:
        return urlsplit(self.listener.url).path

    def call(self, target: str | None = None, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, f"{self.path}?{QUERY}" if target is None else target, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def send_raw(self, data: bytes) -> bytes:
        with self.connect() as connection:
            with suppress(OSError):  # it may be cut off before all is sent
                connection.sendall(data)
            return read_to_end(connection)


@pytest.fixture
def dance() -> Iterator[Dance]:
    """A dance that waits for its answer."""
    with Dance() as dance:
        yield dance


def read_to_end(connection: socket.socket) -> bytes:
    """Return what still comes; a reset counts as an end."""
    data = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            data += chunk
    return data


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; fail after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def start(target: Callable[[], object]) -> threading.Thread:
    """Run *target* in a thread."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def drip(connection: socket.socket) -> bytes | None:
    """Send one more byte; return what came meanwhile, b"" at the connection's end, None when nothing did."""
    try:
        connection.sendall(b"x")
        return connection.recv(4096)
    except TimeoutError:
        return None
    except (BrokenPipeError, ConnectionResetError):
        return b""


def refuses_connections(port: int) -> bool:
    """Tell whether nobody listens on *port* of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(DEADLINE_S)
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


# What gets through.


def test_answer_reaches_the_dance(dance: Dance) -> None:
    """The token and the verifier of the query arrive decoded, and the browser sees the page that the dance returns."""
    answer = dance.call(f"{dance.path}?oauth_token={TOKEN}&oauth_verifier=a%2Bb+c")

    assert dance.received == [(TOKEN, "a+b c")]
    assert answer.status == 200
    assert "<h1>Signed in to jira</h1>" in answer.text
    assert "<p>atl-sign can sign.</p>" in answer.text
    assert "Go back to your terminal." in answer.text
    assert "You can close this tab." in answer.text


def test_denial_reaches_the_dance_too(dance: Dance) -> None:
    """A refusal comes as oauth_verifier=denied (facts section 1.4); the listener passes it on like any other verifier."""
    assert dance.call(f"{dance.path}?oauth_token={TOKEN}&oauth_verifier=denied").status == 200

    assert dance.received == [(TOKEN, "denied")]


def test_other_parameters_do_no_harm(dance: Dance) -> None:
    """What else a provider appends is left alone."""
    assert dance.call(f"{dance.path}?state=7&{QUERY}&x").status == 200

    assert dance.received == [(TOKEN, VERIFIER)]


def test_request_in_pieces_is_put_together(dance: Dance) -> None:
    """TCP may cut a request anywhere."""
    with dance.connect() as connection:
        for byte in f"GET {dance.path}?{QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{dance.port}\r\n\r\n".encode():
            connection.sendall(bytes([byte]))
        answer = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert dance.received == [(TOKEN, VERIFIER)]


def test_second_use_is_gone(dance: Dance) -> None:
    """The address is good for one answer; the same one again changes nothing."""
    first, second = dance.call(), dance.call()

    assert (first.status, second.status) == (200, 410)
    assert "<h1>This sign-in is already over</h1>" in second.text
    assert ">atl-sign status</textarea>" in second.text
    assert dance.received == [(TOKEN, VERIFIER)]


def test_wrong_token_leaves_the_listener_waiting(dance: Dance) -> None:
    """An answer with another dance's token is told so, and the right one still gets through."""
    wrong = dance.call(f"{dance.path}?oauth_token=other&oauth_verifier={VERIFIER}")
    right = dance.call()

    assert (wrong.status, right.status) == (400, 200)
    assert "<h1>This response belongs to a different sign-in</h1>" in wrong.text
    assert dance.received == [(TOKEN, VERIFIER)]


# What doesn't.


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/favicon.ico",
        f"/callback?{QUERY}",
        f"/callback/?{QUERY}",
        f"/callback/AAAAAAAAAAAAAAAAAAAAAA?{QUERY}",
        f"{{path}}/?{QUERY}",
        f"/{{path}}?{QUERY}",
        f"{{path}}x?{QUERY}",
        f"{{short}}?{QUERY}",
        f"{{upper}}?{QUERY}",
        f"{{url}}?{QUERY}",
    ],
)
def test_wrong_path_is_not_found(dance: Dance, target: str) -> None:
    """Whoever doesn't know the random part, whole and to the letter, gets a 404, and the dance waits on."""
    names = {"path": dance.path, "short": dance.path[:-1], "upper": dance.path.swapcase(), "url": dance.listener.url}

    answer = dance.call(target.format(**names))

    assert answer.status == 404
    assert "<h1>Nothing is at this address</h1>" in answer.text
    assert dance.received == []
    assert dance.call().status == 200


def test_path_is_random() -> None:
    """Two listeners share no path, and its random part has 128 bits or more."""
    with Dance() as one, Dance() as other:
        assert one.path != other.path
        assert re.fullmatch(r"/callback/[A-Za-z0-9_-]{22}", one.path)
        assert one.listener.url == f"http://127.0.0.1:{one.port}{one.path}"


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", "127.0.0.1:{port}.", ""])
def test_foreign_host_is_refused(dance: Dance, host: str) -> None:
    """A page that points its own name at 127.0.0.1 (DNS rebinding) sends that name, and gets nowhere even with the path."""
    answer = dance.call(headers={"Host": host.format(port=dance.port)})

    assert answer.status == 400
    assert dance.received == []
    assert dance.call(headers={"Host": f"127.0.0.1:{dance.port}"}).status == 200


@pytest.mark.parametrize("hosts", ["", "Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n"])
def test_missing_or_second_host_is_refused(dance: Dance, hosts: str) -> None:
    """There must be one Host header."""
    answer = dance.send_raw(f"GET {dance.path}?{QUERY} HTTP/1.1\r\n{hosts.format(port=dance.port)}\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert dance.received == []


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_do_not_use_the_answer_up(dance: Dance, method: str) -> None:
    """Only GET counts: a link checker's HEAD must not spend the verifier."""
    answer = dance.call(method=method)

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"
    assert bool(answer.text) == (method != "HEAD")
    assert dance.received == []
    assert dance.call().status == 200


def test_head_is_answered_without_a_body(dance: Dance) -> None:
    """The answer to HEAD ends with its headers (RFC 9110 §9.3.2)."""
    answer = dance.send_raw(f"HEAD {dance.path}?{QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{dance.port}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "query",
    [
        None,
        "",
        f"oauth_token={TOKEN}",
        f"oauth_verifier={VERIFIER}",
        f"oauth_token={TOKEN}&oauth_verifier=",
        f"oauth_token=&oauth_verifier={VERIFIER}",
        f"{QUERY}&oauth_token={TOKEN}",
        f"{QUERY}&oauth_verifier=denied",
        f"{QUERY}&oauth_verifier=",
        f"oauth_token={TOKEN};oauth_verifier={VERIFIER}",
        QUERY + "&x=1" * 40,
    ],
)
def test_missing_or_repeated_parameters_leave_the_listener_waiting(dance: Dance, query: str | None) -> None:
    """Exactly one token and one verifier make an answer; anything else is told so and changes nothing."""
    answer = dance.call(dance.path if query is None else f"{dance.path}?{query}")

    assert answer.status == 400
    assert "<h1>This response is incomplete</h1>" in answer.text
    assert dance.received == []
    assert dance.call().status == 200


def test_raw_bytes_in_the_query_are_refused(dance: Dance) -> None:
    """A query is ASCII (RFC 3986 §3.4)."""
    answer = dance.send_raw(f"GET {dance.path}?{QUERY}&x=".encode() + b"\xff HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % dance.port)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert dance.received == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        b"nonsense\r\n\r\n",
        b"GET {target}\r\n\r\n",
        b"GET {target} HTTP/1.1\r\nHost 127.0.0.1:{port}\r\n\r\n",
        b"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\nGET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
    ],
)
def test_what_is_not_one_http_request_is_refused(dance: Dance, data: bytes) -> None:
    """Nonsense, HTTP/0.9, broken headers, upgrades and two requests at once get a 400 and spend nothing."""
    target = f"{dance.path}?{QUERY}".encode()

    answer = dance.send_raw(data.replace(b"{target}", target).replace(b"{port}", b"%d" % dance.port))

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert VERIFIER.encode() not in answer
    assert dance.received == []
    assert dance.call().status == 200


@pytest.mark.parametrize(("size", "status"), [(8_000, 200), (20_000, 431)])
def test_head_is_bounded(dance: Dance, size: int, status: int) -> None:
    """Cookies that other ports' pages left come along and are read over; a head without end is not read."""
    head = f"GET {dance.path}?{QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{dance.port}\r\nCookie: {'c' * size}\r\n\r\n"

    assert dance.send_raw(head.encode()).startswith(b"HTTP/1.1 %d " % status)

    assert bool(dance.received) == (status == 200)


# Failures behind the listener.


def test_unforeseen_error_shows_no_detail_and_spends_the_answer(dance: Dance, caplog: pytest.LogCaptureFixture) -> None:
    """The verifier may be spent, so there is no second try; page and log name no secret."""
    dance.error = RuntimeError(f"swap of {VERIFIER} failed")
    with caplog.at_level(logging.DEBUG):
        first, second = dance.call(), dance.call()

    assert (first.status, second.status) == (500, 410)
    assert "<h1>Sign-in to jira failed</h1>" in first.text
    assert ">atl-sign dance jira</textarea>" in first.text
    assert "RuntimeError" in caplog.text
    assert VERIFIER not in first.text + second.text + caplog.text
    assert TOKEN not in first.text + second.text + caplog.text


def test_nothing_is_written_to_standard_error(dance: Dance, capfd: pytest.CaptureFixture[str]) -> None:
    """There is no access log, and a browser that hangs up leaves no traceback."""
    dance.call("/nothing")
    dance.send_raw(b"nonsense\r\n\r\n")
    with dance.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset in place of an end
        connection.sendall(b"GET /")
    dance.call()
    dance.listener.close()

    assert capfd.readouterr() == ("", "")


def test_listener_shows_no_secret_in_its_repr(dance: Dance) -> None:
    """After an answer, too, the listener's repr names neither token nor verifier."""
    dance.call()

    assert TOKEN not in repr(dance.listener)
    assert VERIFIER not in repr(vars(dance.listener))


def test_no_port_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where even 127.0.0.1 cannot be bound; the dance knows the way without a listener."""
    monkeypatch.setattr(callback, "ADDRESS", "192.0.2.1")  # TEST-NET-1: no interface has it

    with pytest.raises(BadRequestError, match=r"cannot listen on 192\.0\.2\.1"):
        CallbackListener(RedirectPlace(), lambda _: GRANTED, FAILED).open()


def test_listener_is_on_the_loopback_alone(dance: Dance) -> None:
    """Nothing listens on this machine's other addresses: 127.0.0.2 stands for them all."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", dance.port)) == errno.ECONNREFUSED
    assert not refuses_connections(dance.port)


# Many browsers, slow ones, and the end.


def test_of_two_answers_at_once_one_gets_through(dance: Dance) -> None:
    """The second waits for the first and is told that the dance is over; receive never runs twice."""
    go_on = threading.Event()
    dance.on_receive = lambda: go_on.wait(DEADLINE_S)
    answers: list[Answer] = []
    first = start(lambda: answers.append(dance.call()))
    wait_until(lambda: len(dance.received) == 1)
    second = start(lambda: answers.append(dance.call()))
    wait_until(lambda: len(dance.listener._answering) == 2)
    go_on.set()
    first.join(DEADLINE_S)
    second.join(DEADLINE_S)

    assert sorted(answer.status for answer in answers) == [200, 410]
    assert dance.received == [(TOKEN, VERIFIER)]


def test_slow_sender_is_cut(dance: Dance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for the whole request: a byte now and then doesn't prolong it. Others are served meanwhile."""
    monkeypatch.setattr(callback, "CONNECTION_S", 0.3)
    started_at = time.monotonic()
    with dance.connect() as slow:
        slow.sendall(f"GET {dance.path}?{QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{dance.port}\r\nX-Slow: ".encode())
        slow.settimeout(0.05)
        while (sent := drip(slow)) is None:
            assert time.monotonic() < started_at + DEADLINE_S
        took_s = time.monotonic() - started_at

    assert sent == b""  # an end, not a page
    assert took_s >= 0.3
    assert dance.received == []
    assert dance.call().status == 200


def test_silent_connections_make_room(dance: Dance) -> None:
    """More silent connections than are served at once don't keep the answer out: the oldest are cut off."""
    silent = [dance.connect() for _ in range(callback.CONNECTIONS_MAX + 2)]
    try:
        answer = dance.call()

        assert answer.status == 200
        assert silent[0].recv(1) == b""
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)
    finally:
        for connection in silent:
            connection.close()


def test_waiting_answers_are_not_pushed_out(dance: Dance) -> None:
    """When every place is taken by a browser that waits for its page, one more is turned away, not one of those."""
    go_on = threading.Event()
    dance.on_receive = lambda: go_on.wait(DEADLINE_S)
    answers: list[Answer] = []
    threads = [start(lambda: answers.append(dance.call())) for _ in range(callback.CONNECTIONS_MAX)]
    wait_until(lambda: len(dance.listener._answering) == callback.CONNECTIONS_MAX)
    with dance.connect() as late:
        assert read_to_end(late) == b""
    go_on.set()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert sorted(answer.status for answer in answers) == [200] + [410] * (callback.CONNECTIONS_MAX - 1)


def test_answer_cut_off_at_the_last_moment_is_not_received(dance: Dance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection pushed out just as its request was complete must not spend the verifier: nobody would see the page."""
    read_head = callback._read_head

    def read_and_lose(connection: socket.socket) -> callback._Head:
        head = read_head(connection)
        dance.listener._reading.clear()  # as `_admit` and `close` do
        return head

    monkeypatch.setattr(callback, "_read_head", read_and_lose)
    answer = dance.send_raw(f"GET {dance.path}?{QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{dance.port}\r\n\r\n".encode())

    assert answer == b""
    assert dance.received == []


def test_one_failed_accept_does_not_end_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process short of file descriptors for a moment serves again afterwards."""
    failures = [OSError(errno.EMFILE, "too many open files")] * 2
    accept = socket.socket.accept

    def accept_badly(self: socket.socket) -> object:
        if failures:
            raise failures.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", accept_badly)
    monkeypatch.setattr(callback, "_POLL_S", 0.05)
    with Dance() as dance:
        assert dance.call().status == 200
    assert failures == []


def test_closed_listener_frees_its_port(dance: Dance) -> None:
    """After close nobody listens there, whoever was silent is cut off, and closing again does nothing."""
    with dance.connect() as silent:
        wait_until(lambda: len(dance.listener._reading) == 1)
        port, (_, thread) = dance.port, dance.listener._listeners[0]
        dance.listener.close()
        dance.listener.close()

        assert silent.recv(1) == b""
    assert refuses_connections(port)
    assert not thread.is_alive()


def test_listener_that_never_opened_closes() -> None:
    """A dance that fails before it listens may close all the same."""
    listener = CallbackListener(RedirectPlace(), lambda _: GRANTED, FAILED)

    listener.close()

    assert listener.url == ""


def test_close_waits_for_the_answer_on_its_way(dance: Dance) -> None:
    """The browser that brought the answer gets its page though the dance, being over, closes the listener."""
    go_on = threading.Event()
    dance.on_receive = lambda: go_on.wait(DEADLINE_S)
    answers: list[Answer] = []
    browser = start(lambda: answers.append(dance.call()))
    wait_until(lambda: len(dance.received) == 1)
    closing = start(dance.listener.close)
    wait_until(lambda: refuses_connections(dance.port))
    assert closing.is_alive()
    go_on.set()
    closing.join(DEADLINE_S)
    browser.join(DEADLINE_S)

    assert [answer.status for answer in answers] == [200]


def test_close_does_not_wait_for_ever(dance: Dance, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that takes longer than the wait doesn't hold close up, and still goes out."""
    monkeypatch.setattr(callback, "CLOSE_WAIT_S", 0.1)
    go_on = threading.Event()
    dance.on_receive = lambda: go_on.wait(DEADLINE_S)
    answers: list[Answer] = []
    browser = start(lambda: answers.append(dance.call()))
    wait_until(lambda: len(dance.received) == 1)
    dance.listener.close()

    assert answers == []
    assert refuses_connections(dance.port)
    go_on.set()
    browser.join(DEADLINE_S)
    assert [answer.status for answer in answers] == [200]


def test_close_from_within_receive(dance: Dance) -> None:
    """The dance may close the listener before it returns its page: no deadlock, no wait for itself, and the page is shown."""
    dance.on_receive = dance.listener.close
    started_at = time.monotonic()

    answer = dance.call()

    assert answer.status == 200
    assert time.monotonic() - started_at < callback.CLOSE_WAIT_S
    assert refuses_connections(dance.port)


# The page.


def test_headers_keep_the_page_to_itself(dance: Dance) -> None:
    """The page is not kept, not framed, sends no referrer with the verifier in it, and may load nothing."""
    headers = dance.call().headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))

    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Connection"] == "close"
    assert "Server" not in headers
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["img-src"] == "data:"
    assert set(policy) == {"default-src", "style-src", "img-src", "base-uri", "form-action", "frame-ancestors"}


@pytest.mark.parametrize("target", ["/nothing", "{path}", "{path}?oauth_token=other&oauth_verifier=x"])
def test_every_page_has_the_same_headers(dance: Dance, target: str) -> None:
    """A refusal is as careful as the page at the end."""
    refused = dance.call(target.format(path=dance.path)).headers
    granted = dance.call().headers

    varying = {"Date", "Content-Length", "Allow"}
    assert {name: refused[name] for name in refused.keys() - varying} == {
        name: granted[name] for name in granted.keys() - varying
    }


def test_style_is_the_one_that_the_policy_names(dance: Dance) -> None:
    """The policy's hash (CSP level 3, section 8.4) is that of the page's one style element, to the byte."""
    answer = dance.call()
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert " style=" not in answer.text


def test_page_escapes_what_it_shows() -> None:
    """A provider's words, which may come back in a message, stay words."""
    hostile = '</title></style><script>alert(1)</script><img src=x onerror="x">&amp;{style}\''

    html = render_page(CallbackPage(hostile, hostile, is_good=False, command=f"{hostile}</textarea>")).decode()

    shown = (
        "&lt;/title&gt;&lt;/style&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=&quot;x&quot;&gt;"
        "&amp;amp;{style}&#x27;"
    )
    assert html.count(shown) == 4  # the tab's title, the heading, the message, the command
    assert html.count("</textarea>") == 1
    assert html.count(hostile[:8]) == 1  # the real </title> alone
    assert "<script" not in html
    assert "<img" not in html


def test_page_tells_the_way_on_once() -> None:
    """With a command the page shows it to copy, and not again among the words; without one it shows no field."""
    command = "atl-sign dance jira"

    failed = render_page(CallbackPage("t", f"it failed.\n{command}", is_good=False, command=command)).decode()
    granted = render_page(GRANTED).decode()

    assert failed.count(command) == failed.count(f'readonly autofocus spellcheck="false">{command}</textarea>') == 1
    assert "<p>it failed.</p>" in failed
    assert '<label for="command">Go back to your terminal and run:</label>' in failed
    assert "<textarea" not in granted
    assert '<p class="next">Go back to your terminal.</p>' in granted


def test_unknown_callers_learn_no_name(dance: Dance) -> None:
    """The pages for those who do not know the path show neither the link nor a command."""
    pages = [dance.call("/nothing"), dance.call(headers={"Host": "evil.example"})]

    assert all("jira" not in page.text and "<textarea" not in page.text for page in pages)


def test_page_bears_any_text() -> None:
    """A lone surrogate, as Python makes of broken bytes, doesn't cost the user the page."""
    assert b"<p>a?b</p>" in render_page(CallbackPage("t", "a\udcffb", is_good=False))


def test_good_and_bad_differ_by_more_than_colour() -> None:
    """The drawing beside the title differs, and the words are the caller's."""
    (good, bad) = (
        re.findall(
            r'<svg class="sign".*?<path d="(.*?)"', render_page(CallbackPage("t", "m", is_good=is_good)).decode(), re.DOTALL
        )
        for is_good in (True, False)
    )

    assert len(good) == len(bad) == 1
    assert good != bad


def test_page_is_plain_html_that_loads_nothing() -> None:
    """It names its language, adapts to the screen and the colour scheme, and has no address in it but the icon's own drawing."""
    html = render_page(GRANTED).decode()

    assert html.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "prefers-color-scheme: dark" in html
    (icon,) = re.findall(r'(?:src|href)="(.*?)"', html)
    assert icon.startswith("data:image/svg+xml,%3Csvg")
    assert "url(" not in html
    assert "@import" not in html


# A place that the provider knows beforehand


def test_localhost_is_both_stacks() -> None:
    """Browsers look for the name at ::1 first; the Host header is the name, and the answer counts once."""
    port = free_port()
    received: list[str] = []

    def receive(query: str) -> CallbackPage:
        received.append(query)
        return GRANTED

    listener = CallbackListener(RedirectPlace("localhost", port, "/callback/h.example"), receive, FAILED)
    listener.open()
    try:
        assert listener.url == f"http://localhost:{port}/callback/h.example"
        for address, host, status in (
            ("::1", f"127.0.0.1:{port}", 400),
            ("127.0.0.1", f"localhost:{port}", 200),
            ("::1", f"localhost:{port}", 410),
        ):
            with socket.create_connection((address, port), 5) as connection:
                connection.sendall(f"GET /callback/h.example?code=x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())
    finally:
        listener.close()
    assert received == ["code=x"]
    assert refuses_connections(port)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_taken_port_is_refused_by_name(address: str) -> None:
    """On either stack: who listens on the other one would get the code."""
    port = free_port()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = CallbackListener(RedirectPlace("localhost", port, "/"), lambda _: GRANTED, FAILED)
    with (
        socket.create_server((address, port), family=family),
        pytest.raises(BadRequestError, match=f"another program listens on port {port}") as caught,
    ):
        listener.open()

    assert "register the new address" in (caught.value.hint or "")
    listener.open()  # nothing of it was left behind
    listener.close()


def test_a_machine_without_ipv6_listens_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody at ::1 then."""
    monkeypatch.setattr(callback, "ADDRESS_6", "2001:db8::1")  # for documentation: no interface has it
    listener = CallbackListener(RedirectPlace("localhost", free_port(), "/"), lambda _: GRANTED, FAILED)

    listener.open()
    listener.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
