"""The calls about leases over the real sockets; what is let through is sent to the sandbox, which counts it."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import Daemon, Reply
from tests.lease_lab import MYSELF, arrivals, ask, code_of, exchange, open_lease, revoke_all, send, sign

FIELDS = {
    "id", "name", "purpose", "state", "links", "rules", "entries", "peers", "tunnel", "expires_at", "expires_in_s", "uses_left",
    "allowed", "denied", "last_used_at", "last_peer", "parent", "lives_with", "sockets", "url", "ca_file",
}  # fmt: skip
ALL = ["http", "sign", "port"]


@pytest.fixture(scope="module")
def shared(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon that may sign at Jira and Bamboo, and has a link to Confluence."""
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        daemon.dance(sandbox, "bamboo")
        daemon.link(sandbox, "confluence")
        yield daemon


@pytest.fixture
def leases(shared: Daemon) -> Iterator[Daemon]:
    yield shared
    revoke_all(shared)


def check_no_way_out(reply: Reply | str) -> None:
    """A refusal has neither another link's name, nor a command that would widen the lease."""
    text = reply if isinstance(reply, str) else reply.text
    for word in ("bamboo", "confluence", "atl-sign", "lease new", "link add", "allow_reusable"):
        assert word not in text, text


def test_a_lease_has_what_was_asked_for(leases: Daemon) -> None:
    """As JSON; the secret and the environment are in the first answer alone."""
    lease = open_lease(
        leases, name="agent", purpose="review", links=["jira"], allow=["read", "POST /rest/api/*/search"],
        deny=["GET /rest/api/*/user"],
        expires_in_s=60, uses=3, entries=ALL, peers=[0, 4242], tunnel=True,
    )  # fmt: skip

    assert set(lease) == {*FIELDS, "secret", "env"}
    assert (lease["name"], lease["purpose"], lease["links"], lease["state"]) == ("agent", "review", ["jira"], "open")
    assert {"POST /rest/api/*/search", "deny GET /rest/api/*/user"} <= set(lease["rules"])
    assert (lease["entries"], lease["peers"], lease["tunnel"], lease["uses_left"]) == (ALL, [0, 4242], True, 3)
    assert 58 <= lease["expires_in_s"] <= 60
    assert set(lease["sockets"]) == {"http", "sign"}
    assert lease["url"].startswith("http://127.0.0.1:")
    assert lease["env"]["ATL_SIGN_SOCK"] == lease["sockets"]["sign"]
    assert lease["secret"] in lease["env"]["HTTPS_PROXY"]
    for path in ("/leases/agent", f"/leases/{lease['id']}"):
        shown = leases.request("GET", path)
        assert set(shown.json) == FIELDS
        assert lease["secret"] not in shown.text
    assert [set(each) for each in leases.request("GET", "/leases").json["leases"]][-1] == FIELDS


