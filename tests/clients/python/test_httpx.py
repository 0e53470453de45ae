"""`AtlSignHTTPXAuth` in httpx, sync and async: what goes out, byte for byte, to a provider that verifies it."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from atl_sign_client import AtlSignError, AtlSignHTTPXAuth
from tests.clients.differential.lab import Lab
from tests.clients.differential.server import Sent
from tests.clients.python.fake_daemon import SIGNATURE, SIGNED, FakeDaemon, answer
from tests.unit.raw_server import RawServer, header_of, make_certificate, reply, serve_tls

FORM = {"Content-Type": "application/x-www-form-urlencoded"}

PROBLEM = {"WWW-Authenticate": 'OAuth oauth_problem="token_rejected"'}

Send = Callable[..., httpx.Response]


def send_sync(
    method: str, url: str, *, auth: httpx.Auth | None = None, client: dict[str, Any] | None = None, **more: Any
) -> httpx.Response:
    """Send one request by a client of its own."""
    with httpx.Client(auth=auth or AtlSignHTTPXAuth(), trust_env=False, **(client or {})) as opened:
        return opened.request(method, url, **more)


def send_async(
    method: str, url: str, *, auth: httpx.Auth | None = None, client: dict[str, Any] | None = None, **more: Any
) -> httpx.Response:
    """Do the same by an AsyncClient."""

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(auth=auth or AtlSignHTTPXAuth(), trust_env=False, **(client or {})) as opened:
            return await opened.request(method, url, **more)

    return asyncio.run(send())


both = pytest.mark.parametrize("send", [send_sync, send_async])
FOLLOW = {"follow_redirects": True}


def verdicts(sent: list[Sent]) -> list[str]:
    return [each.verdict.partition(":")[0] for each in sent]


@both
def test_urls_and_methods_are_signed_as_sent(lab: Lab, send: Send) -> None:
    """Whatever httpx makes of them on the way."""
    for path in ("/search?jql=project = WEB&fields=é&x=a+b", "/a b/é/%7Euser/%c3%a9/x{1}/(y)'!*;=@:&$,", "/x#fragment", ""):
        send("GET", lab.recorder.base_url + path)
    for method in ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        send(method, f"{lab.recorder.base_url}/x", params={"jql": "a = 'é'", "k": ["1", "2"]})

    assert verdicts(lab.recorder.take()) == ["signed"] * 9


@both
@pytest.mark.parametrize("character", "[]|^\\")
def test_what_httpx_leaves_raw_in_a_path_is_refused(lab: Lab, send: Send, character: str) -> None:
    """No provider takes it there; requests and urllib3 escape it."""
    with pytest.raises(AtlSignError) as caught:
        send("GET", f"{lab.recorder.base_url}/x{character}?a={character}")

    assert (caught.value.code, caught.value.hint) == ("bad_url", f"write %{ord(character):02X}")
    assert lab.recorder.take() == []


@both
@pytest.mark.parametrize("kind", ["pairs", "text", "json", "multipart", "stream"])
def test_bodies_are_signed_where_they_must_be(lab: Lab, send: Send, kind: str) -> None:
    """A form is part of the signature, every other body is not and is not read beforehand."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    bodies: dict[str, dict[str, Any]] = {
        "pairs": {"data": {"summary": "a b&é+", "pid": ["1", "2"]}},
        "text": {"content": b"stage&a=%C3%A9", "headers": FORM},
        "json": {"json": {"a": "é"}},
        "multipart": {"files": {"file": ("name.txt", b"content")}, "headers": {"X-Atlassian-Token": "no-check"}},
        "stream": {"content": iter([b"one", b"two"]) if send is send_sync else pieces()},
    }

    send("POST", f"{lab.recorder.base_url}/x", **bodies[kind])

    (sent,) = lab.recorder.take()
    assert sent.verdict == "signed"
    assert kind != "stream" or sent.body == b"onetwo"


