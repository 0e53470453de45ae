"""The address of the consent, against the standard's example and oauthlib's; PKCE against published vectors."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

import pytest
from oauthlib.oauth2 import WebApplicationClient

from atl_sign.base.credentials import Secret
from atl_sign.schemes.oauth2.consent import authorize_url, challenge_of, extra_for, make_state, make_verifier

# RFC 6749 §4.1.1.
ENDPOINT, CLIENT_ID, REDIRECT = "https://server.example.com/authorize", "s6BhdRkqt3", "https://client.example.com/cb"
# RFC 7636 appendix B; GitLab's documentation (facts oauth2.md section 12.1).
VECTORS = [
    ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    ("ks02i3jdikdo2k0dkfodf3m39rjfjsdk0wk349rj3jrhf", "2i0WFA-0AerkjQm4X4oDEhqA17QIAKNjXpagHBXmO_U"),
]


def make(endpoint: str, client_id: str, redirect_uri: str, scopes: Iterable[str], *secrets: str, **extra: str) -> str:
    state, verifier = map(Secret, secrets)
    return authorize_url(
        endpoint, client_id, redirect_uri=redirect_uri, scopes=scopes, state=state, verifier=verifier, extra=extra
    )


@pytest.mark.parametrize(("verifier", "challenge"), VECTORS)
def test_a_challenge_is_that_of_the_published_vectors(verifier: str, challenge: str) -> None:
    assert challenge_of(Secret(verifier)) == challenge


def test_a_verifier_is_new_each_time_and_of_the_right_characters() -> None:
    made = {make_verifier().reveal() for _ in range(1_000)}

    assert len(made) == 1_000
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", each) for each in made)
    assert len({make_state().reveal() for _ in range(1_000)} - made) == 1_000


def test_the_example_of_the_standard_is_made() -> None:
    """With PKCE, which it has not; oauthlib makes the same of it."""
    verifier, challenge = VECTORS[0]

    made = make(ENDPOINT, CLIENT_ID, REDIRECT, ["READ", "WRITE"], "xyz", verifier, prompt="consent")

    by_oauthlib = WebApplicationClient(CLIENT_ID).prepare_request_uri(
        ENDPOINT,
        redirect_uri=REDIRECT,
        scope=["READ", "WRITE"],
        state="xyz",
        code_challenge=challenge,
        code_challenge_method="S256",
        prompt="consent",
    )
    assert sorted(parse_qsl(urlsplit(made).query)) == sorted(parse_qsl(urlsplit(by_oauthlib).query))
    assert made.startswith(
        "https://server.example.com/authorize?response_type=code&client_id=s6BhdRkqt3"
        "&redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&scope=READ%20WRITE&state=xyz"
    )
    assert verifier not in made


def test_an_endpoints_own_query_stays() -> None:
    made = make(f"{ENDPOINT}?tenant=a%20b", CLIENT_ID, REDIRECT, (), "s", "v")

    query = dict(parse_qsl(urlsplit(made).query))
    assert (query["tenant"], query["state"]) == ("a b", "s")
    assert "scope" not in query


def test_every_character_survives() -> None:
    state, redirect = "a&b=c+d %e", "http://localhost:1/x?y=z&q"
    made = make(ENDPOINT, "c&d", redirect, ["read:me", "a/b"], state, "v", audience="x&y")

    query = dict(parse_qsl(urlsplit(made).query))
    assert (query["state"], query["redirect_uri"], query["client_id"]) == (state, redirect, "c&d")
    assert (query["scope"], query["audience"]) == ("read:me a/b", "x&y")


@pytest.mark.parametrize(
    ("endpoint", "scopes", "extra"),
    [
        (ENDPOINT, ["openid", "offline_access"], {"prompt": "consent"}),
        (f"{ENDPOINT}?audience=api", ["offline_access"], {"prompt": "consent"}),
        (ENDPOINT, ["openid"], {}),
        (ENDPOINT, [], {}),
        (f"{ENDPOINT}?prompt=select_account", ["openid", "offline_access"], {}),
        (f"{ENDPOINT}?prompt=", ["openid", "offline_access"], {}),
    ],
)
def test_offline_access_is_asked_for_with_consent(endpoint: str, scopes: list[str], extra: dict[str, str]) -> None:
    """OpenID Connect Core 1.0 §11. No parameter is there twice (RFC 6749 §3.1), so the one in the endpoint's query stays."""
    assert extra_for(endpoint, scopes) == extra
