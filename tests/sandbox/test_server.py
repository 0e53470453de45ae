"""The sandbox as a whole: addresses, clocks, stopping and starting, and what it refuses to be."""

import socket
from typing import Any

import pytest

from atl_sign.sandbox import PRODUCTS, Sandbox
from tests.sandbox.browser import Browser
from tests.sandbox.consumer import AUTHORIZE, Clock, Consumer, KeyPair, send

WHO = "/rest/api/2/myself"


def test_products_have_a_context_path_each(provider: Sandbox) -> None:
    """On one port of 127.0.0.1; elsewhere is nothing but the list of them."""
    origins = {provider.base_url(product).removesuffix(f"/{product}") for product in PRODUCTS}
    (origin,) = origins

    reply = send("GET", origin + "/")
    near = send("GET", origin + "/jira-test/status")

    assert origin.startswith("http://127.0.0.1:")
    assert (reply.status, near.status) == (404, 404)
    assert f"{origin}/confluence/" in reply.text
    assert provider.state.requests[0].product is None


@pytest.mark.parametrize(("given", "expected"), [("/", ""), ("/wiki", "/wiki"), ("/a/b/", "/a/b")])
def test_context_path_may_be_another(key_pair: KeyPair, given: str, expected: str) -> None:
    """Root too; the dance and the signatures go on there."""
    clock = Clock()
    with Sandbox(["jira"], context_path=given, clock=clock) as provider:
        jira = Consumer(provider, "jira", key_pair, clock)

        jira.dance()

        assert jira.base.partition("127.0.0.1:")[2].lstrip("0123456789") == expected
        assert jira.call("GET", WHO).json["name"] == "alice"
        browser = Browser(jira.base)
        assert f"Path={expected or '/'};" in browser.log_in("bob").headers["Set-Cookie"]
        assert "logged in as bob" in browser.get("/").text
        assert send("GET", jira.base).status == 200


def test_configured_base_url_shows_in_manifest_realm_and_links(key_pair: KeyPair) -> None:
    """Signatures go by the address that was called."""
    clock = Clock()
    with Sandbox(base_url="https://atlassian.example", clock=clock) as provider:
        jira = Consumer(provider, "jira", key_pair, clock)
        jira.dance()

        manifest = send("GET", jira.base + "/rest/applinks/1.0/manifest").text
        nobody = send("GET", jira.base + WHO)
        signed = jira.call("GET", WHO)

    assert "<url>https://atlassian.example/jira</url>" in manifest
    assert nobody.headers["WWW-Authenticate"] == 'OAuth realm="https%3A%2F%2Fatlassian.example%2Fjira"'
    assert signed.json["self"].startswith("https://atlassian.example/jira/")


@pytest.mark.parametrize(
    ("base_url", "signed_base"),
    [
        ("http://Backend:8080", "http://backend:8080/jira"),
        ("https://jira.example:443/", "https://jira.example"),
        ("http://backend:8080/other", "http://backend:8080/other"),
    ],
)
def test_behind_a_proxy_signatures_go_by_the_configured_base_url(key_pair: KeyPair, base_url: str, signed_base: str) -> None:
    """Signed for the address that was called, each call is signature_invalid."""
    clock = Clock()
    with Sandbox(["jira"], base_url=base_url, is_behind_proxy=True, clock=clock) as provider:
        jira = Consumer(provider, "jira", key_pair, clock)
        request_token = f"{signed_base}/plugins/servlet/oauth/request-token"

        by_called = jira.call("POST", "/plugins/servlet/oauth/request-token", callback_uri="oob")
        header = jira.sign("POST", request_token, callback_uri="oob")
        by_configured = send("POST", jira.base + "/plugins/servlet/oauth/request-token", headers=header)

    assert by_called.problem == "signature_invalid"
    assert by_configured.fields["oauth_callback_confirmed"] == "true"


def test_clock_may_be_replaced(key_pair: KeyPair) -> None:
    """Tokens, timestamps and the Date header go by it."""
    with Sandbox(["jira"], clock=Clock()) as provider:
        provider.clock = Clock(1_800_000_000.0)
        jira = Consumer(provider, "jira", key_pair, Clock(1_800_000_000.0))

        jira.dance()
        reply = jira.call("GET", WHO)

    assert reply.status == 200
    assert reply.headers["Date"] == "Fri, 15 Jan 2027 08:00:00 GMT"


