"""Requests to token endpoints: the standards' examples, and the bytes that oauthlib makes of the same."""

from urllib.parse import parse_qsl

import pytest
from oauthlib.oauth2 import WebApplicationClient
from requests import Request
from requests.auth import HTTPBasicAuth

from atl_sign.base.credentials import App, Secret
from atl_sign.schemes.oauth2.metadata import ClientAuth
from atl_sign.schemes.oauth2.token_request import TokenRequest, TokenRequests

# RFC 6749 §2.3.1, §4.1.3, §6; RFC 7009 §2.1; RFC 8628 §3.4.
CLIENT_ID, SECRET = "s6BhdRkqt3", "gX1fBat3bV"
BASIC = "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
CODE, REDIRECT = "SplxlOBeZQQYbYS6WxSbIA", "https://client.example.com/cb"
REFRESH = "tGzv3JOkF0XG5Qx2TlKWIA"
DEVICE_CODE = "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"
# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def requests_of(auth: ClientAuth, secret: str | None = SECRET, client_id: str = CLIENT_ID) -> TokenRequests:
    return TokenRequests(App(client_id, None if secret is None else Secret(secret)), auth)


def fields_of(request: TokenRequest) -> dict[str, str]:
    pairs = parse_qsl(request.body.reveal(), keep_blank_values=True, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def authorization_of(request: TokenRequest) -> str | None:
    return None if request.authorization is None else request.authorization.reveal()


def test_the_examples_of_the_standards_are_made() -> None:
    made = requests_of("basic")

    code = made.for_code(Secret(CODE), REDIRECT, Secret(VERIFIER))
    refresh = made.for_refresh(Secret(REFRESH))
    revocation = made.for_revocation(Secret("45ghiukldjahdnhzdauz"), "refresh_token")

    assert {authorization_of(each) for each in (code, refresh, revocation)} == {BASIC}
    assert code.body.reveal() == (
        f"grant_type=authorization_code&code={CODE}&redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&code_verifier={VERIFIER}"
    )
    assert refresh.body.reveal() == f"grant_type=refresh_token&refresh_token={REFRESH}"
    assert revocation.body.reveal() == "token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token"
    device = requests_of("none", None, "1406020730").for_device(Secret(DEVICE_CODE))
    assert authorization_of(device) is None
    begun = requests_of("none", None, "1406020730").for_device_code(["example_scope"])
    assert authorization_of(begun) is None
    assert begun.body.reveal() == "scope=example_scope&client_id=1406020730"
    assert authorization_of(requests_of("basic").for_device_code([])) == BASIC
    assert device.body.reveal() == (
        f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code={DEVICE_CODE}&client_id=1406020730"
    )


def test_oauthlib_makes_the_same() -> None:
    """Its order is another one; and requests encodes nothing in a Basic header, which makes no difference to plain names."""
    client = WebApplicationClient(CLIENT_ID)
    code = client.prepare_request_body(code=CODE, redirect_uri=REDIRECT, code_verifier=VERIFIER, client_secret=SECRET)
    refresh = client.prepare_refresh_body(refresh_token=REFRESH, client_id=CLIENT_ID, client_secret=SECRET)
    basic = HTTPBasicAuth(CLIENT_ID, SECRET)(Request("POST", "https://h/").prepare()).headers["Authorization"]
    made = requests_of("body")

    assert fields_of(made.for_code(Secret(CODE), REDIRECT, Secret(VERIFIER))) == dict(parse_qsl(code))
    assert fields_of(made.for_refresh(Secret(REFRESH))) == dict(parse_qsl(refresh))
    assert basic == BASIC


@pytest.mark.parametrize(
    ("auth", "secret", "expected"),
    [
        ("basic", SECRET, ({}, BASIC)),
        ("body", SECRET, ({"client_id": CLIENT_ID, "client_secret": SECRET}, None)),
        ("none", SECRET, ({"client_id": CLIENT_ID}, None)),
        ("basic", None, ({"client_id": CLIENT_ID}, None)),
        ("body", None, ({"client_id": CLIENT_ID}, None)),
    ],
)
def test_the_secret_is_in_one_place_or_in_none(
    auth: ClientAuth, secret: str | None, expected: tuple[dict[str, str], str | None]
) -> None:
    """A server refuses a client that shows itself twice (RFC 6749 §2.3)."""
    for request in (
        requests_of(auth, secret).for_code(Secret(CODE), REDIRECT, Secret(VERIFIER)),
        requests_of(auth, secret).for_refresh(Secret(REFRESH)),
        requests_of(auth, secret).for_device(Secret(DEVICE_CODE)),
        requests_of(auth, secret).for_revocation(Secret(REFRESH), "refresh_token"),
    ):
        shown = {name: value for name, value in fields_of(request).items() if name.startswith("client")}
        assert (shown, authorization_of(request)) == expected


@pytest.mark.parametrize(
    ("client_id", "secret", "expected"),
    [
        # Each is form-encoded, then joined (RFC 6749 §2.3.1, appendix B), then base64: computed by hand.
        ("a:b", "c", "Basic YSUzQWI6Yw=="),  # a%3Ab:c
        ("a", "b c+d/é", "Basic YTpiK2MlMkJkJTJGJUMzJUE5"),  # a:b+c%2Bd%2F%C3%A9
    ],
)
def test_what_would_break_basic_is_encoded_first(client_id: str, secret: str, expected: str) -> None:
    assert authorization_of(requests_of("basic", secret, client_id).for_refresh(Secret(REFRESH))) == expected


def test_every_character_survives_the_body() -> None:
    secret, code = "a&b=c%d+e f\u00e9", "x&y=z"
    fields = fields_of(requests_of("body", secret).for_code(Secret(code), "http://localhost:1/a?b=c&d", Secret(VERIFIER)))

    assert (fields["client_secret"], fields["code"], fields["redirect_uri"]) == (secret, code, "http://localhost:1/a?b=c&d")


def test_a_redirect_is_repeated_where_it_is_wanted() -> None:
    assert (
        fields_of(requests_of("body").for_refresh(Secret(REFRESH), "http://127.0.0.1:5/"))["redirect_uri"]
        == "http://127.0.0.1:5/"
    )
    assert "redirect_uri" not in fields_of(requests_of("body").for_refresh(Secret(REFRESH)))


def test_nothing_of_it_shows_itself() -> None:
    shown = repr((requests_of("basic").for_code(Secret(CODE), REDIRECT, Secret(VERIFIER)), App(CLIENT_ID, Secret(SECRET))))

    assert not any(each in shown for each in (SECRET, CODE, VERIFIER, BASIC))
