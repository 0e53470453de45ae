"""Leases on links of OAuth 2.0: their holder uses the token by way of the daemon, within the rules, and never sees it."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.test_audit import entries
from tests.clients.danced_links import ATL_SIGN, KINDS, MYSELF, Danced, Reply, Site, add_link, atl_sign, start_site
from tests.fork_server import ForkServer
from tests.lab import Daemon, UnixConnection, wait_for
from tests.lease_lab import ask, code_of, open_lease, revoke_all, send, sign

NOT_STARTED = 125
PROJECT = "/rest/api/3/project"
ISSUE = "/rest/api/3/issue/WEB-1"


@pytest.fixture(scope="module")
def started(fork_server: ForkServer) -> Iterator[Site]:
    with ExitStack() as stack:
        yield start_site(stack, stack.enter_context(Daemon(fork_server)))


@pytest.fixture
def site(started: Site) -> Iterator[Site]:
    """Nothing came in yet; the leases of a test are revoked after it."""
    started.take()
    started.media.seen.clear()
    yield started
    started.gateway.fixed.clear()
    revoke_all(started.daemon)


def via_host(lease: dict[str, Any], url: str, method: str = "GET", fields: dict[str, Any] | None = None) -> Any:
    """Send a request for *url* through http.sock, as a program that keeps the real address does."""
    host, _, path = url.removeprefix("http://").partition("/")
    return ask(lease["sockets"]["http"], method, f"/{path}", fields, headers={"Host": host})


@pytest.mark.parametrize("at", ["link", "site", "gateway"])
def test_a_default_lease_may_read(at: str, site: Site) -> None:
    """Below the link's name, at the site's address and at the gateway's; the twins: writing, pages, and another site."""
    lease = open_lease(site.daemon, links=["cloud"])
    base = site.url if at == "site" else site.there

    def get(path: str, method: str = "GET") -> Any:
        return send(lease, f"/cloud{path}", method) if at == "link" else via_host(lease, base + path, method)

    allowed = get(MYSELF)
    assert (allowed.status, allowed.json["emailAddress"]) == (200, "alice@example.com"), allowed.text
    (seen,) = site.take()
    assert seen.path == f"{site.prefix}{MYSELF}"
    for method, path in (
        ("POST", "/rest/api/3/issue"),
        ("DELETE", ISSUE),
        ("GET", "/rest/../secure/x"),
        ("GET", "/browse/WEB-1"),
    ):
        refused = get(path, method)
        assert refused.status == 403
        assert code_of(refused) in ("lease_denied", "path_ambiguous"), (method, path)
    other = via_host(lease, f"{site.gateway.url}/ex/jira/another{MYSELF}")
    assert (other.status, code_of(other)) == (403, "lease_denied")
    assert site.take() == []
    shown = site.daemon.request("GET", f"/leases/{lease['id']}").json
    assert (shown["allowed"], shown["denied"]) == (1, 4)


@pytest.mark.parametrize("at", ["site", "gateway"])
def test_rules_are_about_the_path_below_the_base_url(at: str, site: Site) -> None:
    """The same lines hold at either address; the twins: a denied path, and one of another product's."""
    lease = open_lease(site.daemon, links=["cloud", "wiki"], allow=["GET /rest/api/*/project", "GET /rest/api/user/current"])
    jira = site.url if at == "site" else site.there
    wiki = f"{site.url}/wiki" if at == "site" else f"{site.gateway.url}/ex/confluence/{site.cloud.cloud_id}/wiki"

    assert via_host(lease, jira + PROJECT).status == 200
    assert via_host(lease, f"{wiki}/rest/api/user/current").status == 200
    assert [each.status for each in site.take()] == [200, 200]
    for url in (jira + MYSELF, f"{wiki}/rest/api/content", f"{wiki}{PROJECT}/x", f"{jira}/rest/api/user"):
        assert code_of(via_host(lease, url)) == "lease_denied", url
    assert site.take() == []


def test_a_lease_of_one_link_is_not_for_the_other_s_part_of_the_site(site: Site) -> None:
    """Though both share one token; the twin: its own part."""
    lease = open_lease(site.daemon, links=["wiki"], allow=["* /**"])

    for url in (site.url + MYSELF, site.there + MYSELF):
        assert code_of(via_host(lease, url)) == "lease_denied"
    assert site.take() == []
    assert via_host(lease, f"{site.url}/wiki/rest/api/user/current").status == 200


