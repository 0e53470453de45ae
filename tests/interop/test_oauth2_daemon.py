"""The daemon at OAuth 2.0 servers that others wrote: links by issuer and by hand, from the dance to the request."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from atl_sign.base.credentials import Secret
from tests.interop.daemon_lab import By, FileDaemon, ForeignLink, add_link, assert_signed_out, commands_in, query_of, run, who_is
from tests.interop.oauth2_servers import SCOPES, AuthlibServer, ForeignServer, Kind, OidcProvider
from tests.interop.our_client import OurClient
from tests.lab import Daemon
from tests.oauth2_lab import PORT, visit

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs


@pytest.mark.parametrize("by", ["issuer", "hand"])
@pytest.mark.parametrize("kind", ["basic", "post", "public", "exact"])
def test_dance(server: ForeignServer, daemon: Daemon, kind: Kind, by: By) -> None:
    """The consent's address as RFC 6749 §4.1.1 and RFC 7636 have it; then header, check and status."""
    link = add_link(daemon, server, kind, by)
    assert_signed_out(link)
    begun = link.begin()
    asked = query_of(begun["authorize_url"])
    client = server.client(kind)
    assert {name: asked[name] for name in ("response_type", "client_id", "redirect_uri", "scope", "code_challenge_method")} == {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": link.redirect,
        "scope": " ".join(SCOPES),
        "code_challenge_method": "S256",
    }
    assert begun["redirect_url"] == link.redirect

    asked_at = datetime.now(UTC)
    redirect = server.consent(begun["authorize_url"])
    status, page = visit(redirect)
    state = link.ask(begun)

    user = "alice" if by == "issuer" else "alice@example.com"
    assert redirect.startswith(f"{link.redirect}?")
    assert (status, "Signed in to app" in page) == (200, True)
    assert (state["state"], state["user"]) == ("granted", user), state
    assert link.use() == "alice"
    assert who_is(server, link.fetch_header() + "x") == ""
    assert link.check().json["user"] == user
    reported = daemon.request("GET", "/status").json["links"][0]["token"]
    assert reported == link.read_token()
    assert (reported["state"], reported["user"]) == ("active", user)
    signed = link.sign().json
    assert (signed["scheme"], signed["uses"], signed["expires_at"]) == ("oauth2", "many", reported["expires_at"])
    life = datetime.fromisoformat(reported["expires_at"]) - asked_at
    assert timedelta(seconds=3_590) < life < timedelta(seconds=3_630)  # the servers' is 3,600 s


def test_curl(server: ForeignServer, daemon: Daemon) -> None:
    """`atl-sign curl` by the daemon's proxy; before the dance nothing is sent, and what the server refuses is explained."""
    link = add_link(daemon, server)
    line = f"atl-sign curl --no-progress-meter {server.protected_url}"
    before = run(daemon, line)
    assert (before.returncode, before.stdout) == (125, "")
    assert "hint: atl-sign dance app\n" in before.stderr

    link.dance()
    done = run(daemon, line)
    access_token = Secret(link.fetch_header().removeprefix("Bearer "))
    assert OurClient(server).revoke(access_token, "access_token") == 200
    refused = run(daemon, line)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["sub"] == "alice"
    assert json.loads(refused.stdout)["error"] == "invalid_token"
    assert "the provider does not take the access token any more\nhint: atl-sign dance app\n" in refused.stderr


def test_link_by_its_address(daemon: Daemon, server: ForeignServer) -> None:
    """The issuer is found by the metadata at the link's own address; the commands of `link setup` work when pasted."""
    client = server.client("basic")
    add = f"atl-sign link add app {server.issuer} --scheme oauth2 --scopes 'openid profile' --redirect-port {PORT}"
    assert run(daemon, add).returncode == 0

    commands = re.findall(r"^Then: (.+)$", run(daemon, "atl-sign link setup app").stdout, re.M)
    assert commands[-1] == "atl-sign dance app"
    for command in commands[:-1]:
        done = run(daemon, command.replace(" ID", f" {client.client_id}"), f"{client.secret}\n")
        assert done.returncode == 0, done.stderr

    found = daemon.request("GET", "/links/app").json
    assert (found["flavour"], found["issuer"], found["scopes"]) == ("generic", server.issuer, "openid profile")
    assert ForeignLink(daemon, server, PORT).dance()["state"] == "granted"


def test_link_to_an_address_without_metadata(daemon: Daemon, authlib_server: AuthlibServer) -> None:
    """The twin: the metadata are of the issuer, not of the host."""
    reply = daemon.request("PUT", "/links/app", {"url": authlib_server.origin, "scheme": "oauth2"})

    assert (reply.status, reply.code) == (422, "bad_request")
    assert "--flavour" in reply.hint
    assert daemon.request("GET", "/links/app").status == 404


@pytest.mark.parametrize("words", ["it is of another issuer", "it has no metadata"])
def test_wrong_issuer(server: ForeignServer, daemon: Daemon, words: str) -> None:
    """The same server by another name, and an address where nothing is (RFC 8414 §3.3): no dance begins."""
    issuer = server.issuer.replace("127.0.0.1", "localhost") if "another" in words else f"{server.issuer}/nothing"
    link = add_link(daemon, server, issuer=issuer)

    reply = daemon.request("POST", "/dance", {"link": "app", "callback": "loopback"})

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert words in reply.message
    assert_signed_out(link)


