"""`GET /refusals`: what the daemon and the products refused, for the owner."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from atl_sign.agent.refusals import REFUSALS_MAX
from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import Daemon, revoke_tokens
from tests.lease_lab import MYSELF, ask, exchange, open_lease, revoke_all, send, sign

SHOWN = ("by", "code", "link", "method", "host", "path")


@pytest.fixture(scope="module")
def linked(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        daemon.dance(sandbox, "bamboo")
        yield daemon


@pytest.fixture
def jira(linked: Daemon) -> Iterator[Daemon]:
    yield linked
    revoke_all(linked)


def refusals(daemon: Daemon, lease: str | None = None) -> list[dict[str, Any]]:
    reply = daemon.request("GET", "/refusals" if lease is None else f"/refusals?lease={lease}")
    assert reply.status == 200, reply.text
    return list(reply.json["refusals"])


def brief(refusal: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(refusal[name] for name in SHOWN)


def test_a_denial_is_kept_with_what_the_owner_can_do(jira: Daemon, sandbox: Sandbox) -> None:
    """Request, lease and cause; the hint names the preset that would allow it, and the program's never does."""
    lease = open_lease(jira, links=["jira"], name="agent")
    host = urlsplit(sandbox.base_url("jira")).netloc
    path = "/rest/api/2/issue/WEB-1/comment"

    told = send(lease, f"/jira{path}?secret=canary", "POST")

    (kept,) = refusals(jira, lease["id"])
    assert brief(kept) == ("daemon", "lease_denied", "jira", "POST", host, f"/jira{path}")
    assert (kept["lease"], kept["lease_name"], kept["count"]) == (lease["id"], "agent", 1)
    assert f"does not allow POST {path}" in kept["message"]
    assert (
        kept["hint"]
        == f"atl-sign lease show {lease['id']} lists its rules; only another lease can allow it: --allow jira:comment"
    )
    assert "jira:comment" not in told.text
    assert refusals(jira, "agent") == [kept]
    assert "canary" not in json.dumps(refusals(jira))


def test_equal_ones_in_a_row_are_one(jira: Daemon) -> None:
    """A program that tries for ever does not push the others out."""
    lease = open_lease(jira, links=["jira"])
    for _ in range(3):
        send(lease, "/jira/rest/api/2/issue/WEB-1", "DELETE")
    send(lease, "/jira/rest/api/2/issue/WEB-2", "DELETE")
    send(lease, "/jira/rest/api/2/issue/WEB-1", "DELETE")

    counts = [(each["path"].rpartition("/")[2], each["count"]) for each in refusals(jira, lease["id"])]

    assert counts == [("WEB-1", 1), ("WEB-2", 1), ("WEB-1", 3)], "the youngest first"


