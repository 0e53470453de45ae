"""Atlassian Cloud: which token each host takes, and the refusals of the others (facts oauth2 sections 3, 3.1, 5 and 6)."""

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from atl_sign.sandbox import HOSTS, ApproveError, Cloud
from atl_sign.sandbox.__main__ import main
from atl_sign.sandbox.cloud.account import SCOPES, TOKEN_PAGE
from tests.sandbox.browser import Browser, hidden_fields
from tests.sandbox.consumer import JSON, Clock, Reply, send
from tests.sandbox.test_applinks import basic
from tests.sandbox.test_command import running

DAY_S = 86_400
ALICE = "alice@example.com"
MYSELF = "/rest/api/3/myself"
CONFLUENCE_USER = "/wiki/rest/api/user/current"
# Facts oauth2 sections 3 and 6: a wrong token, a scoped one and a bearer at the site.
NOT_AUTHENTICATED = {"message": "Client must be authenticated to access this resource.", "status-code": 401}
# Section 3: the scope is missing at the gateway.
SCOPE_MISSING = {"code": 401, "message": "Unauthorized; scope does not match"}
# Section 4 and 5: Bitbucket Cloud.
TOKEN_REFUSED = {"type": "error", "error": {"message": "Token is invalid, expired, or not supported for this endpoint."}}


@pytest.fixture
def cloud(clock: Clock) -> Iterator[Cloud]:
    """All hosts."""
    with Cloud(clock=clock) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


@pytest.fixture
def at_site(cloud: Cloud) -> Callable[..., Reply]:
    """Send a GET to the site."""
    return lambda path, headers=None: send("GET", cloud.url("site") + path, headers=headers)


@pytest.fixture
def at_gateway(cloud: Cloud) -> Callable[..., Reply]:
    """Send a GET to the gateway, below the product's folder."""
    return lambda product, path, headers=None: send(
        "GET", f"{cloud.url('gateway')}/ex/{product}/{cloud.cloud_id}{path}", headers=headers
    )


@pytest.fixture
def at_bitbucket(cloud: Cloud) -> Callable[..., Reply]:
    """Send a GET to Bitbucket's REST."""
    return lambda path, headers=None: send("GET", cloud.url("bitbucket-api") + path, headers=headers)


def test_tenant_info_tells_the_cloud_id(cloud: Cloud, at_site: Callable[..., Reply]) -> None:
    """To anybody, and whatever credentials come along; nothing of Data Center is there (section 3.1, and facts section 7)."""
    assert at_site("/_edge/tenant_info").json == {"cloudId": cloud.cloud_id}
    assert str(UUID(cloud.cloud_id)) == cloud.cloud_id
    assert at_site("/_edge/tenant_info", basic(ALICE, "wrong")).status == 200
    assert at_site("/rest/api/3/serverInfo").json["deploymentType"] == "Cloud"
    assert at_site("/rest/applinks/1.0/manifest").status == 404
    assert at_site("/wiki/_edge/tenant_info").status == 404


def test_classic_token_at_the_site(cloud: Cloud, at_site: Callable[..., Reply]) -> None:
    """Beside the owner's e-mail address, in any case, for Jira and Confluence (section 6)."""
    token = cloud.make_token().secret

    jira, confluence = at_site(MYSELF, basic(ALICE, token)), at_site(CONFLUENCE_USER, basic("Alice@Example.com", token))

    assert (jira.status, jira.json["emailAddress"], jira.json["displayName"]) == (200, ALICE, "Alice Adams")
    assert (confluence.json["type"], confluence.json["accountId"]) == ("known", jira.json["accountId"])
    assert "name" not in jira.json
    assert [received.verdict for received in cloud.state.requests] == ["basic token", "basic token"]
    assert {received.user for received in cloud.state.requests} == {ALICE}


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ("wrong e-mail", "wrong user"),
        ("user name", "wrong user"),
        ("wrong token", "wrong token"),
        ("password", "wrong token"),
        ("expired", "expired token"),
        ("revoked", "wrong token"),
        ("deactivated", "wrong token"),
        ("bearer", "bearer refused"),
        ("scoped", "scoped token at the site"),
        ("unreadable", "bearer refused"),
    ],
)
def test_refused_at_the_site(cloud: Cloud, at_site: Callable[..., Reply], case: str, verdict: str) -> None:
    """401 with the same words for all, and 200 as nobody where anybody may read; the header alone tells (section 6)."""
    token = cloud.make_token(days=-1 if case == "expired" else 30, scopes=["read:jira-user"] if case == "scoped" else [])
    headers = {
        "wrong e-mail": basic("bob@example.com", token.secret),
        "user name": basic("alice", token.secret),
        "wrong token": basic(ALICE, token.secret + "x"),
        "password": basic(ALICE, "alice"),
        "bearer": {"Authorization": f"Bearer {token.secret}"},
        "unreadable": {"Authorization": "Basic ???"},
    }.get(case, basic(ALICE, token.secret))
    if case == "revoked":
        cloud.revoke_token(token)
    if case == "deactivated":
        cloud.state.accounts.users[ALICE].is_active = False

    refused, confluence, public = (
        at_site(MYSELF, headers),
        at_site(CONFLUENCE_USER, headers),
        at_site("/rest/api/3/project", headers),
    )

    assert (refused.status, refused.json) == (401, NOT_AUTHENTICATED)
    assert (confluence.status, confluence.json) == (401, NOT_AUTHENTICATED)
    assert (public.status, public.json) == (200, [])
    assert {reply.headers["X-Seraph-LoginReason"] for reply in (refused, confluence, public)} == {"AUTHENTICATED_FAILED"}
    assert {received.verdict for received in cloud.state.requests} == {verdict}


