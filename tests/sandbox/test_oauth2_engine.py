"""The engine's own rules, against published examples: PKCE, Basic, scopes, redirects, and what a fault of ours looks like."""

from dataclasses import replace

import pytest

from atl_sign.sandbox import Forge
from atl_sign.sandbox.forge.github import GITHUB
from atl_sign.sandbox.forge.server import KINDS
from atl_sign.sandbox.oauth2.client_request import ClientRefusalError, read_client_request
from atl_sign.sandbox.oauth2.flavour import TokenShape
from atl_sign.sandbox.oauth2.pkce import is_right_verifier
from atl_sign.sandbox.oauth2.redirects import add_parameters, is_match
from atl_sign.sandbox.oauth2.scopes import include, normalize
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.oauth2.shapes import is_jwt, make_value
from atl_sign.sandbox.wire import FORM, Request
from tests.sandbox.consumer import send

GENERIC = KINDS["generic"].flavour
SCOPES = GITHUB.flavour.scopes


@pytest.mark.parametrize(
    ("verifier", "challenge"),
    [
        # RFC 7636 appendix B.
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        # GitLab's documentation of its OAuth 2.0 provider.
        ("ks02i3jdikdo2k0dkfodf3m39rjfjsdk0wk349rj3jrhf", "2i0WFA-0AerkjQm4X4oDEhqA17QIAKNjXpagHBXmO_U"),
    ],
)
def test_published_verifiers(verifier: str, challenge: str) -> None:
    """S256 of each, with no padding; the other way round and as plain it is wrong."""
    assert is_right_verifier(challenge, "S256", verifier)
    assert not is_right_verifier(challenge, "plain", verifier)
    assert not is_right_verifier(challenge + "=", "S256", verifier)
    assert is_right_verifier(verifier, "plain", verifier)


@pytest.mark.parametrize("verifier", ["x" * 42, "x" * 129, "x" * 42 + "+", "x" * 42 + "ü", ""])
def test_malformed_verifiers(verifier: str) -> None:
    """43 to 128 unreserved characters (RFC 7636 §4.1)."""
    assert not is_right_verifier(verifier, "plain", verifier)
    assert is_right_verifier("x" * 43, "plain", "x" * 43)
    assert is_right_verifier("~._-" * 32, "plain", "~._-" * 32)


def test_client_of_rfc_6749() -> None:
    """The header of §2.3.1."""
    headers = (("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"), ("content-type", FORM))

    found = read_client_request(GENERIC, Request("POST", b"/token", headers, b"grant_type=x&grant_type=y"))

    assert (found.client_id, found.client_secret) == ("s6BhdRkqt3", "gX1fBat3bV")
    assert found.fields["grant_type"] == "x"
    assert "gX1fBat3bV" not in repr(found)
    with pytest.raises(ClientRefusalError):
        read_client_request(GENERIC, Request("POST", b"/token", headers[:1], b"grant_type=x"))


def test_secret_in_a_body_that_is_not_read_counts_for_nothing() -> None:
    """At a server that takes Basic only."""
    flavour = replace(GENERIC, client_auth=("basic",))
    body = b"client_id=a&client_secret=b"

    assert read_client_request(flavour, Request("POST", b"/", (("content-type", FORM),), body)).client_secret is None
    assert read_client_request(GENERIC, Request("POST", b"/", (("content-type", FORM),), body)).client_secret == "b"


def test_scopes_of_githubs_documentation() -> None:
    """`user,gist,user:email` becomes `user,gist`; admin:org includes what is two steps below."""
    assert normalize(SCOPES, ("user", "gist", "user:email")) == ("user", "gist")
    assert normalize(SCOPES, ("user:email", "gist")) == ("user:email", "gist")
    assert "read:org" in include(SCOPES, ("admin:org",))
    assert "admin:org" not in include(SCOPES, ("read:org",))


def test_redirects_of_rfc_8252() -> None:
    """§7.3: any port of a loopback IP address, also of IPv6; the path stays."""
    registered = "http://127.0.0.1/oauth2redirect/example-provider"
    assert is_match("any loopback IP port", registered, "http://127.0.0.1:51004/oauth2redirect/example-provider")
    assert not is_match("any loopback IP port", registered, "http://[::1]:61023/oauth2redirect/example-provider")
    assert is_match(
        "any loopback IP port",
        "http://[::1]/oauth2redirect/example-provider",
        "http://[::1]:61023/oauth2redirect/example-provider",
    )
    assert not is_match("exact", registered, "http://127.0.0.1:51004/oauth2redirect/example-provider")


def test_answer_of_rfc_9207() -> None:
    """§2.1: the address with code, state and iss."""
    pairs = (
        ("code", "x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58"),
        ("state", "ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI"),
        ("iss", "https://honest.as.example"),
    )

    assert add_parameters("https://client.example/cb", pairs) == (
        "https://client.example/cb?code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58"
        "&state=ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI&iss=https%3A%2F%2Fhonest.as.example"
    )
    assert add_parameters("https://client.example/cb?x=1", pairs[:1]).startswith("https://client.example/cb?x=1&code=")


@pytest.mark.parametrize("length", [100, 300, 2_600, 6_144])
def test_jwts_of_any_length(length: int) -> None:
    """Up to a few characters, and never shorter than a JWT is; opaque tokens to the character."""
    token = make_value(TokenShape(is_jwt=True, length=length))

    assert is_jwt(token)
    assert length <= 200 or abs(len(token) - length) < 30
    assert len(make_value(TokenShape("gho_", length=40))) == 40
    assert not is_jwt(make_value(TokenShape("gho_", length=40)))


def test_kinds_and_secrets_of_apps() -> None:
    """A public app has no secret; an unknown kind is refused."""
    server = OAuth2Server(GENERIC, lambda: 0.0)

    assert server.register_app(["http://127.0.0.1/"], is_public=True).client_secret is None
    with pytest.raises(ValueError, match="kinds of apps are client"):
        server.register_app(["http://127.0.0.1/"], kind="robot")


def test_a_fault_of_ours_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """It must not look like an answer of the provider."""
    with Forge("generic") as forge:
        forge.oauth2.apps = None  # type: ignore[assignment]  # so that something breaks

        body = "grant_type=refresh_token&client_id=x&refresh_token=y"
        reply = send("POST", f"{forge.url('site')}/token", body, {"Content-Type": FORM})

    assert (reply.status, forge.state.requests[0].verdict) == (500, "sandbox fault")
    assert "The sandbox is at fault here" in reply.text
    assert "Traceback" in capsys.readouterr().err
