"""Consents that are worth less than what was asked for: to scopes that the app has not, and to other sites than the link's."""

from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.sandbox import Cloud, Forge, Sandbox
from tests.lab import Daemon, send, wait_for
from tests.oauth2_lab import PORT, begin, dance, give_app, put_link, redirect_of, sign, visit
from tests.strange_server import (
    ACCESS,
    REFRESH,
    SECRET,
    StrangeServer,
    as_json,
    back_from,
    refusal,
    reset,
    settings_of,
    tokens,
)
from tests.token_answers import FAILURES

JIRA = ["read:jira-work", "read:jira-user", "write:jira-work", "read:me"]
MYSELF = "/rest/api/3/myself"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as started:
        yield started


def link_cloud(daemon: Daemon, cloud: Cloud, url: str | None = None, scopes: list[str] | None = None, **settings: object) -> None:
    put_link(
        daemon,
        "cloud",
        url or cloud.url("site"),
        **{"flavour": "atlassian-cloud", "issuer": cloud.url("auth"), "gateway": cloud.url("gateway"), **settings},
    )
    app = cloud.register_app("auth", redirect_uris=[redirect_of(cloud.url("auth"))], scopes=scopes or JIRA)
    give_app(daemon, "cloud", app)


def fail(daemon: Daemon, name: str, approve: Any) -> tuple[dict[str, Any], str]:
    """Dance to no good end; returns the error and the page."""
    begun = begin(daemon, name)
    _, page = visit(approve(begun["authorize_url"]))
    state = daemon.request("GET", f"/dance/{begun['id']}?wait=10").json
    assert state["state"] == "failed", state
    return state["error"], page


# scopes


def check_that_scopes_are_named(daemon: Daemon, name: str, approve: Any) -> None:
    error, page = fail(daemon, name, approve)
    assert error["code"] == "provider_refused"
    assert "does not have the scopes that are asked for (invalid_scope)" in error["message"]
    assert f"atl-sign link setup {name}" in error["hint"]
    assert "does not have the scopes" in page
    assert daemon.request("GET", f"/links/{name}").json["token"]["state"] == "none"


def test_an_app_of_atlassian_cloud_without_a_scope(cloud: Cloud, daemon: Daemon) -> None:
    """The hint leads to the list; with the scopes that the app has it works."""
    link_cloud(daemon, cloud, scopes=["read:jira-user", "read:me"])
    check_that_scopes_are_named(daemon, "cloud", cloud.approve)

    fields = {
        key: value for key, value in daemon.request("GET", "/links/cloud").json.items() if key not in ("name", "token", "file")
    }
    given = {key: value for key, value in fields.items() if value is not None}
    assert daemon.request("PUT", "/links/cloud", {**given, "scopes": "read:jira-user"}).status == 200
    assert dance(daemon, "cloud", cloud.approve)["state"] == "granted"


def test_a_product_of_data_center_without_a_scope(daemon: Daemon) -> None:
    """Facts oauth2.md section 2: an app for reading is not asked for writing; Cloud's names mean nothing there."""
    with Sandbox(["jira"]) as sandbox:
        url = sandbox.base_url("jira")
        app = sandbox.register_app("jira", redirect_uris=[redirect_of(url)], scopes=["READ"])

        def approve(address: str) -> str:
            return sandbox.approve("jira", address)

        put_link(daemon, "jira", url, flavour="datacenter", scopes="WRITE")
        give_app(daemon, "jira", app)
        check_that_scopes_are_named(daemon, "jira", approve)
        put_link(daemon, "jira", url, flavour="datacenter", scopes="READ", client_id=app.client_id)
        assert dance(daemon, "jira", approve)["state"] == "granted"
        put_link(daemon, "jira", url, flavour="datacenter", scopes="read:jira-work", client_id=app.client_id)
        error, _ = fail(daemon, "jira", approve)
        assert "(invalid_scope)" in error["message"]
        assert daemon.request("GET", "/links/jira").json["token"]["state"] == "active"  # the grant before stays


