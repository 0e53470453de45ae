"""OAuth 2.0 of the Data Center products (facts oauth2 section 2)."""

import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from oauthlib.oauth2 import InvalidGrantError

from atl_sign.sandbox import ApproveError, Sandbox
from atl_sign.sandbox.oauth2.flavour import TokenError
from tests.sandbox.browser import Browser, heading
from tests.sandbox.consumer import FORM, JSON, WHO_AM_I, Clock, Reply, send
from tests.sandbox.oauth2_client import CHALLENGE, S256, VERIFIER, Client, bearer, dance_with_oauthlib, query_of
from tests.sandbox.test_applinks import basic

REDIRECT = "http://localhost:34106/callback"
SCOPES = {"jira": "WRITE", "confluence": "WRITE", "bitbucket": "REPO_WRITE ACCOUNT_WRITE", "bamboo": "USER"}
PRODUCTS = list(SCOPES)
ME = {**WHO_AM_I, "bitbucket": "/rest/api/latest/users/alice"}
METADATA = "/rest/oauth2/latest/.well-known/oauth-authorization-server"
DAY_S = 86_400


def client_at(provider: Sandbox, product: str = "jira", scope: str | None = None, version: str = "latest") -> Client:
    """Register an app and return its client."""
    base = f"{provider.base_url(product)}/rest/oauth2/{version}"
    app = provider.register_app(product, redirect_uris=[REDIRECT])

    def approve(address: str, user: str = "alice", *, deny: bool = False) -> str:
        return provider.approve(product, address, user, deny=deny)

    return Client(app, REDIRECT, f"{base}/authorize", f"{base}/token", approve, SCOPES[product] if scope is None else scope)


@pytest.fixture
def client(provider: Sandbox) -> Client:
    """An app at Jira."""
    return client_at(provider)


@pytest.fixture
def myself(provider: Sandbox) -> Callable[[str], Reply]:
    """Ask Jira who a bearer is."""
    return lambda token: send("GET", provider.base_url("jira") + ME["jira"], headers=bearer(token))


