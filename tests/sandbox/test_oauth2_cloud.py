"""Apps of Atlassian Cloud, OAuth 2.0 (3LO): the authorization server and the gateway (facts oauth2 section 3)."""

from collections.abc import Callable, Iterator

import pytest
from oauthlib.oauth2 import AccessDeniedError

from atl_sign.sandbox import ApproveError, Cloud
from atl_sign.sandbox.cloud.auth import DEAD_REFRESH_TOKEN_OTHERWISE
from tests.sandbox.consumer import JSON, Clock, Reply, send
from tests.sandbox.oauth2_client import CHALLENGE, S256, VERIFIER, Client, bearer, dance_with_oauthlib
from tests.sandbox.test_applinks import basic

REDIRECT = "http://127.0.0.1:31415/jira"
SCOPES = ["read:jira-work", "read:jira-user", "write:jira-work", "read:confluence-user", "read:page:confluence", "read:me"]
SCOPE = "read:jira-work read:jira-user offline_access"
MYSELF = "/rest/api/3/myself"
SCOPE_MISSING = {"code": 401, "message": "Unauthorized; scope does not match"}
DAY_S = 86_400


@pytest.fixture
def cloud(clock: Clock) -> Iterator[Cloud]:
    """All hosts."""
    with Cloud(clock=clock) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


@pytest.fixture
def client(cloud: Cloud) -> Client:
    """An app for a few scopes."""
    app = cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=SCOPES)
    base = cloud.url("auth")
    extra = {"audience": "api.atlassian.com", "prompt": "consent"}
    return Client(app, REDIRECT, f"{base}/authorize", f"{base}/oauth/token", cloud.approve, SCOPE, extra)


@pytest.fixture
def at_gateway(cloud: Cloud) -> Callable[..., Reply]:
    """Send a GET to the gateway, below the site's folder of a product."""
    return lambda token, path=MYSELF, product="jira": send(
        "GET", f"{cloud.url('gateway')}/ex/{product}/{cloud.cloud_id}{path}", headers=bearer(token)
    )


