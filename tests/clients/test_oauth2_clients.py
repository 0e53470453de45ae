"""The Python client with links of OAuth 2.0: programs keep the address that they know, and the token goes where it is valid."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import requests

from atl_sign_client import AtlSign, AtlSignAuth, AtlSignError, AtlSignHTTPXAuth
from tests.clients.danced_links import (
    KINDS,
    MEDIA_FILE,
    MYSELF,
    Danced,
    Host,
    Jira,
    Reply,
    Site,
    add_link,
    atl_sign,
    shorten_life,
    start_jira,
    start_site,
)
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, whatever library it came by."""

    status: int
    url: str
    json: Any
    text: str


Ask = Callable[..., Got]  # daemon, method, URL, and `json` or `data`


def ask_requests(daemon: Daemon, method: str, url: str, **more: Any) -> Got:
    answer = requests.request(method, url, auth=AtlSignAuth(str(daemon.socket)), timeout=30, **more)
    return _got(answer)


def ask_httpx(daemon: Daemon, method: str, url: str, **more: Any) -> Got:
    with httpx.Client(auth=AtlSignHTTPXAuth(str(daemon.socket)), follow_redirects=True, timeout=30) as client:
        return _got(client.request(method, url, **_content(more)))


def ask_httpx_async(daemon: Daemon, method: str, url: str, **more: Any) -> Got:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(auth=AtlSignHTTPXAuth(str(daemon.socket)), follow_redirects=True, timeout=30) as client:
            return await client.request(method, url, **_content(more))

    return _got(asyncio.run(send()))


def _content(more: dict[str, Any]) -> dict[str, Any]:
    return {"content" if name == "data" and isinstance(value, bytes) else name: value for name, value in more.items()}


def _got(answer: "requests.Response | httpx.Response") -> Got:
    is_json = "json" in answer.headers.get("Content-Type", "")
    return Got(answer.status_code, str(answer.url), answer.json() if is_json else None, answer.text)


clients = pytest.mark.parametrize("ask", [ask_requests, ask_httpx, ask_httpx_async])


@pytest.fixture(scope="module")
def started(fork_server: ForkServer) -> Iterator[Site]:
    with ExitStack() as stack:
        yield start_site(stack, stack.enter_context(Daemon(fork_server)))


@pytest.fixture
def site(started: Site) -> Site:
    """Nothing came in yet."""
    started.take()
    started.media.seen.clear()
    started.gateway.status = 302
    return started


@clients
def test_the_sites_address_is_sent_to_the_gateway(ask: Ask, site: Site) -> None:
    """Once, with its query, and the answer shows where; the twin: the same header at the site's address is refused there."""
    before = site.at_site()

    got = ask(site.daemon, "GET", f"{site.url}/rest/api/3/project?expand=lead")

    assert (got.status, got.url) == (200, f"{site.there}/rest/api/3/project?expand=lead")
    assert got.json[0]["key"] == "WEB"
    (seen,) = site.take()
    assert seen.path == f"{site.prefix}/rest/api/3/project?expand=lead"
    assert site.at_site() == before
    signed = AtlSign(str(site.daemon.socket)).sign("GET", site.url + MYSELF)
    assert signed.url == site.there + MYSELF
    assert requests.get(site.url + MYSELF, headers={"Authorization": str(signed)}, timeout=10).status_code == 401


@clients
def test_a_post_with_json_and_the_address_in_its_answer(ask: Ask, site: Site) -> None:
    """The new issue's `self` names the site, and the same client follows it; the twin: without the client it is refused."""
    fields = {"fields": {"project": {"key": "WEB"}, "issuetype": {"name": "Bug"}, "summary": "by a client"}}

    made = ask(site.daemon, "POST", f"{site.url}/rest/api/3/issue", json=fields)

    assert made.status == 201
    place = made.json["self"]
    assert place.startswith(f"{site.url}/rest/api/3/issue/")
    assert ask(site.daemon, "GET", place).json["fields"]["summary"] == "by a client"
    assert requests.get(place, timeout=10).status_code == 404  # whom nobody vouches for, Jira shows nothing


@clients
def test_an_upload(ask: Ask, site: Site) -> None:
    """Bytes and a multipart form go to the gateway whole; the twin: for a path that it lacks, nothing is sent."""
    url, content = f"{site.url}/rest/api/3/issue/WEB-1/attachments", bytes(range(256)) * 1_000

    assert ask(site.daemon, "POST", url, data=content).status == 200
    assert ask(site.daemon, "POST", url, files={"file": ("a.bin", content)}).status == 200

    plain, multipart = site.take()
    assert plain.body == content
    assert content in multipart.body
    with pytest.raises(AtlSignError, match="has no /secure/upload"):
        ask(site.daemon, "POST", f"{site.url}/secure/upload", data=content)
    assert site.take() == []


