"""Misbehaviour of every kind of server, switched on and off while it runs."""

import threading
import time
from collections.abc import Callable, Iterator
from http.client import RemoteDisconnected
from pathlib import Path
from typing import get_type_hints
from urllib.parse import parse_qsl, urlsplit

import pytest

from atl_sign.sandbox import Cloud, Faults, Forge, OAuth2Server, Sandbox
from atl_sign.sandbox.oauth2.faults import TOKEN_FAULTS
from tests.sandbox.consumer import Clock, Reply, send
from tests.sandbox.oauth2_client import S256, VERIFIER, Client, bearer

REDIRECT = "http://localhost:34106/"
FLAVOURS = ("jira", "bamboo", "cloud", "bitbucket-cloud", "github", "gitlab", "generic")


class Lab:
    """A server, an app's client, and a who-am-I call."""

    def __init__(self, server: OAuth2Server, client: Client, who_am_i: str) -> None:
        self.server = server
        self.client = client
        self.who_am_i = who_am_i

    @property
    def faults(self) -> Faults:
        return self.server.faults

    def tokens(self) -> dict[str, object]:
        """Go all the way."""
        return dict(self.exchange().json)

    def exchange(self) -> Reply:
        """Exchange a fresh code."""
        return self.client.exchange(self.client.code(**S256), code_verifier=VERIFIER)

    def refresh(self, token: object) -> Reply:
        """Refresh, with the redirect that one of the servers wants to see again."""
        return self.client.refresh(str(token), redirect_uri=REDIRECT)

    def me(self, token: object) -> Reply:
        """Ask who the token's user is."""
        return send("GET", self.who_am_i, headers=bearer(str(token)))


@pytest.fixture(params=FLAVOURS)
def lab(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Lab]:
    """One of each."""
    name = request.param
    if name in ("jira", "bamboo"):
        with Sandbox([name], clock=clock) as provider:
            app, base = provider.register_app(name, redirect_uris=[REDIRECT]), provider.base_url(name)
            approve = at_product(provider, name)
            oauth2 = f"{base}/rest/oauth2/latest"
            client = Client(app, REDIRECT, f"{oauth2}/authorize", f"{oauth2}/token", approve, "READ")
            path = "/rest/api/2/myself" if name == "jira" else "/rest/api/latest/currentUser"
            yield Lab(provider.oauth2(name), client, base + path)
    elif name in ("cloud", "bitbucket-cloud"):
        with Cloud(clock=clock) as cloud:
            yield make_cloud_lab(cloud, name)
    else:
        with Forge(name, clock=clock) as forge:
            extra = {"kind": "github-app"} if name == "github" else {}
            app = forge.register_app(redirect_uris=[REDIRECT], **extra)
            endpoints = forge.oauth2.flavour.endpoints
            site = forge.url("site")
            scope = {"gitlab": "read_user", "generic": "read"}.get(name, "")
            client = Client(app, REDIRECT, site + endpoints.authorize, site + endpoints.token, forge.approve, scope)
            yield Lab(forge.oauth2, client, f"{forge.url('api')}/user")


def at_product(provider: Sandbox, product: str) -> Callable[..., str]:
    """Return `approve` of one product."""
    return lambda address, user="alice", *, deny=False: provider.approve(product, address, user, deny=deny)


def make_cloud_lab(cloud: Cloud, name: str) -> Lab:
    """Return a lab at one of Cloud's two servers."""
    if name == "cloud":
        app = cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=["read:jira-user"])
        extra = {"audience": "api.atlassian.com", "prompt": "consent"}
        base, scope = cloud.url("auth"), "read:jira-user offline_access"
        client = Client(app, REDIRECT, f"{base}/authorize", f"{base}/oauth/token", cloud.approve, scope, extra)
        return Lab(cloud.oauth2("auth"), client, f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}/rest/api/3/myself")
    app = cloud.register_app("bitbucket", redirect_uris=[REDIRECT], scopes=["account"])
    base = f"{cloud.url('bitbucket')}/site/oauth2"
    client = Client(app, REDIRECT, f"{base}/authorize", f"{base}/access_token", cloud.approve)
    return Lab(cloud.oauth2("bitbucket"), client, f"{cloud.url('bitbucket-api')}/2.0/user")


