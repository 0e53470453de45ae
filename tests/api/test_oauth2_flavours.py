"""OAuth 2.0 links of every flavour but Data Center's, over the real socket."""

import time
from collections.abc import Iterator

import pytest

from atl_sign.sandbox import Cloud, Forge
from tests.fork_server import ForkServer
from tests.lab import Daemon, send
from tests.oauth2_lab import begin, dance, give_app, put_link, redirect_of, sign

JIRA = ["read:jira-work", "read:jira-user", "write:jira-work"]
CONFLUENCE = ["read:confluence-content.all", "read:confluence-space.summary", "read:confluence-user", "search:confluence",
              "write:confluence-content"]  # fmt: skip
MYSELF = "/rest/api/3/myself"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as started:
        yield started


def add_cloud(daemon: Daemon, cloud: Cloud, name: str = "cloud", path: str = "", **settings: object) -> str:
    """Add a link to the site's Jira, or to what is at *path*; returns its base URL."""
    url = cloud.url("site") + path
    put_link(daemon, name, url, flavour="atlassian-cloud", issuer=cloud.url("auth"), gateway=cloud.url("gateway"), **settings)
    return url


def add_cloud_app(daemon: Daemon, cloud: Cloud, *names: str, scopes: list[str] | None = None) -> None:
    redirect = redirect_of(cloud.url("auth"))
    app = cloud.register_app("auth", redirect_uris=[redirect], scopes=[*(scopes or JIRA), "read:me"])
    for name in names or ("cloud",):
        give_app(daemon, name, app)


def test_a_cloud_site(cloud: Cloud, daemon: Daemon) -> None:
    """Asked for at the site, answered by the gateway; who am I, check, and the gateway's own address."""
    url = add_cloud(daemon, cloud)
    add_cloud_app(daemon, cloud)

    state = dance(daemon, "cloud", cloud.approve)

    assert (state["state"], state["user"]) == ("granted", "alice@example.com"), state
    signed = sign(daemon, url + MYSELF).json
    there = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}{MYSELF}"
    assert signed["url"] == there
    status, text = send(there, signed["authorization"])
    assert status == 200
    assert "alice@example.com" in text
    assert send(url + MYSELF, signed["authorization"])[0] == 401  # the site takes no such token
    assert sign(daemon, there).json["link"] == "cloud"
    checked = daemon.request("POST", "/links/cloud/check")
    assert checked.json["user"] == "alice@example.com", checked.text
    refused = sign(daemon, f"{url}/browse/WEB-1")
    assert refused.code == "bad_url"
    assert "/browse/WEB-1" in refused.message


def test_bitbucket_cloud(cloud: Cloud, daemon: Daemon) -> None:
    """One link for both hosts."""
    url = cloud.url("bitbucket")
    put_link(daemon, "bb", url, flavour="bitbucket-cloud", gateway=cloud.url("bitbucket-api"))
    scopes = ["account", "repository:write", "pullrequest:write"]
    give_app(daemon, "bb", cloud.register_app("bitbucket", redirect_uris=[redirect_of(url)], scopes=scopes))

    state = dance(daemon, "bb", cloud.approve)

    assert (state["state"], state["user"]) == ("granted", "alice"), state
    who = f"{cloud.url('bitbucket-api')}/2.0/user"
    status, text = send(who, sign(daemon, who).json["authorization"])
    assert (status, '"username": "alice"' in text) == (200, True)
    assert sign(daemon, f"{url}/2.0/user").json["url"] == who
    assert daemon.request("POST", "/links/bb/check").json["user"] == "alice"


@pytest.mark.parametrize("kind", ["github", "github-enterprise", "gitlab", "generic"])
def test_a_forge(kind: str, daemon: Daemon) -> None:
    """By the browser: header, who am I, check."""
    with Forge(kind) as forge:  # type: ignore[arg-type]
        url = forge.url("site")
        settings = {"gateway": forge.url("api")} if kind == "github" else {}
        if kind == "generic":
            settings = {
                "issuer": url,
                "who_url": f"{url}/userinfo",
                "who_field": "preferred_username",
                "scopes": "openid profile",
            }
        put_link(daemon, "forge", url, flavour=kind, **settings)
        host = "localhost" if kind == "github-enterprise" else "127.0.0.1"
        redirect = redirect_of(url, host=host)
        app = forge.register_app(redirect_uris=[redirect])
        give_app(daemon, "forge", app)

        state = dance(daemon, "forge", forge.approve)

        assert (state["state"], state["user"]) == ("granted", "alice"), state
        checked = daemon.request("POST", "/links/forge/check")
        assert checked.json["user"] == "alice", checked.text