@both
def test_a_form_with_another_method_is_refused(lab: Lab, send: Send) -> None:
    """As the daemon does; nothing is sent."""
    with pytest.raises(AtlSignError) as caught:
        send("PUT", f"{lab.recorder.base_url}/x", data={"a": "1"})

    assert caught.value.code == "bad_request"
    assert lab.recorder.take() == []


@both
@pytest.mark.parametrize("place", ["absolute", "relative"])
@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirect_inside_the_link_is_signed_anew(lab: Lab, send: Send, place: str, status: int, method: str) -> None:
    """With the method that httpx goes on with, and the form where it still goes along."""
    url = f"{lab.recorder.base_url}/redirect/{status}/{place}/jira/a%C3%A9?x=1"

    response = send("POST", url, data={"a": "é"}, client=FOLLOW)

    sent = lab.recorder.take()
    assert verdicts(sent) == ["signed", "signed"]
    assert [each.method for each in sent] == ["POST", method]
    assert sent[1].body == (b"a=%C3%A9" if method == "POST" else b"")
    assert sent[0].authorization != sent[1].authorization
    assert response.status_code == 200


@both
@pytest.mark.parametrize("place", ["outside", "elsewhere"])
def test_no_signature_goes_off_the_link(lab: Lab, send: Send, place: str) -> None:
    """Neither to another part of the same server nor to another one; the request itself goes on, as in httpx."""
    response = send("GET", f"{lab.recorder.base_url}/redirect/302/{place}/x", client=FOLLOW)

    sent = lab.recorder.take()
    assert [(each.verdict, each.is_inside) for each in sent] == [("signed", True), ("anonymous", False)]
    assert response.status_code == 200


@both
def test_what_went_off_the_link_is_not_signed_on_its_way_back(send: Send) -> None:
    """Who is outside could name any address inside."""
    outside = answer({"error": {"code": "unknown_link", "message": "none covers it", "hint": "add one"}}, "404 Not Found")
    hops = [reply(status=302, headers={"Location": path}) for path in ("/out", "/in")]
    with FakeDaemon(SIGNED, outside, SIGNED) as fake, RawServer(*hops, reply("end", 401, PROBLEM)) as server:
        response = send("GET", server.url, auth=AtlSignHTTPXAuth(fake.path), client=FOLLOW)

        assert response.status_code == 401
        assert [header_of(request, "Authorization") for request in server.requests] == [SIGNATURE, None, None]
        assert len(fake.requests) == 2


@both
def test_another_server_is_outside_whatever_its_address(send: Send) -> None:
    """Also one that could not be signed: the daemon is not asked, and the request goes on as httpx has it."""
    with FakeDaemon(SIGNED) as fake, RawServer(reply("end")) as elsewhere:
        location = {"Location": f"{elsewhere.url}/x?=lone"}
        with RawServer(reply(status=302, headers=location)) as server:
            response = send("GET", server.url, auth=AtlSignHTTPXAuth(fake.path), client=FOLLOW)

        assert response.text == "end"
        assert len(fake.requests) == 1
        assert header_of(elsewhere.requests[0], "Authorization") is None


@both
def test_every_hop_of_a_loop_has_its_own_signature(lab: Lab, send: Send) -> None:
    """Though method and URL are always the same; httpx ends it."""
    with pytest.raises(httpx.TooManyRedirects):
        send("GET", f"{lab.recorder.base_url}/loop/302", client={**FOLLOW, "max_redirects": 4})

    sent = lab.recorder.take()
    assert verdicts(sent) == ["signed"] * 5
    assert len({each.authorization for each in sent}) == 5


@both
def test_redirects_are_not_followed_unless_asked_for(lab: Lab, send: Send) -> None:
    """As in httpx; the next request can be sent as it is, by a client that signs."""
    response = send("GET", f"{lab.recorder.base_url}/redirect/302/absolute/x")
    assert response.status_code == 302
    assert response.next_request is not None
    with httpx.Client(auth=AtlSignHTTPXAuth(), trust_env=False) as client:
        client.send(response.next_request)

    assert verdicts(lab.recorder.take()) == ["signed", "signed"]