def test_every_entry_and_sign_are_kept(jira: Daemon, sandbox: Sandbox) -> None:
    """The port without its secret, CONNECT, a malformed head, sign.sock, and the owner's own sockets."""
    lease = open_lease(jira, links=["jira"], entries=["http", "sign", "port"])
    port = urlsplit(lease["url"]).port
    url = f"{sandbox.base_url('bamboo')}/rest/api/latest/info?x=canary"

    exchange(lease, f"GET /jira{MYSELF} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode(), "port")
    exchange(lease, b"CONNECT elsewhere.example.com:443 HTTP/1.1\r\nHost: elsewhere.example.com:443\r\n\r\n")
    exchange(lease, b"GET /jira HTTP/1.1\nHost: x\n\n")
    lines = [f"GET http://ann:canary@elsewhere.example.com{MYSELF}?canary HTTP/1.1", "Host: elsewhere.example.com"]
    exchange(lease, "\r\n".join([*lines, "Connection: close", "", ""]).encode())
    sign(lease, url)
    jira.request("POST", "/sign", {"method": "GET", "url": "https://ann:canary@nowhere.example.com/a?canary#canary"})

    found = [(each["lease"], each["code"], each["method"], each["host"], each["path"]) for each in refusals(jira)][:6]
    own = lease["id"]
    host = urlsplit(url).netloc
    assert found[0][0] is None
    assert found[0][2:] == ("GET", "nowhere.example.com", "/a")
    assert found[1] == (own, "lease_denied", "GET", host, "/bamboo/rest/api/latest/info")
    assert found[2][0::2] == (own, "GET", MYSELF)
    assert found[3] == (own, "bad_request", None, None, None)
    assert found[4] == (own, "lease_denied", "CONNECT", "elsewhere.example.com:443", None)
    assert found[5] == (own, "secret_needed", "GET", f"127.0.0.1:{port}", f"/jira{MYSELF}")
    assert "canary" not in json.dumps(refusals(jira))


def test_what_a_product_refuses_is_explained(daemon: Daemon) -> None:
    """Its oauth_problem in words, with the hint for it; what it allows is not kept."""
    with Sandbox(["jira"]) as own:
        daemon.dance(own, "jira")
        lease = open_lease(daemon, links=["jira"], allow=["* /**"])
        assert send(lease).status == 200
        assert refusals(daemon) == []

        revoke_tokens(own, "jira")
        assert send(lease).status == 401

    (kept,) = refusals(daemon)
    assert (kept["by"], kept["code"], kept["lease"], kept["path"]) == ("product", "token_rejected", lease["id"], f"/jira{MYSELF}")
    assert kept["hint"] == "atl-sign dance jira"


@pytest.mark.parametrize(
    ("change", "code", "hint"),
    [
        ("suspend", "lease_suspended", "atl-sign lease resume {id}"),
        ("use", "lease_used_up", "atl-sign lease change {id} --uses 100"),
        ("revoke", "lease_suspended", "this lease cannot be used again; atl-sign lease new opens another one"),
    ],
)
def test_a_hint_fits_the_lease_as_it_is_now(jira: Daemon, change: str, code: str, hint: str) -> None:
    lease = open_lease(jira, links=["jira"], uses=1)
    if change == "use":
        assert send(lease).status == 200
    else:
        jira.request("POST", f"/leases/{lease['id']}/suspend")
    send(lease)
    if change == "revoke":
        jira.request("DELETE", f"/leases/{lease['id']}")

    (kept,) = refusals(jira, lease["id"])
    assert (kept["code"], kept["hint"]) == (code, hint.format(id=lease["id"]))


def test_a_child_is_listed_with_its_parent(jira: Daemon) -> None:
    """The owner knows the id of the lease that they gave away; a holder's name for a child is no name of the owner's."""
    lease = open_lease(jira, links=["jira"], name="outer")
    child = ask(lease["sockets"]["http"], "POST", "/~/leases", {"name": "inner"}, headers={"Host": "localhost"}).json
    send(child, "/jira/rest/api/2/issue/WEB-1", "DELETE")

    (kept,) = refusals(jira, lease["id"])
    assert (kept["lease"], kept["lease_name"]) == (child["id"], "outer")
    assert refusals(jira, "outer") == refusals(jira, child["id"]) == [kept]
    assert jira.request("GET", "/refusals?lease=inner").code == "unknown_lease"


def test_memory_is_bounded(jira: Daemon) -> None:
    """A hundred, each cut; the youngest stay."""
    lease = open_lease(jira, links=["jira"])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(lease["sockets"]["http"])
        stream = connection.makefile("rb")
        for number in range(REFUSALS_MAX + 10):
            path = f"/jira/{number}/{'x' * 6000}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert stream.readline().startswith(b"HTTP/1.1 403")
            length = 0
            while (line := stream.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            stream.read(length)

    kept = refusals(jira)
    assert len(kept) == REFUSALS_MAX
    assert kept[0]["path"].startswith(f"/jira/{REFUSALS_MAX + 9}/x")
    assert kept[-1]["path"].startswith("/jira/10/x")
    assert max(len(each["path"]) for each in kept) == 500
    assert max(len(each["message"]) for each in kept) <= 1000


def test_a_lease_socket_has_no_such_call(jira: Daemon) -> None:
    """A holder must not see what other leases were refused."""
    lease = open_lease(jira, links=["jira"], entries=["http", "sign"])

    assert ask(lease["sockets"]["sign"], "GET", "/refusals").status == 404
    assert send(lease, "/~/refusals").status == 404
    assert send(lease, "/refusals").status == 403