@pytest.mark.parametrize("version", ["latest", "1.0"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_foreign_client_dances_and_refreshes(
    provider: Sandbox, product: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests-oauthlib gets a pair, uses it, refreshes it, and the old pair dies at once; a made-up one is nobody's."""
    client = client_at(provider, product, version=version)
    who = provider.base_url(product) + ME[product]

    session, token = dance_with_oauthlib(client, monkeypatch)

    assert (token["token_type"], token["expires_in"], token["scope"]) == ("bearer", 3600, client.scope.split())
    assert session.get(who).status_code == 200
    assert "alice" in session.get(who).text
    secret = {"client_id": client.app.client_id, "client_secret": client.app.client_secret}
    fresh = session.refresh_token(client.token_url, **secret)
    assert session.get(who).status_code == 200
    assert {token["access_token"], token["refresh_token"]}.isdisjoint({fresh["access_token"], fresh["refresh_token"]})
    with pytest.raises(InvalidGrantError):
        session.refresh_token(client.token_url, refresh_token=token["refresh_token"], **secret)
    assert provider.oauth2(product).access_tokens == (fresh["access_token"],)
    assert provider.oauth2(product).refreshes == 1
    dead = send("GET", who, headers=bearer(token["access_token"]))
    assert dead.status == 401 or '"anonymous"' in dead.text
    session.close()


@pytest.mark.parametrize(
    ("product", "version", "older"),
    [
        ("jira", "8.22.0", "8.21.9"),
        ("confluence", "7.17.0", "7.16.5"),
        ("bitbucket", "7.20.0", "7.19.9"),
        ("bamboo", "9.1", "9.0.3"),
    ],
)
def test_only_versions_that_have_it(product: str, version: str, older: str) -> None:
    """The first version has the endpoints; the one before has none of them, and takes no app."""
    with Sandbox([product], versions={product: version}) as provider:
        assert send("GET", provider.base_url(product) + METADATA).status == 200
    with Sandbox([product], versions={product: older}) as provider:
        assert send("GET", provider.base_url(product) + METADATA).status == 404
        with pytest.raises(ValueError, match=r"has no OAuth 2\.0"):
            provider.register_app(product, redirect_uris=[REDIRECT])


@pytest.mark.parametrize("uri", [REDIRECT, "https://client.example.com/cb", "https://127.0.0.1:8443/cb", "myapp://done"])
def test_redirects_that_may_be_registered(provider: Sandbox, uri: str) -> None:
    """https with any host, http with localhost and a port, and custom schemes."""
    assert provider.register_app("jira", redirect_uris=[uri]).redirect_uris == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:34106/callback",
        "http://localhost/callback",
        "http://[::1]:34106/",
        "http://client.example.com/cb",
        "https://client.example.com/#x",
        "/relative",
        "http://localhost:x/",
        "https://client.example.com/" + "x" * 450,
    ],
)
def test_redirects_that_are_refused(provider: Sandbox, uri: str) -> None:
    """127.0.0.1 is not localhost here."""
    with pytest.raises(ValueError, match="the redirect URL must"):
        provider.register_app("jira", redirect_uris=[uri])
    with pytest.raises(ValueError, match="no scope read:jira-work"):
        provider.register_app("jira", redirect_uris=[REDIRECT], scopes=["read:jira-work"])


def test_an_app_hides_its_secret(client: Client) -> None:
    """In repr; a client ID that is registered again is another app's."""
    assert client.app.client_secret is not None
    assert client.app.client_secret not in repr(client.app)
    assert (len(client.app.client_id), len(client.app.client_secret)) == (32, 64)


def test_consent_leads_back_with_code_and_state(client: Client) -> None:
    """And nothing else: no iss; after Deny an error."""
    assert client.consent().keys() == {"code", "state"}
    assert client.consent()["state"] == "the-state"
    assert client.consent(state=None).keys() == {"code"}
    denied = client.deny()
    assert (denied["error"], denied["state"]) == ("access_denied", "the-state")
    assert "code" not in denied


@pytest.mark.parametrize("scope", [None, "", "read:jira-work", "READ WRITE", "NOTHING"])
def test_bad_scope_is_checked_first(client: Client, scope: str | None, provider: Sandbox) -> None:
    """It is reported by redirect without a login, and before an unknown client is."""
    back = send("GET", client.url(scope=scope))

    assert (back.status, query_of(back.headers["Location"])["error"]) == (302, "invalid_scope")
    assert query_of(back.headers["Location"])["state"] == "the-state"
    assert send("GET", client.url(scope=scope, client_id="unknown")).status == 400
    assert [request.verdict for request in provider.state.requests] == ["invalid_scope", "invalid scope"]


@pytest.mark.parametrize(
    ("changes", "status", "verdict"),
    [
        ({"client_id": "unknown"}, 400, "unknown client"),
        ({"client_id": None}, 400, "unknown client"),
        ({"redirect_uri": "http://localhost:34107/callback"}, 400, "wrong redirect"),
        ({"redirect_uri": f"{REDIRECT}/"}, 400, "wrong redirect"),
        ({"redirect_uri": "http://127.0.0.1:34106/callback"}, 400, "wrong redirect"),
        ({"redirect_uri": None}, 400, "wrong redirect"),
        ({"redirect_uri": "nonsense"}, 412, "malformed redirect"),
    ],
)
def test_no_redirect_to_strangers(
    client: Client, provider: Sandbox, changes: dict[str, str | None], status: int, verdict: str
) -> None:
    """An HTML page instead."""
    reply = send("GET", client.url(**changes))

    assert (reply.status, "Location" in reply.headers) == (status, False)
    assert reply.headers["Content-Type"].startswith("text/html")
    assert provider.state.requests[-1].verdict == verdict
    with pytest.raises(ApproveError, match="This request cannot be allowed"):
        client.consent(**changes)


def test_custom_scheme_gets_412(provider: Sandbox) -> None:
    """It survives registration only."""
    client = client_at(provider)
    app = provider.register_app("jira", redirect_uris=["myapp://done"])

    assert send("GET", client.url(client_id=app.client_id, redirect_uri="myapp://done")).status == 412


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "S512"}, "invalid_request"),
    ],
)
def test_other_mistakes_are_reported_to_the_app(client: Client, changes: dict[str, str], error: str) -> None:
    """By redirect."""
    assert client.consent(**changes)["error"] == error


