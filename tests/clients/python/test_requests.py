"""`AtlSignAuth` in requests: what goes out, byte for byte, to a provider that verifies it."""

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from atl_sign_client import AtlSignAuth, AtlSignError, SignedHeader, sign
from tests.clients.differential.lab import Lab
from tests.clients.differential.server import Sent
from tests.clients.python.fake_daemon import SIGNATURE, SIGNED, FakeDaemon, answer
from tests.unit.raw_server import RawServer, header_of, make_certificate, reply, serve_tls

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Signs everything; without the proxies of the environment."""
    with requests.Session() as made:
        made.auth = AtlSignAuth()
        yield made


def verdicts(sent: list[Sent]) -> list[str]:
    return [each.verdict.partition(":")[0] for each in sent]


@pytest.mark.parametrize(
    "path",
    [
        "/rest/api/2/search?jql=project = WEB&fields=é&x=a+b",
        "/a b/é/%7Euser/%c3%a9/x[1]/(y)'!*;=@:&$,",
        "/x?q=%2F&q=a%20b&&z&y=",
        "/x[1]{2}|^\\`<>?a=[1]{2}|^\\`<>",
        "/x#fragment",
        "",
    ],
)
def test_the_url_is_signed_as_it_is_sent(lab: Lab, session: requests.Session, path: str) -> None:
    """Whatever requests makes of it on the way."""
    session.get(lab.recorder.base_url + path)

    assert verdicts(lab.recorder.take()) == ["signed"]


def test_parameters_and_methods_are_signed(lab: Lab, session: requests.Session) -> None:
    """Of every method, with parameters that requests adds."""
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        session.request(method, f"{lab.recorder.base_url}/x", params={"jql": "a = 'é'", "k": ["1", "2"]})

    assert verdicts(lab.recorder.take()) == ["signed"] * 7


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"summary": "a b&é+", "pid": ["1", "2"]}},
        {"data": "stage&executeAllStages=true", "headers": FORM},
        {"data": b"a=%C3%A9", "headers": {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}},
        {"data": "a=%C3%A9", "headers": {b"Content-Type": b"application/x-www-form-urlencoded"}},
        {"data": "a=1", "headers": {b"Content-Type": b"text/plain"}},
        {"data": "", "headers": FORM},
        {"json": {"a": "é"}},
        {"data": b"\xff\x00", "headers": {"Content-Type": "application/octet-stream"}},
        {"data": iter([b"one", b"two"])},
        {"files": {"file": ("name.txt", b"content")}, "headers": {"X-Atlassian-Token": "no-check"}},
    ],
    ids=["pairs", "text", "bytes", "type in bytes", "other type in bytes", "empty", "json", "octets", "stream", "multipart"],
)
def test_bodies_are_signed_where_they_must_be(lab: Lab, session: requests.Session, body: dict[str, Any]) -> None:
    """A form is part of the signature, every other body is not."""
    session.post(f"{lab.recorder.base_url}/x", **body)

    assert verdicts(lab.recorder.take()) == ["signed"]


def test_forms_that_cannot_be_signed_are_refused(lab: Lab, session: requests.Session) -> None:
    """A stream, bytes that are no UTF-8, and with another method than POST; nothing is sent."""
    url = f"{lab.recorder.base_url}/x"
    for method, data in (("POST", iter([b"a=1"])), ("POST", b"a=\xff"), ("PUT", b"a=1")):
        with pytest.raises(AtlSignError) as caught:
            session.request(method, url, data=data, headers=FORM)
        assert caught.value.code == "bad_request"

    assert lab.recorder.take() == []


@pytest.mark.parametrize("place", ["absolute", "relative"])
@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirect_inside_the_link_is_signed_anew(
    lab: Lab, session: requests.Session, place: str, status: int, method: str
) -> None:
    """With the method that requests goes on with, and the form where it still goes along."""
    url = f"{lab.recorder.base_url}/redirect/{status}/{place}/jira/a%C3%A9?x=1"

    response = session.post(url, data={"a": "é"})

    sent = lab.recorder.take()
    assert verdicts(sent) == ["signed", "signed"]
    assert [each.method for each in sent] == ["POST", method]
    assert sent[1].body == (b"a=%C3%A9" if method == "POST" else b"")
    assert sent[0].authorization != sent[1].authorization
    assert [each.url for each in (*response.history, response)] == [each.request.url for each in (*response.history, response)]
    first = response.history[0].request.headers["Authorization"]
    assert (str(first),) == sent[0].authorization
    assert response.status_code == 200


@pytest.mark.parametrize("place", ["outside", "elsewhere"])
def test_no_signature_goes_off_the_link(lab: Lab, session: requests.Session, place: str) -> None:
    """Neither to another part of the same server nor to another one; the request itself goes on, as in requests."""
    response = session.get(f"{lab.recorder.base_url}/redirect/302/{place}/x")

    sent = lab.recorder.take()
    assert [(each.verdict, each.is_inside) for each in sent] == [("signed", True), ("anonymous", False)]
    assert response.status_code == 200


def test_another_server_is_outside_whatever_its_address() -> None:
    """Also one that could not be signed: the daemon is not asked, and the request goes on as requests has it."""
    with FakeDaemon(SIGNED) as fake, RawServer(reply("end")) as elsewhere:
        location = {"Location": f"{elsewhere.url}/x?=lone%zz"}
        with RawServer(reply(status=302, headers=location)) as server:
            response = requests.get(server.url, auth=AtlSignAuth(fake.path), timeout=5)

        assert response.text == "end"
        assert len(fake.requests) == 1
        assert header_of(elsewhere.requests[0], "Authorization") is None


def test_every_hop_of_a_loop_has_its_own_signature(lab: Lab, session: requests.Session) -> None:
    """Though method and URL are always the same; requests ends it."""
    session.max_redirects = 4
    with pytest.raises(requests.TooManyRedirects):
        session.get(f"{lab.recorder.base_url}/loop/302")

    sent = lab.recorder.take()
    assert verdicts(sent) == ["signed"] * 5
    assert len({each.authorization for each in sent}) == 5


def test_without_redirects_the_next_request_is_signed(lab: Lab, session: requests.Session) -> None:
    """`Response.next` can be sent as it is."""
    response = session.get(f"{lab.recorder.base_url}/redirect/302/absolute/x", allow_redirects=False)
    assert response.status_code == 302
    assert response.next is not None

    session.send(response.next)

    assert verdicts(lab.recorder.take()) == ["signed", "signed"]


def test_netrc_replaces_no_signature(lab: Lab, session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at first nor at a redirect, where requests would put its password; off the link it is requests' own affair."""
    netrc = lab.daemon.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    session.get(f"{lab.recorder.base_url}/redirect/302/absolute/x")
    requests.get(f"{lab.recorder.base_url}/x", timeout=5)

    assert verdicts(lab.recorder.take()) == ["signed", "signed", "not OAuth"]


