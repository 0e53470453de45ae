"""A call that the token's scopes do not cover: `atl-sign curl` and `atl-sign why` name the scope; the answer passes unchanged."""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from atl_sign.sandbox import Cloud, Forge
from tests.clients.danced_links import MYSELF, Gateway, atl_sign
from tests.lab import Daemon
from tests.lease_lab import open_lease, send
from tests.oauth2_lab import dance, give_app, put_link, redirect_of

REFUSED = {"code": 401, "message": "Unauthorized; scope does not match"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def cloud(stack: ExitStack, daemon: Daemon) -> tuple[Cloud, Gateway]:
    """A site, and a link that may only read Jira's work."""
    cloud = stack.enter_context(Cloud())
    gateway = stack.enter_context(Gateway(cloud))
    settings = {"issuer": cloud.url("auth"), "gateway": gateway.url, "scopes": "read:jira-work"}
    put_link(daemon, "cloud", cloud.url("site"), flavour="atlassian-cloud", **settings)
    redirect = redirect_of(cloud.url("auth"))
    app = cloud.register_app("auth", redirect_uris=[redirect], scopes=["read:jira-work", "write:jira-work", "read:me"])
    give_app(daemon, "cloud", app)
    assert dance(daemon, "cloud", cloud.approve)["state"] == "granted"
    return cloud, gateway


def kept(daemon: Daemon) -> list[dict[str, Any]]:
    refusals: list[dict[str, Any]] = daemon.request("GET", "/refusals").json["refusals"]
    return refusals


@pytest.mark.parametrize(
    ("method", "path", "scope"), [("GET", MYSELF, "read:jira-user"), ("POST", "/rest/api/3/issue", "write:jira-work")]
)
def test_the_scope_that_a_call_wants(method: str, path: str, scope: str, cloud: tuple[Cloud, Gateway], daemon: Daemon) -> None:
    """By curl's note, `why`, and the API; the twin: what the scopes cover leaves nothing."""
    site, url = cloud[0].url("site"), f"{cloud[0].url('site')}{path}?canary=1"
    assert atl_sign(daemon, "curl", "-fsS", f"{site}/rest/api/3/project").returncode == 0
    assert kept(daemon) == []

    refused = atl_sign(daemon, "curl", "-o", "-", "-X", method, url)

    assert json.loads(refused.stdout) == REFUSED
    message = f"link cloud: the token lacks a scope for this (status 401); it probably wants: {scope}"
    remedy = "add it to the app and to the link's --scopes, then: atl-sign dance cloud"
    assert refused.stderr.endswith(f"atl-sign: {message}\nhint: {remedy}\n")
    (entry,) = kept(daemon)
    host = site.removeprefix("http://")
    assert {name: entry[name] for name in ("by", "code", "message", "hint", "method", "host", "path", "link", "lease")} == {
        "by": "product",
        "code": "insufficient_scope",
        "message": message,
        "hint": remedy,
        "method": method,
        "host": host,
        "path": path,
        "link": "cloud",
        "lease": None,
    }
    assert f"{method} {host}{path}\n  insufficient_scope (by the product): {message}" in atl_sign(daemon, "why").stdout
    for token in cloud[0].oauth2("auth").access_tokens:
        assert token not in json.dumps(kept(daemon)) + refused.stderr


def test_a_lease_learns_it_from_its_owner(cloud: tuple[Cloud, Gateway], daemon: Daemon) -> None:
    """What passes to the program is the product's own answer; the scope is in the owner's list."""
    lease = open_lease(daemon, links=["cloud"])

    answer = send(lease, f"/cloud{MYSELF}")

    assert (answer.status, answer.json) == (401, REFUSED)
    assert not any(name.lower().startswith("x-atl") for name in answer.headers)
    (entry,) = kept(daemon)
    assert (entry["lease"], entry["code"]) == (lease["id"], "insufficient_scope")


@pytest.mark.parametrize("kind", ["gzip", "chunks", "long", "deflated bomb", "broken", "none", "other"])
def test_every_shape_of_the_answer_passes_unchanged(kind: str, cloud: tuple[Cloud, Gateway], daemon: Daemon) -> None:
    """The words are looked for where that costs little; the answer is what the product has sent, to the byte."""
    plain = json.dumps(REFUSED).encode()
    body = {
        "gzip": gzip.compress(plain),
        "long": plain[:-1] + b', "more": "' + b"x" * 300_000 + b'"}',
        "deflated bomb": gzip.compress(bytes(50_000_000)),
        "broken": b"not gzip",
        "none": b"",
        "other": b'{"message": "Unauthorized"}',
    }.get(kind, plain)
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    if kind in ("gzip", "deflated bomb", "broken"):
        headers["Content-Encoding"] = "gzip"
    pieces = (body[at : at + 7] for at in range(0, len(body), 7))
    cloud[1].fixed[MYSELF] = lambda: (401, headers, pieces if kind == "chunks" else body)
    file = daemon.folder / "answer"

    done = atl_sign(daemon, "curl", "-sS", "-o", str(file), "-w", "%{http_code}", cloud[0].url("site") + MYSELF)

    assert (done.returncode, done.stdout) == (0, "401"), done.stderr
    assert (file.read_bytes() if file.exists() else b"") == body
    (entry,) = kept(daemon)
    is_named = kind in ("gzip", "chunks", "long")
    assert (entry["code"], "read:jira-user" in entry["message"]) == (
        ("insufficient_scope", True) if is_named else ("unauthorized", False)
    )


@pytest.mark.parametrize("kind", ["bitbucket-cloud", "gitlab", "generic"])
def test_other_providers_name_it_themselves(kind: str, stack: ExitStack, daemon: Daemon) -> None:
    """In their JSON or their challenge; the twin: what the scopes cover."""
    if kind == "bitbucket-cloud":
        cloud = stack.enter_context(Cloud())
        base, good, bad = cloud.url("bitbucket"), "/2.0/user", "/2.0/repositories/web"
        put_link(daemon, "other", base, flavour=kind, gateway=cloud.url("bitbucket-api"), scopes="account")
        app = cloud.register_app("bitbucket", redirect_uris=[redirect_of(base)], scopes=["account", "repository"])
        approve, wanted = cloud.approve, "repository"
    else:
        forge = stack.enter_context(Forge(kind))  # type: ignore[arg-type]
        base = forge.url("site")
        scopes, good, bad, wanted = {
            "gitlab": ("read_user", "/api/v4/user", "/api/v4/projects", "read_api"),
            "generic": ("openid profile", "/userinfo", "/api/user", "read"),
        }[kind]
        more = {"issuer": base} if kind == "generic" else {}
        put_link(daemon, "other", base, flavour=kind, scopes=scopes, **more)
        app, approve = forge.register_app(redirect_uris=[redirect_of(base, host="127.0.0.1")]), forge.approve
    give_app(daemon, "other", app)
    assert dance(daemon, "other", approve)["state"] == "granted"
    assert atl_sign(daemon, "curl", "-fsS", base + good).returncode == 0
    assert kept(daemon) == []

    refused = atl_sign(daemon, "curl", base + bad)

    (entry,) = kept(daemon)
    assert entry["code"] == "insufficient_scope"
    assert f"the token lacks a scope for this (status 403); it probably wants: {wanted}" in entry["message"]
    assert entry["message"] in refused.stderr
