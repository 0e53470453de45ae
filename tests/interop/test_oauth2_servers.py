"""The foreign servers behave as `oauth2_servers` describes them: tested with requests-oauthlib."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from oauthlib.oauth2 import InvalidClientError, InvalidGrantError

from tests.interop.oauth2_servers import SCOPES, AuthlibServer, ForeignServer, Kind, OidcProvider
from tests.interop.stranger import Stranger, ask_resource
from tests.interop.web_person import LostPersonError
from tests.lab import wait_for

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let oauthlib speak to http://127.0.0.1."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def query_of(url: str) -> dict[str, str]:
    """Return the query, in which nothing is repeated."""
    fields = parse_qs(urlsplit(url).query)
    assert all(len(values) == 1 for values in fields.values())
    return {name: values[0] for name, values in fields.items()}


def test_the_document_names_everything(server: ForeignServer) -> None:
    """The issuer, the endpoints, PKCE, and that each redirect has `iss`."""
    document = Stranger(server).document

    assert document["issuer"] == server.issuer
    names = ("authorization_endpoint", "token_endpoint", "revocation_endpoint", "device_authorization_endpoint")
    assert all(document[name].startswith(f"{server.issuer}/") for name in names)
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert {"client_secret_basic", "client_secret_post", "none"} <= set(document["token_endpoint_auth_methods_supported"])
    assert set(document["scopes_supported"]) == set(SCOPES)
    assert "introspection_endpoint" not in document


@pytest.mark.parametrize("kind", ["basic", "post", "public", "exact"])
def test_code_flow(server: ForeignServer, kind: Kind) -> None:
    stranger = Stranger(server, kind)

    redirect = stranger.consent()
    token = stranger.fetch(redirect)

    assert redirect.startswith(f"{stranger.redirect}?")
    assert query_of(redirect)["iss"] == server.issuer
    assert token["expires_in"] == 3_600
    assert token["refresh_token"]
    assert set(token["scope"]) == set(SCOPES)
    answer = stranger.session.get(server.protected_url).json()
    assert (answer["sub"], answer["preferred_username"], answer["email"]) == ("alice", "alice", "alice@example.com")
    assert ask_resource(server, token["access_token"] + "x").status_code == 401


def test_denied_consent(server: ForeignServer) -> None:
    """The twin: the redirect has an error, state and issuer, but no code."""
    stranger = Stranger(server)

    fields = query_of(stranger.consent(deny=True, state="abc"))

    assert fields.pop("error") == "access_denied"
    assert {name: fields[name] for name in fields if name != "error_description"} == {"state": "abc", "iss": server.issuer}


def test_wrong_password(server: ForeignServer) -> None:
    stranger = Stranger(server)
    url, _ = stranger.session.authorization_url(stranger.document["authorization_endpoint"])

    with pytest.raises(LostPersonError, match=r"^Log in: wrong name or password$"):
        server.consent(url, password="looking-glass")


def test_wrong_verifier(server: ForeignServer) -> None:
    stranger = Stranger(server)
    redirect = stranger.consent()
    stranger.session._code_verifier = "x" * 43

    with pytest.raises(InvalidGrantError):
        stranger.fetch(redirect)


def test_wrong_secret(server: ForeignServer) -> None:
    stranger = Stranger(server)
    redirect = stranger.consent()

    with pytest.raises(InvalidClientError):
        stranger.session.fetch_token(
            stranger.document["token_endpoint"], authorization_response=redirect, include_client_id=True, client_secret="wrong"
        )


def test_secret_that_is_not_encoded(oidc_provider: OidcProvider) -> None:
    """The twin: id and secret must be form-encoded before they are joined (RFC 6749 §2.3.1). Authlib accepts this secret."""
    stranger = Stranger(oidc_provider, "basic")
    redirect = stranger.consent()
    body = {"grant_type": "authorization_code", "code": query_of(redirect)["code"], "redirect_uri": stranger.redirect}

    auth = (stranger.client.client_id, stranger.client.secret or "")
    answer = requests.post(stranger.document["token_endpoint"], data=body, auth=auth, timeout=10)

    assert answer.status_code == 400
    assert "not properly encoded" in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("kind", "redirect"),
    [
        ("post", "http://127.0.0.1:50123/other"),
        ("post", "http://127.0.0.2:50123/callback"),
        ("post", "https://evil.example/callback"),
        ("exact", "http://localhost:9/callback"),
        ("exact", "http://127.0.0.1:50123/callback"),
    ],
)
def test_wrong_redirect(server: ForeignServer, kind: Kind, redirect: str) -> None:
    """The server shows an error and does not redirect."""
    stranger = Stranger(server, kind)
    stranger.session.redirect_uri = redirect

    with pytest.raises(LostPersonError, match=r"(?i)redirect"):
        stranger.consent()


def test_no_challenge(oidc_provider: OidcProvider) -> None:
    """oidc-provider requires PKCE, also from a client with a secret."""
    stranger = Stranger(oidc_provider)
    stranger.session._pkce = None

    assert query_of(stranger.consent())["error"] == "invalid_request"


def test_refresh_rotates(server: ForeignServer) -> None:
    """Each refresh gives two new tokens; a used refresh token is rejected."""
    stranger = Stranger(server)
    first = stranger.fetch(stranger.consent())

    second = stranger.refresh(first["refresh_token"])
    third = stranger.refresh(second["refresh_token"])

    assert len({each["access_token"] for each in (first, second, third)}) == 3
    assert len({each["refresh_token"] for each in (first, second, third)}) == 3
    assert ask_resource(server, third["access_token"]).json()["sub"] == "alice"
    with pytest.raises(InvalidGrantError):
        stranger.refresh(second["refresh_token"])


def test_replay_revokes_the_family(oidc_provider: OidcProvider) -> None:
    """After a replay the newest tokens are invalid too (RFC 9700 §4.14.2)."""
    stranger = Stranger(oidc_provider)
    first = stranger.fetch(stranger.consent())
    second = stranger.refresh(first["refresh_token"])
    assert ask_resource(oidc_provider, second["access_token"]).ok

    with pytest.raises(InvalidGrantError):
        stranger.refresh(first["refresh_token"])

    assert ask_resource(oidc_provider, second["access_token"]).status_code == 401
    with pytest.raises(InvalidGrantError):
        stranger.refresh(second["refresh_token"])


def test_replay_revokes_nothing(authlib_server: AuthlibServer) -> None:
    """The other kind of server: the newest tokens stay valid; the refresh has revoked the first access token."""
    stranger = Stranger(authlib_server)
    first = stranger.fetch(stranger.consent())
    second = stranger.refresh(first["refresh_token"])

    with pytest.raises(InvalidGrantError):
        stranger.refresh(first["refresh_token"])

    assert ask_resource(authlib_server, first["access_token"]).status_code == 401
    assert ask_resource(authlib_server, second["access_token"]).ok
    assert stranger.refresh(second["refresh_token"])["access_token"]


def test_revoked_refresh_token(server: ForeignServer) -> None:
    """Its access token is revoked too. An unknown token is answered with 200 (RFC 7009 §2.2)."""
    stranger = Stranger(server)
    token = stranger.fetch(stranger.consent())

    assert stranger.post("revocation_endpoint", token=token["refresh_token"], token_type_hint="refresh_token").status_code == 200

    assert ask_resource(server, token["access_token"]).status_code == 401
    with pytest.raises(InvalidGrantError):
        stranger.refresh(token["refresh_token"])
    assert stranger.post("revocation_endpoint", token="unknown").status_code == 200


def test_access_token_expires(server: ForeignServer) -> None:
    """Its lifetime is an argument of the constructor. The refresh token lives longer."""
    with type(server)(access_s=3) as short:
        stranger = Stranger(short)
        token = stranger.fetch(stranger.consent())
        assert token["expires_in"] == 3
        assert ask_resource(short, token["access_token"]).ok
        wait_for(lambda: ask_resource(short, token["access_token"]).status_code == 401)

        assert ask_resource(short, stranger.refresh(token["refresh_token"])["access_token"]).ok


def test_refresh_token_and_code_expire(server: ForeignServer) -> None:
    with type(server)(refresh_s=1) as one, type(server)(code_s=1) as other:
        refreshing, swapping = Stranger(one), Stranger(other)
        token = refreshing.fetch(refreshing.consent())
        redirect = swapping.consent()
        time.sleep(2)  # asking earlier would use them up; the servers count whole seconds

        with pytest.raises(InvalidGrantError):
            refreshing.refresh(token["refresh_token"])
        with pytest.raises(InvalidGrantError):
            swapping.fetch(redirect)