def test_a_tool_with_a_base_url_stays_at_its_entry(site: Site) -> None:
    """The site's addresses in JSON, written and read, and redirects are the entry's; the twin: what leads out."""
    lease = open_lease(site.daemon, links=["cloud"], allow=["read", "POST /rest/api/3/issue"])
    fields = {"fields": {"project": {"key": "WEB"}, "issuetype": {"name": "Bug"}, "summary": "by a tool"}}

    made = ask(lease["sockets"]["http"], "POST", "/cloud/rest/api/3/issue", fields, headers={"Host": "localhost"})

    assert made.status == 201
    place = made.json["self"]
    assert place.startswith("http://localhost/cloud/rest/api/3/issue/")
    assert send(lease, place.removeprefix("http://localhost")).json["fields"]["summary"] == "by a tool"
    for location in ("project", f"{site.prefix}{PROJECT}", f"{{front}}{site.prefix}{PROJECT}", f"{{site}}{PROJECT}"):
        site.gateway.location = location
        followed = send(lease, "/cloud/rest/api/3/moved")
        assert (followed.status, followed.json[0]["key"]) == (200, "WEB"), location
    site.take()
    led_out = send(lease, "/cloud/rest/api/3/attachment/content/10000")
    assert (led_out.status, led_out.headers["Location"]) == (303, f"{site.media.url}/file/1?token=media")
    assert [each.is_authorized for each in site.take()] == [True]
    assert site.media.seen == []


def test_run_leads_an_unmodified_program_through_its_lease(site: Site) -> None:
    """With the site's address; the twin: what the rules deny."""
    show = "-o /dev/null -w %{redirect_url}"
    line = f"curl -sS {site.url}{MYSELF}; curl -sS {show} {site.url}/rest/api/3/attachment/content/1"

    done = atl_sign(site.daemon, "run", "--link", "cloud", "--", "bash", "-c", line)

    assert done.returncode == 0, done.stderr
    assert '"alice@example.com"' in done.stdout
    assert done.stdout.endswith(f"{site.media.url}/file/1?token=media")
    assert [each.is_authorized for each in site.take()] == [True, True]
    denied = atl_sign(
        site.daemon, "run", "--link", "cloud", "--", "curl", "-sS", "-w", "%{http_code}", "-X", "DELETE", site.url + ISSUE
    )
    assert "the lease does not allow DELETE" in denied.stdout
    assert denied.stdout.endswith("403")
    assert site.take() == []


def test_a_header_is_given_out_only_where_that_is_allowed_by_name(site: Site) -> None:
    """By command and API; the twin: a link whose headers are good for one request."""
    url = site.url + MYSELF
    words = ("sign.sock would give out the token of link cloud", "--allow-reusable")

    for refused in (
        atl_sign(site.daemon, "lease", "new", "--link", "cloud", "--sign"),
        atl_sign(site.daemon, "run", "--link", "cloud", "--sign", "--", "touch", "started"),
    ):
        assert refused.returncode in (1, NOT_STARTED)
        assert all(word in refused.stderr for word in words), refused.stderr
    assert not (site.daemon.folder / "started").exists()
    api = site.daemon.request("POST", "/leases", {"links": ["cloud"], "entries": ["sign"]})
    assert (api.status, api.code) == (400, "bad_request")

    opened = atl_sign(site.daemon, "lease", "new", "--link", "cloud", "--sign", "--allow-reusable", "--json")
    answer = sign(json.loads(opened.stdout), url)
    assert (answer.json["url"], answer.json["uses"]) == (site.there + MYSELF, "many")
    assert sign(json.loads(opened.stdout), url, "POST").code == "lease_denied"
    script = f'"{ATL_SIGN}" header --with-url GET {url}'
    run = atl_sign(site.daemon, "run", "--link", "cloud", "--sign", "--allow-reusable", "--", "bash", "-c", script)
    header, there = run.stdout.splitlines()
    assert there == site.there + MYSELF
    headers = {"Authorization": header.removeprefix("Authorization: ")}
    assert requests.get(there, headers=headers, timeout=10).status_code == 200
    wrong = atl_sign(site.daemon, "run", "--allow-reusable", "--", "true")
    assert (wrong.returncode, "--allow-reusable goes with --sign" in wrong.stderr) == (2, True)


