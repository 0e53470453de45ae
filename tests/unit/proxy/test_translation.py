"""Requests of tools with a base URL: the addresses in their answers and their bodies, on the wire."""

import gzip
import json
import socket
from typing import Any

import pytest

from atl_sign.providers.manifest import Manifest
from tests.unit.proxy.front_lab import SECRET, Provider, ProxyLab, Seen, code_of, connect, curl, read_all, status_of, talk


def json_answer(body: bytes, *fields: str, status: int = 200) -> bytes:
    head = [f"HTTP/1.1 {status} OK", "Content-Type: application/json;charset=UTF-8", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture
def port(lab: ProxyLab, provider: Provider) -> int:
    """A lease's port for the link jira."""
    lab.add_link("jira", f"{provider.origin}/jira")
    return lab.open_port(lab.make_lease("jira"))


def ask(port: int, *arguments: str, path: str = "/jira/rest/x", host: str = "127.0.0.1", stdin: bytes | None = None) -> bytes:
    answer = curl("-i", "-H", f"Authorization: Bearer {SECRET}", *arguments, f"http://{host}:{port}{path}", stdin=stdin).stdout
    return answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


def parts(answer: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]]
    return {name.lower(): value.strip() for name, _, value in lines}, body


# --- answers


def test_a_tool_is_led_back_to_the_address_that_it_used(port: int, provider: Provider) -> None:
    """Whichever of the port's names that is; what was true only of the old content is gone."""
    body = json.dumps({"self": f"{provider.origin}/jira/rest/1", "text": f"see {provider.origin}/jira/x"}).encode()
    provider.answer_with(json_answer(body, 'ETag: "1"', "Content-MD5: x", "X-AUSERNAME: me"))

    for host in ("127.0.0.1", "localhost"):
        fields, got = parts(ask(port, "--compressed", host=host))

        assert json.loads(got) == {
            "self": f"http://{host}:{port}/jira/rest/1",
            "text": f"see {provider.origin}/jira/x",
        }
        assert not {"etag", "content-length", "content-md5"} & set(fields)
        assert fields["x-ausername"] == "me"
    assert [seen.find_all("accept-encoding") for seen in provider.seen] == [["identity"]] * 2


def test_on_a_unix_socket_too(lab: ProxyLab, provider: Provider) -> None:
    """By /LINK/… there as well; a request by the host's real name keeps its addresses, and its length."""
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open()
    body = json.dumps([f"{provider.origin}/jira/rest/1"]).encode()
    provider.answer_with(json_answer(body, 'ETag: "1"'))

    below = curl("-i", "--unix-socket", entry, "http://tools.example:81/jira/x").stdout
    by_host = curl("-i", "--compressed", "--unix-socket", entry, f"{provider.origin}/jira/x").stdout

    assert json.loads(parts(below)[1]) == ["http://tools.example:81/jira/rest/1"]
    assert parts(by_host)[1] == body
    assert parts(by_host)[0]["etag"] == '"1"'
    assert "gzip" in provider.seen[1].find_all("accept-encoding")[0]


def test_a_program_may_have_the_port_for_its_proxy_as_well(lab: ProxyLab, port: int, provider: Provider) -> None:
    """As under `atl-sign run --tool`: it sends the whole address. Twins: an address that is no link's, and another port."""
    provider.answer_with(json_answer(json.dumps([f"{provider.origin}/jira/1"]).encode()))
    proxy = ("-x", f"http://x:{SECRET}@127.0.0.1:{port}")

    taken = ask(port, *proxy)
    others = [ask(port, *proxy, path="/other/x"), ask(1, *proxy)]

    assert json.loads(parts(taken)[1]) == [f"http://127.0.0.1:{port}/jira/1"]
    assert [(status_of(answer), code_of(answer)) for answer in others] == [(403, "lease_denied")] * 2
    assert len(provider.seen) == 1


