"""The Node client with links of OAuth 2.0: fetch, Axios and undici."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients.danced_links import (
    KINDS,
    MEDIA_FILE,
    MYSELF,
    Danced,
    Jira,
    Site,
    add_link,
    shorten_life,
    start_jira,
    start_site,
)
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon

pytestmark = pytest.mark.slow  # make check does not install Node packages

ASK = Path(__file__).with_name("ask.js")
PROJECT = "/rest/api/3/project"

both = pytest.mark.parametrize("client", ["fetch", "axios"])  # a dispatcher of undici keeps its address
every = pytest.mark.parametrize("client", ["fetch", "axios", "undici"])


def ask(daemon: Daemon, client: str, url: str, method: str = "GET", *, body: str | None = None, type_: str = "") -> Any:
    """Send one request; returns status, url and text, or code, message and hint."""
    return ask_all(daemon, [{"client": client, "method": method, "url": url, "body": body, "type": type_}])[0]


def ask_all(daemon: Daemon, asked: list[dict[str, Any]]) -> list[Any]:
    if not (ASK.parent / "node_modules").is_dir():
        pytest.fail("the packages are not there: make tests/clients/node/node_modules/.installed", pytrace=False)
    node = os.environ.get("NODE") or shutil.which("node")
    assert node is not None, "Node is needed: apt-get install nodejs"
    done = subprocess.run(
        [node, ASK.name],
        cwd=ASK.parent,
        env={**daemon.environment, "ATL_SIGN_SOCK": str(daemon.socket)},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


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


@both
def test_the_sites_address_is_sent_to_the_gateway(client: str, site: Site) -> None:
    """Once, with its query; the twin: the site is asked for nothing."""
    before = site.at_site()

    got = ask(site.daemon, client, f"{site.url}{PROJECT}?expand=lead")

    assert (got["status"], got["url"]) == (200, f"{site.there}{PROJECT}?expand=lead")
    assert json.loads(got["text"])[0]["key"] == "WEB"
    (seen,) = site.take()
    assert seen.path == f"{site.prefix}{PROJECT}?expand=lead"
    assert site.at_site() == before


@both
def test_a_post_with_json_and_the_address_in_its_answer(client: str, site: Site) -> None:
    """The new issue's `self` names the site, and the same client follows it."""
    fields = {"fields": {"project": {"key": "WEB"}, "issuetype": {"name": "Bug"}, "summary": f"by {client}"}}

    made = ask(site.daemon, client, f"{site.url}/rest/api/3/issue", "POST", body=json.dumps(fields), type_="application/json")

    assert made["status"] == 201
    place = json.loads(made["text"])["self"]
    assert place.startswith(f"{site.url}/rest/api/3/issue/")
    assert json.loads(ask(site.daemon, client, place)["text"])["fields"]["summary"] == f"by {client}"
    assert [json.loads(each.body) for each in site.take() if each.method == "POST"] == [fields]


@both
@pytest.mark.parametrize(
    "location",
    ["project", f"/ex/jira/{{id}}{PROJECT}", f"{{front}}/ex/jira/{{id}}{PROJECT}", f"{{site}}{PROJECT}"],
    ids=["relative", "path", "gateway", "site"],
)
def test_a_redirect_inside_the_site_is_authorized(client: str, location: str, site: Site) -> None:
    """However it names the place; the twin is the next test."""
    site.gateway.location, before = location, site.at_site()

    got = ask(site.daemon, client, f"{site.url}/rest/api/3/moved")

    assert got["status"] == 200
    assert [(each.path, each.is_authorized) for each in site.take()] == [
        (f"{site.prefix}/rest/api/3/moved", True),
        (f"{site.prefix}{PROJECT}", True),
    ]
    assert site.at_site() == before


@both
@pytest.mark.parametrize("location", ["{front}/elsewhere", "{front}/ex/jira/another/rest/api/3/project", "{media}/file"])
def test_a_redirect_out_of_the_site_has_no_token(client: str, location: str, site: Site) -> None:
    """Another site's part of the same gateway is somebody else's, and another host is not a link's."""
    site.gateway.location = location

    ask(site.daemon, client, f"{site.url}/rest/api/3/moved")

    assert [each.is_authorized for each in [*site.take(), *site.media.seen]] == [True, False]


@both
def test_a_redirect_takes_a_body_along(client: str, site: Site) -> None:
    """To the site's address too."""
    site.gateway.location, site.gateway.status = "{site}/rest/api/3/issue/WEB-1/attachments", 307

    got = ask(site.daemon, client, f"{site.url}/rest/api/3/moved", "POST", body="the body", type_="text/plain")

    assert got["status"] == 200
    assert [(each.method, each.body, each.is_authorized) for each in site.take()] == [("POST", b"the body", True)] * 2


