"""The device flow (RFC 8628) at servers that others wrote: with plain requests, and with our parts."""

import pytest
import requests

from atl_sign.schemes.oauth2.token_answer import Failure, Tokens
from tests.interop.oauth2_servers import SCOPES, AuthlibServer, ForeignServer, Kind, OidcProvider
from tests.interop.our_client import DEAD, OurClient, knows_alice
from tests.interop.stranger import Stranger, ask_resource
from tests.interop.web_person import LostPersonError
from tests.lab import wait_for

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


def test_stranger_as_a_device(server: ForeignServer) -> None:
    """Pending until alice has entered the code; then it gives tokens, once."""
    stranger = Stranger(server)
    device = stranger.post("device_authorization_endpoint", scope=" ".join(SCOPES)).json()
    code = {"grant_type": DEVICE, "device_code": device["device_code"]}
    assert stranger.post("token_endpoint", **code).json()["error"] == "authorization_pending"

    assert server.enter_device_code(device["verification_uri"], device["user_code"]) == "Device allowed"
    token = stranger.post("token_endpoint", **code).json()

    assert ask_resource(server, token["access_token"]).json()["sub"] == "alice"
    assert set(token["scope"].split()) == set(SCOPES)
    assert stranger.post("token_endpoint", **code).status_code == 400
    with pytest.raises(LostPersonError):
        server.enter_device_code(device["verification_uri"], device["user_code"])


@pytest.mark.parametrize("kind", ["basic", "post"])
def test_stranger_as_a_device_without_its_secret(server: ForeignServer, kind: Kind) -> None:
    """The twin: a client with a secret has to authenticate for the device's code too (RFC 8628 §3.1)."""
    stranger = Stranger(server, kind)
    body = {"client_id": stranger.client.client_id, "scope": "openid"}

    answer = requests.post(stranger.document["device_authorization_endpoint"], data=body, timeout=10)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_stranger_as_a_denied_device(server: ForeignServer) -> None:
    stranger = Stranger(server)
    device = stranger.post("device_authorization_endpoint", scope="openid").json()

    assert server.enter_device_code(device["verification_uri"], device["user_code"], deny=True) == "Device denied"

    answer = stranger.post("token_endpoint", grant_type=DEVICE, device_code=device["device_code"])
    assert (answer.status_code, answer.json()["error"]) == (400, "access_denied")


def test_stranger_as_a_late_device(server: ForeignServer) -> None:
    with type(server)(device_s=1) as short:
        stranger = Stranger(short)
        device = stranger.post("device_authorization_endpoint", scope="openid").json()
        code = {"grant_type": DEVICE, "device_code": device["device_code"]}
        assert device["expires_in"] == 1

        wait_for(lambda: stranger.post("token_endpoint", **code).json()["error"] == "expired_token")

        with pytest.raises(LostPersonError):
            short.enter_device_code(device["verification_uri"], device["user_code"])


def test_stranger_as_a_hasty_device(authlib_server: AuthlibServer) -> None:
    """Authlib names an interval and enforces it."""
    stranger = Stranger(authlib_server)
    device = stranger.post("device_authorization_endpoint", scope="openid").json()
    code = {"grant_type": DEVICE, "device_code": device["device_code"]}

    words = [stranger.post("token_endpoint", **code).json()["error"] for _ in range(2)]

    assert device["interval"] == 5
    assert words == ["authorization_pending", "slow_down"]


@pytest.mark.parametrize("kind", ["post", "public"])
def test_device(server: ForeignServer, kind: Kind) -> None:
    """Pending until alice has entered the code, then tokens that can be refreshed."""
    client = OurClient(server, kind)
    device = client.begin_device()
    assert client.poll(device) == Failure("pending", "authorization_pending")

    server.enter_device_code(device["verification_uri"], device["user_code"])
    tokens = client.poll(device)

    assert knows_alice(server, tokens)
    assert isinstance(tokens, Tokens)
    assert (tokens.lifetime_s, tokens.scopes) == (3_600, frozenset(SCOPES))
    assert knows_alice(server, client.refresh(tokens))


def test_device_code_is_used_up(server: ForeignServer) -> None:
    """It gives no tokens again. Authlib has an error code of its own for that, which we read as a mistake of ours."""
    client = OurClient(server, "post")
    device = client.begin_device()
    server.enter_device_code(device["verification_uri"], device["user_code"])
    assert isinstance(client.poll(device), Tokens)

    assert client.poll(device) == (DEAD if isinstance(server, OidcProvider) else Failure("request", "invalid_request"))


def test_denied_device(server: ForeignServer) -> None:
    client = OurClient(server, "post")
    device = client.begin_device()

    server.enter_device_code(device["verification_uri"], device["user_code"], deny=True)

    assert client.poll(device) == Failure("denied", "access_denied")


def test_device_of_another_client(server: ForeignServer) -> None:
    """The twin: another client gets no tokens, although alice has allowed it."""
    device = OurClient(server, "post").begin_device()
    server.enter_device_code(device["verification_uri"], device["user_code"])

    assert isinstance(OurClient(server, "public").poll(device), Failure)


def test_hasty_device(authlib_server: AuthlibServer) -> None:
    client = OurClient(authlib_server, "public")
    device = client.begin_device()

    answers = [client.poll(device) for _ in range(2)]

    assert answers == [Failure("pending", "authorization_pending"), Failure("slow_down", "slow_down")]


def test_expired_device(server: ForeignServer) -> None:
    with type(server)(device_s=1) as short:
        client = OurClient(short, "public")
        device = client.begin_device()

        wait_for(lambda: client.poll(device) == Failure("expired", "expired_token"))