@pytest.mark.parametrize("kind", ["github", "github-enterprise", "gitlab", "generic"])
def test_a_device(kind: str, daemon: Daemon) -> None:
    """The code is entered elsewhere; the daemon asks until it is."""
    with Forge(kind) as forge:  # type: ignore[arg-type]
        url = forge.url("site")
        settings = {"gateway": forge.url("api")} if kind == "github" else {}
        if kind == "generic":
            settings = {"issuer": url}
        put_link(daemon, "forge", url, flavour=kind, **settings)
        give_app(daemon, "forge", forge.register_app(redirect_uris=[redirect_of(url)]))

        begun = begin(daemon, "forge", "device")
        forge.enter_device_code(begun["user_code"])

        state = daemon.request("GET", f"/dance/{begun['id']}?wait=30").json
        assert state["state"] == "granted", state


def test_two_cloud_links_share_one_grant(cloud: Cloud, daemon: Daemon) -> None:
    """One dance, with the scopes of both; one refresh; a removed link leaves it, and a logout ends it for both."""
    jira, wiki = add_cloud(daemon, cloud), add_cloud(daemon, cloud, "wiki", "/wiki")
    add_cloud_app(daemon, cloud, "cloud", "wiki", scopes=[*JIRA, *CONFLUENCE])
    begun = begin(daemon, "cloud")
    asked = begun["authorize_url"].partition("scope=")[2].partition("&")[0].split("%20")
    assert {each.replace("%3A", ":") for each in asked} == {*JIRA, *CONFLUENCE, "read:me", "offline_access"}
    daemon.request("DELETE", f"/dance/{begun['id']}")

    dance(daemon, "cloud", cloud.approve)

    current = "/rest/api/user/current"
    signed = sign(daemon, wiki + current).json
    assert signed["url"] == f"{cloud.url('gateway')}/ex/confluence/{cloud.cloud_id}/wiki{current}"
    assert send(signed["url"], signed["authorization"])[0] == 200
    assert daemon.request("POST", "/links/wiki/check").json["user"]
    add_cloud(daemon, cloud, "third", account="bob@example.com")
    add_cloud_app(daemon, cloud, "third")
    daemon.request("POST", "/links/cloud/default")
    assert sign(daemon, wiki + current).json["authorization"] == sign(daemon, jira + MYSELF).json["authorization"]
    assert daemon.request("DELETE", "/links/third").status == 200
    assert daemon.request("DELETE", "/links/wiki").status == 200
    assert sign(daemon, jira + MYSELF).status == 200
    add_cloud(daemon, cloud, "wiki", "/wiki")
    give = daemon.request("GET", "/links/cloud").json
    assert daemon.request("PUT", "/links/wiki", {**_settings(daemon, "wiki"), "client_id": give["client_id"]}).status == 200
    assert sign(daemon, wiki + current).status == 200

    answer = daemon.request("DELETE", "/links/cloud/token").json

    assert answer["others"] == ["wiki"]
    assert sign(daemon, wiki + current).code == "dance_needed"


def _settings(daemon: Daemon, name: str) -> dict[str, object]:
    link = daemon.request("GET", f"/links/{name}").json
    return {key: value for key, value in link.items() if key not in ("name", "token", "file") and value is not None}


def test_a_missing_scope_is_named(cloud: Cloud, daemon: Daemon) -> None:
    """The gateway says only that one does not match; the daemon names the one that the call probably wants."""
    add_cloud(daemon, cloud, scopes="read:jira-work")
    add_cloud_app(daemon, cloud)
    dance(daemon, "cloud", cloud.approve)

    checked = daemon.request("POST", "/links/cloud/check")

    assert checked.code == "provider_refused"
    assert "lacks a scope for this (status 401); it probably wants: read:jira-user" in checked.message


def test_a_move_of_the_store_takes_grant_and_secret_along(cloud: Cloud, fork_server: ForkServer) -> None:
    """The grant is kept under a name that no link has; a refresh afterwards needs both."""
    cloud.oauth2("auth").access_token_life_s = 2
    with Daemon(fork_server, ATL_SIGN_STORE="") as daemon:
        daemon.request("POST", "/store/move", {"backend": "memory", "volatile": True})
        url = add_cloud(daemon, cloud)
        add_cloud_app(daemon, cloud)
        dance(daemon, "cloud", cloud.approve)

        moved = daemon.request("POST", "/store/move", {"backend": "file", "new_passphrase": "of some length"})
        assert moved.status == 200, moved.text
        daemon.request("POST", "/lock")
        assert sign(daemon, url + MYSELF).code in ("store_locked", "passphrase_needed")
        assert daemon.request("POST", "/unlock", {"passphrase": "of some length"}).status == 200
        time.sleep(2.1)

        signed = sign(daemon, url + MYSELF).json

        assert send(signed["url"], signed["authorization"])[0] == 200
        assert cloud.oauth2("auth").refreshes >= 1
