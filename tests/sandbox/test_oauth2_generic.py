"""A generic provider by its metadata: RFC 8414, 9207 and 8628, PKCE, and detection of reuse (facts oauth2 sections 10, 12)."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from requests_oauthlib import OAuth2Session

from atl_sign.sandbox import ApproveError, Forge
from tests.sandbox.browser import Browser
from tests.sandbox.consumer import FORM, Clock, Reply, send
from tests.sandbox.oauth2_client import CHALLENGE, S256, VERIFIER, Client, bearer, dance_with_oauthlib
from tests.sandbox.test_applinks import basic

REDIRECT = "http://127.0.0.1:49152/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(params=["", "/issuer1"])
def forge(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Forge]:
    """An issuer without a path, and one with it."""
    with Forge("generic", clock=clock, path=request.param) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


def client_at(forge: Forge, *, is_public: bool = True) -> Client:
    """Register a client by the metadata."""
    found = send("GET", f"{forge.url('site')}/.well-known/openid-configuration").json
    app = forge.register_app(redirect_uris=["http://127.0.0.1/callback"], is_public=is_public)
    return Client(app, REDIRECT, found["authorization_endpoint"], found["token_endpoint"], forge.approve, "openid write", S256)


@pytest.fixture
def client(forge: Forge) -> Client:
    """A public client."""
    return client_at(forge)


def tokens_of(client: Client, **changes: str) -> dict[str, str]:
    """Go all the way, with the verifier."""
    reply = client.exchange(client.code(**changes), code_verifier=VERIFIER)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def get(forge: Forge, token: str, path: str = "/api/user") -> Reply:
    """Send a GET."""
    return send("GET", forge.url("site") + path, headers=bearer(token))


def test_a_foreign_client_dances_and_refreshes(forge: Forge, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests-oauthlib with PKCE."""
    client.authorize_extra = None

    session, token = dance_with_oauthlib(client, monkeypatch)

    assert session.get(f"{forge.url('api')}/user").json() == {"id": 2, "name": "alice"}
    fresh = session.refresh_token(client.token_url, client_id=client.app.client_id)
    assert fresh["refresh_token"] != token["refresh_token"]
    assert get(forge, token["access_token"]).status == 200
    session.close()