def test_a_host_that_could_not_stand_in_json_is_put_nowhere(lab: ProxyLab, provider: Provider) -> None:
    """Nor is one that is not named, which HTTP/1.0 allows."""
    lab.add_link("jira", f"{provider.origin}/jira")
    body = json.dumps([f"{provider.origin}/jira/rest/1"]).encode()
    provider.answer_with(json_answer(body))

    answers = [
        talk(lab.open(), head + b"\r\n\r\n")
        for head in (b'GET /jira/x HTTP/1.1\r\nHost: a","b\r\nConnection: close', b"GET /jira/x HTTP/1.0")
    ]

    assert [parts(answer)[1] for answer in answers] == [body] * 2


@pytest.mark.parametrize(
    ("kind", "status", "fields"),
    [
        ("text/plain", 200, []),
        ("application/octet-stream", 200, []),
        ("application/json", 200, ['Content-Disposition: attachment; filename="a.json"']),
        ("application/json", 206, ["Content-Range: bytes 0-9/99"]),
    ],
)
def test_files_pass_to_the_byte(port: int, provider: Provider, kind: str, status: int, fields: list[str]) -> None:
    body = json.dumps([f"{provider.origin}/jira/rest/1"]).encode()
    answer = json_answer(body, 'ETag: "1"', *fields, status=status).replace(b"application/json;charset=UTF-8", kind.encode())
    provider.answer_with(answer)

    got = parts(ask(port))

    assert got[1] == body
    assert got[0]["etag"] == '"1"'


def test_an_answer_that_is_compressed_all_the_same_passes(port: int, provider: Provider) -> None:
    body = gzip.compress(json.dumps([f"{provider.origin}/jira/rest/1"]).encode())
    provider.answer_with(json_answer(body, "Content-Encoding: gzip"))

    assert parts(ask(port))[1] == body


def test_what_the_product_takes_for_its_own_address(lab: ProxyLab, port: int, provider: Provider) -> None:
    """If that is known by its manifest; nobody is asked for it. One that is no address is put nowhere."""
    manifests = lab.agent.signing._grants.manifests
    link = lab.config.settings().links.get("jira")
    body = json.dumps(["https://issues.example.com/rest/1", f"{provider.origin}/jira/rest/1", "x/y"]).encode()
    provider.answer_with(json_answer(body))

    unknown = json.loads(parts(ask(port))[1])
    manifests._manifests[link.url] = Manifest("jira", "9", "https://issues.example.com/")
    known = json.loads(parts(ask(port))[1])
    manifests._manifests[link.url] = Manifest("jira", "9", "x")
    odd = json.loads(parts(ask(port))[1])

    here = f"http://127.0.0.1:{port}/jira/rest/1"
    assert unknown == odd == ["https://issues.example.com/rest/1", here, "x/y"]
    assert known == [here, here, "x/y"]


def test_an_answer_streams(port: int, provider: Provider) -> None:
    """Piece by piece, cut in the middle of an address; the head of a HEAD has no length either."""
    text = json.dumps({"a": [f"{provider.origin}/jira/{number}" for number in range(2000)]}).encode()

    def trickle(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(text), 777):
            piece = text[start : start + 777]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    provider.answer_with(trickle, json_answer(b""))

    whole = json.loads(parts(ask(port))[1])
    head = ask(port, "-I")

    assert whole == {"a": [f"http://127.0.0.1:{port}/jira/{number}" for number in range(2000)]}
    assert (status_of(head), "content-length" in parts(head)[0]) == (200, False)


