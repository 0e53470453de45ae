"""An application link made at the product with an administrator's password, over the real socket, against the sandbox."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.state import SiteState
from tests.lab import PRODUCTS, Daemon, Reply
from tests.unit.raw_server import RawServer, reply

ADMIN = {"user": "admin", "password": "admin"}


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """The four products, for one test."""
    provider = Sandbox()
    provider.start()
    yield provider
    provider.stop()


def state_of(provider: Sandbox, product: str = "jira") -> SiteState:
    return provider.state.sites[product].state


def add(daemon: Daemon, provider: Sandbox, product: str = "jira", **fields: Any) -> None:
    daemon.request("POST", "/key")
    assert daemon.request("PUT", f"/links/{product}", {"url": provider.base_url(product), **fields}).status in (200, 201)


def register(daemon: Daemon, fields: dict[str, str] = ADMIN, name: str = "jira", *, text: bool = False) -> Reply:
    return daemon.request("POST", f"/links/{name}/registration", fields, text=text)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_link_is_registered_and_danced_with(daemon: Daemon, own_sandbox: Sandbox, product: str) -> None:
    """One call with a password in place of the form; our key is in it, and nothing more is allowed than the form would."""
    add(daemon, own_sandbox, product)

    done = register(daemon, name=product)

    (link,) = state_of(own_sandbox, product).links.values()
    assert done.json["is_new"] is True
    assert link.name == done.json["application"]
    assert link.rpc_url.startswith("https://atl-sign.invalid/")
    assert link.consumer is not None
    assert link.consumer.key == done.json["consumer_key"] == daemon.request("GET", f"/links/{product}").json["consumer_key"]
    assert link.consumer.callback is None
    begun = daemon.request("POST", "/dance", {"link": product, "callback": "oob"}).json
    code = own_sandbox.approve(product, begun["authorize_url"])
    assert daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code}).json["state"] == "granted"
    lines = [json.loads(line) for line in (daemon.folder / ".local/state/atl-sign/audit.jsonl").read_text().splitlines()]
    assert ("register", "ok", product) in [(line["action"], line["outcome"], line.get("link")) for line in lines]


def test_a_second_registration_finds_the_first(daemon: Daemon, own_sandbox: Sandbox) -> None:
    """The password is not even sent: the product knows the key."""
    add(daemon, own_sandbox)
    register(daemon)

    again = register(daemon, {"user": "admin", "password": "wrong"}, text=True)

    assert again.text.startswith("the product has the application link already: consumer key atl-sign-")
    assert len(state_of(own_sandbox).links) == 1


@pytest.mark.parametrize(
    ("user", "password", "code"),
    [
        ("admin", "wrong", "wrong_password"),
        ("nobody", "x", "wrong_password"),
        ("alice", "alice", "not_administrator"),
        ("ad:min", "admin", "bad_request"),
        ("admin\n", "admin", "bad_request"),
        ("", "admin", "bad_request"),
        ("admin", "", "bad_request"),
    ],
)
def test_a_refused_user_makes_nothing(daemon: Daemon, own_sandbox: Sandbox, user: str, password: str, code: str) -> None:
    """With a hint; and the password is tried once."""
    add(daemon, own_sandbox)
    state_of(own_sandbox).captcha_after = 2

    refused = register(daemon, {"user": user, "password": password})

    assert refused.code == code
    assert state_of(own_sandbox).links == {}
    assert not state_of(own_sandbox).needs_captcha(user)


def test_a_captcha_is_said(daemon: Daemon, own_sandbox: Sandbox) -> None:
    """Even the right password does not help then."""
    add(daemon, own_sandbox)
    state_of(own_sandbox).captcha_after = 1
    register(daemon, {"user": "admin", "password": "wrong"})

    refused = register(daemon)

    assert refused.code == "captcha_needed"
    assert own_sandbox.base_url("jira") in refused.hint
    state_of(own_sandbox).solve_captcha("admin")
    assert register(daemon).status == 200


def test_websudo_is_said(daemon: Daemon, own_sandbox: Sandbox) -> None:
    """The form remains."""
    add(daemon, own_sandbox)
    state_of(own_sandbox).has_websudo = True

    refused = register(daemon)

    assert (refused.status, refused.code) == (409, "websudo_needed")
    assert refused.hint == "atl-sign link setup jira"
    assert state_of(own_sandbox).links == {}


def test_the_consumer_key_with_another_public_key_is_refused(daemon: Daemon, own_sandbox: Sandbox, fork_server: Any) -> None:
    """Nothing at the product is changed: the other key may be somebody's."""
    add(daemon, own_sandbox, consumer_key="shared")
    register(daemon)
    with Daemon(fork_server) as other:
        add(other, own_sandbox, consumer_key="shared")

        refused = register(other)

    assert refused.code == "applink_exists"
    assert "with another public key" in refused.message
    assert "atl-sign doctor jira" in refused.hint
    assert len(state_of(own_sandbox).links) == 1