def living(lab: Lab) -> int:
    """Return the number of living access tokens."""
    return len(lab.server.access_tokens)


def pairs_of(address: str) -> list[tuple[str, str]]:
    """Return the parameters of an address, repeated ones too."""
    return parse_qsl(urlsplit(address).query, keep_blank_values=True)


@pytest.mark.parametrize("fault", TOKEN_FAULTS)
def test_token_endpoint_fails_once(lab: Lab, fault: str) -> None:
    """Before or after its work; then it behaves, and tells how it went by its memory."""
    tokens = lab.tokens()
    lab.faults.token, lab.faults.times = fault, 1  # type: ignore[assignment]  # one of the words

    if fault in ("hang up", "lost answer"):
        with pytest.raises(RemoteDisconnected):
            lab.refresh(tokens["refresh_token"])
    else:
        check_nonsense(lab.refresh(tokens["refresh_token"]), fault)

    assert lab.server.refreshes == (1 if fault == "lost answer" else 0)
    again = lab.refresh(tokens["refresh_token"])
    survives = fault != "lost answer" or lab.server.leeway_s > 0
    assert ("access_token" in again.json) is survives


def check_nonsense(reply: Reply, fault: str) -> None:
    """Compare with what is announced."""
    if fault == "shape":
        assert (reply.status, isinstance(reply.json, list)) == (200, True)
    elif fault == "redirect":
        assert (reply.status, reply.headers["Location"]) == (302, "/elsewhere")
    else:
        assert reply.status == (200 if fault == "html" else int(fault))
        assert reply.headers["Content-Type"].startswith("text/html")
        assert reply.headers.get("Retry-After") == ("7" if fault in ("429", "503") else None)


def test_faults_last_until_they_are_cleared(lab: Lab) -> None:
    """Without a number; Retry-After may be left out."""
    lab.faults.token, lab.faults.retry_after = "503", None

    replies = [lab.exchange(), lab.exchange()]

    assert [(reply.status, "Retry-After" in reply.headers) for reply in replies] == [(503, False)] * 2
    lab.faults.clear()
    assert lab.exchange().status == 200
    assert lab.faults == Faults()


@pytest.mark.parametrize("value", ["3600", -5, 10**12, 0.5, "soon", None])
def test_expires_in_is_anything(lab: Lab, value: object) -> None:
    """Only in the answer: the token lives as long as before."""
    usual = lab.tokens()["expires_in"]
    lab.faults.expires_in = value

    tokens = lab.tokens()

    assert tokens["expires_in"] == (usual if value is None else value)
    assert lab.me(tokens["access_token"]).status == 200


def test_fields_are_left_out(lab: Lab) -> None:
    """No expires_in, no refresh token."""
    assert {"expires_in", "refresh_token"} <= lab.tokens().keys()
    lab.faults.omits_expires_in = lab.faults.omits_refresh_token = True

    assert lab.tokens().keys().isdisjoint({"expires_in", "refresh_token"})


def test_errors_come_with_200(lab: Lab) -> None:
    """The body stays the same."""
    before = lab.refresh("unknown")
    lab.faults.errors_with_200 = True

    reply = lab.refresh("unknown")

    assert (reply.status, reply.json) == (200, before.json)
    assert "error" in reply.json


def test_slow_answers(lab: Lab) -> None:
    """The others are not held up meanwhile."""
    lab.faults.delay_s = 0.3

    began = time.monotonic()
    assert lab.exchange().status == 200

    assert time.monotonic() - began >= 0.3
    lab.faults.delay_s = 0
    assert lab.exchange().status == 200


def test_slow_answer_does_not_delay_the_end(clock: Clock) -> None:
    """The sandbox stops at once."""
    with Cloud(clock=clock) as cloud:
        lab = make_cloud_lab(cloud, "cloud")
        lab.faults.delay_s = 30
        lost: list[str] = []

        def ask() -> None:
            try:
                lab.refresh("x")
            except ConnectionError as exc:
                lost.append(type(exc).__name__)

        thread = threading.Thread(target=ask)
        thread.start()
        deadline = time.monotonic() + 5
        while "dead refresh token" not in {each.verdict for each in cloud.state.requests} and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
    thread.join(5)
    assert time.monotonic() - began < 5
    assert len(lost) == 1


