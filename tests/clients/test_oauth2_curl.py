"""`atl-sign curl` with links of OAuth 2.0: a line has the address that its user knows, and the token goes where it is valid."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.danced_links import (
    KINDS,
    MEDIA_FILE,
    MYSELF,
    Danced,
    Host,
    Jira,
    Site,
    add_link,
    atl_sign,
    start_jira,
    start_site,
)
from tests.fork_server import ForkServer
from tests.lab import Daemon

REFUSED = 125  # nothing was sent


@pytest.fixture(scope="module")
def started(fork_server: ForkServer) -> Iterator[Site]:
    with ExitStack() as stack:
        yield start_site(stack, stack.enter_context(Daemon(fork_server)))


@pytest.fixture
def site(started: Site) -> Site:
    """Nothing came in yet."""
    started.take()
    started.media.seen.clear()
    return started


@pytest.fixture
def elsewhere() -> Iterator[Host]:
    """A host that is not a link's."""
    with Host() as host:
        yield host


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-G", "-d", "expand=lead"),
        ("--url-query", "expand=lead"),
        ("-L", "--retry", "1"),
        ("--compressed", "--http1.1"),
        ("-o", "/dev/null", "-w", "%{http_code}"),
    ],
)
def test_a_line_with_the_sites_address_is_sent_to_the_gateway(options: tuple[str, ...], site: Site) -> None:
    """With the query that the line makes, and once; the twin: the site is asked for nothing."""
    before = site.at_site()

    sent = atl_sign(site.daemon, "curl", "-sS", *options, f"{site.url}/rest/api/3/project?maxResults=5")

    assert sent.returncode == 0, sent.stderr
    assert "WEB" in sent.stdout or sent.stdout == "200"
    (seen,) = site.take()
    query = "?maxResults=5&expand=lead" if "expand=lead" in options else "?maxResults=5"
    assert (seen.path, seen.status) == (f"{site.prefix}/rest/api/3/project{query}", 200)
    assert site.at_site() == before


def test_the_token_is_the_link_s_and_no_other_host_s(site: Site, elsewhere: Host) -> None:
    """The twins: the same request with no daemon, with a token of the caller's, and to a host that is not a link's."""
    assert atl_sign(site.daemon, "curl", "-sS", site.url + MYSELF).returncode == 0
    (seen,) = site.take()
    assert seen.authorization is not None
    assert seen.authorization.removeprefix("Bearer ") in site.cloud.oauth2("auth").access_tokens

    with_own = atl_sign(site.daemon, "curl", "-sS", "--oauth2-bearer", "mine", site.url + MYSELF)
    assert (with_own.returncode, "credentials of its own" in with_own.stderr) == (REFUSED, True)
    refused = atl_sign(site.daemon, "curl", "-sS", f"{elsewhere.url}{MYSELF}")
    assert (refused.returncode, "no application link covers this URL" in refused.stderr) == (REFUSED, True)
    assert (site.take(), elsewhere.seen) == ([], [])


def test_a_post_with_json_and_the_address_in_its_answer(site: Site) -> None:
    """The new issue's `self` names the site, and the same command follows it; the twin: the site refuses the token there."""
    fields = {"fields": {"project": {"key": "WEB"}, "issuetype": {"name": "Bug"}, "summary": "by curl"}}
    options = ("-sS", "-H", "Content-Type: application/json", "--data-binary", "@-")

    made = atl_sign(site.daemon, "curl", *options, f"{site.url}/rest/api/3/issue", stdin=json.dumps(fields))

    assert made.returncode == 0, made.stderr
    place = json.loads(made.stdout)["self"]
    assert place.startswith(f"{site.url}/rest/api/3/issue/")
    shown = atl_sign(site.daemon, "curl", "-sS", place)
    assert json.loads(shown.stdout)["fields"]["summary"] == "by curl", shown.stderr
    posted, got = site.take()
    assert (posted.method, posted.status, json.loads(posted.body)) == ("POST", 201, fields)
    assert got.path == place.replace(site.url, site.prefix)


