"""GitLab: Doorkeeper's rules, its API and its device flow (facts oauth2 section 9)."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from oauthlib.oauth2 import InvalidGrantError

from atl_sign.sandbox import ApproveError, Forge
from atl_sign.sandbox.oauth2.records import App
from tests.sandbox.consumer import FORM, Clock, Reply, send
from tests.sandbox.oauth2_client import S256, VERIFIER, Client, bearer, dance_with_oauthlib
from tests.sandbox.test_applinks import basic
from tests.sandbox.test_oauth2_products import ls_remote

REGISTERED = "http://127.0.0.1/"
REDIRECT = "http://127.0.0.1:49152/"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(params=["", "/git"])
def forge(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Forge]:
    """At the root, and below a path."""
    with Forge("gitlab", clock=clock, path=request.param) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


def client_of(forge: Forge, app: App, scope: str = "api write_repository") -> Client:
    """Return the client of *app*."""
    base = f"{forge.url('site')}/oauth"
    return Client(app, REDIRECT, f"{base}/authorize", f"{base}/token", forge.approve, scope)


@pytest.fixture
def client(forge: Forge) -> Client:
    """A native application: without a secret."""
    return client_of(forge, forge.register_app(redirect_uris=[REGISTERED], is_public=True))


@pytest.fixture
def confidential(forge: Forge) -> Client:
    """An application with a secret."""
    return client_of(forge, forge.register_app(redirect_uris=[REGISTERED]))


def get(forge: Forge, token: str, path: str = "/user") -> Reply:
    """Send a GET to the API."""
    return send("GET", forge.url("api") + path, headers=bearer(token))


def test_a_foreign_client_dances_and_refreshes(forge: Forge, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """PKCE is enough without a secret; the refresh repeats the redirect, and the old pair dies at once."""
    session, token = dance_with_oauthlib(client, monkeypatch)

    assert (token["token_type"], token["expires_in"], token["scope"]) == ("bearer", 7200, client.scope.split())
    assert token["created_at"] == 1_700_000_000
    assert session.get(f"{forge.url('api')}/user").json()["username"] == "alice"
    with pytest.raises(InvalidGrantError):
        session.refresh_token(client.token_url, client_id=client.app.client_id)
    fresh = session.refresh_token(client.token_url, client_id=client.app.client_id, redirect_uri=REDIRECT)
    assert get(forge, fresh["access_token"]).status == 200
    assert get(forge, token["access_token"]).status == 401
    with pytest.raises(InvalidGrantError):
        session.refresh_token(client.token_url, token["refresh_token"], client_id=client.app.client_id, redirect_uri=REDIRECT)
    session.close()


@pytest.mark.parametrize(
    ("registered", "redirect", "is_allowed"),
    [
        ("http://127.0.0.1/", "http://127.0.0.1:5/", True),
        ("http://127.0.0.1:7/cb", "http://127.0.0.1:5/cb", True),
        ("http://[::1]/cb", "http://[::1]:5/cb", True),
        ("http://127.0.0.1/", "http://127.0.0.1:5", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5/cb/", False),
        ("http://127.0.0.1/cb", "https://127.0.0.1:5/cb", False),
        ("http://localhost:7/", "http://localhost:5/", False),
        ("http://localhost:7/", "http://localhost:7/", True),
        ("https://client.example.com/", "https://client.example.com:444/", False),
        ("http://127.0.0.1/", "http://127.0.0.1:x/", False),
    ],
)
def test_port_of_a_loopback_ip_is_free(forge: Forge, registered: str, redirect: str, is_allowed: bool) -> None:
    """Nothing else is."""
    client = client_of(forge, forge.register_app(redirect_uris=[registered], is_public=True))

    if is_allowed:
        assert "code" in client.consent(redirect_uri=redirect)
    else:
        with pytest.raises(ApproveError):
            client.consent(redirect_uri=redirect)


def test_refusals_of_the_token_endpoint(forge: Forge, client: Client, confidential: Client, clock: Clock) -> None:
    """One description for each error, and a challenge of Doorkeeper's."""
    tokens = client.tokens(**{})
    cases = {
        "used": client.refresh(client.refresh(tokens["refresh_token"], redirect_uri=REDIRECT).json["refresh_token"] + "x"),
        "verifier": client.exchange(client.code(**S256), code_verifier=VERIFIER[::-1]),
        "redirect": client.exchange(client.code(), redirect_uri="http://127.0.0.1:49153/"),
        "foreign": client.exchange(confidential.code()),
    }

    for reply in cases.values():
        assert (reply.status, reply.json["error"]) == (400, "invalid_grant")
        assert reply.json["error_description"].startswith("The provided authorization grant is invalid, expired, revoked,")
        assert reply.headers["WWW-Authenticate"].startswith('Bearer realm="Doorkeeper", error="invalid_grant"')
    late = client.code()
    clock.now += 600
    assert client.exchange(late).json["error"] == "invalid_grant"
    for reply in (
        confidential.exchange(confidential.code(), client_secret=None),
        confidential.exchange(confidential.code(), client_secret="wrong"),
        confidential.exchange(confidential.code(), client_id="unknown"),
    ):
        assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    assert confidential.exchange(confidential.code()).status == 200
    fields = {"grant_type": "authorization_code", "code": confidential.code(), "redirect_uri": REDIRECT}
    assert confidential.post(fields, as_json=True).status == 200