def test_a_lease_is_opened_by_a_form_and_told_as_text(leases: Daemon) -> None:
    """Lines for lists; every call answers in both ways."""
    fields = {"name": "form", "links": "jira\nbamboo", "allow": "read\njira:comment", "entries": "http\nsign", "peers": "0, 4242",
              "uses": "5", "expires_in_s": "90", "tunnel": "true"}  # fmt: skip
    reply = leases.request("POST", "/leases", fields, form=True)
    assert reply.status == 201, reply.text
    lease = reply.json
    assert (lease["links"], lease["entries"], lease["peers"]) == (["bamboo", "jira"], ["http", "sign"], [0, 4242])
    assert (lease["uses_left"], lease["tunnel"]) == (5, True)

    opened = leases.request("POST", "/leases", {"name": "text", "peers": "any"}, form=True, text=True)
    assert opened.status == 201
    assert "name: text\n" in opened.text
    listed = leases.request("GET", "/leases", text=True).text.splitlines()
    assert any(line.startswith(lease["id"]) and "form" in line and "5 left" in line for line in listed)
    assert "state: open" in leases.request("GET", "/leases/form", text=True).text
    assert "uses_left: 7" in leases.request("PATCH", "/leases/form", {"uses": "7"}, form=True, text=True).text
    assert "state: suspended" in leases.request("POST", "/leases/form/suspend", text=True).text
    assert "state: open" in leases.request("POST", "/leases/form/resume", text=True).text
    done = leases.request("DELETE", "/leases/form", text=True)
    assert (done.status, done.text) == (204, "")
    assert "state: revoked" in leases.request("GET", "/leases/form", text=True).text


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"nonsense": 1}, 422, "bad_request"),
        ({"secret": "x"}, 422, "bad_request"),
        ({"links": [1]}, 422, "bad_request"),
        ({"name": ""}, 422, "bad_request"),
        ({"name": "a b"}, 422, "bad_request"),
        ({"name": "../x"}, 422, "bad_request"),
        ({"purpose": "x" * 201}, 422, "bad_request"),
        ({"expires_in_s": 0}, 422, "bad_request"),
        ({"expires_in_s": 30 * 24 * 3600 + 1}, 422, "bad_request"),
        ({"expires_in_s": "60"}, 422, "bad_request"),
        ({"expires_in_s": 1.5}, 422, "bad_request"),
        ({"uses": 0}, 422, "bad_request"),
        ({"uses": -1}, 422, "bad_request"),
        ({"uses": 1 << 40}, 422, "bad_request"),
        ({"entries": []}, 422, "bad_request"),
        ({"entries": ["main"]}, 422, "bad_request"),
        ({"peers": []}, 422, "bad_request"),
        ({"peers": "root"}, 422, "bad_request"),
        ({"peers": [-1]}, 422, "bad_request"),
        ({"peers": [True]}, 422, "bad_request"),
        ({"peers": list(range(33))}, 422, "bad_request"),
        ({"tunnel": 1}, 422, "bad_request"),
        ({"lives_with": 0}, 422, "bad_request"),
        ({"lives_with": (1 << 22) + 1}, 400, "bad_request"),
        ({"lives_with": 1 << 70}, 422, "bad_request"),
        ({"lives_with": "me"}, 422, "bad_request"),
        ({"links": ["nobody"]}, 404, "unknown_link"),
        ({"allow": ["GET"]}, 400, "bad_rule"),
        ({"allow": ["GET /a/../b"]}, 400, "bad_rule"),
        ({"deny": ["no-preset"]}, 400, "bad_rule"),
    ],
)
def test_fields_that_are_not_right_open_nothing(leases: Daemon, fields: dict[str, Any], status: int, code: str) -> None:
    before = len(leases.request("GET", "/leases").json["leases"])

    reply = leases.request("POST", "/leases", fields)

    assert (reply.status, reply.code) == (status, code), reply.text
    assert len(leases.request("GET", "/leases").json["leases"]) == before


def test_every_other_error_has_its_code(leases: Daemon) -> None:
    open_lease(leases, name="one")
    calls: list[tuple[str, str, dict[str, Any] | None, int, str]] = [
        ("POST", "/leases", {"name": "one"}, 409, "lease_exists"),
        ("GET", "/leases/nobody", None, 404, "unknown_lease"),
        ("PATCH", "/leases/nobody", {"uses": 1}, 404, "unknown_lease"),
        ("DELETE", "/leases/nobody", None, 404, "unknown_lease"),
        ("POST", "/leases/nobody/suspend", None, 404, "unknown_lease"),
        ("POST", "/leases/nobody/resume", None, 404, "unknown_lease"),
        ("PATCH", "/leases/one", {}, 422, "bad_request"),
        ("PATCH", "/leases/one", {"uses": 0}, 422, "bad_request"),
        ("PATCH", "/leases/one", {"allow": ["* /**"]}, 422, "bad_request"),
        ("PUT", "/leases/one", {}, 405, "method_not_allowed"),
        ("GET", "/~/lease", None, 404, "not_found"),
        ("POST", "/~/leases", {}, 404, "not_found"),
    ]
    for method, path, fields, status, code in calls:
        reply = leases.request(method, path, fields)
        assert (reply.status, reply.code) == (status, code), (method, path, reply.text)
    assert leases.request("DELETE", "/leases/one").status == 204
    for method, path, fields in (
        ("PATCH", "/leases/one", {"uses": 1}),
        ("POST", "/leases/one/suspend", None),
        ("POST", "/leases/one/resume", None),
    ):
        reply = leases.request(method, path, fields)
        assert (reply.status, reply.code) == (403, "lease_revoked")
    assert leases.request("DELETE", "/leases/one").status == 204, "again is no error"