@pytest.mark.parametrize("kind", ["gitlab", "generic"])
def test_an_app_of_another_server_without_a_scope(kind: str, daemon: Daemon) -> None:
    with Forge(kind) as forge:  # type: ignore[arg-type]  # one of the words
        url, wanted = forge.url("site"), {"gitlab": ("read_api", "api"), "generic": ("read", "write")}[kind]
        own = {"issuer": url} if kind == "generic" else {}
        app = forge.register_app(redirect_uris=[redirect_of(url, host="127.0.0.1")], scopes=[wanted[0]])
        put_link(daemon, "forge", url, flavour=kind, scopes=wanted[1], **own)
        give_app(daemon, "forge", app)
        check_that_scopes_are_named(daemon, "forge", forge.approve)

        put_link(daemon, "forge", url, flavour=kind, scopes=wanted[0], client_id=app.client_id, **own)
        assert dance(daemon, "forge", forge.approve)["state"] == "granted"


def test_the_user_who_denies_is_no_failure(cloud: Cloud, daemon: Daemon) -> None:
    """And the next dance asks again."""
    link_cloud(daemon, cloud)
    begun = begin(daemon, "cloud")

    status, page = visit(cloud.approve(begun["authorize_url"], deny=True))

    assert (status, "Access to cloud denied" in page) == (200, True)
    assert daemon.request("GET", f"/dance/{begun['id']}").json["state"] == "refused"
    assert dance(daemon, "cloud", cloud.approve)["state"] == "granted"


# sites


def test_a_consent_without_any_site(cloud: Cloud, daemon: Daemon) -> None:
    """The user has none, or the app has no product's permissions."""
    link_cloud(daemon, cloud)
    sites = dict(cloud.state.sites)
    cloud.state.sites.clear()

    error, page = fail(daemon, "cloud", cloud.approve)

    assert error["code"] == "provider_refused"
    assert "its sites are: none" in error["message"]
    assert "choose the site on the consent page" in error["hint"]
    assert "Sign-in to cloud failed" in page
    assert daemon.request("GET", "/links/cloud").json["token"]["state"] == "none"
    cloud.state.sites.update(sites)
    assert dance(daemon, "cloud", cloud.approve)["state"] == "granted"


def test_a_consent_for_other_sites_is_not_taken_for_the_links(cloud: Cloud, daemon: Daemon) -> None:
    """All of them are listed, none is guessed; what was there before is not lost by that."""
    link_cloud(daemon, cloud)
    assert dance(daemon, "cloud", cloud.approve)["state"] == "granted"
    before = sign(daemon, cloud.url("site") + MYSELF).json["authorization"]
    own = dict(cloud.state.sites)
    cloud.state.sites.clear()
    for name in ("one", "two"):
        cloud.add_site(name, f"https://{name}.atlassian.net")

    error, _ = fail(daemon, "cloud", cloud.approve)

    assert "its sites are: https://one.atlassian.net, https://two.atlassian.net" in error["message"]
    cloud.state.sites.clear()
    cloud.state.sites.update(own)
    assert sign(daemon, cloud.url("site") + MYSELF).json["authorization"] == before


def test_a_site_among_several_is_found_however_it_is_written(cloud: Cloud, daemon: Daemon) -> None:
    """With a slash at its end, and others before and after it; a request for another site of the consent is not signed."""
    (own,) = cloud.state.sites.values()
    cloud.state.sites.clear()
    other_id = cloud.add_site("other", "https://other.atlassian.net/")
    own.url = f"{cloud.url('site')}/"
    cloud.state.sites[own.id] = own
    link_cloud(daemon, cloud)

    assert dance(daemon, "cloud", cloud.approve)["state"] == "granted"

    signed = sign(daemon, cloud.url("site") + MYSELF).json
    assert signed["url"] == f"{cloud.url('gateway')}/ex/jira/{own.id}{MYSELF}"
    assert send(signed["url"], signed["authorization"])[0] == 200
    assert sign(daemon, f"https://other.atlassian.net{MYSELF}").code == "unknown_link"
    assert sign(daemon, f"{cloud.url('gateway')}/ex/jira/{other_id}{MYSELF}").code == "unknown_link"


