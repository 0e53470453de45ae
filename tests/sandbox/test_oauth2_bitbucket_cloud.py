"""OAuth consumers of Bitbucket Cloud, on the old and the new back end (facts oauth2 section 4)."""

from collections.abc import Callable, Iterator

import pytest
from oauthlib.oauth2 import UnauthorizedClientError

from atl_sign.sandbox import ApproveError, Cloud
from tests.sandbox.consumer import Clock, Reply, send
from tests.sandbox.oauth2_client import VERIFIER, Client, bearer, dance_with_oauthlib, query_of
from tests.sandbox.test_applinks import basic
from tests.sandbox.test_oauth2_products import ls_remote

REDIRECT = "http://localhost:34106/"
SCOPES = ["account", "repository:write"]
USER = "/2.0/user"
SHOP = "/2.0/repositories/acme/shop"
DAY_S = 86_400


@pytest.fixture(params=["old", "new"])
def back_end(request: pytest.FixtureRequest) -> str:
    """Both of them."""
    return str(request.param)


@pytest.fixture
def cloud(clock: Clock, back_end: str) -> Iterator[Cloud]:
    """All hosts."""
    with Cloud(clock=clock, bitbucket_back_end=back_end) as started:  # type: ignore[arg-type]  # one of the two words
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


def client_at(cloud: Cloud, redirect: str = REDIRECT, scopes: list[str] = SCOPES) -> Client:
    """Register a consumer and return its client."""
    app = cloud.register_app("bitbucket", redirect_uris=[redirect], scopes=scopes)
    base = f"{cloud.url('bitbucket')}/site/oauth2"
    return Client(app, redirect, f"{base}/authorize", f"{base}/access_token", cloud.approve)


@pytest.fixture
def client(cloud: Cloud) -> Client:
    """A consumer."""
    return client_at(cloud)


@pytest.fixture
def at_api(cloud: Cloud) -> Callable[..., Reply]:
    """Send a GET to the REST interface."""
    return lambda token, path=USER: send("GET", cloud.url("bitbucket-api") + path, headers=bearer(token))


def test_a_foreign_client_dances_and_refreshes(
    cloud: Cloud, client: Client, monkeypatch: pytest.MonkeyPatch, back_end: str
) -> None:
    """requests-oauthlib; the old back end keeps its refresh token, the new one rotates; a wrong secret gets nothing."""
    session, token = dance_with_oauthlib(client, monkeypatch)

    assert (token["token_type"], token["expires_in"], token["state"]) == ("bearer", 7200, "authorization_code")
    assert (len(token["access_token"]) > 2_500) is (len(token["refresh_token"]) > 2_500) is (back_end == "new")
    assert token["scopes" if back_end == "old" else "scope"]
    assert session.get(cloud.url("bitbucket-api") + USER).json()["username"] == "alice"
    secret = {"client_id": client.app.client_id, "client_secret": client.app.client_secret}
    fresh = session.refresh_token(client.token_url, **secret)
    assert (fresh["refresh_token"] == token["refresh_token"]) is (back_end == "old")
    assert fresh["access_token"] != token["access_token"]
    with pytest.raises(UnauthorizedClientError):
        session.refresh_token(client.token_url, **{**secret, "client_secret": "wrong"})
    session.close()


@pytest.mark.parametrize(
    ("redirect", "is_allowed"),
    [
        (None, True),
        ("http://127.0.0.1:5000", True),
        ("http://127.0.0.1/sub", True),
        ("http://127.0.0.1?x=1", True),
        ("http://127.0.0.1.example.com/", False),
        ("http://localhost/", False),
    ],
)
def test_redirect_extends_the_registered_one(cloud: Cloud, redirect: str | None, is_allowed: bool) -> None:
    """Or is left out, and then left out at the exchange."""
    client = client_at(cloud, "http://127.0.0.1")

    if not is_allowed:
        with pytest.raises(ApproveError):
            client.consent(redirect_uri=redirect)
        return
    back = cloud.approve(client.url(redirect_uri=redirect))

    assert back.startswith(redirect or "http://127.0.0.1?")
    code = query_of(back)["code"]
    assert client.exchange(code, redirect_uri="http://127.0.0.1:1").json["error"] == "invalid_grant"
    assert client.exchange(code, redirect_uri=redirect).status == 200


def test_registered_redirect_may_end_in_a_slash(cloud: Cloud) -> None:
    """Then everything below it is fine, and the address without it is not."""
    client = client_at(cloud, "https://client.example.com/cb/")

    assert "code" in client.consent(redirect_uri="https://client.example.com/cb/more")
    with pytest.raises(ApproveError):
        client.consent(redirect_uri="https://client.example.com/cb")


def test_client_is_known_by_basic_or_body(client: Client) -> None:
    """Everything else has one answer."""
    fields = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "client_secret": None}
    secret = client.app.client_secret or ""

    by_header = client.post({**fields, "code": client.code(), "client_id": None}, basic(client.app.client_id, secret))
    refused = [
        client.post({**fields, "code": client.code()}),
        client.post({**fields, "code": client.code()}, basic(client.app.client_id, "wrong")),
        client.post({**fields, "code": client.code()}, basic("unknown", secret)),
        client.post({**fields, "code": client.code()}, {"Authorization": "Basic ???"}),
    ]

    assert by_header.status == 200
    assert [reply.json["error"] for reply in refused] == ["unauthorized_client"] * 4
    assert refused[0].json["error_description"] == "Requests must be authenticated using OAuth client credentials"


