"""Requests to an authorization server: whole, in time, to no other host, and never in the clear."""

from collections.abc import Callable, Iterator

import pytest

from atl_sign.base.credentials import App, Secret
from atl_sign.base.errors import BadUrlError, DaemonError, ProviderUnreachableError
from atl_sign.schemes.oauth2.exchange import ask, ask_as, post
from atl_sign.schemes.oauth2.token_request import TokenRequests
from tests.oauth2_links import make_link
from tests.strange_server import ACCESS, CLIENT_ID, REFRESH, SECRET, Script, StrangeServer, as_json, reset
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import reply

REQUEST = TokenRequests(App(CLIENT_ID, Secret(SECRET)), "basic").for_refresh(Secret(REFRESH))


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    with StrangeServer() as started:
        yield started


def test_a_request_goes_out_as_it_was_made(server: StrangeServer) -> None:
    """To any host, by the link's own way; the query of an address stays (RFC 6749 §3.2)."""
    server.answer("/token", as_json({"a": 1}))
    link = make_link(url="https://elsewhere.example/context")

    answer = post(link, f"{server.url}/token?tenant=a%20b", REQUEST)

    (asked,) = server.requests
    assert (asked.method, asked.target) == ("POST", "/token?tenant=a%20b")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["authorization"].startswith("Basic ")
    assert asked.fields == {"grant_type": "refresh_token", "refresh_token": REFRESH}
    assert answer.json_object == {"a": 1}
    assert "cookie" not in asked.headers


def test_a_token_goes_in_the_header_alone(server: StrangeServer) -> None:
    """RFC 6750 §2.1; without a path, the root is asked for."""
    server.answer("/", as_json({}))

    ask_as(make_link(), server.url, Secret(ACCESS))

    (asked,) = server.requests
    assert (asked.method, asked.target, asked.body) == ("GET", "/", b"")
    assert asked.headers["authorization"] == f"Bearer {ACCESS}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, server: StrangeServer) -> None:
    """To another path neither; the answer is the redirect itself."""
    server.answer("/token", reply("", status, {"Location": f"{server.url}/elsewhere"}))

    assert post(make_link(), f"{server.url}/token", REQUEST).status == status

    assert [each.path for each in server.requests] == ["/token"]


def test_no_cookie_is_kept(server: StrangeServer) -> None:
    """Facts oauth2.md section 2: a session that such a request opens is dead afterwards."""
    server.answer("/token", reply("{}", 200, {"Set-Cookie": "JSESSIONID=canary; Path=/"}))

    for _ in range(2):
        post(make_link(), f"{server.url}/token", REQUEST)

    assert all("cookie" not in each.headers for each in server.requests)


@pytest.mark.parametrize("url", ["http://h.example/token", "http://10.0.0.1/", "http://localhost.example/", "http://[::2]/x"])
def test_nothing_goes_out_in_the_clear(url: str, server: StrangeServer) -> None:
    """Neither secret nor token; the proxy, which would see them, is not even called."""
    link = make_link(proxy=server.url, timeout_s=2)
    calls: list[Callable[[], object]] = [
        lambda: post(link, url, REQUEST),
        lambda: ask_as(link, url, Secret(ACCESS)),
        lambda: ask(link, url, {}, method="DELETE"),
    ]
    for call in calls:
        with pytest.raises(BadUrlError, match="neither https nor on this machine") as caught:
            call()
        assert "canary" not in everything_shown(caught.value)

    assert server.connections == 0


def test_the_proxy_is_the_links(server: StrangeServer) -> None:
    """An https address is asked for by CONNECT, which shows nothing of the request."""
    with pytest.raises(ProviderUnreachableError):
        post(make_link(proxy=server.url, timeout_s=2), "https://h.example/token", REQUEST)

    (asked,) = server.requests
    assert (asked.method, asked.target) == ("CONNECT", "h.example:443")
    assert "canary" not in asked.everything


def test_a_failure_shows_no_secret(server: StrangeServer) -> None:
    """Neither the error nor what is behind it: requests keeps the request in its own."""
    answers: list[bytes | Script] = [reset, server.hang, reply("x" * 2_000_000), b"canary no http\r\n\r\n"]
    for script in answers:
        server.answer("/token", script)
        with pytest.raises(DaemonError) as caught:
            post(make_link(timeout_s=1), f"{server.url}/token", REQUEST)
        assert isinstance(caught.value, ProviderUnreachableError)
        assert server.url in caught.value.message
        shown = everything_shown(caught.value)
        assert not any(secret in shown for secret in (SECRET, REFRESH, ACCESS))