def test_nobody_at_the_site(at_site: Callable[..., Reply]) -> None:
    """401 or 200 of type anonymous, and no header that tells of a failure."""
    nobody, confluence = at_site(MYSELF), at_site(CONFLUENCE_USER)

    assert (nobody.status, nobody.json) == (401, NOT_AUTHENTICATED)
    assert (confluence.status, confluence.json["type"]) == (200, "anonymous")
    assert "X-Seraph-LoginReason" not in nobody.headers
    assert at_site("/rest/api/3/issue/WEB-1").status == 404
    assert at_site("/wiki/rest/api/content").json["results"]


def test_scoped_token_at_the_gateway(cloud: Cloud, at_gateway: Callable[..., Reply], at_site: Callable[..., Reply]) -> None:
    """Only there, with links that lead to the site (sections 3.1 and 6)."""
    headers = basic(ALICE, cloud.make_token(scopes=["read:jira-user", "read:jira-work", "read:confluence-user"]).secret)

    myself = at_gateway("jira", MYSELF, headers)

    assert (myself.status, myself.json["emailAddress"]) == (200, ALICE)
    assert myself.json["self"].startswith(cloud.url("site") + "/rest/api/3/user?accountId=")
    assert at_gateway("jira", "/rest/api/2/issue/WEB-1", headers).json["self"].startswith(cloud.url("site") + "/")
    assert at_gateway("confluence", CONFLUENCE_USER, headers).json["type"] == "known"
    assert at_gateway("confluence", CONFLUENCE_USER.removeprefix("/wiki"), headers).status == 200
    assert at_site(MYSELF, headers).status == 401


@pytest.mark.parametrize(
    ("product", "path", "scope"),
    [
        ("jira", MYSELF, "read:jira-user"),
        ("jira", "/rest/api/3/project", "read:jira-work"),
        ("confluence", CONFLUENCE_USER, "read:confluence-user"),
        ("confluence", "/wiki/rest/api/content", "read:confluence-content.all"),
        ("confluence", "/wiki/api/v2/pages", "read:page:confluence"),
        ("confluence", "/wiki/api/v2/spaces", "read:space:confluence"),
    ],
)
def test_missing_scope(cloud: Cloud, at_gateway: Callable[..., Reply], product: str, path: str, scope: str) -> None:
    """401 that does not name the scope; the one scope is enough (section 3)."""
    others = [name for name in SCOPES if name != scope]

    refused = at_gateway(product, path, basic(ALICE, cloud.make_token(scopes=others).secret))
    taken = at_gateway(product, path, basic(ALICE, cloud.make_token(scopes=[scope]).secret))

    assert (refused.status, refused.json) == (401, SCOPE_MISSING)
    assert [received.verdict for received in cloud.state.requests] == ["scope missing", "basic token"]
    assert taken.status == 200


