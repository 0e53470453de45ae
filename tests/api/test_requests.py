"""How requests are read and failures are told: one shape, whatever went wrong."""

import json
import socket
from contextlib import suppress

import pytest

from tests.lab import DEADLINE_S, Daemon


def test_every_failure_has_one_shape(danced: Daemon) -> None:
    """404, 405, 413, 422 and broken bodies alike."""
    replies = {
        "not_found": danced.request("GET", "/nothing"),
        "method_not_allowed": danced.request("GET", "/sign"),
        "too_large": danced.request("POST", "/dance", b"x" * (1 << 20) + b"x", headers={"Content-Type": "application/json"}),
        "unknown_link": danced.request("GET", "/links/nobody"),
        "unknown_dance": danced.request("GET", "/dance/nothing"),
    }

    for code, reply in replies.items():
        assert list(reply.json) == ["error"]
        assert sorted(reply.json["error"]) == ["code", "hint", "message"]
        assert reply.code == code
        assert reply.headers["content-type"] == "application/json"
    assert replies["method_not_allowed"].headers["allow"] == "POST"


def test_text_errors_are_message_and_hint(danced: Daemon) -> None:
    """Two lines for a shell."""
    reply = danced.request("GET", "/links/nobody", text=True)

    assert reply.status == 404
    assert reply.text == "no application link is called nobody\nhint: atl-sign link list\n"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (b"\xff\xfe", 400, "bad_request"),
        (b'{"method": "\xff"}', 400, "bad_request"),
        (b"[]", 422, "bad_request"),
        (b"null", 422, "bad_request"),
        (b"", 422, "bad_request"),
        (b'{"method": "GET"}', 422, "bad_request"),
        (b'{"method": "GET", "url": 1}', 422, "bad_request"),
        (b'{"method": "GET", "url": "https://a.example/", "extra": 1}', 422, "bad_request"),
        (b'{"method": "GET", "url": "https://a.example/", "form": [["a"]]}', 422, "bad_request"),
        (b'{"method": "GET", "url": "https://a.example/", "form": {"a": "b"}}', 422, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
    ],
)
def test_broken_json_is_refused(danced: Daemon, body: bytes, status: int, code: str) -> None:
    """With a code, and without what was sent."""
    reply = danced.request("POST", "/sign", body, headers={"Content-Type": "application/json"})

    assert (reply.status, reply.code) == (status, code)


def test_a_refusal_names_fields_and_repeats_no_value(danced: Daemon) -> None:
    """FastAPI's own 422 would send the value back."""
    reply = danced.request("POST", "/sign", {"method": "GET", "url": ["canary-value"], "canary-field": "canary-value"})

    assert reply.status == 422
    assert "url is not of the right kind" in reply.message
    assert "canary-field is not known here" in reply.message
    assert "canary-value" not in reply.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"method=GET&url=https://a.example/", 404),
        (b"method=GET&method=PUT&url=https://a.example/", 422),
        (b"method=GET&url=https://a.example/&extra=1", 422),
        (b"method=GET&url=%ff", 400),
        (b"method", 400),
        (b"\xff=1", 400),
        (b"&".join(b"a%d=1" % number for number in range(200)), 400),
    ],
)
def test_forms_are_read_with_the_same_names(danced: Daemon, body: bytes, status: int) -> None:
    """The good one gets as far as `unknown_link`."""
    reply = danced.request("POST", "/sign", body, headers={"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"})

    assert reply.status == status
    assert reply.code == ("unknown_link" if status == 404 else "bad_request")


def test_other_content_types_are_refused(danced: Daemon) -> None:
    """Nothing is guessed from a body."""
    reply = danced.request("POST", "/sign", b"<xml/>", headers={"Content-Type": "text/xml"})

    assert (reply.status, reply.code) == (400, "bad_request")
    assert "text/xml" in reply.message


def test_a_wait_beyond_a_minute_is_refused(danced: Daemon) -> None:
    """A query parameter fails in the same shape."""
    reply = danced.request("GET", "/dance/x?wait=61")

    assert (reply.status, reply.code) == (422, "bad_request")
    assert danced.request("GET", "/dance/x?wait=60").code == "unknown_dance"


def talk(daemon: Daemon, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(DEADLINE_S)
        peer.connect(str(daemon.socket))
        received = b""
        with suppress(BrokenPipeError):  # the daemon refuses, and closes, before it has read all; its answer comes first
            peer.sendall(sent)
        with suppress(ConnectionResetError):
            while chunk := peer.recv(65_536):
                received += chunk
        return received


def test_what_is_no_http_is_told_in_the_same_shape(danced: Daemon) -> None:
    """Even then."""
    answer = talk(danced, b"\x16\x03\x01 hello\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"


def test_a_body_without_a_length_is_bounded_too(danced: Daemon) -> None:
    """Chunks are counted as they come."""
    head = b"POST /sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    assert talk(danced, head + chunk * 17 + b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")  # the twin: 1 MiB and more is taken
    answer = talk(danced, head + chunk * 65 + b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too_large" in answer


@pytest.mark.parametrize("value", [0, 1, "true", "no", 0.5])
def test_json_is_read_strictly(danced: Daemon, value: object) -> None:
    """Zero is no false in JSON, whose document says boolean; in a form, where all is text, `1` and `true` are."""
    fields = {"method": "GET", "url": "http://unknown.example/", "dry_run": value}

    reply = danced.request("POST", "/sign", fields)

    assert (reply.status, reply.code) == (422, "bad_request")
    assert "dry_run is not of the right kind" in reply.message
    assert danced.request("POST", "/sign", {**fields, "dry_run": True}).code == "unknown_link"
    assert danced.request("POST", "/sign", {**fields, "dry_run": "true"}, form=True).code == "unknown_link"