@both
def test_from_https_to_http_is_not_followed(tmp_path: Path, send: Send) -> None:
    """The error names no address: a redirect's may hold secrets."""
    certificate = make_certificate(tmp_path, "own")
    trusted = ssl.create_default_context(cafile=str(certificate))
    with FakeDaemon(SIGNED) as fake, RawServer(reply("plain")) as plain:
        redirect = reply(status=302, headers={"Location": f"{plain.url}/canary"})
        secure = RawServer(redirect, tls=serve_tls(certificate))
        with secure, pytest.raises(AtlSignError, match="https to http") as caught:
            send("GET", f"{secure.url}/x", auth=AtlSignHTTPXAuth(fake.path), client={**FOLLOW, "verify": trusted})

        assert caught.value.code == "bad_request"
        assert "canary" not in str(caught.value)
        assert plain.requests == []
        assert len(fake.requests) == 1


@both
def test_a_redirect_that_cannot_be_signed_is_an_error(send: Send) -> None:
    """For another reason than the link's bounds: nothing of it is sent."""
    locked = answer({"error": {"code": "store_locked", "message": "the keyring is locked", "hint": "unlock it"}}, "423 Locked")
    with FakeDaemon(SIGNED, locked) as fake, RawServer(reply(status=302, headers={"Location": "/next"}), reply()) as server:
        with pytest.raises(AtlSignError) as caught:
            send("GET", f"{server.url}/first", auth=AtlSignHTTPXAuth(fake.path), client=FOLLOW)

        assert caught.value.code == "store_locked"
        assert len(server.requests) == 1


@both
def test_through_a_proxy(send: Send) -> None:
    """A plain one gets the whole address, which is signed; a tunnel's CONNECT has no signature."""
    with FakeDaemon(SIGNED) as fake, RawServer(reply(status=302, headers={"Location": "/next"}), reply()) as proxy:
        send("GET", "http://jira.invalid/first", auth=AtlSignHTTPXAuth(fake.path), client={**FOLLOW, "proxy": proxy.url})

        assert [request.split(b" ")[1] for request in proxy.requests] == [
            b"http://jira.invalid/first",
            b"http://jira.invalid/next",
        ]
        assert [request["url"] for request in fake.requests] == ["http://jira.invalid/first", "http://jira.invalid/next"]
        assert [header_of(request, "Authorization") for request in proxy.requests] == [SIGNATURE] * 2
    with FakeDaemon(SIGNED) as fake, RawServer(reply("no", 403)) as proxy:
        with pytest.raises(httpx.ProxyError):
            send("GET", "https://jira.invalid/x", auth=AtlSignHTTPXAuth(fake.path), client={"proxy": proxy.url})

        assert header_of(proxy.requests[0], "Authorization") is None


@both
def test_own_headers_and_credentials_are_refused(lab: Lab, send: Send) -> None:
    """And what no link covers; nothing is sent."""
    url = f"{lab.recorder.base_url}/x"
    for code, refused, headers in (
        ("bad_request", url, {"authorization": "Bearer canary"}),
        ("bad_url", url.replace("://", "://ann:canary@"), {}),
        ("unknown_link", url.replace("/jira/", "/other/"), {}),
    ):
        with pytest.raises(AtlSignError) as caught:
            send("GET", refused, headers=headers)
        assert caught.value.code == code
        assert "canary" not in str(caught.value)

    assert lab.recorder.take() == []


def test_a_method_with_a_line_break_is_refused(lab: Lab) -> None:
    """Before it is sent."""
    with pytest.raises(AtlSignError) as caught:
        send_sync("GET\r\nX-Injected: 1", f"{lab.recorder.base_url}/x")

    assert caught.value.code == "bad_request"
    assert lab.recorder.take() == []