def test_tokens_at_the_api(forge: Forge, client: Client, clock: Clock) -> None:
    """401 says what became of them."""
    expired, revoked = client.tokens()["access_token"], client.tokens()["access_token"]
    assert get(forge, expired).json["email"] == "alice@example.com"
    forge.oauth2.end_token(revoked)
    clock.now += 7200

    replies = [get(forge, token) for token in (expired, revoked, "unknown")]

    assert [reply.json["error_description"] for reply in replies] == [
        "Token is expired. You can either do re-authorization or token refresh.",
        "Token was revoked. You have to re-authorize from the user.",
        "Bad Access Token.",
    ]
    assert {reply.status for reply in replies} == {401}
    assert all('error="invalid_token"' in reply.headers["WWW-Authenticate"] for reply in replies)
    assert send("GET", f"{forge.url('api')}/user").json == {"message": "401 Unauthorized"}
    assert send("GET", f"{forge.url('api')}/nothing").json == {"message": "404 Not Found"}


def test_scopes_at_the_api(forge: Forge, client: Client) -> None:
    """api includes read_api; a missing one is a 403 without a challenge."""
    url = f"{forge.url('api')}/projects/1/issues"
    read, write = client.tokens(scope="read_api")["access_token"], client.tokens(scope="api")["access_token"]

    refused = send("POST", url, headers=bearer(read))

    assert (get(forge, read, "/projects").status, send("POST", url, headers=bearer(write)).status) == (200, 201)
    assert (refused.status, refused.json["error"], refused.json["scope"]) == (403, "insufficient_scope", "api")
    assert "WWW-Authenticate" not in refused.headers
    git_only = client.tokens(scope="read_repository")["access_token"]
    assert (get(forge, git_only).status, get(forge, git_only, "/projects").status) == (403, 403)


def test_application_limits_scopes(forge: Forge) -> None:
    """Without one it is all of them."""
    app = forge.register_app(redirect_uris=[REGISTERED], scopes=["read_user", "read_api"], is_public=True)
    client = client_of(forge, app, "")

    assert client.tokens()["scope"] == "read_user read_api"
    assert client.consent(scope="api")["error"] == "invalid_scope"