def test_redirects_are_wrong(lab: Lab) -> None:
    """Two states, none, a forged iss, foreign parameters."""
    usual = pairs_of(lab.client.approve(lab.client.url(**S256)))
    assert [name for name, _ in usual][:2] == ["code", "state"]

    lab.faults.doubles_state = True
    assert [value for name, value in pairs_of(lab.client.approve(lab.client.url(**S256))) if name == "state"] == [
        "the-state",
        "the-state2",
    ]
    lab.faults.clear()
    lab.faults.omits_state = True
    assert "state" not in dict(pairs_of(lab.client.approve(lab.client.url(**S256))))
    lab.faults.clear()
    lab.faults.iss = "https://attacker.example"
    assert [value for name, value in pairs_of(lab.client.approve(lab.client.url(**S256))) if name == "iss"] == [
        "https://attacker.example"
    ]
    lab.faults.clear()
    lab.faults.extra = (("session_state", "x"), ("code", "second"))
    assert pairs_of(lab.client.approve(lab.client.url(**S256)))[-2:] == [("session_state", "x"), ("code", "second")]


def test_silence(lab: Lab) -> None:
    """A page instead of the redirect, for Allow and for Deny."""
    lab.faults.is_silent = True

    assert lab.client.approve(lab.client.url(**S256), deny=True) == ""
    assert lab.client.approve(lab.client.url(**S256)) == ""


def test_bearers_are_ignored(lab: Lab) -> None:
    """And work again afterwards."""
    token = lab.tokens()["access_token"]
    lab.faults.ignores_bearers = True

    assert lab.me(token).status == 401
    lab.faults.clear()
    assert lab.me(token).status == 200


@pytest.mark.parametrize("name", ["jira", "cloud", "gitlab", "generic"])
def test_metadata_lies(name: str, clock: Clock) -> None:
    """About the issuer."""
    lie = "https://attacker.example"
    if name == "jira":
        with Sandbox(["jira"], clock=clock) as provider:
            provider.oauth2("jira").faults.metadata_issuer = lie
            url = f"{provider.base_url('jira')}/rest/oauth2/latest/.well-known/oauth-authorization-server"
            assert send("GET", url).json["issuer"] == lie
    elif name == "cloud":
        with Cloud(clock=clock) as cloud:
            cloud.oauth2("auth").faults.metadata_issuer = lie
            assert send("GET", f"{cloud.url('auth')}/.well-known/oauth-authorization-server").json["issuer"] == lie
    else:
        with Forge(name, clock=clock) as forge:  # type: ignore[arg-type]  # one of the words
            forge.faults.metadata_issuer = lie
            found = send("GET", f"{forge.url('site')}/.well-known/oauth-authorization-server").json
            assert found["issuer"] == lie
            assert found["token_endpoint"].startswith(forge.url("site"))


def test_knobs_are_there_for_every_server(lab: Lab, clock: Clock) -> None:
    """Lives, leeway, the count of refreshes, the living tokens, and the end of them all."""
    lab.server.access_token_life_s, lab.server.refresh_token_life_s, lab.server.code_life_s = 50, 200, 20
    code = lab.client.code(**S256)
    clock.now += 20
    assert "access_token" not in lab.client.exchange(code, code_verifier=VERIFIER).json
    tokens = lab.tokens()
    assert tokens["expires_in"] == 50
    lab.server.leeway_s = 10
    fresh = [lab.refresh(tokens["refresh_token"]).json for _ in range(2)]
    assert lab.server.refreshes == 2
    assert set(lab.server.access_tokens) >= {each["access_token"] for each in fresh[1:]}
    clock.now += 50
    assert living(lab) == 0
    assert lab.me(fresh[1]["access_token"]).status == 401
    assert "access_token" in lab.refresh(fresh[1]["refresh_token"]).json
    assert living(lab) == 1
    lab.server.revoke_all()
    assert living(lab) == 0
    late = lab.tokens()["refresh_token"]
    clock.now += 200
    assert "access_token" not in lab.refresh(late).json


def test_every_fault_is_tried_here() -> None:
    """All fields of the record appear above."""
    text = Path(__file__).read_text()
    names = set(get_type_hints(Faults)) - {"hides_expiry", "redirect_to"}

    assert {name for name in names if f"faults.{name}" not in text} == set()