def test_writing_needs_its_own_scope(cloud: Cloud) -> None:
    """An issue and a page, with one scope each."""
    base = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}/rest/api/3/issue"
    issue = json.dumps({"fields": {"project": {"key": "WEB"}, "issuetype": {"name": "Bug"}, "summary": "New"}})
    read, write = (basic(ALICE, cloud.make_token(scopes=[scope]).secret) for scope in ("read:jira-work", "write:jira-work"))

    refused, made = send("POST", base, issue, {**JSON, **read}), send("POST", base, issue, {**JSON, **write})
    wrong = send("POST", base, json.dumps({"fields": {"summary": "New"}}), {**JSON, **write})

    assert (refused.status, refused.json, made.status, wrong.status) == (401, SCOPE_MISSING, 201, 400)
    site, page = cloud.url("site") + "/wiki/rest/api/content", {"type": "page", "title": "New", "space": {"key": "TEAM"}}
    classic = {**JSON, **basic(ALICE, cloud.make_token().secret)}
    assert send("POST", site, json.dumps(page), classic).json["title"] == "New"
    assert send("POST", site, json.dumps({**page, "space": {"key": "NONE"}}), classic).status == 404
    assert send("POST", site, json.dumps(page), JSON).status == 401


@pytest.mark.parametrize("case", ["nobody", "wrong token", "wrong e-mail", "revoked", "expired", "bearer"])
def test_refused_at_the_gateway(cloud: Cloud, at_gateway: Callable[..., Reply], case: str) -> None:
    """401; only Confluence's gateway answers an expired token otherwise (section 3)."""
    token = cloud.make_token(scopes=SCOPES, days=-1 if case == "expired" else 30)
    if case == "revoked":
        cloud.revoke_token(token)
    headers = {
        "nobody": {},
        "wrong token": basic(ALICE, "x"),
        "wrong e-mail": basic("bob@example.com", token.secret),
        "bearer": {"Authorization": f"Bearer {token.secret}"},
    }.get(case, basic(ALICE, token.secret))

    jira = at_gateway("jira", MYSELF, headers)
    old, new = at_gateway("confluence", CONFLUENCE_USER, headers), at_gateway("confluence", "/wiki/api/v2/pages", headers)

    assert (jira.status, jira.json) == (401, {"code": 401, "message": "Unauthorized"})
    assert (old.status, new.status) == ((403, 404) if case == "expired" else (401, 401))


def test_classic_token_at_the_gateway(clock: Clock) -> None:
    """It works there, as is believed of the real one, or is refused when the sandbox is asked to (section 6)."""
    for takes_classic, status in ((True, 200), (False, 401)):
        with Cloud(clock=clock, takes_classic_at_gateway=takes_classic) as cloud:
            url = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}{MYSELF}"
            assert send("GET", url, headers=basic(ALICE, cloud.make_token().secret)).status == status
            assert send("GET", url, headers=basic(ALICE, cloud.make_token(scopes=SCOPES).secret)).status == 200
            assert send("GET", cloud.url("site") + MYSELF, headers=basic(ALICE, cloud.make_token().secret)).status == 200


def test_what_the_gateway_does_not_have(cloud: Cloud, at_gateway: Callable[..., Reply]) -> None:
    """Removed calls are 410, pages and the other product's calls 404, and so is another site (section 3.1)."""
    headers = basic(ALICE, cloud.make_token(scopes=SCOPES).secret)

    assert at_gateway("confluence", "/wiki/rest/api/space", headers).status == 410
    assert at_gateway("jira", "/browse/WEB-1", headers).status == 404
    assert at_gateway("jira", CONFLUENCE_USER, headers).status == 404
    assert at_gateway("bitbucket", "/2.0/user", headers).status == 404
    assert at_gateway("jira", "/_edge/tenant_info", headers).status == 404
    other = f"{cloud.url('gateway')}/ex/jira/00000000-0000-4000-8000-000000000000{MYSELF}"
    assert send("GET", other, headers=headers).status == 404
    assert send("DELETE", f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}{MYSELF}", headers=headers).headers["Allow"] == "GET"


def test_a_token_ends(cloud: Cloud, clock: Clock, at_site: Callable[..., Reply]) -> None:
    """On its last day at the latest; one from before tokens had an end does not."""
    short, endless = cloud.make_token(days=1).secret, cloud.make_token(days=None).secret

    clock.now += DAY_S - 1
    assert at_site(MYSELF, basic(ALICE, short)).status == 200
    clock.now += 1
    assert at_site(MYSELF, basic(ALICE, short)).status == 401
    assert at_site(MYSELF, basic(ALICE, endless)).status == 200