def test_a_form_is_sent_as_it_is(site: Site) -> None:
    """A token covers no form, so that the body streams."""
    sent = atl_sign(site.daemon, "curl", "-sS", "-d", "a=1", "-d", "b= ä", f"{site.url}/rest/api/3/issue/WEB-1/attachments")

    assert sent.returncode == 0, sent.stderr
    (seen,) = site.take()
    assert (seen.method, seen.body.decode()) == ("POST", "a=1&b= ä")


@pytest.mark.parametrize("by", ["multipart", "put", "chunks"])
def test_an_upload(by: str, site: Site) -> None:
    """A file goes to the gateway whole; the twin: for a path that the gateway lacks, not a byte is sent."""
    file = site.daemon.folder / "upload.bin"
    file.write_bytes(bytes(range(256)) * 2_000)
    options = {
        "multipart": ("-H", "X-Atlassian-Token: no-check", "-F", f"file=@{file}"),
        "put": ("-T", str(file)),
        "chunks": ("-X", "POST", "-T", "-", "-H", "Content-Type: application/octet-stream"),
    }[by]
    url = f"{site.url}/rest/api/3/issue/WEB-1/attachments"
    line = ("curl", "-sS", *options)
    stdin = "chunk " * 20_000 if by == "chunks" else ""

    sent = atl_sign(site.daemon, *line, url, stdin=stdin)

    assert sent.returncode == 0, sent.stderr
    (seen,) = site.take()
    wanted = stdin.encode() if by == "chunks" else file.read_bytes()
    assert (seen.body == wanted) if by != "multipart" else (wanted in seen.body)
    assert seen.is_authorized
    refused = atl_sign(site.daemon, *line, f"{site.url}/secure/upload", stdin=stdin)
    assert (refused.returncode, "has no /secure/upload" in refused.stderr) == (REFUSED, True)
    assert site.take() == []


PROJECT = "/rest/api/3/project"


@pytest.mark.parametrize(
    "location",
    ["project", f"/ex/jira/{{id}}{PROJECT}", f"{{front}}/ex/jira/{{id}}{PROJECT}", f"{{site}}{PROJECT}"],
    ids=["relative", "path", "gateway", "site"],
)
def test_a_redirect_inside_the_site_is_authorized(location: str, site: Site) -> None:
    """However it names the place, also when the line does not let curl follow; the twin is the next test."""
    site.gateway.location = location

    followed = atl_sign(site.daemon, "curl", "-sSL", f"{site.url}/rest/api/3/moved")

    assert followed.returncode == 0, followed.stderr
    assert "WEB" in followed.stdout
    assert [(each.path, each.is_authorized) for each in site.take()] == [
        (f"{site.prefix}/rest/api/3/moved", True),
        (f"{site.prefix}{PROJECT}", True),
    ]
    shown = atl_sign(site.daemon, "curl", "-sS", "-o", "/dev/null", "-w", "%{redirect_url}", f"{site.url}/rest/api/3/moved")
    place = shown.stdout
    assert place == f"{site.url}{PROJECT}", "seen from the address that the line has"
    assert "WEB" in atl_sign(site.daemon, "curl", "-sS", place).stdout


@pytest.mark.parametrize("location", ["{front}/elsewhere", "{front}/ex/jira/another/rest/api/3/project"])
def test_a_redirect_out_of_the_site_at_the_gateway_has_no_token(location: str, site: Site) -> None:
    """Another site's part of the same gateway is somebody else's."""
    site.gateway.location = location

    atl_sign(site.daemon, "curl", "-sSL", f"{site.url}/rest/api/3/moved")

    assert [each.is_authorized for each in site.take()] == [True, False]


