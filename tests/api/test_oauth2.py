"""OAuth 2.0 links to Data Center over the real socket: from the address to the product's own answer."""

from collections.abc import Iterator

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon, send
from tests.oauth2_lab import begin, dance, give_app, put_link, redirect_of, sign, visit

WHO = {
    "jira": "/rest/api/2/myself",
    "confluence": "/rest/api/user/current",
    "bitbucket": "/rest/api/latest/users/alice",
    "bamboo": "/rest/api/latest/currentUser",
}


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A sandbox of this test's own."""
    with Sandbox() as sandbox:
        yield sandbox


def add(daemon: Daemon, sandbox: Sandbox, product: str = "jira") -> str:
    """Register an app and give it to a link; returns the product's address."""
    url = sandbox.base_url(product)
    put_link(daemon, product, url)
    give_app(daemon, product, sandbox.register_app(product, redirect_uris=[redirect_of(url)]))
    return url


@pytest.mark.parametrize("product", WHO)
def test_from_the_address_to_the_products_answer(product: str, own: Sandbox, daemon: Daemon) -> None:
    """Flavour, form, app, dance, header, check, status."""
    url = own.base_url(product)
    added = put_link(daemon, product, url)
    assert added.json["flavour"] == "datacenter"
    assert "the product says that it is" in added.json["found"]
    form = daemon.request("GET", f"/links/{product}/setup", text=True).text
    assert f"Redirect URL:  {redirect_of(url)}\n" in form
    give_app(daemon, product, own.register_app(product, redirect_uris=[redirect_of(url)]))

    state = dance(daemon, product, lambda address: own.approve(product, address))

    assert (state["state"], state["user"]) == ("granted", "alice")
    signed = sign(daemon, url + WHO[product]).json
    assert signed["scheme"] == "oauth2"
    assert signed["uses"] == "many"
    assert signed["authorization"].startswith("Bearer ")
    status, text = send(url + WHO[product], signed["authorization"])
    assert status == 200
    assert "alice" in text
    checked = daemon.request("POST", f"/links/{product}/check")
    assert checked.json["user"] == "alice", checked.text
    token = daemon.request("GET", f"/links/{product}").json["token"]
    assert token["state"] == "active"
    assert token["expires_at"] is not None


def test_a_lease_may_send_but_gets_no_header(own: Sandbox, daemon: Daemon) -> None:
    """A bearer header can be used again, so that the entry `sign` must be allowed by name."""
    add(daemon, own)
    dance(daemon, "jira", lambda address: own.approve("jira", address))
    lease = {"links": ["jira"], "allow": ["read"]}

    refused = daemon.request("POST", "/leases", {**lease, "entries": ["sign"]})
    assert (refused.status, refused.code) == (400, "bad_request")
    assert "allow_reusable" in (refused.hint or "")
    opened = daemon.request("POST", "/leases", {**lease, "entries": ["http", "sign"], "allow_reusable": True})
    assert opened.status == 201, opened.text
    assert daemon.request("POST", "/leases", {**lease, "entries": ["http"]}).status == 201


def test_logout_revokes(own: Sandbox, daemon: Daemon) -> None:
    """At the provider, unless it is to keep the grant; the app's secret stays, so that another dance works."""
    url = add(daemon, own)
    for keeps in (True, False):
        dance(daemon, "jira", lambda address: own.approve("jira", address))
        header = sign(daemon, url + WHO["jira"]).json["authorization"]
        assert send(url + WHO["jira"], header)[0] == 200

        answer = daemon.request("DELETE", f"/links/jira/token{'?keep_grant=true' if keeps else ''}").json

        assert answer["is_revoked"] == (not keeps)
        assert (send(url + WHO["jira"], header)[0] == 200) == keeps
        assert sign(daemon, url + WHO["jira"]).code == "dance_needed"


def test_another_user_than_before_is_told(own: Sandbox, daemon: Daemon) -> None:
    """The browser may be signed in as somebody else; the same user is not worth a word."""
    add(daemon, own)
    seen = []
    for user in ("alice", "alice", "bob"):
        state = dance(daemon, "jira", lambda address, user=user: own.approve("jira", address, user))  # type: ignore[misc]
        seen.append((state["user"], state["instead_of"]))

    assert seen == [("alice", None), ("alice", None), ("bob", "alice")]


def test_a_link_for_one_account_takes_no_other(own: Sandbox, daemon: Daemon) -> None:
    """The consent of another user is not kept."""
    url = own.base_url("jira")
    put_link(daemon, "jira", url, account="Bob")
    give_app(daemon, "jira", own.register_app("jira", redirect_uris=[redirect_of(url)]))
    begun = begin(daemon, "jira")

    _, page = visit(own.approve("jira", begun["authorize_url"]))

    assert "alice consented, but the link is for Bob" in page
    assert daemon.request("GET", f"/dance/{begun['id']}").json["error"]["code"] == "provider_refused"
    assert sign(daemon, url + WHO["jira"]).code == "dance_needed"
    assert own.oauth2("jira").access_tokens == ()  # nor does it stay at the provider
    state = dance(daemon, "jira", lambda address: own.approve("jira", address, "bob"))
    assert (state["state"], state["user"]) == ("granted", "bob")


@pytest.mark.parametrize("product", WHO)
def test_a_version_without_oauth_2_is_named(product: str, daemon: Daemon) -> None:
    """With the first one that has it, and the scheme that works there."""
    versions = {"jira": "8.21.0", "confluence": "7.16.1", "bitbucket": "7.19.4", "bamboo": "9.0.4"}
    since = {"jira": "8.22", "confluence": "7.17", "bitbucket": "7.20", "bamboo": "9.1"}
    with Sandbox(versions=versions) as sandbox:
        url = sandbox.base_url(product)
        added = put_link(daemon, product, url, client_id="x")

        (warning,) = added.json["warnings"]
        assert f"{versions[product]} has no OAuth 2.0; the first version with it is {since[product]}" in warning
        assert added.json["hint"] == f"atl-sign link add {product} {url} --replace --scheme oauth1"


def test_a_bitbucket_that_confines_tokens(daemon: Daemon) -> None:
    """There a bearer is good below /rest and /scm alone, who-am-I included (facts section 2)."""
    with Sandbox(["bitbucket"], versions={"bitbucket": "9.4.0"}) as sandbox:
        url = add(daemon, sandbox, "bitbucket")

        state = dance(daemon, "bitbucket", lambda address: sandbox.approve("bitbucket", address))

        assert (state["state"], state["user"]) == ("granted", "alice"), state
        assert daemon.request("POST", "/links/bitbucket/check").json["user"] == "alice"
        assert send(f"{url}/plugins/servlet/applinks/whoami", sign(daemon, f"{url}/x").json["authorization"])[0] == 302
