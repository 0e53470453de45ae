"""Token endpoints that misbehave while a code is exchanged: what the dance, the page and the next dance make of it."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Daemon, Reply
from tests.oauth2_lab import PORT, begin, sign, visit
from tests.strange_server import (
    ACCESS,
    CLIENT_ID,
    CODE,
    HTML,
    JSON,
    PAGE,
    REFRESH,
    SECRET,
    TOKENS,
    Asked,
    Script,
    StrangeServer,
    as_json,
    back_from,
    refusal,
    reset,
    sent_by,
    settings_of,
    tokens,
)
from tests.unit.raw_server import reply

AGAIN = "atl-sign dance app"


class Lab:
    """A daemon with the link `app`, whose authorization server says what a test wants."""

    def __init__(self, daemon: Daemon, server: StrangeServer) -> None:
        self.daemon = daemon
        self.server = server
        self.shown: list[str] = []  # all that the daemon has said

    def put(self, **settings: object) -> None:
        reply = self.daemon.request("PUT", "/links/app", settings_of(self.server, redirect_port=PORT, **settings))
        assert reply.status in (200, 201), reply.text
        assert self.daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200

    def dance(self) -> tuple[dict[str, Any], str]:
        """Dance by the listener; returns the state and the page."""
        begun = begin(self.daemon, "app")
        _, page = visit(back_from(begun["authorize_url"]))
        state = self.daemon.request("GET", f"/dance/{begun['id']}?wait=10")
        self.shown += [page, state.text]
        return state.json, page

    def token(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.request("GET", "/links/app").json["token"]
        return found

    def sign(self) -> Reply:
        return sign(self.daemon, f"{self.server.url}/api/x")

    def check_secrecy(self) -> None:
        """Nothing that the daemon said or wrote has a secret in it."""
        self.shown += [self.daemon.log.read_text(), self.daemon.request("GET", "/status").text]
        self.shown += [self.daemon.request("GET", "/links").text]
        assert [text for text in self.shown if "canary" in text] == []


@pytest.fixture
def lab(daemon: Daemon) -> Iterator[Lab]:
    with StrangeServer() as server:
        made = Lab(daemon, server)
        made.put()
        yield made


def after_half(data: bytes) -> Script:
    """Send the first half of an answer, and hang up."""
    return lambda connection, asked: connection.sendall(data[: -len(data) // 3])


DEEP = "[" * 5_000 + "]" * 5_000
# What the token endpoint says instead of giving tokens; the error's code; words of its message or hint.
FAILURES: dict[str, tuple[bytes | Script, str, str]] = {
    "html 200": (reply(PAGE, 200, HTML), "provider_busy", "gives no token at the moment"),
    "html 200 as json": (reply(PAGE, 200, JSON), "provider_busy", "gives no token at the moment"),
    "html 502": (reply(PAGE, 502, HTML), "provider_unreachable", "a gateway in front of it answered"),
    "html 401": (reply(PAGE, 401, HTML), "provider_refused", "a proxy or firewall in front of the product"),
    "array": (as_json([TOKENS]), "provider_refused", "did not answer with tokens"),
    "number": (as_json(5), "provider_refused", "did not answer with tokens"),
    "nested": (as_json({"data": TOKENS}), "provider_refused", "did not answer with tokens"),
    "deep": (reply(DEEP, 200, JSON), "provider_refused", "did not answer with tokens"),
    "empty": (reply("", 200, JSON), "provider_refused", "did not answer with tokens"),
    "form": (reply(f"access_token={ACCESS}&token_type=bearer"), "provider_refused", "did not answer with tokens"),
    "no access token": (tokens(access_token=...), "provider_refused", "did not answer with tokens"),
    "access token is a number": (tokens(access_token=5), "provider_refused", "did not answer with tokens"),
    "access token is a list": (tokens(access_token=[ACCESS]), "provider_refused", "did not answer with tokens"),
    "access token with a newline": (tokens(access_token=f"{ACCESS}\r\nX-Evil: 1"), "provider_refused", "did not answer with"),
    "refresh token with a newline": (tokens(refresh_token=f"{REFRESH}\n"), "provider_refused", "did not answer with tokens"),
    "token type mac": (tokens(token_type="mac"), "provider_refused", "did not answer with tokens"),
    "200 with an error": (refusal("invalid_grant", 200), "provider_refused", "does not take this code (invalid_grant)"),
    "tokens and an error": (tokens(error="invalid_grant"), "provider_refused", "does not take this code (invalid_grant)"),
    "400 invalid_grant": (refusal("invalid_grant"), "provider_refused", "does not take this code (invalid_grant)"),
    "400 invalid_request": (refusal("invalid_request"), "provider_refused", "did not answer with tokens (invalid_request)"),
    "400 an unknown error": (refusal("out_of_paper"), "provider_refused", "did not answer with tokens (out_of_paper)"),
    "400 an error to shout": (refusal("<b>\u001b[31m"), "provider_refused", "did not answer with tokens"),
    "400 an error that is none": (as_json({"error": {"code": 5}}, 400), "provider_refused", "did not answer with tokens"),
    "401 invalid_client": (refusal("invalid_client", 401), "provider_refused", "atl-sign link secret app"),
    "401 of Cloud": (refusal("access_denied", 401), "provider_refused", "atl-sign link secret app"),
    "403": (as_json({"message": "Forbidden"}, 403), "provider_refused", "did not answer with tokens"),
    "408": (reply("", 408), "provider_busy", "gives no token at the moment (status 408)"),
    "429": (as_json({"message": "slow"}, 429, **{"Retry-After": "7"}), "provider_busy", "try again in 7 s"),
    "500": (as_json({"errors": ["x"], "fieldErrors": {}}, 500), "provider_busy", "gives no token at the moment (status 500)"),
    "503": (reply(PAGE, 503, {**HTML, "Retry-After": "9"}), "provider_busy", "try again in 9 s"),
    "temporarily_unavailable": (refusal("temporarily_unavailable"), "provider_busy", "gives no token at the moment"),
    # Words of the device flow (RFC 8628 §3.5), which nobody has begun.
    "authorization_pending": (refusal("authorization_pending"), "provider_refused", "(authorization_pending)"),
    "slow_down": (refusal("slow_down"), "provider_refused", "(slow_down)"),
    "reset": (reset, "provider_unreachable", "the connection broke"),
    "half an answer": (after_half(tokens()), "provider_unreachable", "the connection broke"),
    "no http": (b"\x16\x03\x01 canary\r\n\r\n", "provider_unreachable", "does not speak HTTP"),
    "5 MB": (tokens(padding="x" * 5_000_000), "provider_unreachable", "larger than any real one"),
    "5 MB of page": (reply(PAGE + "x" * 5_000_000, 200, HTML), "provider_unreachable", "larger than any real one"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_code_is_sent_once_whatever_comes_back(name: str, lab: Lab) -> None:
    """RFC 6749 §4.1.2: one that is seen twice ends what came of it. The dance ends, and the next one finds nothing amiss."""
    answer, code, words = FAILURES[name]
    lab.server.answer("/token", answer, tokens())

    state, page = lab.dance()

    assert state["state"] == "failed", state
    assert state["error"]["code"] == code
    assert words in f"{state['error']['message']}\n{state['error']['hint']}"
    assert "Sign-in to app failed" in page
    assert len(lab.server.asked("/token")) == 1
    assert lab.token()["state"] == "none"
    lab.check_secrecy()
    state, page = lab.dance()
    assert state["state"] == "granted", state
    assert "Signed in to app" in page
    assert lab.sign().json["authorization"] == f"Bearer {ACCESS}"


# Answers that are odd, and good.
ODDITIES: dict[str, tuple[bytes, bool]] = {  # and whether the end of the access token is known
    "byte order mark": (reply(b"\xef\xbb\xbf" + json.dumps(TOKENS).encode(), 200, JSON), True),
    "utf-16": (reply(json.dumps(TOKENS).encode("utf-16"), 200, {"Content-Type": "application/json; charset=utf-16"}), True),
    "wrong charset": (reply(json.dumps(TOKENS), 200, {"Content-Type": "application/json; charset=shift_jis"}), True),
    "unknown charset": (reply(json.dumps(TOKENS), 200, {"Content-Type": "application/json; charset=x-nobody-knows"}), True),
    "as text": (reply(json.dumps(TOKENS)), True),
    "as a page": (reply(json.dumps(TOKENS), 200, {"Content-Type": "text/html"}), True),
    # RFC 8259 §4: what is done with a name that is there twice is anybody's guess; most take the last one.
    "duplicate keys": (reply(json.dumps(TOKENS).replace("{", '{"access_token": "first", ', 1), 200, JSON), True),
    "status 400": (as_json(TOKENS, 400), True),  # the body decides (facts oauth2.md section 11)
    "status 201": (as_json(TOKENS, 201), True),
    "BEARER": (tokens(token_type="BEARER"), True),  # RFC 6749 §5.1: in any case
    "no token type": (tokens(token_type=...), True),
    "error is null": (tokens(error=None), True),
    "expires_in as text": (tokens(expires_in="3600"), True),
    "expires_in is a fraction": (tokens(expires_in=3600.5), True),
    "expires_in is huge": (tokens(expires_in=10**12), True),
    "expires_in is more than any number": (tokens(expires_in=10**400), True),
    "expires_in is infinite": (tokens(expires_in=float("inf")), False),
    "expires_in is NaN": (tokens(expires_in=float("nan")), False),
    "expires_in is negative": (tokens(expires_in=-3600), False),
    "expires_in is 0": (tokens(expires_in=0), False),
    "expires_in is a word": (tokens(expires_in="soon"), False),
    "expires_in is a list": (tokens(expires_in=[3600]), False),
    "no expires_in": (tokens(expires_in=...), False),
    "no refresh token": (tokens(refresh_token=...), True),
    "refresh token is null": (tokens(refresh_token=None), True),
    "scope is a list": (tokens(scope=["read"]), True),
    "scope is a number": (tokens(scope=5), True),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_odd_answer_with_tokens_is_taken(name: str, lab: Lab) -> None:
    """Nobody's sign-in fails for a field that says less than it might."""
    answer, is_end_known = ODDITIES[name]
    lab.server.answer("/token", answer)

    state, _ = lab.dance()

    assert state["state"] == "granted", state
    assert lab.sign().json["authorization"] == f"Bearer {ACCESS}"
    assert (lab.token()["expires_at"] is not None) is is_end_known
    assert lab.token()["state"] == "active"
    assert len(lab.server.asked("/token")) == 1


