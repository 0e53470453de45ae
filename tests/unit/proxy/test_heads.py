"""The rules for heads: what is refused, what is not passed on either way, and what is added."""

import pytest

from atl_sign.base.urls import parse_url
from atl_sign.proxy.heads import (
    Framing,
    Head,
    Header,
    check_origin,
    check_port,
    is_hopeless,
    make_answer_headers,
    make_request_headers,
    names_place,
    parse_head,
    read_framing,
    read_host,
    read_places,
)
from atl_sign.proxy.refusals import BrowserRefusedError, MalformedError, UpgradeRefusedError

ORIGIN = parse_url("https://jira.example.com/jira")


def head_of(*lines: str, first: str = "GET /x HTTP/1.1") -> Head:
    return parse_head("\r\n".join([first, "Host: jira.example.com", *lines, "", ""]).encode("latin-1"))


def sent(*lines: str, first: str = "GET /x HTTP/1.1") -> list[Header]:
    """What goes out for a request with these headers."""
    return make_request_headers(head_of(*lines, first=first), ORIGIN, Framing(), "Bearer ours")


def test_a_head_is_taken_apart() -> None:
    """Names keep their letters, values lose only the blanks around them; curl sends bare UTF-8 in a query."""
    head = parse_head("GET /x?q=é&r=[] HTTP/1.1\r\nHost: h\r\nX-Text: \t a  b \t\r\nX-Empty:\r\n\r\n".encode())

    assert (head.method, head.target, head.is_1_0) == ("GET", "/x?q=é&r=[]".encode(), False)
    assert head.headers == ((b"Host", b"h"), (b"X-Text", b"a  b"), (b"X-Empty", b""))


# After h11's tests (test_io.py, test_connection.py) and llhttp's (test/request/invalid.md).
@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\r\n\r\n",  # HTTP/0.9
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\t HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"G\xc3\x8bT / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"A" * 65 + b" / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        b"GET / HTTP/11\r\nHost: h\r\n\r\n",
        b"GET / http/1.1\r\nHost: h\r\n\r\n",
        b"GET / ICE/1.0\r\nHost: h\r\n\r\n",
        b"GET / IHTTP/1.0\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",  # a blank before the first header
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",  # folded
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX\r\n : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-No-Colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nFo@: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nFoo\x01test: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Umlaut-\xc3\xa4: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x0bb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nFoo: 1\rBar: 2\r\nHost: h\r\n\r\n",  # CR alone
        b"GET / HTTP/1.1\r\nHost: h\r\nx:\rTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nx:x\nTransfer-Encoding: chunked\r\n\r\n",  # LF alone
        b"GET / HTTP/1.1\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection\r\x1b\x41\xd5eep-Alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\rZGET /evil: HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_a_head_that_two_servers_could_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_head(raw)


def test_lines_without_a_carriage_return_are_noticed_before_the_heads_end() -> None:
    assert is_hopeless(b"GET / HTTP/1.1\nHost: h\n\n")
    assert not is_hopeless(b"GET / HTTP/1.1\r\nHost: h\r")


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((), Framing()),
        (("Content-Length: 0",), Framing(0)),
        (("Content-Length: 003",), Framing(3)),
        (("Transfer-Encoding: Chunked",), Framing(is_chunked=True)),
    ],
)
def test_the_bodys_end_is_found(lines: tuple[str, ...], framing: Framing) -> None:
    assert read_framing(head_of(*lines)) == framing


