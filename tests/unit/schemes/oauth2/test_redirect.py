"""Redirects of honest servers, of others, and of pages that guess."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atl_sign.base.credentials import Secret
from atl_sign.schemes.oauth2.consent import authorize_url
from atl_sign.schemes.oauth2.redirect import CODE_CHARS_MAX, Expected, ForeignRedirectError, MixedUpError, Refused, read_redirect

# RFC 9207 §2.1, §2.2.
ISSUER = "https://honest.as.example"
CODE = "x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58"
STATE = "ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI"
EXAMPLE = f"code={CODE}&state={STATE}&iss=https%3A%2F%2Fhonest.as.example"
REFUSED_STATE = "N2JjNGJhY2JiZjRhYzA3MGJkMzNmMDE5OWJhZmJhZjA"
REFUSED = f"error=access_denied&state={REFUSED_STATE}&iss=https%3A%2F%2Fhonest.as.example"


def expected(state: str = STATE, issuer: str | None = ISSUER, *, announces_issuer: bool = True) -> Expected:
    return Expected(Secret(state), issuer, announces_issuer)


def code_of(query: str, dance: Expected) -> str:
    found = read_redirect(query, dance)
    assert isinstance(found, Secret)
    return found.reveal()


def test_the_examples_of_the_standard_are_read() -> None:
    assert code_of(EXAMPLE, expected()) == CODE
    assert read_redirect(REFUSED, expected(REFUSED_STATE)) == Refused("access_denied")
    # RFC 6749 §4.1.2, of a server without RFC 9207.
    plain = expected("xyz", None, announces_issuer=False)
    assert code_of("code=SplxlOBeZQQYbYS6WxSbIA&state=xyz", plain) == "SplxlOBeZQQYbYS6WxSbIA"


@pytest.mark.parametrize("query", [EXAMPLE, REFUSED.replace(REFUSED_STATE, STATE)])
@pytest.mark.parametrize(
    "issuer", ["https://honest.as.example/", "https://HONEST.as.example", "https://attacker.example", "", "honest.as.example"]
)
def test_another_issuer_ends_the_dance(query: str, issuer: str) -> None:
    """In a refusal as in a success, by characters, without normalisation; whether the server announces it or not."""
    for announces in (True, False):
        with pytest.raises(MixedUpError):
            read_redirect(query, expected(issuer=issuer, announces_issuer=announces))


@pytest.mark.parametrize("query", [EXAMPLE, REFUSED.replace(REFUSED_STATE, STATE)])
def test_a_missing_issuer_counts_only_where_there_always_is_one(query: str) -> None:
    """Stricter clients lock users out."""
    without = query.partition("&iss=")[0]

    with pytest.raises(MixedUpError):
        read_redirect(without, expected(announces_issuer=True))
    assert read_redirect(without, expected(announces_issuer=False))
    assert read_redirect(query, expected(issuer=None, announces_issuer=False))


@pytest.mark.parametrize(
    "query",
    [
        "",
        f"code={CODE}",
        f"code={CODE}&state=",
        f"code={CODE}&state={STATE}x",
        f"code={CODE}&state={STATE.lower()}",
        f"code={CODE}&state={STATE}&state={STATE}",
        f"code={CODE}&state={STATE}&state=other",
        f"code={CODE}&code=other&state={STATE}",
        f"code={CODE}&state={STATE}&iss={ISSUER}&iss=https://attacker.example",
        f"state={STATE}&iss={ISSUER}",
        f"code=&state={STATE}&iss={ISSUER}",
        f"code=a%0Ab&state={STATE}&iss={ISSUER}",
        f"code=%C3%A9&state={STATE}&iss={ISSUER}",
        f"code={'x' * (CODE_CHARS_MAX + 1)}&state={STATE}&iss={ISSUER}",
        f"code=%zz&state={STATE}",
        f"code=%ff&state={STATE}",
        "error=access_denied&state=other",
    ],
)
def test_a_redirect_that_is_not_this_dances_does_not_count(query: str) -> None:
    """Anybody can send one to a loopback port; the twin is the example."""
    with pytest.raises(ForeignRedirectError):
        read_redirect(query, expected())


@pytest.mark.parametrize("announces", [True, False])
def test_the_address_of_the_consent_is_no_answer(announces: bool) -> None:
    """It has the right state and no `iss`: somebody has pasted what the dance printed, and the dance waits on."""
    url = authorize_url(
        f"{ISSUER}/authorize",
        "s6BhdRkqt3",
        redirect_uri="http://127.0.0.1:51004/oauth2redirect/example-provider",
        scopes=["READ"],
        state=Secret(STATE),
        verifier=Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        extra={},
    )

    with pytest.raises(ForeignRedirectError) as caught:
        read_redirect(urlsplit(url).query, expected(announces_issuer=announces))

    assert caught.value.is_empty


def test_what_nobody_knows_is_ignored() -> None:
    assert code_of(f"session_state=1&{EXAMPLE}&scope=READ&x", expected()) == CODE


def test_a_code_shows_itself_nowhere() -> None:
    assert CODE not in repr(read_redirect(EXAMPLE, expected()))
    assert STATE not in repr(expected())


@given(st.text())
def test_no_query_makes_it_fail(query: str) -> None:
    with pytest.raises((ForeignRedirectError, MixedUpError)):
        read_redirect(query, expected())