def test_without_pkce_nothing_works(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the request nor with a plain challenge nor at the exchange."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    session = OAuth2Session(client.app.client_id, redirect_uri=REDIRECT)
    address, _ = session.authorization_url(client.authorize_url)

    assert "error=invalid_request" in client.approve(address)
    assert client.consent(code_challenge_method=None)["error"] == "invalid_request"
    assert client.exchange(client.code()).json["error"] == "invalid_grant"
    assert client.exchange(client.code(), code_verifier=VERIFIER[:42]).json["error"] == "invalid_grant"
    assert client.exchange(client.code(), code_verifier=VERIFIER).status == 200
    session.close()


def test_metadata_is_between_host_and_path(forge: Forge) -> None:
    """RFC 8414 §3.1; OpenID Connect appends it."""
    issuer = forge.url("site")
    origin = "/".join(issuer.split("/")[:3])
    path = issuer.removeprefix(origin)

    found = send("GET", f"{origin}/.well-known/oauth-authorization-server{path}").json

    assert found == send("GET", f"{issuer}/.well-known/openid-configuration").json
    assert found["issuer"] == issuer
    assert found["authorization_response_iss_parameter_supported"] is True
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert DEVICE in found["grant_types_supported"]
    if path:
        assert send("GET", f"{issuer}/.well-known/oauth-authorization-server").status == 404
        assert send("GET", f"{origin}/.well-known/oauth-authorization-server").status == 404


def test_iss_comes_with_success_and_error(forge: Forge, client: Client) -> None:
    """RFC 9207."""
    assert client.consent().keys() == {"code", "state", "iss"}
    assert client.consent()["iss"] == client.deny()["iss"] == client.consent(scope="nothing")["iss"] == forge.url("site")


@pytest.mark.parametrize("is_public", [True, False])
def test_reuse_ends_the_family(forge: Forge, is_public: bool) -> None:
    """Of a refresh token and of a code; a refresh token that never lived ends nothing."""
    client = client_at(forge, is_public=is_public)
    other = tokens_of(client)
    first = tokens_of(client)
    second = client.refresh(first["refresh_token"]).json
    assert client.refresh("unknown").json["error"] == "invalid_grant"
    assert get(forge, second["access_token"]).status == 200

    assert client.refresh(first["refresh_token"]).json["error"] == "invalid_grant"

    assert get(forge, second["access_token"]).status == 401
    assert client.refresh(second["refresh_token"]).json["error"] == "invalid_grant"
    assert get(forge, other["access_token"]).status == 200
    code = client.code()
    third = client.exchange(code, code_verifier=VERIFIER).json
    assert client.exchange(code, code_verifier=VERIFIER).json["error"] == "invalid_grant"
    assert get(forge, third["access_token"]).status == 401


def test_code_of_an_ended_grant_is_unknown(forge: Forge, client: Client) -> None:
    """As when the user has withdrawn the consent in between."""
    code = client.code()
    forge.oauth2.revoke_all()

    assert client.exchange(code, code_verifier=VERIFIER).json["error"] == "invalid_grant"


def test_client_authentication(forge: Forge) -> None:
    """Basic with both parts form-encoded, as RFC 6749 §2.3.1 has it, or the body."""
    app = forge.register_app(redirect_uris=[REDIRECT], client_id="the client", client_secret="a+b/c:d%")
    client = client_at(forge)
    client.app = app
    fields = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    without = {"client_id": None, "client_secret": None}

    encoded = client.post({**fields, **without, "code": client.code()}, basic("the+client", "a%2Bb%2Fc%3Ad%25"))
    raw = client.post({**fields, **without, "code": client.code()}, basic("the client", "a+b/c:d%"))
    nobody = client.post({**fields, **without, "code": client.code()})

    assert encoded.status == 200
    assert client.post({**fields, "code": client.code()}).status == 200
    assert [(reply.status, reply.json["error"]) for reply in (raw, nobody)] == [(401, "invalid_client")] * 2
    assert client.post({**fields, "code": client.code()}, as_json=True).json["error"] == "invalid_request"


def test_tokens_at_the_api(forge: Forge, client: Client, clock: Clock) -> None:
    """The challenges of RFC 6750 §3."""
    token = tokens_of(client)["access_token"]
    read_only = tokens_of(client, scope="read")["access_token"]
    url = f"{forge.url('api')}/notes"

    assert get(forge, token, "/userinfo").json["preferred_username"] == "alice"
    assert send("POST", url, headers=bearer(token)).status == 201
    refused = send("POST", url, headers=bearer(read_only))
    assert refused.status == get(forge, read_only, "/userinfo").status == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="write"' in refused.headers["WWW-Authenticate"]
    assert send("GET", f"{forge.url('api')}/user").headers["WWW-Authenticate"] == 'Bearer realm="example"'
    assert 'error="invalid_token"' in get(forge, "unknown").headers["WWW-Authenticate"]
    clock.now += 3600
    expired = get(forge, token)
    assert expired.status == 401
    assert expired.headers["WWW-Authenticate"] == (
        'Bearer realm="example", error="invalid_token", error_description="The access token expired"'
    )
    assert get(forge, token, "/api/nothing").status == 401
    assert send("GET", f"{forge.url('api')}/nothing").status == 404


def test_revocation(forge: Forge, client: Client) -> None:
    """RFC 7009: 200 also for unknown tokens."""
    tokens = tokens_of(client)
    url = f"{forge.url('site')}/revoke"

    for value, status in (("unknown", 200), (tokens["refresh_token"], 200)):
        assert send("POST", url, urlencode({"token": value, "client_id": client.app.client_id}), FORM).status == status
    assert send("POST", url, urlencode({"client_id": client.app.client_id}), FORM).status == 400
    assert get(forge, tokens["access_token"]).status == 401


def begin_device_flow(forge: Forge, client: Client, **fields: str) -> Reply:
    """Ask for the two codes."""
    return send(
        "POST", f"{forge.url('site')}/device_authorization", urlencode({"client_id": client.app.client_id, **fields}), FORM
    )


def test_device_flow(forge: Forge, client: Client, clock: Clock) -> None:
    """An approved one is answered even when the poll comes early."""
    codes = begin_device_flow(forge, client, scope="read").json
    fields = {"grant_type": DEVICE, "device_code": codes["device_code"]}

    assert (codes["expires_in"], codes["interval"]) == (1800, 5)
    assert client.post(fields).json["error"] == "authorization_pending"
    assert client.post(fields).json == {"error": "slow_down"}
    forge.enter_device_code(codes["user_code"], "bob")
    tokens = client.post(fields).json
    assert (tokens["scope"], "refresh_token" in tokens) == ("read", True)
    assert get(forge, tokens["access_token"]).json["name"] == "bob"
    assert begin_device_flow(forge, client, scope="nothing").json["error"] == "invalid_scope"
    clock.now += 1800
    assert client.post(fields).json["error"] == "invalid_grant"


def test_device_flow_of_a_confidential_client(forge: Forge) -> None:
    """Needs the secret."""
    client = client_at(forge, is_public=False)

    assert begin_device_flow(forge, client).status == 401
    assert begin_device_flow(forge, client, client_secret=client.app.client_secret or "").status == 200


def test_device_page(forge: Forge, client: Client) -> None:
    """Asks for a login, then for the code, and takes no form from elsewhere."""
    codes = begin_device_flow(forge, client).json
    base = forge.url("site")
    browser = Browser(base)

    assert browser.get("/device").status == 302
    assert browser.post("/device", {"user_code": codes["user_code"], "approve": "Allow"}).status == 302
    browser.log_in("alice", "/login")
    assert "Connect a device" in browser.get("/device").text
    assert "Allow atl-sign?" in browser.get(f"/device?user_code={codes['user_code']}").text
    assert browser.post("/device", {"user_code": codes["user_code"], "approve": "Allow"}).status == 403
    assert browser.get("/device?user_code=WRONG").status == 400
    with pytest.raises(ApproveError, match="unknown, used or expired"):
        forge.enter_device_code("WRONG")
    assert CHALLENGE not in browser.get("/device").text


def test_other_pages(forge: Forge) -> None:
    """Login, logout and what is not there."""
    browser = Browser(forge.url("site"))

    assert browser.log_in("alice", "/login").status == 302
    assert browser.post("/logout", {"atl_token": browser.xsrf_token()}).status == 302
    assert browser.get("/nothing").json == {"error": "There is nothing at this address."}
    assert send("DELETE", f"{forge.url('site')}/token").status == 405


def test_clock_ports_and_stop(clock: Clock) -> None:
    """Stopped and started again it keeps port and state; the clock may be replaced; a taken port is reported."""
    forge = Forge("generic", clock=clock)
    with forge:
        address = forge.url("site")
        with pytest.raises(OSError, match="in use"):
            Forge("generic", port=int(address.rpartition(":")[2])).start()
    forge.stop()
    with forge:
        assert forge.url("site") == address
        client = client_at(forge)
        token = tokens_of(client)["access_token"]
        forge.clock = lambda: clock.now + 3600
        assert get(forge, token).status == 401