PROJECT = "/rest/api/3/project"


@clients
@pytest.mark.parametrize(
    "location",
    ["project", f"/ex/jira/{{id}}{PROJECT}", f"{{front}}/ex/jira/{{id}}{PROJECT}", f"{{site}}{PROJECT}"],
    ids=["relative", "path", "gateway", "site"],
)
def test_a_redirect_inside_the_site_is_authorized(ask: Ask, location: str, site: Site) -> None:
    """However it names the place, also after another one; the twins are below."""
    site.gateway.location, before = location, site.at_site()

    got = ask(site.daemon, "GET", f"{site.url}/rest/api/3/moved")

    assert got.status == 200
    assert [(each.path, each.is_authorized) for each in site.take()] == [
        (f"{site.prefix}/rest/api/3/moved", True),
        (f"{site.prefix}{PROJECT}", True),
    ]
    assert site.at_site() == before


@clients
def test_two_redirects_in_a_row(ask: Ask, site: Site) -> None:
    """By the gateway's address and then by the site's; the twin: one that went out in between goes on without the token."""
    first, out, last = (f"/rest/api/3/{name}" for name in ("first/moved", "out/moved", "moved"))
    site.gateway.places = {first: f"{{front}}{site.prefix}{last}", out: f"{{front}}{last}", last: f"{{site}}{PROJECT}"}
    try:
        assert ask(site.daemon, "GET", site.url + first).status == 200
        assert [each.is_authorized for each in site.take()] == [True, True, True]
        ask(site.daemon, "GET", site.url + out)
        assert [each.is_authorized for each in site.take()] == [True, False]
    finally:
        site.gateway.places = {}


@clients
def test_a_program_that_uses_the_gateways_address_stays_there(ask: Ask, site: Site) -> None:
    """The site's address is another one to it, and gets no token; the twin is above."""
    site.gateway.location, before = f"{{site}}{PROJECT}", site.at_site()

    ask(site.daemon, "GET", f"{site.there}/rest/api/3/moved")

    assert [each.is_authorized for each in site.take()] == [True]
    assert site.at_site() == before + 1
    assert site.cloud.state.requests[-1].verdict == "anonymous"


@clients
@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_takes_a_body_along(ask: Ask, status: int, site: Site) -> None:
    """To the site's address too."""
    site.gateway.location, site.gateway.status = "{site}/rest/api/3/issue/WEB-1/attachments", status

    got = ask(site.daemon, "POST", f"{site.url}/rest/api/3/moved", data=b"the body")

    assert got.status == 200
    assert [(each.method, each.body, each.is_authorized) for each in site.take()] == [("POST", b"the body", True)] * 2


@clients
@pytest.mark.parametrize("location", ["{front}/elsewhere", "{front}/ex/jira/another/rest/api/3/project", "{media}/file"])
def test_a_redirect_out_of_the_site_has_no_token(ask: Ask, location: str, site: Site) -> None:
    """Another site's part of the same gateway is somebody else's, and another host is not a link's."""
    site.gateway.location = location

    ask(site.daemon, "GET", f"{site.url}/rest/api/3/moved")

    assert [each.is_authorized for each in [*site.take(), *site.media.seen]] == [True, False]


@clients
def test_an_attachment_comes_from_the_media_host_without_the_token(ask: Ask, site: Site) -> None:
    """The twin: the gateway, which says where it is, did get the token."""
    got = ask(site.daemon, "GET", f"{site.url}/rest/api/3/attachment/content/10000")

    assert got.text == MEDIA_FILE
    assert [each.is_authorized for each in [*site.take(), *site.media.seen]] == [True, False]


@clients
def test_what_the_media_host_redirects_to_is_not_authorized(ask: Ask, site: Site) -> None:
    """Another server does not decide what the token is used for, though it leads back to the site."""
    with _Back(site) as back:
        site.gateway.location, before = f"{back.url}/file", site.at_site()

        got = ask(site.daemon, "GET", f"{site.url}/rest/api/3/moved")

    assert got.status == 401
    assert [each.is_authorized for each in [*site.take(), *back.seen]] == [True, False]
    assert site.at_site() == before + 1


class _Back(Host):
    """A host that redirects back to the site."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Return a redirect."""
        del method, path, headers, body
        return 302, {"Location": f"{self._site.url}{MYSELF}"}, b""


