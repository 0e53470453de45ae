"""GitHub and GitHub Enterprise: OAuth apps, GitHub Apps, the device flow, and the ends of tokens (facts oauth2 section 8)."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode

import pytest

from atl_sign.sandbox import ApproveError, Forge
from atl_sign.sandbox.oauth2.records import App
from tests.sandbox.consumer import FORM, JSON, Clock, Reply, send
from tests.sandbox.oauth2_client import CHALLENGE, S256, VERIFIER, Client, bearer, dance_with_oauthlib, query_of
from tests.sandbox.test_applinks import basic
from tests.sandbox.test_oauth2_products import ls_remote

CALLBACK = "http://127.0.0.1/callback"
REDIRECT = "http://127.0.0.1:49152/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
DAY_S = 86_400
BAD_CREDENTIALS = "Bad credentials"


@pytest.fixture(params=["github", "github-enterprise"])
def forge(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Forge]:
    """Both of them."""
    with Forge(request.param, clock=clock) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


@pytest.fixture
def github(clock: Clock) -> Iterator[Forge]:
    """github.com."""
    with Forge("github", clock=clock) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


def client_at(forge: Forge, kind: str = "oauth", scope: str = "repo gist", callback: str = CALLBACK) -> Client:
    """Register an app and return its client."""
    app = forge.register_app(kind=kind, redirect_uris=[callback])
    base = f"{forge.url('site')}/login/oauth"
    redirect = REDIRECT if callback == CALLBACK else callback
    return Client(app, redirect, f"{base}/authorize", f"{base}/access_token", forge.approve, scope if kind == "oauth" else "")


def get(forge: Forge, token: str, path: str = "/user") -> Reply:
    """Send a GET to the API."""
    return send("GET", forge.url("api") + path, headers=bearer(token))


def error_of(reply: Reply) -> str:
    """Return the error of a token endpoint's answer, which comes with HTTP 200."""
    assert reply.status == 200
    return str(reply.json["error"])


def test_addresses(github: Forge) -> None:
    """Two hosts at github.com, one at an Enterprise."""
    assert github.url("api") != github.url("site")
    with Forge("github-enterprise") as enterprise:
        assert enterprise.url("api") == f"{enterprise.url('site')}/api/v3"
        assert send("GET", f"{enterprise.url('site')}/user").status == 404
        assert send("GET", f"{github.url('site')}/user").status == 404