def test_scope_is_limited_by_the_application(provider: Sandbox, client: Client) -> None:
    """An application for READ gets READ, and not WRITE."""
    app = provider.register_app("jira", redirect_uris=[REDIRECT], scopes=["READ"])

    assert "code" in client.consent(client_id=app.client_id, scope="READ")
    assert client.consent(client_id=app.client_id, scope="WRITE")["error"] == "invalid_scope"


def test_decision_needs_its_own_page(client: Client, provider: Sandbox) -> None:
    """A form from elsewhere, and one without a login."""
    browser = Browser(provider.base_url("jira"))
    fields = dict(query_of(client.url()), approve="Allow")

    assert send("POST", f"{browser.base}/plugins/servlet/oauth2/consent", urlencode(fields), FORM).status == 302
    browser.log_in("alice")
    assert browser.post("/plugins/servlet/oauth2/consent", fields).status == 403
    bad = {**fields, "client_id": "unknown", "atl_token": browser.xsrf_token()}
    assert browser.post("/plugins/servlet/oauth2/consent", bad).status == 400
    assert provider.oauth2("jira").codes == {}


def test_code_lives_ten_seconds(client: Client, clock: Clock, provider: Sandbox) -> None:
    """An expired one and an unknown one are invalid_request; the life is a knob."""
    code, late = client.code(), client.code()

    clock.now += 9
    assert client.exchange(code).status == 200
    clock.now += 1
    expired, unknown = client.exchange(late), client.exchange("unknown")

    assert [(reply.status, reply.json["error"]) for reply in (expired, unknown)] == [(400, "invalid_request")] * 2
    provider.oauth2("jira").code_life_s = 60
    code = client.code()
    clock.now += 59
    assert client.exchange(code).status == 200


def test_code_used_twice_takes_its_family_down(client: Client, myself: Callable[[str], Reply]) -> None:
    """Also what was refreshed since; tokens of another dance live on."""
    other = client.tokens()
    code = client.code()
    first = client.exchange(code).json
    second = client.refresh(first["refresh_token"]).json
    assert myself(second["access_token"]).status == 200

    again = client.exchange(code)

    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert myself(second["access_token"]).status == 401
    assert client.refresh(second["refresh_token"]).json["error"] == "invalid_grant"
    assert myself(other["access_token"]).status == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "http://localhost:34106/other"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"client_id": "unknown"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_secret": None}, "invalid_request"),
        ({"client_id": None}, "invalid_request"),
        ({"code": None}, "invalid_request"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}, "unsupported_grant_type"),
    ],
)
def test_exchange_that_is_refused(client: Client, changes: dict[str, str | None], error: str, provider: Sandbox) -> None:
    """The grant is checked before the secret; the same exchange without the mistake works."""
    code = client.code(**S256)

    reply = client.exchange(code, **{"code_verifier": VERIFIER, **changes})

    assert (reply.status, reply.json["error"]) == (400, error)
    assert client.exchange(code, code_verifier=VERIFIER).status == 200
    assert provider.state.requests[-1].verdict == "code exchanged"
    assert provider.state.requests[-1].user == "alice"