def test_a_foreign_client_dances_and_refreshes(cloud: Cloud, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests-oauthlib gets a token for the gateway, and a successor; with a wrong secret it gets none."""
    who = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}{MYSELF}"

    session, token = dance_with_oauthlib(client, monkeypatch)

    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 3600, SCOPE.split())
    assert 1_000 < len(token["access_token"]) < 2_500
    assert token["access_token"].count(".") == 2
    assert session.get(who).json()["emailAddress"] == "alice@example.com"
    secret = {"client_id": client.app.client_id, "client_secret": client.app.client_secret}
    fresh = session.refresh_token(client.token_url, **secret)
    assert fresh["refresh_token"] != token["refresh_token"]
    assert session.get(who).status_code == 200
    with pytest.raises(AccessDeniedError):
        session.refresh_token(client.token_url, **{**secret, "client_secret": "wrong"})
    assert cloud.oauth2("auth").refreshes == 1
    session.close()


@pytest.mark.parametrize("missing", ["audience", "prompt"])
def test_audience_and_prompt_are_needed(client: Client, missing: str) -> None:
    """Without one a page, and no redirect."""
    with pytest.raises(ApproveError, match="This request cannot be allowed"):
        client.consent(**{missing: None})


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "unknown"}, {"redirect_uri": "http://127.0.0.1:31416/jira"}, {"redirect_uri": f"{REDIRECT}/"}],
)
def test_client_and_redirect_are_checked_after_login(client: Client, changes: dict[str, str | None]) -> None:
    """Even an unknown one first leads to the login; then to a page."""
    assert send("GET", client.url(**changes)).headers["Location"].startswith("/login?")
    with pytest.raises(ApproveError, match="This request cannot be allowed"):
        client.consent(**changes)


@pytest.mark.parametrize(
    ("scope", "is_allowed"),
    [
        ("read:jira-work", True),
        ("read:jira-work offline_access", True),
        ("manage:jira-project", False),
        ("read:nothing", False),
        ("READ", False),
        (None, False),
    ],
)
def test_scopes_of_a_request(client: Client, scope: str | None, is_allowed: bool) -> None:
    """Those of the app, and offline_access."""
    found = client.consent(scope=scope)

    assert found.get("error") == (None if is_allowed else "invalid_scope")
    assert found["state"] == "the-state"


def test_denial(client: Client) -> None:
    """access_denied with the state."""
    assert client.deny()["error"] == "access_denied"


def test_json_and_forms_are_read(client: Client) -> None:
    """Everything else is not."""
    fields = {"grant_type": "authorization_code", "redirect_uri": REDIRECT}

    assert client.post({**fields, "code": client.code()}, as_json=True).status == 200
    assert client.post({**fields, "code": client.code()}).status == 200
    assert send("POST", client.token_url, "x", {"Content-Type": "text/plain"}).json["error"] == "invalid_request"
    assert [send("POST", client.token_url, body, JSON).status for body in ("{", "[]", "")] == [400] * 3


def test_refresh_token_needs_offline_access(client: Client) -> None:
    """Without it there is only an access token."""
    tokens = client.tokens(scope="read:jira-work")

    assert "refresh_token" not in tokens
    assert tokens["scope"] == "read:jira-work"


@pytest.mark.parametrize("secret", ["wrong", None])
def test_wrong_secret_is_access_denied(client: Client, secret: str | None) -> None:
    """401, at codes and at refresh tokens; not a denial by the user."""
    refused = {"error": "access_denied", "error_description": "Unauthorized"}
    tokens = client.tokens()

    for reply in (
        client.exchange(client.code(), client_secret=secret),
        client.refresh(tokens["refresh_token"], client_secret=secret),
        client.refresh(tokens["refresh_token"], client_id="unknown"),
    ):
        assert (reply.status, reply.json) == (401, refused)
    assert client.refresh(tokens["refresh_token"]).status == 200


def test_spent_refresh_token_works_for_ten_minutes(client: Client, clock: Clock, at_gateway: Callable[..., Reply]) -> None:
    """Each use gives another successor, and the access tokens live on; then it is a 403."""
    tokens = client.tokens()
    successors = [client.refresh(tokens["refresh_token"]).json]
    clock.now += 599
    successors.append(client.refresh(tokens["refresh_token"]).json)
    clock.now += 1
    late = client.refresh(tokens["refresh_token"])

    assert len({each["refresh_token"] for each in [tokens, *successors]}) == 3
    assert all(at_gateway(each["access_token"]).status == 200 for each in [tokens, *successors])
    assert (late.status, late.json) == (403, {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."})
    assert all(client.refresh(each["refresh_token"]).status == 200 for each in successors)


def test_dead_refresh_token_has_another_answer(client: Client, cloud: Cloud) -> None:
    """Also seen in the field."""
    cloud.oauth2("auth").errors["dead refresh token"] = DEAD_REFRESH_TOKEN_OTHERWISE

    reply = client.refresh("unknown")

    assert (reply.status, reply.json["error"]) == (403, "unauthorized_client")
    assert reply.json["error_description"] == "refresh_token is invalid"


def test_refresh_tokens_live_90_days_and_grants_365(client: Client, clock: Clock) -> None:
    """Each refresh begins anew, up to a year after the first consent; a further consent does not move that."""
    tokens = client.tokens()
    for _ in range(4):
        clock.now += 90 * DAY_S - 1
        tokens, other = client.refresh(tokens["refresh_token"]).json, client.tokens()
    clock.now += 5 * DAY_S + 3
    assert client.refresh(tokens["refresh_token"]).status == 200
    clock.now += 1
    assert client.refresh(tokens["refresh_token"]).status == 403
    assert client.refresh(other["refresh_token"]).status == 403
    again = client.tokens()
    clock.now += 90 * DAY_S
    assert client.refresh(again["refresh_token"]).status == 403


def test_second_consent_widens_the_grant(client: Client, cloud: Cloud) -> None:
    """The first dance's next token has the scopes of the second; another user has a grant of his own."""
    first = client.tokens()
    client.tokens(scope="write:jira-work offline_access")

    refreshed = client.refresh(first["refresh_token"]).json
    other = client.tokens("bob@example.com", scope="read:me")

    assert set(refreshed["scope"].split()) == {*SCOPE.split(), "write:jira-work"}
    assert other["scope"] == "read:me"
    assert len(cloud.oauth2("auth").grants) == 2
    cloud.oauth2("auth").revoke_all()
    assert client.refresh(refreshed["refresh_token"]).status == 403
    assert cloud.oauth2("auth").access_tokens == ()


def test_pkce(client: Client) -> None:
    """A verifier belongs to its challenge, and none comes without."""
    code = client.code(**S256)

    assert client.exchange(code, code_verifier=VERIFIER[::-1]).json["error"] == "invalid_grant"
    assert client.exchange(code).json["error"] == "invalid_grant"
    assert client.exchange(code, code_verifier=VERIFIER).status == 200
    assert client.exchange(client.code(), code_verifier=VERIFIER).json["error"] == "invalid_grant"
    assert client.consent(code_challenge=CHALLENGE)["error"] == "invalid_request"


@pytest.mark.parametrize("case", ["used", "foreign", "expired", "unknown", "redirect"])
def test_code_that_is_refused(client: Client, cloud: Cloud, clock: Clock, case: str) -> None:
    """The first use works, and lives on."""
    code = client.code()
    changes: dict[str, str | None] = {}
    if case == "used":
        client.exchange(code)
    elif case == "foreign":
        other = cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=SCOPES)
        changes = {"client_id": other.client_id, "client_secret": other.client_secret}
    elif case == "expired":
        clock.now += 600
    elif case == "redirect":
        changes = {"redirect_uri": f"{REDIRECT}/x"}
    else:
        code = "unknown"

    reply = client.exchange(code, **changes)

    assert reply.json["error"] == "invalid_grant"
    assert len(cloud.oauth2("auth").access_tokens) == (1 if case == "used" else 0)


