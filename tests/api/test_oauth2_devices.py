"""Device flows over the real socket at a server that misbehaves; the code is entered, refused, forgotten or never heard of."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Daemon, wait_for
from tests.oauth2_lab import begin, sign
from tests.strange_server import (
    ACCESS,
    CLIENT_ID,
    DEVICE,
    HTML,
    PAGE,
    SECRET,
    StrangeServer,
    as_json,
    refusal,
    reset,
    settings_of,
    tokens,
)
from tests.unit.raw_server import reply

BEGUN = {
    "device_code": DEVICE,
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://example.com/device",
    "expires_in": 60,
    "interval": 1,
}
PENDING = refusal("authorization_pending")


@pytest.fixture
def server(daemon: Daemon) -> Iterator[StrangeServer]:
    """The link `app` leads there."""
    with StrangeServer() as started:
        settings = settings_of(started, device_url=f"{started.url}/device")
        assert daemon.request("PUT", "/links/app", settings).status == 201
        assert daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200
        started.answer("/device", as_json(BEGUN))
        yield started


def end_of(daemon: Daemon, begun: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = daemon.request("GET", f"/dance/{begun['id']}?wait=20").json
    return state


def check_secrecy(daemon: Daemon, *texts: object) -> None:
    """Neither the words nor the log have a secret in them."""
    for text in (*map(str, texts), daemon.log.read_text(), daemon.request("GET", "/status").text):
        assert "canary" not in text


def test_a_code_is_asked_about_until_it_was_entered(daemon: Daemon, server: StrangeServer) -> None:
    """RFC 8628 §3.4: with the device's code, which nobody sees; an odd answer on the way changes nothing."""
    server.answer("/token", PENDING, reply(PAGE, 200, HTML), reset, tokens())
    begun = begin(daemon, "app", "device")
    assert (begun["user_code"], begun["authorize_url"]) == ("WDJB-MJHT", "https://example.com/device")

    state = end_of(daemon, begun)

    assert state["state"] == "granted", state
    assert sign(daemon, f"{server.url}/api/x").json["authorization"] == f"Bearer {ACCESS}"
    asked = [each.fields for each in server.asked("/token")]
    assert len(asked) == 4
    assert {each["device_code"] for each in asked} == {DEVICE}
    assert {each["grant_type"] for each in asked} == {"urn:ietf:params:oauth:grant-type:device_code"}
    check_secrecy(daemon, begun, state)


@pytest.mark.parametrize(
    ("answer", "word", "words"),
    [
        (refusal("access_denied"), "refused", None),
        (refusal("expired_token", 200), "expired", None),
        (refusal("incorrect_device_code", 200), "expired", None),
        (refusal("invalid_grant"), "failed", "does not take this code (invalid_grant)"),
        (refusal("invalid_client", 401), "failed", "does not take the app's id and secret (invalid_client)"),
        (refusal("weird_error"), "failed", "did not answer with tokens (weird_error)"),
        (refusal("<script>canary"), "failed", "did not answer with tokens"),
        (as_json([BEGUN]), "failed", "did not answer with tokens"),
        (tokens(access_token=5), "failed", "did not answer with tokens"),
        (tokens(token_type="mac"), "failed", "did not answer with tokens"),
    ],
    ids=["denied", "expired", "unknown code", "grant", "client", "weird", "shout", "list", "number", "mac"],
)
def test_what_is_final_ends_the_dance(answer: bytes, word: str, words: str | None, daemon: Daemon, server: StrangeServer) -> None:
    """After one question; the next dance works."""
    server.answer("/token", answer, tokens())

    state = end_of(daemon, begin(daemon, "app", "device"))

    assert state["state"] == word
    assert words is None or words in state["error"]["message"]
    assert len(server.asked("/token")) == 1
    check_secrecy(daemon, state)
    assert end_of(daemon, begin(daemon, "app", "device"))["state"] == "granted"


def test_the_token_endpoint_may_redirect_nobody(daemon: Daemon, server: StrangeServer) -> None:
    """The other host hears nothing, and the dance ends."""
    with StrangeServer() as other:
        other.answer("/token", tokens())
        server.answer("/token", reply("", 307, {"Location": f"{other.url}/token"}))

        state = end_of(daemon, begin(daemon, "app", "device"))

        assert other.connections == 0
    assert "the token endpoint redirects" in state["error"]["message"]


def test_nobody_brings_an_answer_by_hand(daemon: Daemon, server: StrangeServer) -> None:
    """A device flow has no code and no address; the dance waits on."""
    server.answer("/token", PENDING)
    begun = begin(daemon, "app", "device")
    path = f"/dance/{begun['id']}"

    for fields in (
        {"verifier": "WDJB-MJHT"},
        {"redirect_url": "http://127.0.0.1:1/callback?code=x&state=y"},
        {"redirect_url": "http://127.0.0.1:1/callback"},
        {"secret": "canary-token"},
    ):
        refused = daemon.request("POST", path, fields)
        assert (refused.status, refused.code) == (400, "bad_request"), refused.text
        check_secrecy(daemon, refused.text)

    assert daemon.request("GET", path).json["state"] == "waiting"
    wait_for(lambda: server.asked("/token"))
    assert all(each.fields["device_code"] == DEVICE for each in server.asked("/token"))
    daemon.request("DELETE", path)


def test_a_code_ends_after_its_time(daemon: Daemon, server: StrangeServer) -> None:
    """The server's word for it counts, and nobody asks after it."""
    server.answer("/token", PENDING)
    server.answer("/device", as_json({**BEGUN, "expires_in": 2}))
    begun = begin(daemon, "app", "device")
    assert begun["wait_s"] == 2

    assert end_of(daemon, begun)["state"] == "expired"

    assert len(server.asked("/token")) <= 2
    check_secrecy(daemon, begun)


@pytest.mark.parametrize(
    "changes",
    [
        {"user_code": None},
        {"verification_uri": "http://example.com/device"},
        {"verification_uri": "javascript:alert(1)"},
        {"device_code": None},
    ],
    ids=repr,
)
def test_what_a_user_must_not_see_begins_nothing(changes: dict[str, Any], daemon: Daemon, server: StrangeServer) -> None:
    """The user would be sent there; no dance is left behind."""
    server.answer("/device", as_json({**BEGUN, **changes}))

    refused = daemon.request("POST", "/dance", {"link": "app", "callback": "device"})

    assert refused.code == "provider_refused"
    assert "begins no device flow" in refused.message
    assert server.asked("/token") == []
    check_secrecy(daemon, refused.text)
    assert daemon.request("GET", "/status").json["dances"] == 0


def test_a_public_client_needs_no_secret(daemon: Daemon, server: StrangeServer) -> None:
    """RFC 8628 §3.1: it only names itself, at both endpoints."""
    assert (
        daemon.request("PUT", "/links/app", settings_of(server, device_url=f"{server.url}/device", client_auth="none")).status
        == 200
    )
    server.answer("/token", tokens())

    assert end_of(daemon, begin(daemon, "app", "device"))["state"] == "granted"

    for asked in server.requests:
        assert asked.fields["client_id"] == CLIENT_ID
        assert SECRET not in asked.everything
