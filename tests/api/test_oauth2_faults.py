"""Token endpoints that misbehave while a code is exchanged: what the dance, the page and the next dance make of it."""

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
    SECRET,
    Asked,
    StrangeServer,
    back_from,
    sent_by,
    settings_of,
    tokens,
)
from tests.token_answers import FAILURES, ODDITIES
from tests.unit.raw_server import reply


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


@pytest.mark.parametrize("name", FAILURES)
def test_a_code_is_sent_once_whatever_comes_back(name: str, lab: Lab) -> None:
    """RFC 6749 §4.1.2: one that is seen twice ends what came of it. The dance ends, and the next one finds nothing amiss."""
    failure = FAILURES[name]
    lab.server.answer("/token", failure.answer, tokens())

    state, page = lab.dance()

    assert state["state"] == "failed", state
    assert state["error"]["code"] == failure.code
    assert failure.words in f"{state['error']['message']}\n{state['error']['hint']}"
    assert "Sign-in to app failed" in page
    assert len(lab.server.asked("/token")) == 1
    assert lab.token()["state"] == "none"
    lab.check_secrecy()
    state, page = lab.dance()
    assert state["state"] == "granted", state
    assert "Signed in to app" in page
    assert lab.sign().json["authorization"] == f"Bearer {ACCESS}"


@pytest.mark.parametrize("name", ODDITIES)
def test_an_odd_answer_with_tokens_is_taken(name: str, lab: Lab) -> None:
    """Nobody's sign-in fails for a field that says less than it might."""
    lab.server.answer("/token", ODDITIES[name].answer)

    state, _ = lab.dance()

    assert state["state"] == "granted", state
    assert lab.sign().json["authorization"] == f"Bearer {ACCESS}"
    assert (lab.token()["expires_at"] is not None) is ODDITIES[name].is_end_known
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
    failure = FAILURES[name]
    lab.server.answer("/token", failure.answer, tokens())
    begun = begin(lab.daemon, "app", "oob")
    path, fields = f"/dance/{begun['id']}", {"redirect_url": back_from(begun["authorize_url"])}

    first = lab.daemon.request("POST", path, fields)
    second = lab.daemon.request("POST", path, fields)

    assert (first.code, second.code) == (failure.code, failure.code)
    assert len(lab.server.asked("/token")) == 1
    assert lab.daemon.request("GET", path).json["state"] == "failed"
    lab.shown += [first.text, second.text]
    lab.check_secrecy()