def test_an_application_link_of_our_address_is_refused(daemon: Daemon, own_sandbox: Sandbox) -> None:
    """As the product does; the hint has its page."""
    add(daemon, own_sandbox)
    register(daemon)
    add(daemon, own_sandbox, consumer_key="another")

    refused = register(daemon)

    assert refused.code == "applink_exists"
    assert "https://atl-sign.invalid/" in refused.message
    assert "listApplicationLinks, then: atl-sign link register jira --admin admin" in refused.hint


def test_a_half_made_link_is_taken_back(daemon: Daemon, own_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second call is refused nothing stays of the first."""
    add(daemon, own_sandbox)
    state = state_of(own_sandbox)

    def refuse(*_: object) -> None:
        raise ValueError("The consumer is not wanted")

    with monkeypatch.context() as patch:
        patch.setattr(state, "set_consumer", refuse)
        refused = register(daemon)

    assert refused.code == "provider_refused"
    assert "The consumer is not wanted" in refused.message
    assert state.links == {}
    assert register(daemon).status == 200


@pytest.mark.parametrize(
    ("first", "code", "words"),
    [
        (404, "registration_unsupported", "no REST calls"),
        (405, "registration_unsupported", "no REST calls"),
        (201, "provider_refused", "does not name the link"),
        (302, "provider_refused", "redirects"),
        (503, "provider_busy", "not available"),
        (500, "provider_refused", "failed (status 500)"),
    ],
)
def test_other_answers_are_refused(daemon: Daemon, first: int, code: str, words: str) -> None:
    """Never followed, never tried again, and no password in what is said of them."""
    manifest = "<manifest><typeId>jira</typeId><version>9.4.0</version></manifest>"
    unknown = reply("", 401, {"WWW-Authenticate": 'OAuth realm="x", oauth_problem="consumer_key_unknown"'})
    calls: list[str] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(choose(request))

    def choose(request: bytes) -> bytes:
        line = request.split(b"\r\n")[0].decode()
        calls.append(line)
        if "manifest" in line:
            return reply(manifest)
        if "request-token" in line:
            return unknown
        echo = request.decode(errors="replace").partition("Authorization: Basic ")[2].partition("\r\n")[0]
        return reply(f'{{"message": "{echo} s3cret"}}', first, {"Location": "/elsewhere"})

    with RawServer(answer) as server:
        daemon.request("POST", "/key")
        daemon.request("PUT", "/links/jira", {"url": server.url})
        calls.clear()

        refused = register(daemon, {"user": "admin", "password": "s3cret"})

    assert (refused.code, words in refused.message) == (code, True)
    assert "s3cret" not in refused.text
    assert sum("PUT" in line for line in calls) == 1


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"url": "http://jira.example.com"}, "bad_request", "unencrypted"),
        ({"url": "https://127.0.0.1:9", "scheme": "bearer"}, "bad_request", "scheme bearer"),
        ({"url": "https://127.0.0.1:9"}, "provider_unreachable", ""),
    ],
)
def test_links_that_cannot_be_registered(daemon: Daemon, fields: dict[str, str], code: str, words: str) -> None:
    """Before a password is sent anywhere."""
    daemon.request("POST", "/key")
    daemon.request("PUT", "/links/a", fields)

    refused = register(daemon, name="a")

    assert refused.code == code
    assert words in refused.message


def test_without_a_key_there_is_nothing_to_register(daemon: Daemon, own_sandbox: Sandbox) -> None:
    """As without a link."""
    assert register(daemon).code == "unknown_link"
    daemon.request("PUT", "/links/jira", {"url": own_sandbox.base_url("jira")})
    assert register(daemon).code == "key_missing"
    assert daemon.request("GET", "/links/jira/registration-script").code == "key_missing"


def test_another_product_is_refused_by_name(daemon: Daemon) -> None:
    """Crowd has application links, but nobody knows its calls."""
    with RawServer(reply("<manifest><typeId>crowd</typeId><version>7.1.0</version></manifest>")) as server:
        daemon.request("POST", "/key")
        daemon.request("PUT", "/links/crowd", {"url": server.url})

        refused = register(daemon, name="crowd")
        script = daemon.request("GET", "/links/crowd/registration-script")

    assert refused.code == script.code == "registration_unsupported"
    assert refused.message.startswith("link crowd: crowd 7.1.0 is not a product")