def test_a_sign_socket_is_for_signatures_alone(leases: Daemon) -> None:
    """None of the main socket's other routes is there, by any spelling of a path."""
    routes = [
        (method, path.replace("{name}", "jira").replace("{dance_id}", "x").replace("{id}", "x"))
        for path, item in leases.request("GET", "/openapi.json").json["paths"].items()
        for method in item
    ]
    assert len(routes) > 30
    lease = open_lease(leases, entries=["sign"], links=["jira"], allow=["* /**"])
    path = lease["sockets"]["sign"]

    for method, route in [
        *routes,
        ("get", "/openapi.json"),
        ("get", "/docs"),
        ("get", f"/leases/{lease['id']}"),
        ("get", "//leases"),
    ]:
        reply = ask(path, method.upper(), route, {} if method in ("post", "put", "patch") else None)
        if route in ("/sign", "/links/jira/problem"):
            assert (reply.status, reply.code) == (422, "bad_request"), route
        else:
            assert (reply.status, reply.code) == (404, "not_found"), (method, route, reply.text)
            check_no_way_out(reply.text.replace("atl-sign", "") if "docs/" in reply.text else reply)
    assert leases.request("GET", f"/leases/{lease['id']}").json["state"] == "open"


def test_a_signature_of_a_lease_is_good_for_its_request(leases: Daemon, sandbox: Sandbox) -> None:
    """The provider takes it; a form travels as at the main socket."""
    lease = open_lease(leases, entries=["sign"], links=["jira"])
    signed = sign(lease, f"{sandbox.base_url('jira')}{MYSELF}")

    assert signed.status == 200
    assert signed.json["link"] == "jira"
    assert signed.json["authorization"].startswith("OAuth ")
    shown = leases.request("GET", f"/leases/{lease['id']}").json
    assert (shown["allowed"], shown["denied"], shown["last_peer"]["pid"], shown["last_peer"]["uid"]) == (
        1,
        0,
        os.getpid(),
        os.geteuid(),
    )


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        ("jira/rest/api/2/issue/WEB-1", {"method": "DELETE"}, "lease_denied"),
        ("jira/secure/Dashboard.jspa", {}, "lease_denied"),
        ("jira/rest/pat/latest/tokens", {}, "lease_denied"),
        ("jira/rest/api/2/../../secure/x", {}, "path_ambiguous"),
        ("jira/rest/api/2/%2e%2e/x", {}, "path_ambiguous"),
        ("jira/rest;x/api/2/myself", {}, "path_ambiguous"),
        ("jira//rest/api/2/myself", {}, "path_ambiguous"),
        ("jira/rest/api/2/a%2Fb", {}, "path_ambiguous"),
        ("jira/rest/api/2/a%5Cb", {}, "path_ambiguous"),
        ("jira/rest/api/2/myself?_method=DELETE", {}, "lease_denied"),
        ("bamboo/rest/api/latest/info", {}, "lease_denied"),
        ("bamboo/rest/api/latest/info", {"link": "bamboo"}, "lease_denied"),
        ("bamboo/rest/api/latest/info", {"link": "jira"}, "lease_denied"),
        ("jira/rest/api/2/myself", {"link": "confluence"}, "lease_denied"),
        ("nowhere/x", {}, "lease_denied"),
        ("nowhere/x", {"link": "nobody"}, "lease_denied"),
    ],
)
def test_what_a_lease_does_not_give_is_refused(
    leases: Daemon, sandbox: Sandbox, path: str, more: dict[str, Any], code: str
) -> None:
    """At sign.sock, for the signature and for a dry run; the words help nobody to more."""
    lease = open_lease(leases, entries=["sign"], links=["jira"])
    origin = sandbox.base_url("jira").removesuffix("jira")

    for dry_run in (False, True):
        reply = ask(
            lease["sockets"]["sign"], "POST", "/sign", {"method": "GET", "url": origin + path, "dry_run": dry_run, **more}
        )
        assert (reply.status in (400, 403), reply.code) == (True, code), reply.text
        named = json.dumps({**reply.json["error"], "link": None})
        check_no_way_out(named.replace(f"{origin}{path}", "").replace("/bamboo", ""))