def test_a_link_that_becomes_one_of_tokens_gives_no_header(fork_server: ForkServer) -> None:
    """Though the lease was opened before that; the twin: its requests go on."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(fork_server))
        daemon.request("PUT", "/links/jira", {"url": "http://127.0.0.1:1", "consumer_key": "me"})
        lease = open_lease(daemon, links=["jira"], entries=["http", "sign"])
        daemon.request("DELETE", "/links/jira")
        link = add_link(stack, daemon, "datacenter", "jira")

        refused = sign(lease, link.asked)

        assert (refused.status, refused.code) == (403, "lease_denied")
        assert "good for any request" in refused.message
        assert via_host(lease, link.asked).status == 200


def test_uses_are_counted_with_a_redirect_too(site: Site) -> None:
    """Each request that is sent is one; the twin: one too many."""
    lease = open_lease(site.daemon, links=["cloud"], uses=3)
    site.gateway.location = "project"

    assert send(lease, f"/cloud{MYSELF}").status == 200
    assert send(lease, "/cloud/rest/api/3/moved").status == 200
    refused = send(lease, f"/cloud{MYSELF}")

    assert code_of(refused) == "lease_used_up"
    assert len(site.take()) == 3


def test_after_a_revocation_no_byte_comes(site: Site) -> None:
    """Of what is under way; and the entries are gone."""
    sent = 0

    def drops() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x"
            time.sleep(0.005)

    def slow() -> Reply:
        return 200, {"Content-Type": "text/plain"}, drops()

    site.gateway.fixed[PROJECT] = slow
    lease = open_lease(site.daemon, links=["cloud"])
    connection = UnixConnection(Path(lease["sockets"]["http"]))
    connection.request("GET", f"/cloud{PROJECT}", headers={"Host": "localhost"})
    response = connection.getresponse()
    assert response.read(5) == b"xxxxx"

    assert site.daemon.request("DELETE", f"/leases/{lease['id']}").status == 204
    until = sent

    came = b"xxxxx"
    with pytest.raises((OSError, EOFError, Exception)):  # noqa: PT012 - however the cut shows
        while data := response.read1(65_536):
            came += data
        raise EOFError
    connection.close()
    assert len(came) <= until
    wait_for(lambda: site.gateway.seen)  # the gateway's side has ended too
    with pytest.raises(OSError):  # noqa: PT011
        send(lease, f"/cloud{MYSELF}")
    with pytest.raises(OSError):  # noqa: PT011
        ask(lease["sockets"]["http"], "GET", "/~/lease")


HOLDER = r"""
import http.client, json, os, socket, sys
socks = json.loads(sys.argv[1])
print(dict(os.environ), open("/proc/self/environ").read())
for path in socks:
    for request in json.loads(sys.argv[2]):
        try:
            s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(path)
            s.sendall(request.encode())
            while more := s.recv(65536): print(more.decode("latin-1"))
        except OSError as exc: print(exc)
for folder, _, files in os.walk(os.path.dirname(socks[0])):
    for name in files:
        try: print(open(os.path.join(folder, name), errors="replace").read())
        except OSError: pass