# renewals of the real process


def test_a_renewal_of_the_daemon_survives_what_it_meets(daemon: Daemon) -> None:
    """A lost answer, a busy server that names a time, a page: the old token signs to its end, then the new one does."""
    with StrangeServer() as server:
        assert daemon.request("PUT", "/links/app", settings_of(server, redirect_port=PORT)).status == 201
        assert daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200
        server.answer("/token", tokens(expires_in=6))
        begun = begin(daemon, "app")
        assert visit(back_from(begun["authorize_url"]))[0] == 200
        server.requests.clear()
        busy = as_json({"error": "rate_limited"}, 429, **{"Retry-After": "2"})
        server.answer("/token", reset, busy, tokens(access_token="canary-access-2"))

        seen = []

        def is_renewed() -> bool:
            signed = sign(daemon, f"{server.url}/api/x")
            seen.append(signed.json.get("authorization") or signed.code)
            return bool(seen[-1] == "Bearer canary-access-2")

        wait_for(is_renewed)

        assert set(seen) <= {f"Bearer {ACCESS}", "provider_busy", "Bearer canary-access-2"}
        assert [each.fields["refresh_token"] for each in server.asked("/token")] == [REFRESH] * 3
        assert "canary" not in daemon.log.read_text() + daemon.request("GET", "/status").text


@pytest.mark.parametrize("name", ["400 invalid_grant", "401 invalid_client"])
def test_a_refusal_of_a_renewal_is_told_by_the_daemon(name: str, daemon: Daemon) -> None:
    """The record stays, `/status` lists what is needed, and the hint's command heals it."""
    with StrangeServer() as server:
        assert daemon.request("PUT", "/links/app", settings_of(server, redirect_port=PORT)).status == 201
        assert daemon.request("PUT", "/links/app/secret", {"secret": SECRET}).status == 200
        server.answer("/token", tokens(expires_in=2))
        begun = begin(daemon, "app")
        assert visit(back_from(begun["authorize_url"]))[0] == 200
        server.answer("/token", FAILURES[name].answer)
        wait_for(lambda: sign(daemon, f"{server.url}/api/x").status != 200)

        refused = sign(daemon, f"{server.url}/api/x")

        assert refused.code == ("dance_needed" if FAILURES[name].is_dead else "provider_refused")
        assert refused.hint.endswith("atl-sign dance app") or "atl-sign link secret app" in refused.hint
        assert daemon.request("GET", "/links/app").json["token"]["state"] == ("expired" if FAILURES[name].is_dead else "active")
        server.answer("/token", tokens(access_token="canary-access-2"))
        if FAILURES[name].is_dead:
            begun = begin(daemon, "app")
            assert visit(back_from(begun["authorize_url"]))[0] == 200
        else:
            assert daemon.request("PUT", "/links/app/secret", {"secret": f"{SECRET}-2"}).status == 200
        assert sign(daemon, f"{server.url}/api/x").json["authorization"] == "Bearer canary-access-2"


def test_a_refused_renewal_is_no_reason_to_forget(daemon: Daemon) -> None:
    """neon-pkgs#385: nothing is deleted because of an error, and no browser opens by itself."""
    with StrangeServer() as server:
        assert daemon.request("PUT", "/links/app", settings_of(server, redirect_port=PORT)).status == 201
        server.answer("/token", tokens(expires_in=2))
        begun = begin(daemon, "app")
        assert visit(back_from(begun["authorize_url"]))[0] == 200
        server.answer("/token", refusal("invalid_grant"))
        wait_for(lambda: sign(daemon, f"{server.url}/api/x").status != 200)

        assert daemon.request("GET", "/status").json["dances"] == 0
        assert daemon.request("GET", "/links/app").json["token"]["state"] != "none"