@pytest.mark.parametrize("asked", ["site", "gateway"])
@pytest.mark.parametrize(
    "location", ["{front}/ex/confluence/{id}/wiki/rest/api/user/current", "{site}/wiki/rest/api/user/current"]
)
def test_a_redirect_to_another_link_is_not_authorized(asked: str, location: str, site: Site) -> None:
    """A provider does not decide what is done with another link's right, though a gateway serves both; the twin: by itself."""
    current, before = "/wiki/rest/api/user/current", site.at_site()
    site.gateway.location = location

    atl_sign(site.daemon, "curl", "-sSL", f"{site.url if asked == 'site' else site.there}/rest/api/3/moved")

    seen = site.take()
    assert [each.is_authorized for each in seen] == ([True, False] if "{front}" in location else [True])
    assert site.at_site() == before + 2 - len(seen)
    own = atl_sign(site.daemon, "curl", "-sS", f"{site.gateway.url}/ex/confluence/{site.cloud.cloud_id}{current}")
    assert '"known"' in own.stdout, own.stderr
    assert [each.is_authorized for each in site.take()] == [True]


def test_a_location_that_is_none_passes_as_it_is(site: Site) -> None:
    """The answer is the provider's; the twin: a good one is seen from the site's address, above."""
    site.gateway.location = "http://["

    shown = atl_sign(site.daemon, "curl", "-sS", "-i", f"{site.url}/rest/api/3/moved")

    assert shown.returncode == 0, shown.stderr
    assert "Location: http://[\n" in shown.stdout.replace("\r", "")


def test_an_attachment_comes_from_the_media_host_without_the_token(site: Site) -> None:
    """Its address in JSON is the site's, and leads by the gateway to the media host; the twin: the gateway did get the token."""
    fetched = atl_sign(site.daemon, "curl", "-sSL", f"{site.url}/rest/api/3/attachment/content/10000")

    assert (fetched.returncode, fetched.stdout) == (0, MEDIA_FILE), fetched.stderr
    assert [each.is_authorized for each in site.take()] == [True]
    assert [(each.path, each.authorization) for each in site.media.seen] == [("/file/1?token=media", None)]


def test_a_redirect_to_a_page_of_the_site_is_refused(site: Site) -> None:
    """The gateway has no pages, and the site takes no token; the message names the page."""
    site.gateway.location, before = "{site}/browse/WEB-1", site.at_site()

    refused = atl_sign(site.daemon, "curl", "-sSL", f"{site.url}/rest/api/3/moved")

    assert (refused.returncode, "has no /browse/WEB-1" in refused.stderr) == (REFUSED, True)
    assert len(site.take()) == 1
    assert site.at_site() == before


@pytest.mark.parametrize("path", ["/browse/WEB-1", "/secure/Dashboard.jspa", "/plugins/servlet/x", "/gateway/api/graphql", "/"])
def test_a_path_that_the_gateway_lacks_is_refused_by_name(path: str, site: Site) -> None:
    """Nothing is sent, neither there nor to the site."""
    before = site.at_site()

    refused = atl_sign(site.daemon, "curl", "-sS", site.url + path)

    assert refused.returncode == REFUSED
    assert f"the gateway {site.gateway.url}, where this token is good, has no {path}" in refused.stderr
    assert f"hint: call the REST API below {site.url}/rest/" in refused.stderr
    assert site.take() == []
    assert site.at_site() == before


def test_confluence_keeps_its_path_at_the_gateway(site: Site) -> None:
    """Both of its interfaces; the twin: a page, and an address that is Jira's."""
    for path in ("/wiki/rest/api/user/current", "/wiki/api/v2/pages"):
        atl_sign(site.daemon, "curl", "-sS", f"{site.url}{path}")
        (seen,) = site.take()
        assert (seen.path, seen.is_authorized) == (f"/ex/confluence/{site.cloud.cloud_id}{path}", True)
    refused = atl_sign(site.daemon, "curl", "-sS", f"{site.url}/wiki/spaces/DEV")
    assert (refused.returncode, "has no /spaces/DEV" in refused.stderr) == (REFUSED, True)
    assert site.take() == []