def test_site_refuses_the_token(cloud: Cloud, client: Client) -> None:
    """It works at the gateway only; the site answers 401, also where anybody may read."""
    token = client.tokens()["access_token"]

    for path in (MYSELF, "/rest/api/3/serverInfo"):
        reply = send("GET", cloud.url("site") + path, headers=bearer(token))
        assert (reply.status, reply.json["message"]) == (401, "Client must be authenticated to access this resource.")
    assert cloud.state.requests[-1].verdict == "app token at the site"
    assert send("GET", f"{cloud.url('site')}/rest/api/3/serverInfo").status == 200


def test_scope_missing_at_the_gateway(client: Client, at_gateway: Callable[..., Reply]) -> None:
    """401 with words of its own; v2 of Confluence wants granular scopes."""
    token = client.tokens(scope="read:jira-work read:confluence-user")["access_token"]

    assert at_gateway(token, "/rest/api/3/issue/WEB-1").status == 200
    assert at_gateway(token, "/wiki/rest/api/user/current", "confluence").status == 200
    for reply in (at_gateway(token), at_gateway(token, "/wiki/api/v2/pages", "confluence")):
        assert (reply.status, reply.json) == (401, SCOPE_MISSING)
    granular = client.tokens(scope="read:page:confluence")["access_token"]
    assert at_gateway(granular, "/wiki/api/v2/pages", "confluence").status == 200


@pytest.mark.parametrize("hides", [False, True])
def test_expired_token_at_the_gateway(
    cloud: Cloud, client: Client, clock: Clock, at_gateway: Callable[..., Reply], hides: bool
) -> None:
    """401; at Confluence 403 and 404 instead, when that is switched on."""
    token = client.tokens(scope="read:jira-user read:confluence-user read:page:confluence")["access_token"]
    cloud.oauth2("auth").faults.hides_expiry = hides
    clock.now += 3600

    statuses = [
        at_gateway(token).status,
        at_gateway(token, "/wiki/rest/api/user/current", "confluence").status,
        at_gateway(token, "/wiki/api/v2/pages", "confluence").status,
    ]

    assert statuses == ([401, 403, 404] if hides else [401, 401, 401])
    assert cloud.state.requests[-1].verdict == "expired token"


@pytest.mark.parametrize(
    ("case", "verdict"),
    [("revoked", "wrong token"), ("deactivated", "wrong token"), ("unknown", "bearer refused"), ("ignored", "bearer ignored")],
)
def test_dead_bearer_at_the_gateway(
    cloud: Cloud, client: Client, at_gateway: Callable[..., Reply], case: str, verdict: str
) -> None:
    """401."""
    token = client.tokens()["access_token"]
    if case == "revoked":
        cloud.oauth2("auth").end_token(token)
    elif case == "deactivated":
        cloud.state.accounts.users["alice@example.com"].is_active = False
    elif case == "ignored":
        cloud.oauth2("auth").faults.ignores_bearers = True
    else:
        token += "x"

    reply = at_gateway(token)

    assert (reply.status, reply.json) == (401, {"code": 401, "message": "Unauthorized"})
    assert cloud.state.requests[-1].verdict == verdict


def test_accessible_resources(cloud: Cloud, client: Client) -> None:
    """A bare array, a site twice when both products are granted; nothing for scopes of neither, and 401 to nobody."""
    url = f"{cloud.url('gateway')}/oauth/token/accessible-resources"
    other = cloud.add_site("Other", "https://other.atlassian.net")

    both = send("GET", url, headers=bearer(client.tokens(scope="read:jira-work read:confluence-user")["access_token"])).json
    none = send("GET", url, headers=bearer(client.tokens("bob", scope="read:me")["access_token"])).json

    assert [(site["id"], site["scopes"]) for site in both] == [
        (cloud.cloud_id, ["read:jira-work"]),
        (cloud.cloud_id, ["read:confluence-user"]),
        (other, ["read:jira-work"]),
        (other, ["read:confluence-user"]),
    ]
    assert (both[0]["url"], both[2]["url"]) == (cloud.url("site"), "https://other.atlassian.net")
    assert none == []
    assert send("GET", url).status == 401
    assert send("POST", url, headers=bearer(client.tokens("bob", scope="read:me")["access_token"])).status == 405


