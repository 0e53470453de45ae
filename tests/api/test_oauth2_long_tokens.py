"""Tokens of 6 KB each: from the provider into the store and out of it, and in the header by every way that there is."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from tests.fork_server import ForkServer
from tests.lab import Daemon, send, wait_for
from tests.lease_lab import open_lease
from tests.lease_lab import send as send_by_lease
from tests.oauth2_lab import dance, give_app, sign
from tests.oauth2_providers import Provider, provider_of

CHARS = 6_000
KINDS = ("datacenter", "atlassian-cloud", "bitbucket-cloud", "github", "github-enterprise", "gitlab", "generic")
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(params=KINDS)
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    """Its tokens are long."""
    with provider_of(request.param, time.time) as started:
        started.server.access_token_chars = started.server.refresh_token_chars = CHARS
        yield started


def link(daemon: Daemon, provider: Provider) -> None:
    reply = daemon.request("PUT", "/links/app", {"scheme": "oauth2", **provider.settings})
    assert reply.status == 201, reply.text
    give_app(daemon, "app", provider.app)
    assert dance(daemon, "app", provider.approve)["state"] == "granted"


def authorization(daemon: Daemon, provider: Provider) -> str:
    signed = sign(daemon, provider.who)
    assert signed.status == 200, signed.text
    value = str(signed.json["authorization"])
    assert CHARS <= len(value.removeprefix("Bearer ")) < CHARS + 100
    return value


def test_a_long_token_is_sent_by_every_way(provider: Provider, daemon: Daemon) -> None:
    """By /sign as JSON and as text, by the daemon's own check, and by a lease's proxy."""
    link(daemon, provider)

    value = authorization(daemon, provider)
    assert send(provider.who, value)[0] == 200
    text = daemon.request("POST", "/sign", {"method": "GET", "url": provider.who}, text=True).text
    assert value in text
    assert daemon.request("POST", "/links/app/check").status == 200
    lease = open_lease(daemon, links=["app"], allow=["* /**"], entries=["http"])
    path = urlsplit(provider.who).path.removeprefix(urlsplit(str(provider.settings["url"])).path)
    if provider.kind == "atlassian-cloud":
        path = "/rest/api/3/myself"  # at the site, which the proxy translates
    if provider.kind == "bitbucket-cloud":
        path = "/2.0/user"
    if provider.kind != "github":  # whose API is another host than the link's
        reply = send_by_lease(lease, f"/app{path}")
        assert reply.status == 200, reply.text
    provider.server.revoke_all()
    assert send(provider.who, value)[0] == 401


def test_git_gets_a_long_token(provider: Provider, daemon: Daemon) -> None:
    """In one line of its protocol, where there is git."""
    link(daemon, provider)
    if provider.kind in ("datacenter", "atlassian-cloud", "generic"):
        return
    parts = urlsplit(str(provider.settings["url"]))

    reply = daemon.request("POST", "/git-credential/get", f"protocol=http\nhost={parts.netloc}\n".encode())

    fields = dict(line.split("=", 1) for line in reply.text.splitlines())
    assert f"Bearer {fields['password']}" == authorization(daemon, provider)


def test_a_file_keeps_long_tokens(fork_server: ForkServer) -> None:
    """A new process finds them there: the access token as it was, and the refresh token works."""
    daemon = Daemon(fork_server, ATL_SIGN_STORE="")
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('[store]\nbackend = "file"\n')
    with daemon, provider_of("gitlab", time.time) as provider:
        provider.server.access_token_chars = provider.server.refresh_token_chars = CHARS
        assert daemon.request("POST", "/unlock", {"new_passphrase": PASSPHRASE}).status == 200
        link(daemon, provider)
        before = authorization(daemon, provider)
        daemon.stop()
        daemon.start()
        assert sign(daemon, provider.who).code in ("store_locked", "passphrase_needed")
        assert daemon.request("POST", "/unlock", {"passphrase": PASSPHRASE}).status == 200
        assert authorization(daemon, provider) == before

        provider.server.faults.expires_in = 2
        assert dance(daemon, "app", provider.approve)["state"] == "granted"
        daemon.stop()
        daemon.start()
        assert daemon.request("POST", "/unlock", {"passphrase": PASSPHRASE}).status == 200
        provider.server.faults.clear()
        end = datetime.fromisoformat(daemon.request("GET", "/links/app").json["token"]["expires_at"])
        wait_for(lambda: datetime.now(UTC) > end)

        after = authorization(daemon, provider)

        assert after != before
        assert provider.server.refreshes == 1
        assert send(provider.who, after)[0] == 200