@both
def test_an_attachment_comes_from_the_media_host_without_the_token(client: str, site: Site) -> None:
    """The twin: the gateway, which says where it is, did get the token."""
    got = ask(site.daemon, client, f"{site.url}/rest/api/3/attachment/content/10000")

    assert got["text"] == MEDIA_FILE
    assert [each.is_authorized for each in [*site.take(), *site.media.seen]] == [True, False]


@every
def test_what_is_refused_by_name(client: str, site: Site) -> None:
    """A path that the gateway lacks, asked for or redirected to, and another site's address there; the twin: this one's works."""
    site.gateway.location, before = "{site}/browse/WEB-1", site.at_site()
    urls = (f"{site.url}/browse/WEB-1", f"{site.there}/rest/api/3/moved", f"{site.gateway.url}/ex/jira/another{MYSELF}")

    page, moved, other, own = ask_all(
        site.daemon, [{"client": client, "method": "GET", "url": url} for url in (*urls, site.there + MYSELF)]
    )

    for each in (page, moved):
        assert each["code"] == "bad_url", each
        assert "has no /browse/WEB-1" in each["message"]
    assert other["code"] == "unknown_link"
    assert own["status"] == 200
    assert len(site.take()) == 2
    assert site.at_site() == before


def test_undici_names_the_gateways_address(site: Site) -> None:
    """A dispatcher keeps its own address, so the refusal says which one works; and it does."""
    refused = ask(site.daemon, "undici", site.url + MYSELF)

    assert refused["hint"] == f"send it to {site.there}{MYSELF}"
    assert site.take() == []
    assert ask(site.daemon, "undici", refused["hint"].removeprefix("send it to "))["status"] == 200


def test_a_renewed_token_is_used(site: Site) -> None:
    """Without the program's doing, and no request fails meanwhile; the twin: the old one is not sent again."""
    shorten_life(site)
    deadline, rounds = time.monotonic() + DEADLINE_S, list[set[str | None]]()
    requests = [{"client": client, "method": "GET", "url": site.url + MYSELF} for client in ("fetch", "axios")]

    while not rounds or rounds[-1] <= rounds[0]:
        assert time.monotonic() < deadline
        assert [each["status"] for each in ask_all(site.daemon, requests)] == [200, 200]
        rounds.append({each.authorization for each in site.take() if each.path.endswith(MYSELF)})

    ask_all(site.daemon, requests)
    assert not rounds[0] & {each.authorization for each in site.take()}


@pytest.fixture(scope="module")
def jira(fork_server: ForkServer) -> Iterator[Jira]:
    with ExitStack() as stack:
        yield start_jira(stack, stack.enter_context(Daemon(fork_server)))


@every
def test_data_center(client: str, jira: Jira) -> None:
    """A redirect inside the link has the token; the twins have none, and undici refuses them: beside it, and at another host."""
    url = f"{jira.url}/rest/api/2/moved"

    for location in ("myself", "/jira/rest/api/2/myself", "{front}/jira/rest/api/2/myself"):
        jira.front.location = location
        got = ask(jira.daemon, client, url)
        assert (got["status"], json.loads(got["text"])["name"]) == (200, "alice")
        assert [each.is_authorized for each in jira.take()] == [True, True]
    for location in ("/elsewhere", "{media}/file"):
        jira.front.location = location
        got = ask(jira.daemon, client, url)
        assert (got.get("code") == "unknown_link") == (client == "undici")
        seen = [each.is_authorized for each in [*jira.take(), *jira.media.seen]]
        assert seen == ([True] if client == "undici" else [True, False])
        jira.media.seen.clear()


@pytest.fixture(scope="module", params=KINDS)
def danced(request: pytest.FixtureRequest, fork_server: ForkServer) -> Iterator[tuple[Daemon, Danced]]:
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(fork_server))
        yield daemon, add_link(stack, daemon, request.param, "other")


def test_every_other_provider(danced: tuple[Daemon, Danced]) -> None:
    """By the address that its users know, and by the one where it is answered; the twin: a host that is not a link's."""
    daemon, link = danced
    asked = [
        *({"client": client, "method": "GET", "url": link.asked} for client in ("fetch", "axios")),
        *({"client": client, "method": "GET", "url": link.sent} for client in ("fetch", "axios", "undici")),
    ]

    *answers, refused = ask_all(daemon, [*asked, {"client": "fetch", "method": "GET", "url": "http://127.0.0.1:1/user"}])

    for got in answers:
        assert got["status"] == 200, got
        assert f'"{link.user}"' in got["text"]
    assert refused["code"] == "unknown_link"