@clients
def test_a_redirect_to_a_page_of_the_site_is_refused(ask: Ask, site: Site) -> None:
    """The gateway has no pages, and the site takes no token; the message names the page."""
    site.gateway.location, before = "{site}/browse/WEB-1", site.at_site()

    with pytest.raises(AtlSignError, match="has no /browse/WEB-1"):
        ask(site.daemon, "GET", f"{site.url}/rest/api/3/moved")

    assert len(site.take()) == 1
    assert site.at_site() == before


@clients
def test_a_path_that_the_gateway_lacks_is_refused_by_name(ask: Ask, site: Site) -> None:
    """The twin: the gateway's own address of a call works, and another site's is not a link's."""
    with pytest.raises(AtlSignError, match="has no /browse/WEB-1") as caught:
        ask(site.daemon, "GET", f"{site.url}/browse/WEB-1")
    assert (caught.value.code, site.take()) == ("bad_url", [])

    assert ask(site.daemon, "GET", site.there + MYSELF).status == 200
    with pytest.raises(AtlSignError) as caught:
        ask(site.daemon, "GET", f"{site.gateway.url}/ex/jira/another{MYSELF}")
    assert caught.value.code == "unknown_link"
    assert len(site.take()) == 1


def test_a_renewed_token_is_used(site: Site) -> None:
    """By every program without its doing, and no request fails meanwhile; the twin: the old one is not sent again."""
    shorten_life(site)
    deadline, rounds = time.monotonic() + DEADLINE_S, list[set[str | None]]()

    while not rounds or rounds[-1] <= rounds[0]:
        assert time.monotonic() < deadline
        for ask in (ask_requests, ask_httpx, ask_httpx_async):
            assert ask(site.daemon, "GET", site.url + MYSELF).status == 200
        assert atl_sign(site.daemon, "curl", "-sSf", "-o", "/dev/null", site.url + MYSELF).returncode == 0
        rounds.append({each.authorization for each in site.take() if each.path.endswith(MYSELF)})

    old = rounds[0]
    assert len(set().union(*rounds)) == len(old) + 1
    for ask in (ask_requests, ask_httpx, ask_httpx_async):
        ask(site.daemon, "GET", site.url + MYSELF)
    assert not old & {each.authorization for each in site.take()}


@pytest.fixture(scope="module")
def jira(fork_server: ForkServer) -> Iterator[Jira]:
    with ExitStack() as stack:
        yield start_jira(stack, stack.enter_context(Daemon(fork_server)))


@clients
def test_data_center(ask: Ask, jira: Jira) -> None:
    """Nothing is sent elsewhere; a redirect inside the link has the token, its twins have none: beside it and at another host."""
    url = f"{jira.url}/rest/api/2/moved"

    assert ask(jira.daemon, "POST", f"{jira.url}/rest/api/2/issue/WEB-1/attachments", data=b"a=1").status == 200

    assert [(each.body, each.is_authorized) for each in jira.take()] == [(b"a=1", True)]
    for location in ("myself", "/jira/rest/api/2/myself", "{front}/jira/rest/api/2/myself"):
        jira.front.location = location
        got = ask(jira.daemon, "GET", url)
        assert (got.status, got.json["name"]) == (200, "alice")
        assert [each.is_authorized for each in jira.take()] == [True, True]
    for location in ("/elsewhere", "{media}/file"):
        jira.front.location = location
        ask(jira.daemon, "GET", url)
        assert [each.is_authorized for each in [*jira.take(), *jira.media.seen]] == [True, False]
        jira.media.seen.clear()


@pytest.fixture(scope="module", params=KINDS)
def danced(request: pytest.FixtureRequest, fork_server: ForkServer) -> Iterator[tuple[Daemon, Danced]]:
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(fork_server))
        yield daemon, add_link(stack, daemon, request.param, "other")


@clients
def test_every_other_provider(ask: Ask, danced: tuple[Daemon, Danced]) -> None:
    """By the address that its users know, and by the one where it is answered; the twin: a host that is not a link's."""
    daemon, link = danced

    for url in dict.fromkeys((link.asked, link.sent)):
        got = ask(daemon, "GET", url)
        assert (got.status, got.url) == (200, link.sent), got.text
        assert f'"{link.user}"' in got.text
    if link.base.endswith("/jira"):
        fields = {"fields": {"project": {"key": "WEB"}, "issuetype": {"name": "Bug"}, "summary": "by a client"}}
        place = ask(daemon, "POST", f"{link.base}/rest/api/2/issue", json=fields).json["self"]
        assert ask(daemon, "GET", place).json["fields"]["summary"] == "by a client"
    with pytest.raises(AtlSignError) as caught:
        ask(daemon, "GET", "http://127.0.0.1:1/user")
    assert caught.value.code == "unknown_link"