def test_the_exchange_shows_who_asks_and_for_what(lab: Lab) -> None:
    """RFC 6749 §4.1.3, RFC 7636 §4.5: the same redirect address, the verifier of the challenge, and the secret in one place."""
    lab.server.answer("/token", tokens())
    begun = begin(lab.daemon, "app")
    asked = sent_by(begun["authorize_url"])
    visit(back_from(begun["authorize_url"]))

    (sent,) = lab.server.asked("/token")

    assert sent.method == "POST"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = sent.fields
    assert len(fields.pop("code_verifier")) == 43
    assert fields == {"grant_type": "authorization_code", "code": CODE, "redirect_uri": asked["redirect_uri"]}
    assert sent.headers["authorization"].startswith("Basic ")
    assert asked["client_id"] == CLIENT_ID
    assert "canary" not in sent.target


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_token_endpoint_is_not_followed(status: int, lab: Lab) -> None:
    """307 and 308 would carry the body along, with code and secret: the other host hears nothing at all."""
    with StrangeServer() as other:
        other.answer("/token", tokens())
        lab.server.answer("/token", reply("", status, {"Location": f"{other.url}/token?from=canary"}))

        state, _ = lab.dance()

        assert state["state"] == "failed"
        assert state["error"]["code"] == "provider_refused"
        assert "the token endpoint redirects" in state["error"]["message"]
        assert len(lab.server.asked("/token")) == 1
        assert other.connections == 0
    lab.check_secrecy()


