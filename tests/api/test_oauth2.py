"""OAuth 2.0 links to Data Center over the real socket: from the address to the product's own answer."""

from collections.abc import Iterator

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon
from tests.oauth2_lab import dance, give_app, put_link, redirect_of, send, sign

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