def test_a_body_that_is_gone_is_not_sent_again(lab: Lab, session: requests.Session) -> None:
    """A generator; a file is rewound, and goes out a second time in full."""
    url = f"{lab.recorder.base_url}/redirect/307/absolute/x"
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.put(url, data=iter([b"one", b"two"]))
    assert [each.body for each in lab.recorder.take()] == [b"onetwo"]

    path = lab.here / "down.txt"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        session.put(url, data=file)
    path.unlink()

    sent = lab.recorder.take()
    assert [each.body for each in sent] == [b"content"] * 2
    assert verdicts(sent) == ["signed"] * 2


def test_from_https_to_http_is_not_followed(tmp_path: Path) -> None:
    """The error names no address: a redirect's may hold secrets."""
    certificate = make_certificate(tmp_path, "own")
    with FakeDaemon(SIGNED) as fake, RawServer(reply("plain")) as plain:
        location = {"Location": f"{plain.url}/canary"}
        secure = RawServer(reply(status=302, headers=location), tls=serve_tls(certificate))
        with secure, pytest.raises(AtlSignError, match="https to http") as caught:
            requests.get(f"{secure.url}/x", auth=AtlSignAuth(fake.path), verify=str(certificate), timeout=5)

        assert caught.value.code == "bad_request"
        assert "canary" not in str(caught.value)
        assert plain.requests == []
        assert len(fake.requests) == 1


def test_a_redirects_url_is_signed_as_it_is_sent() -> None:
    """urllib3 changes what a server wrote: escapes to upper case, brackets to escapes."""
    with (
        FakeDaemon(SIGNED) as fake,
        RawServer(reply(status=302, headers={"Location": "/%c3%a9/[x]?q=%C3%A9"}), reply()) as server,
    ):
        requests.get(f"{server.url}/first", auth=AtlSignAuth(fake.path), timeout=5)

        targets = [request.split(b" ")[1].decode() for request in server.requests]
        assert [request["url"] for request in fake.requests] == [server.url + target for target in targets]
        assert targets[1].startswith("/%C3%A9/%5Bx%5D")
        assert [request.get("link") for request in fake.requests] == [None, "fake"]


def test_a_redirect_that_cannot_be_signed_is_an_error() -> None:
    """For another reason than the link's bounds: it is not followed unsigned."""
    locked = answer({"error": {"code": "store_locked", "message": "the keyring is locked", "hint": "unlock it"}}, "423 Locked")
    with FakeDaemon(SIGNED, locked) as fake, RawServer(reply(status=302, headers={"Location": "/next"}), reply()) as server:
        with pytest.raises(AtlSignError) as caught:
            requests.get(f"{server.url}/first", auth=AtlSignAuth(fake.path), timeout=5)

        assert caught.value.code == "store_locked"
        assert len(server.requests) == 1


def test_an_authorization_of_ones_own_is_refused(lab: Lab, session: requests.Session) -> None:
    """Rather than replaced; nothing is sent."""
    with pytest.raises(AtlSignError, match="Authorization") as caught:
        session.get(f"{lab.recorder.base_url}/x", headers={"authorization": "Bearer canary"})

    assert caught.value.code == "bad_request"
    assert "canary" not in str(caught.value)
    assert lab.recorder.take() == []