def test_account_page_makes_tokens(cloud: Cloud, at_site: Callable[..., Reply], at_gateway: Callable[..., Reply]) -> None:
    """With scopes or without, for 1 to 365 days; revoked there too."""
    classic, scoped = cloud.ask_for_token(), cloud.ask_for_token(scope="read:jira-user")

    assert re.fullmatch(r"ATATT3xFfGF0[A-Za-z0-9+/]{170,}={0,2}", classic)
    assert at_site(MYSELF, basic(ALICE, classic)).status == 200
    assert at_gateway("jira", MYSELF, basic(ALICE, scoped)).status == 200
    assert at_site(MYSELF, basic(ALICE, scoped)).status == 401
    for days in ("", "0", "366", "x"):
        with pytest.raises(ApproveError, match="days must be a number from 1 to 365"):
            cloud.ask_for_token(days=days)
    with pytest.raises(ApproveError, match="permissions must name some of"):
        cloud.ask_for_token(scope="read:everything")
    browser = Browser(cloud.url("account"))
    assert browser.get(TOKEN_PAGE).headers["Location"].startswith("/login?")
    assert browser.log_in("alice", "/login").status == 200  # not with the bare name
    browser.log_in(ALICE, "/login", "alice")
    assert "logged in as alice@example.com" in browser.get("/").text
    for _ in range(2):
        browser.post(TOKEN_PAGE, hidden_fields(browser.get(TOKEN_PAGE).text))
    assert at_site(MYSELF, basic(ALICE, classic)).status == 401


def test_account_has_nothing_of_data_center(cloud: Cloud) -> None:
    """No application links, no OAuth 1.0a, and none of it in the other hosts either."""
    for host in HOSTS:
        for path in ("/rest/applinks/1.0/manifest", "/plugins/servlet/oauth/consumer-info", "/rest/pat/latest/tokens"):
            assert send("GET", cloud.url(host) + path).status in (401, 404)
    assert send("GET", cloud.url("site") + "/rest/api/%2e%2F").status == 400


def test_bitbucket_cloud(cloud: Cloud, at_bitbucket: Callable[..., Reply]) -> None:
    """Basic with the e-mail address and a scoped token; the user name is another thing (section 5)."""
    headers = basic(ALICE, cloud.make_token(scopes=["read:user:bitbucket", "read:repository:bitbucket"]).secret)

    user, shop = at_bitbucket("/2.0/user", headers), at_bitbucket("/2.0/repositories/acme/shop", headers)

    assert (user.json["username"], user.json["display_name"]) == ("alice", "Alice Adams")
    assert shop.json["links"]["clone"] == [{"name": "https", "href": cloud.url("bitbucket") + "/acme/shop.git"}]
    assert [value["slug"] for value in at_bitbucket("/2.0/repositories/acme", headers).json["values"]] == ["shop", "docs"]
    assert [value["slug"] for value in at_bitbucket("/2.0/repositories/acme").json["values"]] == ["docs"]
    assert at_bitbucket("/2.0/repositories/acme/shop").status == 404
    assert at_bitbucket("/2.0/repositories/acme/docs").json["is_private"] is False
    assert at_bitbucket("/2.0/user").status == 401


@pytest.mark.parametrize("case", ["classic", "user name", "git user", "bearer", "expired", "wrong", "app password"])
def test_refused_at_bitbucket_cloud(cloud: Cloud, at_bitbucket: Callable[..., Reply], case: str) -> None:
    """401 with the same words, also where anybody may read (section 5)."""
    token = cloud.make_token(scopes=[] if case == "classic" else SCOPES, days=-1 if case == "expired" else 30).secret
    headers = {
        "user name": basic("alice", token),
        "git user": basic("x-bitbucket-api-token-auth", token),
        "bearer": {"Authorization": f"Bearer {token}"},
        "wrong": basic(ALICE, "x"),
        "app password": basic(ALICE, "ATBBx"),
    }.get(case, basic(ALICE, token))

    for path in ("/2.0/user", "/2.0/repositories/acme/docs"):
        refused = at_bitbucket(path, headers)
        assert (refused.status, refused.json) == (401, TOKEN_REFUSED)


def test_missing_scope_at_bitbucket_cloud(cloud: Cloud, at_bitbucket: Callable[..., Reply]) -> None:
    """403 that names what is needed; writing does not imply reading (sections 4 and 5)."""
    refused = at_bitbucket("/2.0/repositories/acme", basic(ALICE, cloud.make_token(scopes=["write:repository:bitbucket"]).secret))

    assert refused.status == 403
    assert refused.json["error"] == {
        "message": "Your credentials lack one or more required privilege scopes.",
        "detail": {"required": ["read:repository:bitbucket"], "granted": ["write:repository:bitbucket"]},
    }