def test_challenge_without_method_is_plain(client: Client) -> None:
    """And compared as it is."""
    assert client.exchange(client.code(code_challenge=VERIFIER), code_verifier=VERIFIER).status == 200
    assert client.exchange(client.code(code_challenge=VERIFIER), code_verifier=VERIFIER[::-1]).status == 400


def test_status_of_a_wrong_secret_is_a_knob(client: Client, provider: Sandbox) -> None:
    """400 or 401: nobody knows."""
    provider.oauth2("jira").errors["wrong secret"] = TokenError(401, "invalid_client")

    reply = client.exchange(client.code(), client_secret="wrong")

    assert (reply.status, reply.json) == (401, {"error": "invalid_client"})


def test_token_endpoint_reads_forms_only(client: Client) -> None:
    """JSON is a 500 with the words of JAX-RS; a password in the header is not looked at, neither for the app nor the user."""
    fields = {"grant_type": "authorization_code", "code": client.code(), "redirect_uri": REDIRECT}

    as_json = client.post(fields, as_json=True)
    by_header = client.post({**fields, "client_secret": None}, basic(client.app.client_id, client.app.client_secret or ""))
    with_header = client.post(fields, basic("nobody", "wrong"))

    assert (as_json.status, "@FormParam" in as_json.text) == (500, True)
    assert as_json.json.keys() == {"errors", "fieldErrors"}
    assert (by_header.status, by_header.json["error"]) == (400, "invalid_request")
    assert with_header.status == 200
    assert send("GET", client.token_url).status == 405


def test_redirect_that_is_no_longer_registered(client: Client, provider: Sandbox) -> None:
    """invalid_client at the exchange."""
    code = client.code()
    client.app.redirect_uris = ("https://client.example.com/",)

    assert client.exchange(code).json["error"] == "invalid_client"


def test_refresh_tokens_live_90_days_from_each(client: Client, clock: Clock, myself: Callable[[str], Reply]) -> None:
    """There is no end while somebody refreshes; a foreign app and a dead one get invalid_grant, a wrong secret invalid_client."""
    tokens = client.tokens()
    for _ in range(5):
        clock.now += 90 * DAY_S - 1
        tokens = client.refresh(tokens["refresh_token"]).json
    assert myself(tokens["access_token"]).status == 200
    assert client.refresh(tokens["refresh_token"], client_secret="wrong").json["error"] == "invalid_client"
    assert client.refresh(tokens["refresh_token"], client_id="other").json["error"] == "invalid_grant"

    clock.now += 90 * DAY_S

    assert client.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    assert client.refresh("unknown").json["error"] == "invalid_grant"


def test_leeway_is_a_knob(client: Client, provider: Sandbox, clock: Clock) -> None:
    """None at first; with some a spent token gives another successor until it is over."""
    provider.oauth2("jira").leeway_s = 30
    tokens = client.tokens()

    first, second = client.refresh(tokens["refresh_token"]).json, client.refresh(tokens["refresh_token"]).json
    assert first["refresh_token"] != second["refresh_token"]
    clock.now += 30
    assert client.refresh(tokens["refresh_token"]).status == 400