def test_credentials_in_the_url_are_refused(lab: Lab, session: requests.Session) -> None:
    """So is a method with a line break; nothing is sent."""
    url = f"{lab.recorder.base_url}/x"
    for method, refused in (("GET", url.replace("://", "://ann:canary@")), ("GET\r\nX-Injected: 1", url)):
        with pytest.raises(AtlSignError) as caught:
            session.request(method, refused)
        assert caught.value.code in {"bad_url", "bad_request"}
        assert "canary" not in str(caught.value)

    assert lab.recorder.take() == []


def test_what_no_link_covers_is_refused(lab: Lab, session: requests.Session) -> None:
    """Not sent unsigned."""
    with pytest.raises(AtlSignError) as caught:
        session.get(lab.recorder.base_url.removesuffix("/jira") + "/outside")

    assert caught.value.code == "unknown_link"
    assert lab.recorder.take() == []


def test_a_prepared_request_can_be_signed_again(lab: Lab, session: requests.Session) -> None:
    """By another call of the auth; sent twice without it, the provider refuses the second."""
    request = session.prepare_request(requests.Request("GET", f"{lab.recorder.base_url}/x"))
    session.send(request)
    session.send(request)
    assert isinstance(session.auth, AtlSignAuth)

    session.send(session.auth(request))

    assert verdicts(lab.recorder.take()) == ["signed", "nonce_used", "signed"]
    assert len(request.hooks["response"]) == 1


def test_a_refusal_is_said_in_words(sandbox: Any, danced: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A 401 stays a 401; what to do stands in the log, and no signature does. The daemon learns the provider's clock."""
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    header = sign("GET", url, socket_path=danced.socket)

    class Replay(AtlSignAuth):
        def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
            super().__call__(r).headers["Authorization"] = header
            return r

    with caplog.at_level(logging.WARNING, "atl_sign_client"):
        first = requests.get(url, auth=Replay(danced.socket), timeout=5)
        assert (first.status_code, caplog.messages) == (200, [])
        second = requests.get(url, auth=Replay(danced.socket), timeout=5)

    assert second.status_code == 401
    (message,) = caplog.messages
    assert message.startswith("link jira: ")
    assert "nonce_used" in message
    assert "hint: " in message
    assert "oauth_signature" not in message


def test_a_refusal_that_cannot_be_explained_stays_one(caplog: pytest.LogCaptureFixture) -> None:
    """When the daemon has gone meanwhile, and when the provider names no problem, or one in no words of ours."""
    problem = {"WWW-Authenticate": 'OAuth oauth_problem="token_rejected"'}
    gone = answer({"error": {"code": "internal", "message": "it failed", "hint": None}}, "500 Oh")
    nothing = answer({"problem": None, "message": None, "hint": None})
    for headers, said, logged in (
        ({"WWW-Authenticate": "Basic"}, gone, []),
        ({}, gone, []),
        (problem, gone, ["link fake: the provider refused the signature; why is not known: it failed"]),
        (problem, nothing, []),
        (problem, answer({"message": "m"}), ["m"]),
    ):
        caplog.clear()
        with FakeDaemon(SIGNED, said) as fake, RawServer(reply("no", 401, headers)) as server:
            assert requests.get(server.url, auth=AtlSignAuth(fake.path), timeout=5).status_code == 401
            assert caplog.messages == logged, headers


def test_the_signature_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Not in the headers' text, which public clients put into their errors, nor in the logs of requests and urllib3."""
    server = RawServer(reply(status=302, headers={"Location": "/next"}), reply())
    with caplog.at_level(logging.DEBUG), FakeDaemon(SIGNED) as fake, server:
        response = requests.get(f"{server.url}/first", auth=AtlSignAuth(fake.path), timeout=5)

        assert [header_of(request, "Authorization") for request in server.requests] == [SIGNATURE] * 2
    for each in (response, *response.history):
        assert "canary" not in str(each.request.headers)
        assert isinstance(each.request.headers["Authorization"], SignedHeader)
    assert "canary" not in caplog.text


def test_a_session_goes_to_another_process(lab: Lab, session: requests.Session) -> None:
    """With its auth, as a process pool sends it."""
    url = f"{lab.recorder.base_url}/x"
    session.get(url)

    with pickle.loads(pickle.dumps(session)) as other:
        other.get(url)

    assert verdicts(lab.recorder.take()) == ["signed"] * 2


def test_an_adapter_of_ones_own_is_used(lab: Lab, session: requests.Session) -> None:
    """Redirects go through it too: the session sends them, not the hook."""
    seen = []

    class Adapter(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            seen.append(request.method)
            return super().send(request, *args, **kwargs)

    session.mount("http://", Adapter())
    session.post(f"{lab.recorder.base_url}/redirect/303/absolute/x")

    assert seen == ["POST", "GET"]
    assert verdicts(lab.recorder.take()) == ["signed"] * 2