def test_other_links_cannot_be_found_out(leases: Daemon, sandbox: Sandbox) -> None:
    """A URL that another link covers is refused as one that no link covers, whatever else is wrong with it."""
    lease = open_lease(leases, entries=["sign"], links=["jira"], allow=["* /**"])
    origin = sandbox.base_url("jira").removesuffix("jira")
    path = lease["sockets"]["sign"]

    for dry_run in (False, True):
        for more in (
            {"method": "GET"},
            {"method": "PUT", "form": "a=1"},
            {"method": "GET", "link": "bamboo"},
            {"method": "PUT", "form": "a=1", "link": "bamboo"},
        ):
            for query in ("", "?oauth_token=1", "?_method=PUT"):
                known, unknown = (
                    ask(path, "POST", "/sign", {"url": f"{origin}{name}/x{query}", "dry_run": dry_run, **more})
                    for name in ("bamboo", "nowhere")
                )
                assert (known.status, known.text) == (unknown.status, unknown.text)
    problem = {"www_authenticate": 'OAuth oauth_problem="token_revoked"'}
    known, unknown = (ask(path, "POST", f"/links/{name}/problem", problem) for name in ("bamboo", "nobody"))
    assert (known.status, known.text) == (unknown.status, unknown.text)
    assert known.code == "lease_denied"
    assert ask(path, "POST", "/links/jira/problem", problem).json["problem"] == "token_revoked"


def test_a_holders_word_does_not_turn_the_clock(leases: Daemon, sandbox: Sandbox) -> None:
    """A header signed for tomorrow would outlive the lease; the owner's word, in the twin, is learned."""
    lease = open_lease(leases, entries=["sign"], links=["jira"])
    url = f"{sandbox.base_url('jira')}{MYSELF}"

    def timestamp() -> int:
        header = leases.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"]
        return int(header.partition('oauth_timestamp="')[2].partition('"')[0])

    now = timestamp()

    def problem_at(moment: int) -> dict[str, str]:
        around = f"{moment - 300}-{moment + 300}"
        return {"www_authenticate": f'OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="{around}"'}

    assert ask(lease["sockets"]["sign"], "POST", "/links/jira/problem", problem_at(now + 80_000)).status == 200
    assert abs(timestamp() - now) < 100
    assert leases.request("POST", "/links/jira/problem", problem_at(now + 80_000)).status == 200
    assert abs(timestamp() - now - 80_000) < 100
    leases.request("POST", "/links/jira/problem", problem_at(now))
    assert abs(timestamp() - now) < 100


def test_a_lease_shows_itself_at_its_entries(leases: Daemon) -> None:
    """Its own rules, time and uses; no secret, and nothing below /~/ but that and narrower leases."""
    lease = open_lease(leases, name="own", entries=ALL, links=["jira"], uses=9)
    open_lease(leases, name="other", purpose="canary-purpose", links=["bamboo"])

    for kind in ("http", "sign"):
        shown = ask(lease["sockets"][kind], "GET", "/~/lease", headers={"Host": "localhost"})
        assert shown.status == 200, shown.text
        assert (set(shown.json), shown.json["id"], shown.json["uses_left"]) == (FIELDS, lease["id"], 9)
        assert lease["secret"] not in shown.text
        assert "canary-purpose" not in shown.text
        for method, path in (
            ("GET", "/~/leases"), ("DELETE", "/~/lease"), ("PATCH", "/~/lease"), ("POST", "/~/sign"), ("GET", "/~/../leases"),
            ("GET", "/~/%2e%2e/leases"), ("GET", f"/~/leases/{lease['id']}"), ("GET", "/~/"), ("GET", "/~//lease"),
        ):  # fmt: skip
            refused = ask(lease["sockets"][kind], method, path, headers={"Host": "localhost"})
            assert refused.status in (404, 405), (path, refused.text)
    assert leases.request("GET", "/leases/own").json["state"] == "open"


WIDE = {"links": ["jira", "bamboo"], "entries": ["http", "sign"], "allow": ["read"], "peers": "any", "tunnel": True, "uses": 4}


