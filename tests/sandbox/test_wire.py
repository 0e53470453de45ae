"""What arrives on a connection, byte by byte: the odd, the broken and the too long."""

import socket
from collections.abc import Callable

import pytest

from atl_sign.sandbox import Sandbox
from tests.sandbox.consumer import Consumer, send
from tests.sandbox.raw import talk

Make = Callable[[str], Consumer]
HOST = b"Host: x\r\n"
STATUS = b"GET /jira/status HTTP/1.1\r\n" + HOST
ANY_TARGET = [
    b'/jira/[a]{b}|^"<>`',
    "/jira/é?ü=à\u00a0".encode(),
    b"/jira/\xff\xfe?\x80",
    b"/jira//..//status?;&=&%",
    b"/jira/\\x?\\",
    b"/jira/*",
    b"*",
]


@pytest.mark.parametrize("target", ANY_TARGET)
def test_any_byte_of_a_target_is_taken(provider: Sandbox, target: bytes) -> None:
    """No 500, no end of the connection, and the record has the very bytes."""
    answer = talk(provider, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n" + STATUS + b"\r\n")

    first, _, second = answer.partition(b"HTTP/1.1 200 ")
    assert first.startswith(b"HTTP/1.1 40")
    assert second.endswith(b'{"state": "RUNNING"}')
    assert provider.state.requests[0].target == target


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /jira/status\r\n\r\n", 400),
        (b"GET  /jira/status HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET /jira/status HTTP/2\r\n\r\n", 400),
        (b"G(T /jira/status HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (STATUS + b"no colon\r\n\r\n", 400),
        (STATUS + b" folded: x\r\n\r\n", 400),
        (STATUS + b"Half: ", 400),
        (STATUS, 400),
        (STATUS + b"X: " + b"x" * 140_000 + b"\r\n\r\n", 431),
        (STATUS + b"X: y\r\n" * 30_000 + b"\r\n", 431),
        (b"GET /" + b"x" * 140_000 + b" HTTP/1.1\r\n\r\n", 414),
        (STATUS + b"Content-Length: x\r\n\r\n", 400),
        (STATUS + b"Content-Length: -1\r\n\r\n", 400),
        (STATUS + b"Content-Length: 99999999\r\n\r\n", 413),
        (STATUS + b"Content-Length: 99999999999\r\n\r\n", 413),
        (STATUS + b"Content-Length: 5\r\n\r\nabc", 400),
        (STATUS + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (STATUS + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (STATUS + b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n", 413),
        (STATUS + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
        (STATUS + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 400),
    ],
)
def test_malformed_request_is_refused(provider: Sandbox, request_bytes: bytes, status: int) -> None:
    """With a status, and the connection ends."""
    answer = talk(provider, request_bytes)

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answer
    assert provider.state.count == 0


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_chunked_body_is_read(danced: Make, ending: bytes) -> None:
    """With extensions and trailers, and the next request after it."""
    jira = danced("jira")
    path = "/rest/api/2/search"
    head = "".join(f"{name}: {value}\r\n" for name, value in jira.sign("POST", jira.base + path).items())
    chunks = [b"5;x=y", b'{"jql', b"c", b'": "project ', b"9", b'= OPS"}  ', b"0", b"Trailer: x", b"", b""]
    request = (
        f"POST /jira{path} HTTP/1.1\r\nHost: {jira.base.split('/')[2]}\r\n{head}"
        "Content-Type: application/json\r\nTransfer-Encoding: Chunked\r\n\r\n"
    )

    answer = talk(jira.provider, request.encode() + ending.join(chunks) + STATUS + b"\r\n")

    assert b'"total": 2' in answer
    assert answer.endswith(b'{"state": "RUNNING"}')


def test_expectation_is_met_before_the_body(provider: Sandbox) -> None:
    """curl waits for it with large bodies."""
    with socket.create_connection(
        ("127.0.0.1", int(provider.base_url("jira").split(":")[2].partition("/")[0])), timeout=10
    ) as connection:
        connection.sendall(STATUS + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        interim = connection.recv(1_000)
        connection.sendall(b"{}")
        answer = connection.recv(1_000)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("version", "header"), [(b"1.0", b""), (b"1.1", b"Connection: close\r\n")])
def test_connection_ends_when_asked(provider: Sandbox, version: bytes, header: bytes) -> None:
    """HTTP/1.0, or Connection: close."""
    answer = talk(provider, b"\r\nGET /jira/status HTTP/" + version + b"\r\n" + header + b"\r\n", closes=False)

    assert b"\r\nConnection: close\r\n" in answer


def test_absolute_target_is_the_address(danced: Make) -> None:
    """As a client sends it through a proxy: the target's host counts, not the Host header's."""
    jira = danced("jira")
    url = "http://Jira.Example:80/jira/rest/api/2/myself"
    header = jira.sign("GET", url)["Authorization"]
    request = f"GET {url} HTTP/1.1\r\nHost: other\r\nAuthorization: {header}\r\n\r\n"
    changed = request.replace("Jira.Example:80", "jira.example:81")

    assert b'"name": "alice"' in talk(jira.provider, request.encode())
    assert b"nonce_used" in talk(jira.provider, request.encode())
    header = jira.sign("GET", url)["Authorization"]
    assert b"signature_invalid" in talk(
        jira.provider, changed.replace(changed.partition("Authorization: ")[2].partition("\r\n")[0], header).encode()
    )
    assert talk(jira.provider, b"GET http://h HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_session_parameter_of_a_path_is_passed_over(provider: Sandbox) -> None:
    """ ";jsessionid=…" belongs to no name."""
    assert send("GET", provider.base_url("jira") + "/status;jsessionid=1").status == 200


def test_no_content_has_no_length(danced: Make) -> None:
    """204 ends with its head."""
    bamboo = danced("bamboo")

    reply = bamboo.call("POST", "/rest/api/latest/plan/WEB-BUILD/label", '{"name": "x"}', {"Content-Type": "application/json"})

    assert reply.status == 204
    assert "Content-Length" not in reply.headers