@pytest.mark.parametrize("case", ["expired", "revoked", "unknown", "deactivated", "switched off"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_dead_bearer_is_nobody(provider: Sandbox, clock: Clock, product: str, case: str) -> None:
    """It is ignored: who-am-I is refused as usual, or answers as anonymous, and public things are readable."""
    client = client_at(provider, product)
    token = client.tokens()["access_token"]
    base = provider.base_url(product)
    assert send("GET", base + ME[product], headers=bearer(token)).status == 200
    if case == "expired":
        clock.now += 3600
    elif case == "revoked":
        provider.oauth2(product).revoke_all()
    elif case == "unknown":
        token = f"{token}x"
    elif case == "deactivated":
        provider.state.sites[product].state.users["alice"].is_active = False
    else:
        provider.oauth2(product).faults.ignores_bearers = True

    reply = send("GET", base + ME[product], headers=bearer(token))

    if product == "confluence":
        assert (reply.status, reply.json["type"]) == (200, "anonymous")
    else:
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].startswith("OAuth realm=")
    assert send("GET", f"{base}/rest/applinks/1.0/manifest", headers=bearer(token)).status == 200
    assert provider.state.requests[-1].verdict == "wrong token"


def test_access_token_life_is_a_knob(client: Client, provider: Sandbox, clock: Clock, myself: Callable[[str], Reply]) -> None:
    """The answer has it, and the token ends with it."""
    provider.oauth2("jira").access_token_life_s = 5
    tokens = client.tokens()

    assert tokens["expires_in"] == 5
    clock.now += 4
    assert myself(tokens["access_token"]).status == 200
    clock.now += 1
    assert myself(tokens["access_token"]).status == 401


CALLS = [
    # product, scope, method, path, body, allowed
    ("jira", "READ", "GET", "/rest/api/2/myself", None, True),
    ("jira", "READ", "POST", "/rest/api/2/issue/WEB-1/comment", '{"body": "x"}', False),
    ("jira", "WRITE", "POST", "/rest/api/2/issue/WEB-1/comment", '{"body": "x"}', True),
    ("jira", "WRITE", "GET", "/rest/api/2/myself", None, True),
    ("jira", "WRITE", "GET", "/rest/applinks/3.0/applicationlink", None, False),
    ("jira", "ADMIN", "GET", "/rest/applinks/3.0/applicationlink", None, True),
    ("jira", "SYSTEM_ADMIN", "GET", "/rest/applinks/3.0/applicationlink", None, True),
    ("confluence", "READ", "POST", "/rest/api/content", "{}", False),
    ("bamboo", "READ", "GET", "/rest/api/latest/currentUser", None, True),
    ("bamboo", "READ", "POST", "/rest/api/latest/plan/WEB-BUILD/label", '{"name": "x"}', False),
    ("bamboo", "TRIGGER", "POST", "/rest/api/latest/plan/WEB-BUILD/label", '{"name": "x"}', False),
    ("bamboo", "USER", "POST", "/rest/api/latest/plan/WEB-BUILD/label", '{"name": "x"}', True),
    ("bamboo", "TRIGGER", "POST", "/rest/api/latest/queue/WEB-BUILD", "{}", True),
    ("bamboo", "READ", "POST", "/rest/api/latest/queue/WEB-BUILD", "{}", False),
    ("bamboo", "USER", "GET", "/rest/applinks/3.0/applicationlink", None, False),
    ("bitbucket", "PUBLIC_REPOS", "GET", "/rest/api/latest/projects/PUB", None, True),
    ("bitbucket", "PUBLIC_REPOS", "GET", "/rest/api/latest/projects/WEB", None, False),
    ("bitbucket", "REPO_READ", "GET", "/rest/api/latest/projects/WEB", None, True),
    ("bitbucket", "REPO_READ", "GET", "/rest/access-tokens/latest/users/admin", None, False),
    ("bitbucket", "ACCOUNT_WRITE", "GET", "/rest/access-tokens/latest/users/admin", None, True),
]


@pytest.mark.parametrize("row", CALLS, ids=lambda row: " ".join(row[:4]))
def test_scopes(provider: Sandbox, row: tuple[str, str, str, str, str | None, bool]) -> None:
    """Each includes those before it; a missing one looks like a missing permission."""
    product, scope, method, path, body, is_allowed = row
    token = client_at(provider, product, scope).tokens("admin")["access_token"]

    reply = send(method, provider.base_url(product) + path, body, {**JSON, **bearer(token)})

    assert (reply.status in (200, 201, 204)) if is_allowed else (reply.status == 403), reply.text
    assert provider.state.requests[-1].user == "admin"


def test_metadata_names_the_endpoints(provider: Sandbox) -> None:
    """Below the product's own base URL, to anybody."""
    base = provider.base_url("bitbucket")

    found = send("GET", base + METADATA).json

    assert found["issuer"] == base
    assert found["authorization_endpoint"] == f"{base}/rest/oauth2/latest/authorize"
    assert found["token_endpoint"] == f"{base}/rest/oauth2/latest/token"
    assert found["revocation_endpoint"] == f"{base}/rest/oauth2/latest/revoke"
    assert found["token_endpoint_auth_methods_supported"] == ["client_secret_post"]
    assert found["code_challenge_methods_supported"] == ["S256", "plain"]
    assert "REPO_WRITE" in found["scopes_supported"]
    assert "device_authorization_endpoint" not in found
    assert "authorization_response_iss_parameter_supported" not in found


def test_revocation(client: Client, myself: Callable[[str], Reply], provider: Sandbox) -> None:
    """A refresh token takes its access token along; a wrong secret is refused; an unknown and a foreign token are fine."""
    url = client.token_url.replace("/token", "/revoke")
    other = client_at(provider)
    secret = {"client_id": client.app.client_id, "client_secret": client.app.client_secret or ""}

    def revoke(token: str, **changes: str) -> int:
        return send("POST", url, urlencode({"token": token, **secret, **changes}), FORM).status

    tokens, second = client.tokens(), client.tokens()
    assert revoke(tokens["refresh_token"], client_secret="wrong") == 400
    assert revoke(tokens["refresh_token"], client_id=other.app.client_id, client_secret=other.app.client_secret or "") == 200
    assert myself(tokens["access_token"]).status == 200
    assert revoke(tokens["refresh_token"], token_type_hint="refresh_token") == 200
    assert revoke("unknown") == 200
    assert revoke(second["access_token"]) == 200

    assert myself(tokens["access_token"]).status == myself(second["access_token"]).status == 401
    assert client.refresh(tokens["refresh_token"]).status == 400
    assert client.refresh(second["refresh_token"]).status == 200


@pytest.mark.parametrize(("version", "is_confined"), [("8.19.11", False), ("8.19.12", True)])
def test_confined_versions(version: str, is_confined: bool) -> None:
    """There a bearer gets a redirect to the login page outside of /rest and /scm; as a Basic password it is refused anyway."""
    with Sandbox(["bitbucket"], versions={"bitbucket": version}) as provider:
        token = client_at(provider, "bitbucket").tokens()["access_token"]
        base = provider.base_url("bitbucket")

        outside = send("GET", f"{base}/plugins/servlet/applinks/whoami", headers=bearer(token))
        inside = send("GET", f"{base}/rest/api/latest/application-properties", headers=bearer(token))
        as_password = send("GET", f"{base}/rest/api/latest/users", headers=basic("alice", token))

    assert outside.status == (302 if is_confined else 200)
    assert (inside.status, inside.headers["X-AUSERNAME"]) == (200, "alice")
    assert as_password.status == 401


def ls_remote(url: str, *settings: str) -> int:
    """Return git's status for a repository."""
    command = ["git", *settings, "ls-remote", url]
    environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "HOME": "/", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(command, env=environment, capture_output=True, timeout=20).returncode


@pytest.mark.parametrize(("scope", "is_allowed"), [("REPO_READ", True), ("PUBLIC_REPOS", False)])
def test_git_takes_the_token(provider: Sandbox, scope: str, is_allowed: bool) -> None:
    """As a bearer, or as the password beside any name; a wrong one and a dead one are not enough."""
    token = client_at(provider, "bitbucket", scope).tokens()["access_token"]
    url = f"{provider.base_url('bitbucket')}/scm/web/shop.git"
    by_name = url.replace("http://", f"http://anything:{token}@")
    header = ("-c", f"http.extraHeader=Authorization: Bearer {token}")

    assert (ls_remote(url, *header) == 0) is is_allowed
    assert (ls_remote(by_name) == 0) is is_allowed
    assert ls_remote(url.replace("http://", f"http://anything:{token}x@")) != 0
    provider.oauth2("bitbucket").revoke_all()
    assert ls_remote(url, *header) != 0
    assert ls_remote(by_name) != 0
    assert ls_remote(url.replace("web/shop", "pub/docs"), *header) == 0


def test_push_needs_repo_write(provider: Sandbox, tmp_path: Path) -> None:
    """REPO_READ is refused with 403."""
    base = f"{provider.base_url('bitbucket')}/scm/web/shop.git/info/refs?service=git-receive-pack"
    statuses = []
    for scope in ("REPO_READ", "REPO_WRITE"):
        token = client_at(provider, "bitbucket", scope).tokens()["access_token"]
        statuses.append(send("GET", base, headers=bearer(token)).status)

    assert statuses == [403, 200]


def test_administrator_registers_on_the_page(provider: Sandbox) -> None:
    """The page shows client ID and secret once; 127.0.0.1 is refused there too; deleting ends the app and its tokens."""
    browser = Browser(provider.base_url("jira"))
    browser.log_in("admin")
    page = "/plugins/servlet/applinks/listApplicationLinks"
    form = {"atl_token": browser.xsrf_token(), "applicationName": "Tool", "redirectUrl": REDIRECT, "scope": "WRITE"}

    shown = browser.post(page, form)
    app = next(iter(provider.oauth2("jira").apps.values()))
    refused = browser.post(page, {**form, "redirectUrl": "http://127.0.0.1:34106/"})
    empty = browser.post(page, {**form, "redirectUrl": ""})

    assert heading(shown.text) == "External application Tool"
    assert app.client_secret is not None
    assert app.client_id in shown.text
    assert app.client_secret in shown.text
    assert (app.scopes, app.redirect_uris) == (("WRITE",), (REDIRECT,))
    assert (refused.status, "http://localhost:PORT" in refused.text) == (400, True)
    assert (empty.status, "Name and redirect URL are required" in empty.text) == (400, True)
    assert app.client_secret not in browser.get(page).text
    assert list(provider.oauth2("jira").apps.values()) == [app]
    browser.post(page, {"atl_token": form["atl_token"], "deleteApplication": app.client_id})
    assert provider.oauth2("jira").apps == {}


def test_user_revokes_on_the_page(provider: Sandbox, client: Client, myself: Callable[[str], Reply]) -> None:
    """Among the authorized applications; another user's grant stays."""
    token = client.tokens()["access_token"]
    grant = provider.oauth2("jira").grants[0]
    path = "/plugins/servlet/oauth/users/access-tokens"

    for user, status in (("bob", 200), ("alice", 401)):
        browser = Browser(provider.base_url("jira"))
        browser.log_in(user)
        assert (client.app.client_id in browser.get(path).text) is (user == "alice")
        browser.post(path, {"atl_token": browser.xsrf_token(), "grant": grant.id})
        assert myself(token).status == status


def test_a_signed_request_is_not_a_token_request(provider: Sandbox, client: Client) -> None:
    """OAuth 1.0a and 2.0 side by side: the token endpoint looks at neither session nor signature."""
    header = b64encode(b"alice:alice").decode()

    reply = client.post({"grant_type": "refresh_token", "refresh_token": "x"}, {"Authorization": f"Basic {header}"})

    assert reply.json["error"] == "invalid_grant"
    assert provider.state.requests[-1].user is None


def test_secrets_are_not_in_the_log(provider: Sandbox, client: Client) -> None:
    """Neither of apps nor of tokens nor of codes."""
    code = client.code(**S256)
    tokens = client.exchange(code, code_verifier=VERIFIER).json
    server = provider.oauth2("jira")

    shown = repr([provider.state.requests, server.apps, list(server.codes.values()), list(server.refresh_tokens.values())])

    for secret in (code, tokens["access_token"], tokens["refresh_token"], client.app.client_secret or "", VERIFIER):
        assert secret not in shown