@pytest.mark.parametrize(
    ("narrower", "wider"),
    [
        ({"links": ["jira"]}, {"links": ["jira", "confluence"]}),
        ({"links": []}, {"links": ["nobody"]}),
        ({"entries": ["sign"]}, {"entries": ["http", "port"]}),
        ({"peers": "own"}, None),
        ({"peers": [4242]}, None),
        ({"tunnel": True}, None),
        ({"uses": 1}, None),
        ({"expires_in_s": 5}, None),
    ],
)
def test_a_narrower_lease_is_given_and_a_wider_one_is_not(
    leases: Daemon, narrower: dict[str, Any], wider: dict[str, Any] | None
) -> None:
    """In each dimension, at both sockets."""
    lease = open_lease(leases, **WIDE)

    for kind in ("http", "sign"):
        path = lease["sockets"][kind]
        made = ask(path, "POST", "/~/leases", {"entries": ["http"], **narrower}, headers={"Host": "localhost"})
        assert made.status == 201, made.text
        assert made.json["parent"] == lease["id"]
        assert set(made.json["links"]) <= set(lease["links"])
        assert all(Path(each).parent.parent == Path(path).parent for each in made.json["sockets"].values())
        if wider is not None:
            refused = ask(path, "POST", "/~/leases", wider, headers={"Host": "localhost"})
            assert (refused.status, refused.code) == (403, "lease_denied")
            assert "confluence" not in refused.text


@pytest.mark.parametrize("wider", [{"peers": "any"}, {"peers": [65534]}, {"tunnel": True}, {"entries": ["sign"]}])
def test_a_narrow_lease_gives_no_wider_one(leases: Daemon, wider: dict[str, Any]) -> None:
    lease = open_lease(leases, links=["jira"])

    reply = ask(lease["sockets"]["http"], "POST", "/~/leases", wider, headers={"Host": "localhost"})

    assert (reply.status, reply.code) == (403, "lease_denied")
    check_no_way_out(reply)


@pytest.mark.parametrize("fields", [{"lives_with": os.getpid()}, {"allow_reusable": True}, {"parent": None}])
def test_a_holder_has_fewer_fields(leases: Daemon, fields: dict[str, Any]) -> None:
    lease = open_lease(leases, links=["jira"])

    reply = ask(lease["sockets"]["http"], "POST", "/~/leases", fields, headers={"Host": "localhost"})

    assert (reply.status, reply.code) == (422, "bad_request")


def test_a_child_has_no_more_rules_time_or_uses_than_its_parent(leases: Daemon, sandbox: Sandbox) -> None:
    """Each of its requests must be allowed by both, and counts for both."""
    lease = open_lease(leases, links=["jira"], entries=["sign"], uses=3, expires_in_s=60)
    child = ask(
        lease["sockets"]["sign"], "POST", "/~/leases", {"allow": ["* /**"], "entries": ["sign"], "uses": 9, "expires_in_s": 999}
    ).json
    base = sandbox.base_url("jira")

    assert (child["expires_in_s"] <= 60, child["uses_left"]) == (True, 3)
    assert sign(child, f"{base}/rest/api/2/issue", "POST").code == "lease_denied"
    assert sign(child, f"{base}{MYSELF}").status == 200
    assert leases.request("GET", f"/leases/{lease['id']}").json["uses_left"] == 2
    assert sign(lease, f"{base}{MYSELF}").status == 200
    assert sign(child, f"{base}{MYSELF}").status == 200
    assert sign(child, f"{base}{MYSELF}").code == "lease_used_up"
    assert leases.request("DELETE", f"/leases/{lease['id']}").status == 204
    assert leases.request("GET", f"/leases/{child['id']}").json["state"] == "revoked"
    assert not Path(child["sockets"]["sign"]).exists()


@pytest.mark.parametrize("kind", ["sign", "http"])
def test_connections_that_were_closed_a_moment_ago_do_not_count(kind: str, leases: Daemon) -> None:
    """A program with a new connection for each request was refused, as if all of them were still open; the twin has them open."""
    lease = open_lease(leases, links=["jira"], entries=["sign", "http"])
    path = lease["sockets"][kind]

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(path)
        return connection

    for _ in range(10):
        for _ in range(100):
            connect().close()
        assert ask(path, "GET", "/~/lease").status == 200

    held = [connect() for _ in range(64)]
    with connect() as one_more:
        assert b"64 connections" in one_more.recv(4096) if kind == "sign" else one_more.recv(4096) == b""
    for each in held:
        each.close()
    assert ask(path, "GET", "/~/lease").status == 200