def test_a_foreign_client_dances(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OAuth app's token does not expire and has no refresh token; a wrong secret gets an error with HTTP 200."""
    client = client_at(forge)

    session, token = dance_with_oauthlib(client, monkeypatch)

    assert token["access_token"].startswith("gho_")
    assert "expires_in" not in token
    assert "refresh_token" not in token
    assert session.get(forge.url("api") + "/user").json()["login"] == "alice"
    assert error_of(client.exchange(client.code(scope="user"), client_secret="wrong")) == "incorrect_client_credentials"
    session.close()


def test_a_foreign_client_refreshes_a_github_app(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token expires, and the old pair dies at once."""
    client = client_at(forge, "github-app")
    session, token = dance_with_oauthlib(client, monkeypatch)

    secret = {"client_id": client.app.client_id, "client_secret": client.app.client_secret}
    fresh = session.refresh_token(client.token_url, **secret)

    assert (token["access_token"][:4], token["refresh_token"][:4]) == ("ghu_", "ghr_")
    assert (int(token["expires_in"]), int(token["refresh_token_expires_in"])) == (28_800, 15_897_600)
    assert get(forge, fresh["access_token"]).status == 200
    assert get(forge, token["access_token"]).json["message"] == BAD_CREDENTIALS
    dead = client.refresh(token["refresh_token"])
    assert error_of(dead) == "bad_refresh_token"
    assert dead.json["error_description"] == "The refresh token passed is incorrect or expired."
    assert dead.json["error_uri"].startswith("https://docs.github.com/")
    session.close()


def test_answers_are_forms_unless_json_is_accepted(github: Forge) -> None:
    """Errors too; parameters may come in the query, and without a grant type."""
    client = client_at(github)
    fields = {"client_id": client.app.client_id, "client_secret": client.app.client_secret or "", "code": client.code()}

    reply = send("POST", f"{client.token_url}?{urlencode(fields)}")
    again = send("POST", client.token_url, urlencode(fields), FORM)

    assert reply.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert reply.fields.keys() == {"access_token", "token_type", "scope"}
    assert reply.fields["scope"] == "repo,gist"
    assert (again.status, again.fields["error"]) == (200, "bad_verification_code")
    assert fields["client_secret"] not in repr(github.state.requests)
    assert fields["code"] not in repr(github.state.requests)


@pytest.mark.parametrize(
    ("redirect", "is_allowed"),
    [
        ("http://127.0.0.1:1234/callback", True),
        ("http://127.0.0.1/callback/below", True),
        ("http://127.0.0.1:1234/", False),
        ("http://127.0.0.1:1234/callback2", False),
        ("http://localhost:1234/callback", False),
        ("https://127.0.0.1:1234/callback", False),
    ],
)
def test_loopback_takes_any_port(github: Forge, redirect: str, is_allowed: bool) -> None:
    """A wrong redirect is reported to the registered one."""
    client = client_at(github)

    back = github.approve(client.url(redirect_uri=redirect))

    if is_allowed:
        assert back.startswith(redirect)
        assert "code" in query_of(back)
    else:
        assert back.startswith(f"{CALLBACK}?")
        assert (query_of(back)["error"], query_of(back)["state"]) == ("redirect_uri_mismatch", "the-state")


@pytest.mark.parametrize(
    ("redirect", "is_allowed"),
    [
        ("https://client.example.com/cb/x", True),
        ("https://sub.client.example.com/cb", True),
        ("https://client.example.com:444/cb", False),
        ("https://evilclient.example.com/cb", False),
        ("nonsense:x:y://", False),
    ],
)
def test_other_hosts_are_compared(github: Forge, redirect: str, is_allowed: bool) -> None:
    """Subdomains and what is below the path are fine."""
    client = client_at(github, callback="https://client.example.com/cb")

    assert ("code" in query_of(github.approve(client.url(redirect_uri=redirect)))) is is_allowed


def test_github_app_has_exact_callbacks(github: Forge) -> None:
    """But for the port of a loopback; several may be registered."""
    app = github.register_app(kind="github-app", redirect_uris=[CALLBACK, "https://client.example.com/cb"])
    client = client_at(github)
    client.app, client.scope = app, ""

    assert "code" in client.consent(redirect_uri="http://127.0.0.1:9/callback")
    assert "code" in client.consent(redirect_uri="https://client.example.com/cb")
    assert client.consent(redirect_uri="https://client.example.com/cb/x")["error"] == "redirect_uri_mismatch"
    assert client.consent(redirect_uri="http://127.0.0.1:9/callback/x")["error"] == "redirect_uri_mismatch"


def test_redirect_may_be_left_out(github: Forge) -> None:
    """Then it is the registered one; at the exchange a wrong one is refused."""
    client = client_at(github)

    code = query_of(github.approve(client.url(redirect_uri=None)))["code"]

    assert error_of(client.exchange(code)) == "redirect_uri_mismatch"
    assert "access_token" in client.exchange(code, redirect_uri=None).json


def test_page_is_skipped_when_nothing_is_new(github: Forge) -> None:
    """The same scopes and fewer are granted at once; more ask again, and may be denied."""
    client = client_at(github)
    client.code()

    assert "code" in client.deny()
    assert "code" in client.deny(scope="gist")
    denied = client.deny(scope="user")
    assert denied["error_description"] == "The user has denied your application access."
    assert (denied["error"], denied["state"]) == ("access_denied", "the-state")


def test_scopes_are_normalized(github: Forge) -> None:
    """Commas and blanks separate, unknown ones are dropped, included ones too; none is public reading."""
    client = client_at(github)

    assert client.tokens(scope="user,gist,user:email nonsense")["scope"] == "user,gist"
    assert client.tokens(scope=None)["scope"] == ""


@pytest.mark.parametrize("case", ["unknown", "used", "expired", "foreign", "verifier"])
def test_bad_verification_code(github: Forge, clock: Clock, case: str) -> None:
    """One error for all that is wrong with a code."""
    client = client_at(github)
    code = client.code(**S256)
    changes: dict[str, str | None] = {"code_verifier": VERIFIER}
    if case == "unknown":
        code += "x"
    elif case == "used":
        client.exchange(code, code_verifier=VERIFIER)
    elif case == "expired":
        clock.now += 600
    elif case == "foreign":
        other = github.register_app(redirect_uris=[CALLBACK])
        changes |= {"client_id": other.client_id, "client_secret": other.client_secret}
    else:
        changes["code_verifier"] = VERIFIER[::-1]

    assert error_of(client.exchange(code, **changes)) == "bad_verification_code"
    assert error_of(client.exchange(client.code(), grant_type="password")) == "unsupported_grant_type"


def test_pkce_is_s256_and_unknown_at_an_enterprise(github: Forge) -> None:
    """There a wrong verifier changes nothing."""
    client = client_at(github)
    assert client.consent(code_challenge=CHALLENGE)["error"] == "invalid_request"
    with Forge("github-enterprise") as enterprise:
        other = client_at(enterprise)
        assert "access_token" in other.exchange(other.code(**S256), code_verifier=VERIFIER[::-1]).json


def test_scope_headers_and_refusals(forge: Forge) -> None:
    """What the token has and the call accepts; a missing scope hides private things, and forbids others."""
    client = client_at(forge)
    token = client.tokens(scope="gist user:email")["access_token"]

    emails = get(forge, token, "/user/emails")
    hidden = get(forge, token, "/repos/acme/shop")
    forbidden = send("PUT", f"{forge.url('api')}/user/starred/acme/docs", headers=bearer(token))

    assert (emails.status, emails.json[0]["email"]) == (200, "alice@example.com")
    assert emails.headers["X-OAuth-Scopes"] == "gist, user:email"
    assert emails.headers["X-Accepted-OAuth-Scopes"] == "user:email, user"
    assert (hidden.status, hidden.json["message"], forbidden.status) == (404, "Not Found", 403)
    full = client.tokens(scope="repo")["access_token"]
    assert get(forge, full, "/repos/acme/shop").json["private"] is True
    assert send("PUT", f"{forge.url('api')}/user/starred/acme/docs", headers=bearer(full)).status == 204
    assert get(forge, full, "/user/emails").status == 404
    assert get(forge, full, "/repos/acme/docs").json["clone_url"] == f"{forge.url('site')}/acme/docs.git"
    assert send("GET", f"{forge.url('api')}/repos/acme/docs").status == 200
    assert send("GET", f"{forge.url('api')}/repos/acme/shop").status == 404
    assert send("GET", f"{forge.url('api')}/user").json["message"] == "Requires authentication"


def test_github_app_has_permissions_instead_of_scopes(github: Forge) -> None:
    """No scope in answer and headers; a missing permission names what is needed."""
    client = client_at(github, "github-app")
    tokens = client.tokens(scope="repo")
    reply = get(github, tokens["access_token"], "/user/emails")

    assert tokens["scope"] == ""
    assert (reply.status, reply.json["message"]) == (403, "Resource not accessible by integration")
    assert reply.headers["X-Accepted-GitHub-Permissions"] == "emails=read"
    assert "X-OAuth-Scopes" not in reply.headers
    assert get(github, tokens["access_token"], "/repos/acme/shop").status == 200


def test_scheme_may_be_called_token(github: Forge) -> None:
    """As in old documentation; a wrong one is refused in the same way."""
    token = client_at(github).tokens()["access_token"]

    assert send("GET", f"{github.url('api')}/user", headers={"Authorization": f"token {token}"}).status == 200
    assert send("GET", f"{github.url('api')}/user", headers={"Authorization": f"token {token}x"}).status == 401


def test_lives(github: Forge, clock: Clock) -> None:
    """An OAuth app's token dies after a year without use, a GitHub App's after eight hours."""
    endless, short = client_at(github).tokens()["access_token"], client_at(github, "github-app").tokens()
    clock.now += 28_799
    assert get(github, short["access_token"]).status == 200
    clock.now += 1
    assert get(github, short["access_token"]).status == 401
    clock.now += 364 * DAY_S
    assert get(github, endless).status == 200
    clock.now += 364 * DAY_S
    assert get(github, endless).status == 200
    clock.now += 365 * DAY_S
    assert get(github, endless).status == 401


def test_eleventh_token_evicts_the_oldest(github: Forge) -> None:
    """Of the same user, app and scopes; others stay."""
    client = client_at(github)
    other = client.tokens("bob")["access_token"], client.tokens(scope="gist")["access_token"]

    tokens = [client.tokens()["access_token"] for _ in range(11)]

    assert [get(github, token).status for token in tokens] == [401] + [200] * 10
    assert [get(github, token).status for token in other] == [200, 200]


def delete(forge: Forge, app: App, what: str, token: str, secret: str | None = None) -> int:
    """Ask GitHub to end a token or a grant; returns the status."""
    headers = {**JSON, **basic(app.client_id, secret or app.client_secret or "")}
    url = f"{forge.url('api')}/applications/{app.client_id}/{what}"
    return send("DELETE", url, json.dumps({"access_token": token}), headers).status


def test_app_deletes_tokens_and_grants(forge: Forge) -> None:
    """One token, or all of the user's; with its own secret, and its own tokens."""
    client, stranger = client_at(forge), client_at(forge)
    first, second, third = (client.tokens()["access_token"] for _ in range(3))

    assert delete(forge, client.app, "token", first, "wrong") == 401
    assert delete(forge, stranger.app, "token", first) == 422
    other_url = f"{forge.url('api')}/applications/{client.app.client_id}/token"
    by_stranger = {**JSON, **basic(stranger.app.client_id, stranger.app.client_secret or "")}
    assert send("DELETE", other_url, json.dumps({"access_token": first}), by_stranger).status == 404
    assert send("DELETE", other_url, json.dumps({"access_token": first}), JSON).status == 401
    assert get(forge, first).status == 200
    assert delete(forge, client.app, "token", first) == 204
    assert [get(forge, token).status for token in (first, second, third)] == [401, 200, 200]
    assert delete(forge, client.app, "token", first) == 422
    assert delete(forge, client.app, "grant", second) == 204
    assert get(forge, third).status == 401


def test_deleted_token_takes_its_refresh_token_along(github: Forge) -> None:
    """Of a GitHub App."""
    client = client_at(github, "github-app")
    tokens, other = client.tokens(), client.tokens()

    assert delete(github, client.app, "token", tokens["access_token"]) == 204

    assert error_of(client.refresh(tokens["refresh_token"])) == "bad_refresh_token"
    assert "access_token" in client.refresh(other["refresh_token"]).json


def test_anybody_revokes_credentials(github: Forge) -> None:
    """Unauthenticated, and only so; not at an Enterprise."""
    token = client_at(github).tokens()["access_token"]
    url, body = f"{github.url('api')}/credentials/revoke", json.dumps({"credentials": [token, "unknown"]})

    assert send("POST", url, body, {**JSON, **bearer(token)}).status == 403
    assert send("POST", url, '{"credentials": []}', JSON).status == 422
    assert get(github, token).status == 200
    assert send("POST", url, body, JSON).status == 202
    assert get(github, token).status == 401
    with Forge("github-enterprise") as enterprise:
        assert send("POST", f"{enterprise.url('api')}/credentials/revoke", body, JSON).status == 404


def begin_device_flow(client: Client, **changes: str) -> dict[str, object]:
    """Ask for the two codes."""
    url = client.token_url.replace("/oauth/access_token", "/device/code")
    fields = {"client_id": client.app.client_id, "scope": client.scope, **changes}
    return dict(send("POST", url, urlencode(fields), {**FORM, "Accept": "application/json"}).json)


def poll(client: Client, device_code: object) -> Reply:
    """Poll without a secret."""
    return client.post({"grant_type": DEVICE, "device_code": str(device_code), "client_secret": None})


def test_device_flow(forge: Forge, clock: Clock) -> None:
    """Needs no secret and no redirect; the code is used once."""
    client = client_at(forge)
    codes = begin_device_flow(client)

    assert (codes["expires_in"], codes["interval"], len(str(codes["device_code"]))) == (900, 5, 40)
    assert codes["verification_uri"] == f"{forge.url('site')}/login/device"
    assert "verification_uri_complete" not in codes
    assert error_of(poll(client, codes["device_code"])) == "authorization_pending"
    forge.enter_device_code(str(codes["user_code"]))
    clock.now += 5
    tokens = poll(client, codes["device_code"]).json
    assert (tokens["access_token"][:4], tokens["scope"]) == ("gho_", "repo,gist")
    assert get(forge, tokens["access_token"]).json["login"] == "alice"
    assert error_of(poll(client, codes["device_code"])) == "incorrect_device_code"
    with pytest.raises(ApproveError, match="unknown, used or expired"):
        forge.enter_device_code(str(codes["user_code"]))


def test_rate_is_checked_before_the_grant(github: Forge, clock: Clock) -> None:
    """A client that polls a little too early gets slow_down for ever, though the user has approved."""
    client = client_at(github)
    code = begin_device_flow(client)
    poll(client, code["device_code"])
    github.enter_device_code(str(code["user_code"]))

    intervals = []
    for wait in (4.9, 9.9, 14.9):
        clock.now += wait
        reply = poll(client, code["device_code"])
        assert error_of(reply) == "slow_down"
        intervals.append(reply.json["interval"])
    assert intervals == [10, 15, 20]
    clock.now += 20
    assert "access_token" in poll(client, code["device_code"]).json


@pytest.mark.parametrize("case", ["denied", "expired", "foreign", "disabled", "unknown client"])
def test_device_flow_that_fails(github: Forge, clock: Clock, case: str) -> None:
    """Each with its own word."""
    client = client_at(github)
    code = begin_device_flow(client)
    if case == "denied":
        github.enter_device_code(str(code["user_code"]), deny=True)
        assert error_of(poll(client, code["device_code"])) == "access_denied"
    elif case == "expired":
        clock.now += 900
        assert error_of(poll(client, code["device_code"])) == "expired_token"
        with pytest.raises(ApproveError):
            github.enter_device_code(str(code["user_code"]))
    elif case == "foreign":
        assert error_of(poll(client_at(github), code["device_code"])) == "incorrect_device_code"
    elif case == "disabled":
        client.app = github.register_app(redirect_uris=[CALLBACK], has_device_flow=False)
        assert begin_device_flow(client)["error"] == "device_flow_disabled"
    else:
        assert begin_device_flow(client, client_id="unknown")["error"] == "incorrect_client_credentials"


def test_device_answers_are_forms_too(github: Forge) -> None:
    """Without an Accept header."""
    client = client_at(github)
    url = f"{github.url('site')}/login/device/code"

    reply = send("POST", url, urlencode({"client_id": client.app.client_id}), FORM)

    assert parse_qs(reply.text)["interval"] == ["5"]


def test_refresh_token_of_the_device_flow_needs_no_secret(github: Forge) -> None:
    """Others do."""
    client = client_at(github, "github-app")
    code = begin_device_flow(client)
    github.enter_device_code(str(code["user_code"]), "bob")
    from_device, from_dance = poll(client, code["device_code"]).json, client.tokens()

    assert error_of(client.refresh(from_dance["refresh_token"], client_secret=None)) == "incorrect_client_credentials"
    assert error_of(client.refresh(from_device["refresh_token"], client_secret="wrong")) == "incorrect_client_credentials"
    fresh = client.refresh(from_device["refresh_token"], client_secret=None).json
    assert "access_token" in client.refresh(fresh["refresh_token"], client_secret=None).json


def test_git_takes_the_token(forge: Forge) -> None:
    """As the password beside any name, except an empty one; without the scope a private repository does not exist."""
    client = client_at(forge)
    shop, docs = (f"{forge.url('site')}/acme/{name}.git" for name in ("shop", "docs"))
    full, poor = client.tokens(scope="repo")["access_token"], client.tokens(scope="gist")["access_token"]

    def status(url: str, name: str, token: str, service: str = "upload") -> int:
        return send("GET", f"{url}/info/refs?service=git-{service}-pack", headers=basic(name, token)).status

    assert ls_remote(shop.replace("http://", f"http://x-access-token:{full}@")) == 0
    assert ls_remote(docs) == 0
    assert [status(shop, "any", full), status(shop, "any", full, "receive")] == [200, 200]
    assert [status(shop, "any", poor), status(docs, "any", poor), status(docs, "any", poor, "receive")] == [404, 200, 403]
    assert [status(shop, "", full), status(shop, "any", full + "x"), status(docs, "any", "x")] == [401, 401, 401]
    anonymous = send("GET", f"{shop}/info/refs?service=git-upload-pack")
    assert (anonymous.status, anonymous.headers["WWW-Authenticate"]) == (401, 'Basic realm="GitHub"')
    assert status(shop.replace("shop", "none"), "any", full) == 404


def test_unknown_client_gets_a_page(github: Forge) -> None:
    """And no redirect."""
    with pytest.raises(ApproveError):
        client_at(github).consent(client_id="unknown")


def test_unknown_kinds() -> None:
    """Of forges and of apps."""
    with pytest.raises(ValueError, match="forges are github, "):
        Forge("gitea")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a path begins with a slash"):
        Forge("github", path="/x")
    with pytest.raises(ValueError, match="kinds of apps are oauth, github-app"):
        Forge("github").register_app(kind="bot")
    with pytest.raises(ValueError, match="has a secret"):
        Forge("github").register_app(is_public=True)