def test_the_same_request_is_signed_anew_when_sent_again(lab: Lab) -> None:
    """With its form, which is in memory by then; the caller's own trace is called both times."""
    steps: list[str] = []
    with httpx.Client(auth=AtlSignHTTPXAuth(), trust_env=False) as client:
        request = client.build_request(
            "POST", f"{lab.recorder.base_url}/x", data={"a": "1"}, extensions={"trace": lambda name, _: steps.append(name)}
        )
        client.send(request)
        client.send(request)

    assert verdicts(lab.recorder.take()) == ["signed"] * 2
    assert steps.count("http11.send_request_headers.started") == 2


def test_the_callers_async_trace_is_called(lab: Lab) -> None:
    """As httpcore would."""
    steps: list[str] = []

    async def trace(name: str, _: object) -> None:
        steps.append(name)

    send_async("GET", f"{lab.recorder.base_url}/x", extensions={"trace": trace})

    assert steps.count("http11.send_request_headers.started") == 1


def test_a_transport_that_is_not_httpcores(lab: Lab) -> None:
    """Gets the first request signed; when redirects were followed behind our back, that is an error."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(302, headers={"Location": "/jira/next"}) if len(seen) == 2 else httpx.Response(200)

    url = f"{lab.recorder.base_url}/x"
    assert send_sync("GET", url, client={"transport": httpx.MockTransport(handle)}).status_code == 200
    assert seen[0].headers["Authorization"].startswith("OAuth ")
    with pytest.raises(AtlSignError, match="transport"):
        send_sync("GET", url, client={"transport": httpx.MockTransport(handle), **FOLLOW})


@both
def test_a_refusal_is_said_in_words(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    """A 401 stays a 401; what to do stands in the log, and no signature does."""
    words = answer({"problem": "token_rejected", "message": "the token is not known", "hint": "atl-sign dance jira"})
    with FakeDaemon(SIGNED, words) as fake, RawServer(reply("no", 401, PROBLEM)) as server:
        with caplog.at_level(logging.WARNING, "atl_sign_client"):
            response = send("GET", server.url, auth=AtlSignHTTPXAuth(fake.path))

        assert response.status_code == 401
        assert caplog.messages == ["the token is not known (hint: atl-sign dance jira)"]
        assert fake.requests[1] == {"target": "/links/fake/problem", "www_authenticate": PROBLEM["WWW-Authenticate"]}


def test_the_event_loop_goes_on_while_the_daemon_is_asked() -> None:
    """A daemon that hangs stops the one request alone, and only until its deadline."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def run(path: Path) -> None:
        ticking = asyncio.ensure_future(tick())
        async with httpx.AsyncClient(auth=AtlSignHTTPXAuth(path, timeout_s=0.5), trust_env=False) as client:
            with pytest.raises(AtlSignError) as caught:
                await client.get("http://127.0.0.1:1/")
        ticking.cancel()
        assert caught.value.code == "daemon_timeout"

    with FakeDaemon(FakeDaemon.hang) as fake:
        asyncio.run(run(fake.path))

    assert ticks >= 5


def test_many_at_the_same_time(lab: Lab) -> None:
    """Each with its own signature."""

    async def run() -> None:
        async with httpx.AsyncClient(auth=AtlSignHTTPXAuth(), trust_env=False) as client:
            await asyncio.gather(*(client.get(f"{lab.recorder.base_url}/x?n={number}") for number in range(50)))

    asyncio.run(run())

    sent = lab.recorder.take()
    assert verdicts(sent) == ["signed"] * 50
    assert len({each.authorization for each in sent}) == 50


@pytest.fixture(autouse=True)
def _no_signature_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever httpx and httpcore log."""
    caplog.set_level(logging.DEBUG)
    yield
    assert "canary-signature" not in caplog.text
    assert "oauth_signature" not in caplog.text