def test_uses_are_exact_at_the_sign_socket(leases: Daemon, sandbox: Sandbox) -> None:
    """200 requests at the same time: 100 headers."""
    lease = open_lease(leases, links=["jira"], entries=["sign"], uses=100)
    url = f"{sandbox.base_url('jira')}{MYSELF}"
    start = threading.Barrier(40)

    def work(_: int) -> list[Reply]:
        start.wait()
        return [sign(lease, url) for _ in range(5)]

    with ThreadPoolExecutor(40) as pool:
        replies = [reply for done in pool.map(work, range(40)) for reply in done]

    assert sum(reply.status == 200 for reply in replies) == 100
    assert {reply.code for reply in replies if reply.status != 200} == {"lease_used_up"}
    assert len({reply.json["authorization"] for reply in replies if reply.status == 200}) == 100
    shown = leases.request("GET", f"/leases/{lease['id']}").json
    assert (shown["uses_left"], shown["allowed"], shown["denied"], shown["state"]) == (0, 100, 100, "used_up")


def test_uses_are_exact_at_the_http_socket(leases: Daemon, sandbox: Sandbox) -> None:
    """200 requests, eight at the same time: 100 reach the provider."""
    lease = open_lease(leases, links=["jira"], uses=100)

    with arrivals(sandbox) as seen, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: send(lease), range(200)))

    codes = [code_of(reply) if reply.status == 403 else str(reply.status) for reply in replies]
    assert (codes.count("200"), codes.count("lease_used_up")) == (100, 100)
    assert len(seen) == 100
    assert {each.user for each in seen} == {"alice"}


def test_a_use_of_what_was_not_sent_is_given_back(leases: Daemon, sandbox: Sandbox) -> None:
    """No token, no signature; a refused request takes none either."""
    lease = open_lease(leases, links=["jira", "confluence"], entries=["sign", "http"], uses=1)

    for _ in range(2):
        assert sign(lease, f"{sandbox.base_url('confluence')}/rest/api/content").code == "dance_needed"
        assert sign(lease, f"{sandbox.base_url('jira')}/x").code == "lease_denied"
        assert send(lease, "/confluence/rest/api/content").status == 403
    assert leases.request("GET", f"/leases/{lease['id']}").json["uses_left"] == 1
    assert send(lease).status == 200
    assert code_of(send(lease)) == "lease_used_up"


def test_time_and_uses_can_be_changed(leases: Daemon) -> None:
    lease = open_lease(leases, links=["jira"], uses=1)
    assert send(lease).status == 200
    assert code_of(send(lease)) == "lease_used_up"

    changed = leases.request("PATCH", f"/leases/{lease['id']}", {"uses": 1, "expires_in_s": 7})

    assert (changed.status, changed.json["uses_left"], changed.json["expires_in_s"]) == (200, 1, 7)
    assert send(lease).status == 200
    assert code_of(send(lease)) == "lease_used_up"


def test_a_suspended_lease_refuses_until_it_is_resumed(leases: Daemon, sandbox: Sandbox) -> None:
    """It still shows itself, with its state."""
    lease = open_lease(leases, links=["jira"], entries=["http", "sign"])
    assert leases.request("POST", f"/leases/{lease['id']}/suspend").json["state"] == "suspended"

    with arrivals(sandbox) as seen:
        assert code_of(send(lease)) == "lease_suspended"
        assert sign(lease, f"{sandbox.base_url('jira')}{MYSELF}").code == "lease_suspended"
        assert ask(lease["sockets"]["sign"], "GET", "/~/lease").json["state"] == "suspended"
        assert ask(lease["sockets"]["sign"], "POST", "/~/leases", {}).code == "lease_suspended"
    assert seen == []
    assert leases.request("POST", f"/leases/{lease['id']}/resume").json["state"] == "open"
    assert send(lease).status == 200


def test_an_expired_lease_says_so(leases: Daemon, sandbox: Sandbox) -> None:
    """Its entries are still there, and refuse by that code."""
    lease = open_lease(leases, links=["jira"], entries=ALL, expires_in_s=1)
    for _ in range(100):
        if leases.request("GET", f"/leases/{lease['id']}").json["state"] == "expired":
            break
        threading.Event().wait(0.05)

    with arrivals(sandbox) as seen:
        assert sign(lease, f"{sandbox.base_url('jira')}{MYSELF}").code == "lease_expired"
        refused = send(lease)
        host = lease["url"].removeprefix("http://")
        lines = [f"GET /jira{MYSELF} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {lease['secret']}", "Connection: close"]
        answer = exchange(lease, "\r\n".join([*lines, "", ""]).encode(), "port")
    assert (refused.status, code_of(refused)) == (403, "lease_expired")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"lease_expired" in answer
    assert seen == []
    reply = leases.request("PATCH", f"/leases/{lease['id']}", {"expires_in_s": 60})
    assert (reply.status, reply.code) == (403, "lease_expired")