"""


def test_the_holder_never_sees_the_token(site: Site) -> None:
    """Not in its environment, the lease's folder, or any answer of its sockets; the twin: the gateway has got it."""
    lease = open_lease(site.daemon, links=["cloud"], entries=["http", "port"], tunnel=True)
    end = "Host: localhost\r\nConnection: close\r\n\r\n"
    body = json.dumps({"method": "GET", "url": site.url + MYSELF})
    asked = [
        f"GET /cloud{MYSELF} HTTP/1.1\r\n{end}",
        f"GET {site.there}{MYSELF} HTTP/1.1\r\nHost: {site.gateway.url[7:]}\r\nConnection: close\r\n\r\n",
        f"TRACE /cloud{MYSELF} HTTP/1.1\r\n{end}",
        f"GET /cloud/browse/WEB-1 HTTP/1.1\r\n{end}",
        f"CONNECT {site.gateway.url[7:]} HTTP/1.1\r\nHost: {site.gateway.url[7:]}\r\n\r\nGET {site.prefix}{MYSELF} HTTP/1.1\r\n"
        f"Host: {site.gateway.url[7:]}\r\nConnection: close\r\n\r\n",
        f"GET /~/lease HTTP/1.1\r\n{end}",
        f"POST /~/leases HTTP/1.1\r\nContent-Length: 2\r\n{end}{{}}",
        f"POST /sign HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{end}{body}",
        f"GET /links/cloud HTTP/1.1\r\n{end}",
    ]
    program = ["python3", "-c", HOLDER, json.dumps([lease["sockets"]["http"]]), json.dumps(asked)]

    done = atl_sign(site.daemon, "run", "--link", "cloud", "--", *program)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"emailAddress": "alice@example.com"') == 3
    seen = site.take()
    assert len(seen) == 3
    assert all(each.is_authorized for each in seen)
    assert find_secrets(site, done.stdout + done.stderr) == []


def find_secrets(site: Site, text: str) -> list[str]:
    """Return the secrets of the consent and of its app that *text* holds."""
    server = site.cloud.oauth2("auth")
    secrets = [*site.tokens(), *(str(app.client_secret) for app in server.apps.values())]
    assert len(secrets) >= 3
    return [secret for secret in secrets if secret in text]


def test_what_is_recorded_is_the_asked_address(site: Site) -> None:
    """In the audit log, `log`, `lease log` and `why`; no token, and no query either."""
    lease = open_lease(site.daemon, links=["cloud"], entries=["http", "sign"], allow_reusable=True)
    before = len(entries(site.daemon))

    send(lease, f"/cloud{MYSELF}?canary=1")
    via_host(lease, f"{site.there}{MYSELF}?canary=1")
    send(lease, f"/cloud{ISSUE}?canary=1", "DELETE")
    sign(lease, f"{site.url}{MYSELF}?canary=1")
    atl_sign(site.daemon, "curl", "-sS", f"{site.url}/browse/WEB-1?canary=1")

    wait_for(lambda: len(entries(site.daemon)) >= before + 5)
    lines = [each for each in entries(site.daemon)[before:] if each["action"] == "sign"]
    host, gateway = site.url.removeprefix("http://"), site.gateway.url.removeprefix("http://")
    assert [(each["outcome"], each["method"], each["host"], each["path"], each["link"]) for each in lines] == [
        ("ok", "GET", host, MYSELF, "cloud"),
        ("ok", "GET", gateway, f"{site.prefix}{MYSELF}", "cloud"),
        ("lease_denied", "DELETE", host, ISSUE, "cloud"),
        ("ok", "GET", host, MYSELF, "cloud"),
        ("bad_url", "GET", host, "/browse/WEB-1", "cloud"),
    ]
    refusals = site.daemon.request("GET", "/refusals").json["refusals"]
    assert [(each["code"], each["host"], each["path"]) for each in refusals[:2]] == [
        ("bad_url", host, "/browse/WEB-1"),
        ("lease_denied", host, ISSUE),
    ]
    shown = "".join(
        atl_sign(site.daemon, *words).stdout
        for words in (("why",), ("why", lease["id"]), ("log",), ("lease", "log", lease["id"]), ("lease", "show", lease["id"]))
    )
    written = "".join(path.read_text(errors="replace") for path in site.daemon.folder.rglob("*") if path.is_file())
    assert f"GET {host}{MYSELF}" in shown
    assert find_secrets(site, shown + written) == []
    assert "canary" not in shown + written


@pytest.mark.parametrize("kind", KINDS)
def test_a_lease_at_every_other_provider(kind: str, fork_server: ForkServer) -> None:
    """Read by the rules, at the address that its users know and at the one where it is answered; the twin: what they deny."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(fork_server))
        link: Danced = add_link(stack, daemon, kind, "other")
        lease = open_lease(daemon, links=["other"], allow=["GET /**"])

        for url in dict.fromkeys((link.asked, link.sent)):
            answer = via_host(lease, url)
            assert (answer.status, f'"{link.user}"' in answer.text) == (200, True), answer.text
            assert code_of(via_host(lease, url, "POST")) == "lease_denied"