def test_lives_may_be_shorter(key_pair: KeyPair) -> None:
    """Of access tokens and of request tokens."""
    clock = Clock()
    with Sandbox(["jira"], token_life_s=60, request_token_life_s=5, clock=clock) as provider:
        jira = Consumer(provider, "jira", key_pair, clock)
        fields, request_token = jira.dance(), jira.request_token()["oauth_token"]
        clock.now += 5

        assert fields["oauth_expires_in"] == "60"
        assert jira.swap(request_token, "x").problem == "token_expired"
        assert jira.call("GET", WHO).status == 200
        clock.now += 55
        assert jira.call("GET", WHO).problem == "token_expired"


def test_stopped_and_started_again_it_remembers(key_pair: KeyPair) -> None:
    """The port stays, the tokens too; in between nobody answers, and open connections end."""
    clock = Clock()
    provider = Sandbox(["jira"], clock=clock).start()
    jira = Consumer(provider, "jira", key_pair, clock)
    jira.dance()
    address = ("127.0.0.1", int(jira.base.split(":")[2].partition("/")[0]))
    with socket.create_connection(address, timeout=10) as idle:
        idle.sendall(b"GET /jira/status HTTP/1.1\r\n\r\n")
        assert idle.recv(1_000).startswith(b"HTTP/1.1 200 ")

        provider.stop()

        assert idle.recv(1_000) == b""
    provider.stop()
    with pytest.raises(ConnectionRefusedError):
        jira.call("GET", WHO)
    with provider:
        assert jira.call("GET", WHO).status == 200


def test_consumer_registered_again_begins_anew(key_pair: KeyPair, other_key_pair: KeyPair) -> None:
    """With another key; the old tokens are gone, other consumers stay."""
    clock = Clock()
    with Sandbox(["jira"], clock=clock) as provider:
        jira, other = (Consumer(provider, "jira", key_pair, clock, key=key) for key in ("one", "two"))
        jira.dance()
        other.dance()

        provider.register_consumer("jira", "one", other_key_pair.public_pem)

        assert jira.call("GET", WHO).problem == "token_rejected"
        assert other.call("GET", WHO).status == 200
        with pytest.raises(ValueError, match="Invalid public key"):
            provider.register_consumer("jira", "one", "rubbish")


@pytest.mark.parametrize(
    "arguments",
    [
        {"products": ["trello"]},
        {"products": []},
        {"context_path": "/x"},
        {"products": ["jira"], "context_path": "x"},
        {"products": ["jira"], "context_path": "//x"},
        {"products": ["jira"], "context_path": "/a b"},
        {"base_url": "jira.example"},
        {"base_url": "ftp://jira.example"},
        {"base_url": "http://"},
        {"base_url": "http://h?x=y"},
        {"base_url": "http://h/jira"},
        {"is_behind_proxy": True},
    ],
)
def test_arguments_that_do_not_go_together(arguments: dict[str, Any]) -> None:
    """Told before anything is opened."""
    with pytest.raises(ValueError, match=r"product|path|URL"):
        Sandbox(**arguments)


def test_very_many_requests_are_not_all_remembered(provider: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count goes on."""
    monkeypatch.setattr("atl_sign.sandbox.received._REMEMBERED_MAX", 4)

    for number in range(5):
        send("GET", f"{provider.base_url('jira')}/status?{number}")

    assert provider.state.count == 5
    assert [received.target[-1:] for received in provider.state.requests] == [b"2", b"3", b"4"]


def test_fault_of_the_sandbox_is_told_apart(key_pair: KeyPair, capfd: pytest.CaptureFixture[str]) -> None:
    """500, a trace on standard error, and its own verdict: never an answer of the product."""
    with Sandbox(["jira"]) as provider:
        provider.state.sites["jira"].data.issues = None

        reply = send("GET", provider.base_url("jira") + "/rest/api/2/issue/X-1", headers={"Authorization": "Basic Ym9iOmJvYg=="})

    assert reply.status == 500
    assert provider.state.requests[-1].verdict == "sandbox fault"
    assert "Traceback" in capfd.readouterr().err


def test_approve_goes_over_http(provider: Sandbox, key_pair: KeyPair, clock: Clock) -> None:
    """What a person does is in the record: login, page, decision."""
    jira = Consumer(provider, "jira", key_pair, clock)
    token = jira.request_token()["oauth_token"]

    code = provider.approve("jira", f"{jira.base}{AUTHORIZE}?oauth_token={token}", "bob")

    assert len(code) == 6
    assert [(received.method, received.status, received.user) for received in provider.state.requests[1:]] == [
        ("GET", 302, None),
        ("GET", 200, None),
        ("POST", 302, None),
        ("GET", 200, "bob"),
        ("POST", 200, "bob"),
    ]