def test_refresh_token_without_a_word_by_hand(server: ForeignServer, file_daemon: FileDaemon) -> None:
    """For offline_access a client has to ask for consent (OpenID Connect Core 1.0 §11); the link needs no setting for that."""
    link = add_link(file_daemon, server)
    link.dance()

    grant = file_daemon.read_grant()

    assert grant is not None
    assert grant["refresh_token"]


@pytest.mark.parametrize("scopes", ["openid profile", "openid profile offline_access"])
def test_no_refresh_token(oidc_provider: OidcProvider, file_daemon: FileDaemon, scopes: str) -> None:
    """The twin: oidc-provider gives none without that scope, or if the link's own address has another `prompt`."""
    url = f"{oidc_provider.origin}/auth?prompt=login" if "offline" in scopes else None
    link = add_link(file_daemon, oidc_provider, scopes=scopes, authorize_url=url)
    assert link.dance()["state"] == "granted"

    grant = file_daemon.read_grant()

    assert grant is not None
    assert grant["refresh_token"] is None
    assert link.use() == "alice"


@pytest.mark.parametrize("kind", ["basic", "post"])
def test_wrong_secret(daemon: Daemon, server: ForeignServer, kind: Kind) -> None:
    """The dance fails; the hint's commands repair it when they are pasted."""
    link = add_link(daemon, server, kind)
    assert daemon.request("PUT", "/links/app/secret", {"secret": "wrong"}).status == 200

    failed = link.dance()

    assert (failed["state"], failed["error"]["code"]) == ("failed", "provider_refused")
    assert "(invalid_client)" in failed["error"]["message"]
    assert_signed_out(link)
    commands = commands_in(failed["error"]["hint"])
    assert commands[:2] == ["atl-sign link secret app", "atl-sign link show app"]
    for command in commands[:2]:
        done = run(daemon, command, f"{server.client(kind).secret}\n")
        assert done.returncode == 0, done.stderr
    assert link.dance()["state"] == "granted"


@pytest.mark.parametrize("kind", ["basic", "post"])
def test_no_secret(daemon: Daemon, server: ForeignServer, kind: Kind) -> None:
    """A client that has one must send it."""
    link = add_link(daemon, server, kind)
    daemon.request("DELETE", "/links/app")
    client = server.client(kind)
    add_link(daemon, server, "public", client_id=client.client_id)

    failed = link.dance()

    assert (failed["state"], "(invalid_client)" in failed["error"]["message"]) == ("failed", True)


@pytest.mark.parametrize(("kind", "other"), [("basic", "body"), ("post", "basic")])
def test_secret_in_the_wrong_place(daemon: Daemon, authlib_server: AuthlibServer, kind: Kind, other: str) -> None:
    """Authlib takes it only where the client is registered to send it; the hint's last command puts it there."""
    link = add_link(daemon, authlib_server, kind, client_auth=other)

    failed = link.dance()

    assert (failed["state"], "(invalid_client)" in failed["error"]["message"]) == ("failed", True)
    command = commands_in(failed["error"]["hint"])[-1]
    assert run(daemon, command).returncode == 0
    assert link.dance()["state"] == "granted"


def test_scope_that_the_server_does_not_have(daemon: Daemon, authlib_server: AuthlibServer) -> None:
    """Authlib refuses it (RFC 6749 §4.1.2.1)."""
    link = add_link(daemon, authlib_server, scopes="openid admin")
    begun = link.begin()

    _, page = visit(authlib_server.consent(begun["authorize_url"]))

    state = link.ask(begun)
    assert (state["state"], state["error"]["code"]) == ("failed", "provider_refused")
    assert state["error"]["message"] == "link app: the app does not have the scopes that are asked for (invalid_scope)"
    assert "the app does not have the scopes" in page
    assert "openid admin" in run(daemon, commands_in(state["error"]["hint"])[0].partition(" lists")[0]).stdout
    assert_signed_out(link)


def test_scope_that_is_ignored(daemon: Daemon, oidc_provider: OidcProvider) -> None:
    """oidc-provider leaves it out (RFC 6749 §3.3 lets it), and the rest is granted."""
    link = add_link(daemon, oidc_provider, scopes="openid admin")

    assert link.dance()["state"] == "granted"
    assert link.use() == "alice"


@pytest.mark.parametrize(("account", "is_right"), [("alice", True), ("ALICE", True), ("bob", False)])
def test_account(daemon: Daemon, server: ForeignServer, account: str, is_right: bool) -> None:
    """Only this user may consent."""
    link = add_link(daemon, server, account=account)

    state = link.dance()

    assert state["state"] == ("granted" if is_right else "failed")
    if not is_right:
        assert "alice consented, but the link is for bob" in state["error"]["message"]
        assert_signed_out(link)


def test_check_without_an_address_that_names_the_user(daemon: Daemon, server: ForeignServer) -> None:
    """
    Requests are authorized all the same; the check says what is missing.

    The token goes to that address, so that the link with it is another place, to which neither grant nor secret is taken along.
    """
    link = add_link(daemon, server, who_url=None)
    state = link.dance()

    assert (state["state"], state["user"]) == ("granted", None)
    assert link.use() == "alice"
    checked = link.check()
    assert checked.code == "bad_request"
    assert "does not say where the provider names the user" in checked.message
    command = commands_in(checked.hint)[-1]
    assert run(daemon, command.replace(" URL", f" {server.protected_url}")).returncode == 0
    assert link.check().code == "dance_needed"
    assert daemon.request("PUT", f"/links/{link.name}/secret", {"secret": server.client("basic").secret}).status == 200
    link.dance()
    assert link.check().json["user"] == "alice"