# RFC 9112 §6.3, §11.2; llhttp's test/request/content-length.md and transfer-encoding.md; h11 takes the first two.
@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 3", "Content-Length: 3"),
        ("Content-Length: 3, 3",),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 3"),
        ("Content-Length: 3", "Transfer-Encoding: identity"),
        ("Content-Length: 3", "Transfer-Encoding:"),
        ("Content-Length: +3",),
        ("Content-Length: -3",),
        ("Content-Length: 0x3",),
        ("Content-Length: 3 3",),
        ("Content-Length: 3;a",),
        ("Content-Length:",),
        ("Content-Length: 1000000000000000000000",),
        ("Transfer-Encoding:",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: pigeons",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked;a=b",),
        ("Transfer-Encoding: xchunked",),
        ('Transfer-Encoding: "chunked"',),
    ],
)
def test_a_bodys_end_that_two_servers_could_find_elsewhere_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError):
        read_framing(head_of(*lines, first="POST /x HTTP/1.1"))


def test_http_1_0_knows_no_chunks() -> None:
    with pytest.raises(MalformedError):
        read_framing(head_of("Transfer-Encoding: chunked", first="POST /x HTTP/1.0"))


@pytest.mark.parametrize(
    "line", ["Upgrade: websocket", "Upgrade: h2c, websocket", "Connection: Upgrade", "Connection: keep-alive, UPGRADE"]
)
def test_an_upgrade_is_refused(line: str) -> None:
    with pytest.raises(UpgradeRefusedError):
        read_framing(head_of(line))


def test_an_offer_of_another_version_is_no_upgrade() -> None:
    """What curl --http2 sends; nothing of it goes on, so the answer is one of HTTP/1.1."""
    head = head_of("Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Connection: Upgrade, HTTP2-Settings")

    assert not read_framing(head).has_body
    assert make_request_headers(head, parse_url("https://h/"), Framing(), "x") == [(b"Host", b"h"), (b"Authorization", b"x")]


@pytest.mark.parametrize("hosts", [[], ["h", "h"], ["h", "other"], ["h/x"], ["user@h"], ["h h"], ["h\\x"], [""]])
def test_a_request_names_one_host(hosts: list[str]) -> None:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)

    with pytest.raises(MalformedError):
        read_host(parse_head(f"GET / HTTP/1.1\r\n{lines}\r\n".encode()))


def test_http_1_0_may_name_no_host() -> None:
    assert read_host(parse_head(b"GET / HTTP/1.0\r\n\r\n")) is None


@pytest.mark.parametrize("host", ["jira.example.com", "JIRA.example.com", "jira.example.com:443", "jira.example.com."])
def test_a_host_can_be_written_in_several_ways(host: str) -> None:
    assert names_place(read_places(host.encode()), ORIGIN)