def test_json_bodies_are_refused(client: Client) -> None:
    """With these words."""
    reply = client.post({"grant_type": "authorization_code", "code": client.code(), "redirect_uri": REDIRECT}, as_json=True)

    assert reply.json == {"error": "invalid_grant", "error_description": "Unsupported grant type: None"}


def test_refresh_tokens(client: Client, clock: Clock, back_end: str) -> None:
    """New ones end after three months and ten minutes after their use; old ones do not."""
    tokens = client.tokens()
    client.refresh(tokens["refresh_token"])
    clock.now += 599
    assert client.refresh(tokens["refresh_token"]).status == 200
    clock.now += 1
    assert client.refresh(tokens["refresh_token"]).status == (200 if back_end == "old" else 400)
    unused = client.tokens()
    clock.now += 90 * DAY_S

    late = client.refresh(unused["refresh_token"])
    unknown = client.refresh("unknown")

    assert late.status == (200 if back_end == "old" else 400)
    assert unknown.json["error"] == ("invalid_request" if back_end == "old" else "invalid_grant")
    assert unknown.json["error_description"] == "Invalid refresh_token"


def test_pkce_changes_nothing(client: Client) -> None:
    """The parameters are not looked at."""
    code = client.code(code_challenge="anything", code_challenge_method="S512")

    assert client.exchange(code, code_verifier=VERIFIER).status == 200


def test_scope_can_only_narrow(client: Client, at_api: Callable[..., Reply]) -> None:
    """Without one it is all that the consumer has."""
    assert client.tokens().get("scope", "account repository:write") == "account repository:write"
    assert client.consent(scope="account pullrequest")["error"] == "invalid_scope"
    assert client.consent(scope="read:jira-work")["error"] == "invalid_scope"
    narrow = client.tokens(scope="account")["access_token"]

    assert at_api(narrow).status == 200
    reply = at_api(narrow, SHOP)
    assert reply.status == 403
    assert reply.json["error"]["message"] == "Your credentials lack one or more required privilege scopes."
    assert reply.json["error"]["detail"] == {"required": ["repository"], "granted": ["account"]}


def test_writing_includes_reading(client: Client, at_api: Callable[..., Reply]) -> None:
    """repository:write opens a private repository; who-am-I needs account."""
    token = client.tokens(scope="repository:write")["access_token"]

    assert at_api(token, SHOP).json["full_name"] == "acme/shop"
    assert at_api(token).json["error"]["detail"]["required"] == ["account"]


def test_dead_bearers(cloud: Cloud, client: Client, clock: Clock, at_api: Callable[..., Reply], back_end: str) -> None:
    """An expired one is told apart from the others."""
    expired, revoked = client.tokens()["access_token"], client.tokens()["access_token"]
    cloud.oauth2("bitbucket").end_token(revoked)

    assert at_api(revoked).json["error"]["message"] == "Token is invalid, expired, or not supported for this endpoint."
    assert at_api("unknown").status == at_api(revoked).status == 401
    clock.now += 7200
    reply = at_api(expired)

    words = "Access token expired." if back_end == "old" else "OAuth2 access token expired."
    assert (reply.status, reply.json["type"]) == (401, "error")
    assert reply.json["error"]["message"] == f"{words} Use your refresh token to obtain a new access token."
    cloud.oauth2("bitbucket").faults.ignores_bearers = True
    assert at_api(expired, "/2.0/repositories/acme/docs").status == 200
    assert at_api(expired, SHOP).status == 404


def test_git_takes_the_token(cloud: Cloud, client: Client) -> None:
    """As the password of x-token-auth, or as a bearer; beside another name it is none."""
    token = client.tokens()["access_token"]
    shop, docs = (f"{cloud.url('bitbucket')}/acme/{name}.git" for name in ("shop", "docs"))
    header = ("-c", f"http.extraHeader=Authorization: Bearer {token}")

    assert ls_remote(shop.replace("http://", f"http://x-token-auth:{token}@")) == 0
    assert ls_remote(shop, *header) == 0
    assert ls_remote(shop.replace("http://", f"http://alice:{token}@")) != 0
    assert ls_remote(shop.replace("http://", f"http://x-token-auth:{token}x@")) != 0
    assert ls_remote(docs) == 0
    cloud.oauth2("bitbucket").revoke_all()
    assert ls_remote(shop, *header) != 0


def test_git_needs_scopes(cloud: Cloud) -> None:
    """repository reads, repository:write writes; a public repository is read with any token."""
    client = client_at(cloud, scopes=["account", "repository", "repository:write"])
    statuses = {}
    for scope in ("account", "repository", "repository:write"):
        token = client.tokens(scope=scope)["access_token"]
        for name, service in (("shop", "upload"), ("shop", "receive"), ("docs", "upload")):
            url = f"{cloud.url('bitbucket')}/acme/{name}.git/info/refs?service=git-{service}-pack"
            statuses[scope, name, service] = send("GET", url, headers=bearer(token)).status

    assert [number for (scope, _, _), number in statuses.items() if scope == "account"] == [403, 403, 200]
    assert [number for (scope, _, _), number in statuses.items() if scope == "repository"] == [200, 403, 200]
    assert [number for (scope, _, _), number in statuses.items() if scope == "repository:write"] == [200, 200, 200]


def test_denial_and_unknown_consumers(client: Client) -> None:
    """access_denied by redirect, and a page."""
    assert client.deny()["error"] == "access_denied"
    with pytest.raises(ApproveError):
        client.consent(client_id="unknown")


def test_unknown_back_end() -> None:
    """Is refused."""
    with pytest.raises(ValueError, match="old and new"):
        Cloud(bitbucket_back_end="older")  # type: ignore[arg-type]