@pytest.mark.parametrize(
    ("name", "scopes", "service", "status"),
    [
        ("alice", ["read:repository:bitbucket"], "git-upload-pack", 200),
        ("x-bitbucket-api-token-auth", ["read:repository:bitbucket"], "git-upload-pack", 200),
        ("alice", ["read:repository:bitbucket"], "git-receive-pack", 403),
        ("alice", ["write:repository:bitbucket"], "git-receive-pack", 200),
        ("alice", ["write:repository:bitbucket"], "git-upload-pack", 403),
        (ALICE, ["read:repository:bitbucket"], "git-upload-pack", 401),
        ("bob", ["read:repository:bitbucket"], "git-upload-pack", 401),
        ("alice", [], "git-upload-pack", 401),
    ],
)
def test_git_at_bitbucket_cloud(cloud: Cloud, name: str, scopes: list[str], service: str, status: int) -> None:
    """The Bitbucket user name or the fixed one beside the token, not the e-mail address (section 5)."""
    url = f"{cloud.url('bitbucket')}/acme/shop.git/info/refs?service={service}"

    reply = send("GET", url, headers=basic(name, cloud.make_token(scopes=scopes).secret))

    assert reply.status == status
    assert status != 401 or reply.headers["WWW-Authenticate"] == 'Basic realm="Bitbucket.org HTTP"'
    assert status != 200 or f"# service={service}" in reply.text


def test_git_of_nobody_at_bitbucket_cloud(cloud: Cloud) -> None:
    """A public repository is read; everything else wants a login, and an app password is 410 (section 5)."""
    base = cloud.url("bitbucket")

    assert send("GET", base + "/acme/docs.git/info/refs?service=git-upload-pack").status == 200
    assert send("GET", base + "/acme/docs.git/info/refs?service=git-receive-pack").status == 401
    assert send("GET", base + "/acme/shop.git/info/refs?service=git-upload-pack").status == 401
    assert send("GET", base + "/acme/docs.git/HEAD").status == 404
    app_password = basic("alice", "ATBBx")
    assert send("GET", base + "/acme/shop.git/info/refs?service=git-upload-pack", headers=app_password).status == 410
    known = basic("alice", cloud.make_token(scopes=SCOPES).secret)
    assert send("GET", base + "/acme/none.git/info/refs?service=git-upload-pack", headers=known).status == 404


def test_making_a_token_is_checked(cloud: Cloud) -> None:
    """Unknown accounts and scopes are refused by name."""
    with pytest.raises(ValueError, match="no account alice"):
        cloud.make_token("alice")
    with pytest.raises(ValueError, match="no scope read:nothing"):
        cloud.make_token(scopes=["read:jira-user", "read:nothing"])


def test_cloud_keeps_its_ports(clock: Clock) -> None:
    """Stopped and started again; stopping twice is fine."""
    cloud = Cloud(clock=clock)
    with cloud:
        addresses = [cloud.url(host) for host in HOSTS]
    cloud.stop()
    with cloud:
        assert [cloud.url(host) for host in HOSTS] == addresses
        assert len(set(addresses)) == 6


@contextmanager
def taken_after_a_free_port() -> Iterator[int]:
    """Take a port whose predecessor nobody has, and give the predecessor."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            first: int = taken.getsockname()[1] - 1
            try:
                socket.create_server(("127.0.0.1", first)).close()
            except OSError:
                continue
            yield first
            return
    pytest.fail("no two ports in a row")


def test_port_that_is_taken_leaves_none_open() -> None:
    """Also when the first of the six is free."""
    with taken_after_a_free_port() as first:
        with pytest.raises(OSError, match="in use"):
            Cloud(port=first).start()

        socket.create_server(("127.0.0.1", first)).close()


def test_command_prints_the_addresses_of_cloud() -> None:
    """After those of the products."""
    with running("--product", "jira", "--cloud", "--scoped-only") as (process, addresses):
        assert process.stdout is not None
        addresses |= dict(process.stdout.readline().split() for _ in HOSTS)
        tenant = send("GET", addresses["cloud-site"] + "/_edge/tenant_info").json
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    assert list(addresses) == ["jira", *(f"cloud-{host}" for host in HOSTS)]
    assert list(tenant) == ["cloudId"]


def test_scoped_only_goes_with_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage without it."""
    with pytest.raises(SystemExit) as caught:
        main(["--scoped-only"])

    assert caught.value.code == 2
    assert "--scoped-only goes with --cloud" in capsys.readouterr().err


def test_cloud_needs_six_more_ports(capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage near the last one; a taken one among them is named."""
    with pytest.raises(SystemExit):
        main(["--port", "65530", "--cloud"])
    assert "there are no 6 ports from 65531 on" in capsys.readouterr().err
    with taken_after_a_free_port() as first:
        assert main(["--port", str(first), "--cloud"]) == 1
    assert f"cannot listen on port {first + 1}: " in capsys.readouterr().err