def test_a_slow_token_endpoint_ends_the_dance_in_the_links_time(lab: Lab) -> None:
    """An answer that trickles does not stretch it; the code is not sent again."""

    def trickle(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while not lab.server.stopping.wait(0.05):
            connection.sendall(b" ")

    for script in (lab.server.hang, trickle):
        lab.put(timeout_s=1)
        lab.server.requests.clear()
        lab.server.answer("/token", script)
        began = time.monotonic()

        state, _ = lab.dance()

        assert state["error"]["code"] == "provider_unreachable"
        assert "no whole answer within 1 s" in state["error"]["message"]
        assert time.monotonic() - began < 5
        assert len(lab.server.asked("/token")) == 1
    lab.check_secrecy()


def test_nobody_at_the_token_endpoint(lab: Lab) -> None:
    """The port is closed: the dance ends."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    lab.put(token_url=f"http://127.0.0.1:{port}/token")

    state, _ = lab.dance()

    assert state["error"]["code"] == "provider_unreachable"
    lab.check_secrecy()


@pytest.mark.parametrize("name", ["reset", "500", "array", "429"])
def test_an_address_that_is_pasted_twice_sends_its_code_once(name: str, lab: Lab) -> None:
    """The user tries again what failed: only another dance brings another code."""
    answer, code, _ = FAILURES[name]
    lab.server.answer("/token", answer, tokens())
    begun = begin(lab.daemon, "app", "oob")
    path, fields = f"/dance/{begun['id']}", {"redirect_url": back_from(begun["authorize_url"])}

    first = lab.daemon.request("POST", path, fields)
    second = lab.daemon.request("POST", path, fields)

    assert (first.code, second.code) == (code, code)
    assert len(lab.server.asked("/token")) == 1
    assert lab.daemon.request("GET", path).json["state"] == "failed"
    lab.shown += [first.text, second.text]
    lab.check_secrecy()