def test_the_gateway_of_another_link_is_no_way(leases: Daemon, sandbox: Sandbox) -> None:
    """An address of no link, or of another one's host, in each form that the proxy takes."""
    lease = open_lease(leases, links=["jira"], allow=["* /**"])
    host = sandbox.base_url("jira").removeprefix("http://").removesuffix("/jira")

    with arrivals(sandbox) as seen:
        for target, named in (
            ("/bamboo/rest/api/latest/info", "localhost"),
            ("/bamboo/rest/api/latest/info", host),
            (f"http://{host}/bamboo/rest/api/latest/info", host),
            ("http://api.atlassian.com/ex/jira/1/rest/api/2/myself", "api.atlassian.com"),
            ("/rest/api/2/myself", "api.atlassian.com"),
            ("/jira/../bamboo/rest/api/latest/info", host),
            ("/jira/%2e%2e/bamboo/rest/api/latest/info", "localhost"),
        ):
            refused = ask(lease["sockets"]["http"], "GET", target, headers={"Host": named})
            assert refused.status in (400, 403, 404), (target, named, refused.text)
            assert code_of(refused) in ("lease_denied", "path_ambiguous", "unknown_link", "bad_url"), (target, code_of(refused))
            check_no_way_out(refused.text.replace(target, "").replace("/bamboo", "").replace("atl-sign: ", ""))
    assert seen == []


def test_each_decision_is_a_line(leases: Daemon, sandbox: Sandbox) -> None:
    """With the lease, the rule, and what was done with it."""
    path = leases.folder / ".local/state/atl-sign/audit.jsonl"
    before = len(path.read_text().splitlines())
    lease = open_lease(
        leases, links=["jira"], entries=["http", "sign"], allow=["GET /rest/api/*/myself"], deny=["* /rest/api/*/user"]
    )
    base = sandbox.base_url("jira")
    sign(lease, f"{base}{MYSELF}")
    sign(lease, f"{base}/rest/api/2/user")
    sign(lease, f"{base}/rest/api/2/project")
    send(lease)
    for verb in ("suspend", "resume"):
        leases.request("POST", f"/leases/{lease['id']}/{verb}")
    leases.request("PATCH", f"/leases/{lease['id']}", {"uses": 5})
    leases.request("DELETE", f"/leases/{lease['id']}")

    lines = [json.loads(line) for line in path.read_text().splitlines()[before:]]
    allowed = "GET /rest/api/*/myself"
    assert [(line["action"], line["outcome"], line.get("verb"), line.get("rule")) for line in lines] == [
        ("lease", "ok", "open", allowed),
        ("sign", "ok", None, allowed),
        ("sign", "lease_denied", None, "* /rest/api/*/user"),
        ("sign", "lease_denied", None, None),
        ("sign", "ok", None, allowed),
        ("lease", "ok", "suspend", None),
        ("lease", "ok", "resume", None),
        ("lease", "ok", "change", None),
        ("lease", "ok", "revoke", None),
    ]
    assert {line["lease"] for line in lines} == {lease["id"]}
    assert {line["pid"] for line in lines} == {os.getpid()}


def test_a_link_that_becomes_one_of_tokens_gives_out_none(sandbox: Sandbox, fork_server: ForkServer) -> None:
    """Its header was good for one request when the lease was opened; the daemon itself may still send with the token."""
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        lease = open_lease(daemon, links=["jira"], entries=["sign", "http"])
        url = sandbox.base_url("jira")
        assert sign(lease, f"{url}{MYSELF}").status == 200

        assert daemon.request("PUT", "/links/jira", {"url": url, "scheme": "bearer"}).status == 200
        begun = daemon.request("POST", "/dance", {"link": "jira"}).json
        token = sandbox.make_token("jira").secret
        assert daemon.request("POST", f"/dance/{begun['id']}", {"secret": token}).status == 200

        refused = sign(lease, f"{url}{MYSELF}")
        assert (refused.status, refused.code) == (403, "lease_denied")
        assert token not in refused.text
        assert send(lease).status == 200

        wide = open_lease(daemon, links=["jira"], entries=["sign"], allow_reusable=True)
        assert token in sign(wide, f"{url}{MYSELF}").text