def test_the_gateways_own_address(site: Site) -> None:
    """Written in the line; the twin: another site's, and no site's."""
    answer = atl_sign(site.daemon, "curl", "-sS", f"{site.there}{MYSELF}")
    named = atl_sign(site.daemon, "curl", "--link", "cloud", "-sS", f"{site.there}{MYSELF}")

    for each in (answer, named):
        assert '"accountId"' in each.stdout, each.stderr
    assert [each.path for each in site.take()] == [f"{site.prefix}{MYSELF}"] * 2
    for path in (f"/ex/jira/another{MYSELF}", "/me", "/oauth/token/accessible-resources"):
        refused = atl_sign(site.daemon, "curl", "-sS", f"{site.gateway.url}{path}")
        assert (refused.returncode, "no application link covers this URL" in refused.stderr) == (REFUSED, True), path
    assert site.take() == []


def test_a_retry_has_the_token_too(site: Site) -> None:
    """Each of its requests; the twin: without the option there is one."""
    answers = iter([503, 503, 200])
    site.gateway.fixed["/busy"] = lambda: ((status := next(answers)), {}, b"busy" if status == 503 else b"at last")

    once = atl_sign(site.daemon, "curl", "-sS", f"{site.url}/rest/api/3/busy")
    again = atl_sign(site.daemon, "curl", "-sS", "--retry", "1", "--retry-delay", "1", f"{site.url}/rest/api/3/busy")

    assert (once.stdout, again.stdout.endswith("at last")) == ("busy", True), again.stderr
    assert [each.is_authorized for each in site.take()] == [True] * 3


@pytest.fixture(scope="module")
def jira(fork_server: ForkServer) -> Iterator[Jira]:
    with ExitStack() as stack:
        yield start_jira(stack, stack.enter_context(Daemon(fork_server)))


def test_data_center(jira: Jira) -> None:
    """Nothing is sent elsewhere; a redirect inside the link has the token, its twins have none: beside it and at another host."""
    url = f"{jira.url}/rest/api/2/moved"

    posted = atl_sign(jira.daemon, "curl", "-sS", "-d", "a=1", f"{jira.url}/rest/api/2/issue/WEB-1/attachments")

    assert posted.returncode == 0, posted.stderr
    assert [(each.body, each.is_authorized) for each in jira.take()] == [(b"a=1", True)]
    for location in ("myself", "/jira/rest/api/2/myself", "{front}/jira/rest/api/2/myself"):
        jira.front.location = location
        assert '"alice"' in atl_sign(jira.daemon, "curl", "-sSL", url).stdout
        assert [each.is_authorized for each in jira.take()] == [True, True]
    for location in ("/elsewhere", "{media}/file"):
        jira.front.location = location
        atl_sign(jira.daemon, "curl", "-sSL", url)
        assert [each.is_authorized for each in [*jira.take(), *jira.media.seen]] == [True, False]
        jira.media.seen.clear()


@pytest.fixture(scope="module", params=KINDS)
def danced(request: pytest.FixtureRequest, fork_server: ForkServer) -> Iterator[tuple[Daemon, Danced]]:
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(fork_server))
        yield daemon, add_link(stack, daemon, request.param, "other")


def test_every_other_provider(danced: tuple[Daemon, Danced]) -> None:
    """By the address that its users know, and by the one where it is answered; the twin: nobody, without the daemon."""
    daemon, link = danced

    for url in dict.fromkeys((link.asked, link.sent)):
        answer = atl_sign(daemon, "curl", "-sS", url)
        assert (answer.returncode, f'"{link.user}"' in answer.stdout) == (0, True), answer.stderr + answer.stdout
    refused = atl_sign(daemon, "curl", "-sS", "http://127.0.0.1:1/user")
    assert (refused.returncode, "no application link covers this URL" in refused.stderr) == (REFUSED, True)