def test_token_info_and_revocation(forge: Forge, client: Client, confidential: Client) -> None:
    """The token tells its app; revoking needs the client ID, and a secret if there is one."""
    url = f"{forge.url('site')}/oauth"
    tokens, other = client.tokens(scope="read_user"), confidential.tokens()["access_token"]
    info = send("GET", f"{url}/token/info", headers=bearer(tokens["access_token"])).json

    assert (info["resource_owner_id"], info["scope"], info["expires_in"]) == (2, ["read_user"], 7200)
    assert info["application"] == {"uid": client.app.client_id}
    assert send("GET", f"{url}/token/info").status == 401

    def revoke(**fields: str) -> Reply:
        return send("POST", f"{url}/revoke", urlencode(fields), FORM)

    assert revoke(token=other, client_id=confidential.app.client_id).status == 401
    assert revoke(token=other, client_id=client.app.client_id).json == {}
    assert get(forge, other).status == 200
    done = revoke(token=tokens["access_token"], client_id=client.app.client_id)
    assert (done.status, done.json) == (200, {})
    assert get(forge, tokens["access_token"]).status == 401


def test_metadata(forge: Forge, client: Client) -> None:
    """Two documents, the same issuer, no RFC 9207; below a path RFC 8414 puts it between host and path, too."""
    site = forge.url("site")
    origin = site.removesuffix("/git")
    documents = [
        send("GET", f"{site}/.well-known/openid-configuration").json,
        send("GET", f"{site}/.well-known/oauth-authorization-server").json,
        send("GET", f"{origin}/.well-known/oauth-authorization-server{site.removeprefix(origin)}").json,
    ]

    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["issuer"] == site
    assert documents[0]["token_endpoint"] == client.token_url
    assert documents[0]["device_authorization_endpoint"] == f"{site}/oauth/authorize_device"
    assert "authorization_response_iss_parameter_supported" not in documents[0]
    assert "none" in documents[0]["token_endpoint_auth_methods_supported"]
    assert client.consent().keys() == {"code", "state"}


def test_device_flow(forge: Forge, client: Client, clock: Clock) -> None:
    """Its answer has no refresh token; the complete address shows the question at once."""
    codes = send("POST", f"{forge.url('site')}/oauth/authorize_device", urlencode({"client_id": client.app.client_id}), FORM).json

    assert (codes["expires_in"], codes["interval"]) == (300, 5)
    assert codes["verification_uri_complete"] == f"{codes['verification_uri']}?user_code={codes['user_code']}"
    pending = client.post({"grant_type": DEVICE, "device_code": codes["device_code"]})
    assert (pending.status, pending.json["error"]) == (400, "authorization_pending")
    forge.enter_device_code(codes["user_code"].lower())
    clock.now += 5
    tokens = client.post({"grant_type": DEVICE, "device_code": codes["device_code"]}).json
    assert "refresh_token" not in tokens
    assert get(forge, tokens["access_token"]).status in (200, 403)


def test_git_takes_the_token(forge: Forge, client: Client) -> None:
    """As the password of oauth2 or any other name."""
    shop = f"{forge.url('site')}/acme/shop.git"
    token = client.tokens()["access_token"]

    def status(token: str, service: str) -> int:
        return send("GET", f"{shop}/info/refs?service=git-{service}-pack", headers=basic("oauth2", token)).status

    assert ls_remote(shop.replace("http://", f"http://oauth2:{token}@")) == 0
    read, poor = client.tokens(scope="read_repository")["access_token"], client.tokens(scope="read_user")["access_token"]
    assert [status(read, "upload"), status(read, "receive"), status(poor, "upload")] == [200, 403, 403]
    assert send("GET", f"{shop}/info/refs?service=git-upload-pack").headers["WWW-Authenticate"] == 'Basic realm="GitLab"'


def test_paths_outside_are_not_there(clock: Clock) -> None:
    """Below a path nothing is at the root; a broken path is a 400."""
    with Forge("gitlab", clock=clock, path="/git") as forge:
        origin = forge.url("site").removesuffix("/git")
        assert send("GET", f"{origin}/oauth/authorize").status == 404
        assert send("GET", f"{origin}/git/%zz").status == 400
        assert send("GET", f"{origin}/git/").status == 200