@pytest.mark.parametrize(
    "host", ["example.com", "jira.example.com:80", "jira.example.com:8443", "jira.example.com.evil", "1.2.3.4"]
)
def test_a_host_that_lies_is_refused(host: str) -> None:
    head = parse_head(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    with pytest.raises(MalformedError):
        check_origin(head, ORIGIN)


def test_a_request_goes_out_with_our_authorization_last() -> None:
    """Every other header is as it came, in its order."""
    lines = ("User-Agent: Mozilla/5.0", "accept: a", "Accept: b", "X-Atlassian-Token: nocheck", 'If-None-Match: "x"')

    assert sent(*lines) == [
        (b"Host", b"jira.example.com"),
        (b"User-Agent", b"Mozilla/5.0"),
        (b"accept", b"a"),
        (b"Accept", b"b"),
        (b"X-Atlassian-Token", b"nocheck"),
        (b"If-None-Match", b'"x"'),
        (b"Authorization", b"Bearer ours"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "Cookie2",
        "Expect",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "HTTP2-Settings",
        "Proxy-Authorization",
        "Proxy-Connection",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Original-Method",
        "X-Rewrite-URL",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP",
        "X-AppId",
        "X-AppType",
        "X-AppPath",
        "x_forwarded_host",
        "X_HTTP_Method_Override",
        "Content_Length",
        "Transfer_Encoding",
    ],
)
def test_what_could_change_a_requests_meaning_does_not_go_out(name: str) -> None:
    """Attacks 7, 8, 13, 18, 19, 20: whatever the letters' case, and with the underscore that some servers take for a dash."""
    for written in (name, name.upper(), name.lower()):
        assert [pair[0] for pair in sent(f"{written}: x")] == [b"Host", b"Authorization"]


def test_what_connection_names_does_not_go_out() -> None:
    """Attack 20; our own Authorization is not among it."""
    headers = sent("X-Secret: a", "X-Other: b", "Connection: x-secret, close", "Connection: authorization")

    assert headers == [(b"Host", b"jira.example.com"), (b"X-Other", b"b"), (b"Authorization", b"Bearer ours")]


@pytest.mark.parametrize(
    ("kind", "is_added"),
    [
        (None, True),
        ("application/x-www-form-urlencoded", True),
        ("Multipart/Form-Data; boundary=x", True),
        ("text/plain", True),
        ("application/json", False),
        ("application/json; charset=utf-8", False),
    ],
)
def test_a_post_that_a_page_could_send_is_vouched_for(kind: str | None, is_added: bool) -> None:
    lines = () if kind is None else (f"Content-Type: {kind}",)
    added = (b"X-Atlassian-Token", b"no-check")

    assert (added in sent(*lines, first="POST /x HTTP/1.1")) is is_added
    assert added not in sent(*lines)
    assert added not in sent(*lines, "x-atlassian-token: check", first="POST /x HTTP/1.1")


def test_the_framing_of_a_request_is_written_by_us() -> None:
    head = head_of("Content-Length: 007", first="PUT /x HTTP/1.1")

    assert make_request_headers(head, ORIGIN, read_framing(head), "x")[1:-1] == [(b"Content-Length", b"7")]


def test_a_port_of_the_origin_is_named_unless_it_is_the_default() -> None:
    head = head_of()

    assert make_request_headers(head, parse_url("http://h:8080/"), Framing(), "x")[0] == (b"Host", b"h:8080")


def test_an_answer_loses_sessions_and_what_is_between_two_hops() -> None:
    """Attack 18. Twin: what the products say beside that is passed on, a header that comes twice twice."""
    kept = [(b"X-AUSERNAME", b"me"), (b"Link", b"a"), (b"Link", b"b"), (b"WWW-Authenticate", b"OAuth x"), (b"Retry-After", b"1")]
    lost = [
        b"Set-Cookie",
        b"set-cookie2",
        b"Alt-Svc",
        b"Connection",
        b"Keep-Alive",
        b"Upgrade",
        b"Trailer",
        b"Proxy-Authenticate",
    ]

    assert make_answer_headers([*kept, *((name, b"x-hop") for name in lost), (b"X-Hop", b"1")], 200) == kept


@pytest.mark.parametrize(
    ("headers", "status", "lengths"),
    [
        ([(b"Content-Length", b"3")], 200, [b"3"]),
        ([(b"Content-Length", b"3"), (b"content-length", b"3")], 200, [b"3"]),
        ([(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")], 200, []),
        ([(b"Content-Length", b"3")], 304, [b"3"]),
        ([(b"Content-Length", b"3")], 204, []),
    ],
)
def test_the_framing_of_an_answer_is_written_anew(headers: list[Header], status: int, lengths: list[bytes]) -> None:
    assert [value for _, value in make_answer_headers(headers, status)] == lengths


@pytest.mark.parametrize("line", ["Origin: null", "Referer: http://x/", "Sec-Fetch-Mode: cors", "SEC-FETCH-SITE: none"])
def test_a_web_page_is_refused_at_a_port(line: str) -> None:
    """Attack 23; twin: the same request without it."""
    with pytest.raises(BrowserRefusedError):
        check_port(head_of(line), [b"jira.example.com"])

    check_port(head_of(), [b"jira.example.com"])


def test_a_name_that_was_bound_to_loopback_afterwards_is_refused_at_a_port() -> None:
    with pytest.raises(BrowserRefusedError):
        check_port(head_of(), [b"127.0.0.1:8000", b"localhost:8000"])