def test_gateway_knows_every_site(cloud: Cloud, client: Client) -> None:
    """Each by its own id, with links to its own address; an unknown one is 404."""
    other = cloud.add_site("Other", "https://other.atlassian.net")
    token = client.tokens()["access_token"]

    def get(cloud_id: str) -> Reply:
        return send("GET", f"{cloud.url('gateway')}/ex/jira/{cloud_id}{MYSELF}", headers=bearer(token))

    assert get(other).json["self"].startswith("https://other.atlassian.net/")
    assert get(cloud.cloud_id).json["self"].startswith(cloud.url("site"))
    assert get("00000000-0000-4000-8000-000000000000").status == 404


def test_who_am_i(cloud: Cloud, client: Client) -> None:
    """Needs read:me."""
    url = f"{cloud.url('gateway')}/me"

    found = send("GET", url, headers=bearer(client.tokens(scope="read:me")["access_token"]))
    refused = send("GET", url, headers=bearer(client.tokens("bob")["access_token"]))

    assert (found.json["email"], found.json["name"]) == ("alice@example.com", "Alice Adams")
    assert (refused.status, refused.json) == (401, SCOPE_MISSING)


@pytest.mark.parametrize("length", [200, 1_000, 2_500, 6_144])
def test_size_of_tokens_is_a_knob(cloud: Cloud, client: Client, at_gateway: Callable[..., Reply], length: int) -> None:
    """Up to 6 KB and more; the server reads them all."""
    cloud.oauth2("auth").access_token_chars = length

    token = client.tokens()["access_token"]

    assert abs(len(token) - length) < 30
    assert at_gateway(token).status == 200
    assert at_gateway(token + "x").status == 401


def test_metadata_and_revocation(cloud: Cloud, client: Client, at_gateway: Callable[..., Reply]) -> None:
    """As RFC 8414 has it at the root; Basic and body identify the client."""
    found = send("GET", f"{cloud.url('auth')}/.well-known/oauth-authorization-server").json
    tokens = client.tokens()
    by_header = basic(client.app.client_id, client.app.client_secret or "")

    assert (found["issuer"], found["token_endpoint"]) == (cloud.url("auth"), client.token_url)
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert send("POST", found["revocation_endpoint"], '{"token": 5}', {**JSON, **by_header}).status == 400
    body = f'{{"token": "{tokens["refresh_token"]}"}}'
    assert send("POST", found["revocation_endpoint"], body, {**JSON, **by_header}).status == 200
    assert at_gateway(tokens["access_token"]).status == 401


def test_api_tokens_still_work_at_the_gateway(cloud: Cloud) -> None:
    """Beside the apps' bearers; as a bearer they do not."""
    token = cloud.make_token(scopes=["read:jira-user"]).secret
    url = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}{MYSELF}"

    assert send("GET", url, headers=basic("alice@example.com", token)).status == 200
    assert send("GET", url, headers=bearer(token)).status == 401


def test_registration_is_checked(cloud: Cloud) -> None:
    """Unknown scopes and relative addresses are refused; a chosen client ID and secret are taken."""
    with pytest.raises(ValueError, match="no scope READ"):
        cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=["READ"])
    with pytest.raises(ValueError, match="must be absolute"):
        cloud.register_app("auth", redirect_uris=["/cb"], scopes=[])
    with pytest.raises(ValueError, match="has a secret"):
        cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=[], is_public=True)
    app = cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=[], client_id="mine", client_secret="hidden")
    assert (app.client_id, app.client_secret) == ("mine", "hidden")
    again = cloud.register_app("auth", redirect_uris=[REDIRECT], scopes=[], client_id="mine")
    assert cloud.oauth2("auth").apps["mine"] is again


def test_accounts_are_used_at_every_host(cloud: Cloud, client: Client) -> None:
    """By their addresses or their first parts; an unknown account is a KeyError."""
    assert "code" in client.consent("bob@example.com")
    with pytest.raises(KeyError):
        client.consent("nobody")
    assert send("GET", cloud.url("auth") + "/").status == 200
    assert send("GET", cloud.url("auth") + "/nothing").status == 404