def test_an_answer_that_breaks_off_does_not_end_as_if_it_were_whole(port: int, provider: Provider) -> None:
    provider.answer_with(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n[")

    def cut(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n[")
        connection.shutdown(socket.SHUT_RDWR)

    provider.answer_with(cut)

    done = curl("-H", f"Authorization: Bearer {SECRET}", f"http://127.0.0.1:{port}/jira/x")

    assert done.returncode == 18  # curl's word for a partial file


@pytest.mark.parametrize(
    ("method", "place", "moved"),
    [
        ("POST", "{origin}/jira/rest/2", "{here}/jira/rest/2"),
        ("PUT", "{origin}/jira", "{here}/jira"),
        ("DELETE", "{origin}/jira-2/rest", "{origin}/jira-2/rest"),
        ("POST", "https://elsewhere.example/jira/", "https://elsewhere.example/jira/"),
        ("POST", "/jira/rest/2", "/jira/rest/2"),
        ("GET", "https://elsewhere.example/jira/", "https://elsewhere.example/jira/"),
    ],
)
def test_where_something_new_is(port: int, provider: Provider, method: str, place: str, moved: str) -> None:
    """Of the same link, it is at the tool's own address; redirects of GET are followed within, or lead away."""
    words = {"origin": provider.origin, "here": f"http://127.0.0.1:{port}"}
    status = 302 if method == "GET" else 201
    provider.answer_with(f"HTTP/1.1 {status} X\r\nLocation: {place.format(**words)}\r\nContent-Length: 0\r\n\r\n".encode())

    assert parts(ask(port, "-X", method))[0]["location"] == moved.format(**words)


# --- requests


def send_json(port: int, value: Any, *arguments: str, method: str = "POST", kind: str = "application/json") -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return ask(port, "-X", method, "-H", f"Content-Type: {kind}", "--data-binary", "@-", *arguments, stdin=body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_no_address_of_this_machine_is_stored(port: int, provider: Provider, method: str, framing: str) -> None:
    """The body's length is right, whichever way it came; the port's other names count too, other ports do not."""
    value = {"links": [f"http://{host}/jira/1" for host in (f"127.0.0.1:{port}", f"localhost:{port}", "127.0.0.1:1")]}
    arguments = ["-H", "Transfer-Encoding: chunked"] if framing == "Transfer-Encoding" else []

    answer = send_json(port, value, *arguments, method=method, kind="application/json; charset=utf-8")

    seen = provider.seen[0]
    assert status_of(answer) == 200
    assert json.loads(seen.body) == {
        "links": [f"{provider.origin}/jira/1", f"{provider.origin}/jira/1", "http://127.0.0.1:1/jira/1"]
    }
    assert seen.find_all("content-length") == [str(len(seen.body))]
    assert seen.find_all("transfer-encoding") == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"])
def test_other_bodies_go_out_to_the_byte(port: int, provider: Provider, kind: str) -> None:
    body = json.dumps([f"http://127.0.0.1:{port}/jira/1"]).encode()

    packed = gzip.compress(body, mtime=0)

    send_json(port, body, kind=kind)
    send_json(port, packed, "-H", "Content-Encoding: gzip")

    assert [seen.body for seen in provider.seen] == [body, packed]


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_a_long_body_streams(port: int, provider: Provider, framing: str) -> None:
    """Longer than a MiB, it goes out in chunks."""
    value = [f"http://127.0.0.1:{port}/jira/{number}" for number in range(60_000)]
    arguments = ["-H", "Transfer-Encoding: chunked"] if framing == "Transfer-Encoding" else []

    answer = send_json(port, value, *arguments)

    seen = provider.seen[0]
    assert status_of(answer) == 200
    assert json.loads(seen.body) == [f"{provider.origin}/jira/{number}" for number in range(60_000)]
    assert (seen.find_all("content-length"), seen.find_all("transfer-encoding")) == ([], ["chunked"])


def test_a_refused_request_is_not_asked_for_its_body(lab: ProxyLab, provider: Provider) -> None:
    """It is decided on the head, as for every request."""
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira", allow=("GET /**",)))
    head = (
        f"POST /jira/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {SECRET}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )

    with connect(port) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)

    assert (status_of(answer), code_of(answer)) == (403, "lease_denied")
    assert provider.connections == 0


def test_a_body_that_breaks_off_is_not_sent(port: int, provider: Provider) -> None:
    head = (
        f"POST /jira/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {SECRET}\r\n"
        "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n[1"
    )

    answer = talk(port, head.encode(), ends=True)

    assert status_of(answer) == 400
    assert provider.seen == []
