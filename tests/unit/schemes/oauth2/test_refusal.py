"""Refusals of a bearer token as the providers write them (facts oauth2.md, the section in each id), and as nobody should."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, DanceNeededError, ProviderRefusedError
from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.providers.answer import Answer
from atl_sign.schemes.base import Sent
from atl_sign.schemes.oauth2.refusal import explain_answer, explain_challenge
from tests.oauth2_links import make_link

# RFC 6750 §3.
CHALLENGE = 'Bearer realm="example", error="invalid_token", error_description="The access token expired"'
REMEDY = "add it to the app and to the link's --scopes, then: atl-sign dance app"


def explain(
    status: int,
    body: Any = "",
    headers: Mapping[str, str] | None = None,
    *,
    flavour: str = "generic",
    method: str = "GET",
    path: str = "/rest/api/3/issue/A-1",
) -> DaemonError | None:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(status, CaseInsensitiveDict(headers or {}), text, None)
    sent = Sent(Request(method, parse_url(f"https://app.example.com{path}")), Secret("Bearer canary-access"), answer)
    found = explain_answer(make_link(flavour), sent)
    if found is None:
        return None
    assert not found.may_pass
    assert "canary" not in f"{found.error.message}{found.error.hint}"
    return found.error


def test_the_example_of_the_standard_is_read() -> None:
    found = explain_challenge(make_link(), CHALLENGE)

    assert found == ("invalid_token", "link app: the provider does not take the access token any more", "atl-sign dance app")


@pytest.mark.parametrize(
    ("challenge", "word", "words"),
    [
        ('Bearer error="insufficient_scope", scope="write admin"', "insufficient_scope", "lacks the scope write admin for this"),
        ('Bearer error="insufficient_scope"', "insufficient_scope", "lacks the scope for this"),
        ('bearer realm="x",error="invalid_request"', "invalid_request", "refuses the token (invalid_request)"),
        ('Basic realm="a", Bearer realm="b", error="invalid_token"', "invalid_token", "does not take the access token"),
        ('Bearer realm="Doorkeeper", error="invalid_token", error_description="x"', "invalid_token", "does not take the access"),
    ],
)
def test_a_challenge_is_explained(challenge: str, word: str, words: str) -> None:
    """RFC 6750 §3.1."""
    found = explain_challenge(make_link(), challenge)

    assert found is not None
    assert found[0] == word
    assert words in found[1]
    assert "atl-sign dance app" in found[2]


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Bearer realm="example"',  # RFC 6750 §3.1: of a request without any token
        'Basic realm="example"',
        'OAuth realm="https%3A%2F%2Fjira.example.com"',
        'Digest error="invalid_token"',
        "Bearer error=invalid_token",
        'Bearer error="<script>"',
        'Bearer error="' + "x" * 65 + '"',
        'Bearer error="in\x00valid"',
        "Bearer " * 1_000,
    ],
)
def test_another_challenge_says_nothing_of_the_token(challenge: str) -> None:
    assert explain_challenge(make_link(), challenge) is None


@pytest.mark.parametrize(
    ("flavour", "status", "body", "headers", "words"),
    [
        pytest.param(
            "atlassian-cloud",
            401,
            {"code": 401, "message": "Unauthorized; scope does not match"},
            {},
            "read:jira-work",
            id="3-scope",
        ),
        pytest.param(
            "bitbucket-cloud",
            403,
            {
                "type": "error",
                "error": {
                    "message": "Your credentials lack one or more required privilege scopes.",
                    "detail": {"required": ["pullrequest:write", "issue"], "granted": ["account"]},
                },
            },
            {},
            "pullrequest:write, issue",
            id="4-scope",
        ),
        pytest.param(
            "bitbucket-cloud",
            403,
            {"type": "error", "error": {"message": "Your credentials lack one or more required privilege scopes."}},
            {},
            "one that the page of that call names",
            id="4-scope-without-detail",
        ),
        pytest.param(
            "gitlab",
            403,
            {"error": "insufficient_scope", "error_description": "x", "scope": "api read_api"},
            {},
            "api read_api",
            id="9-scope",
        ),
        pytest.param(
            "generic",
            403,
            {"error": "insufficient_scope"},
            {"WWW-Authenticate": 'Bearer realm="example", error="insufficient_scope", scope="write"'},
            "write",
            id="rfc6750-header",
        ),
        pytest.param(
            "generic",
            403,
            "",
            {"WWW-Authenticate": 'Bearer error="insufficient_scope", error_description="x", scope="write"'},
            "write",
            id="rfc6750-header-alone",
        ),
        pytest.param(
            "gitlab", 403, {"error": "insufficient_scope"}, {}, "one that the page of that call names", id="9-scope-unnamed"
        ),
    ],
)
def test_a_missing_scope_is_named(flavour: str, status: int, body: Any, headers: dict[str, str], words: str) -> None:
    """Neither a refresh nor a dance for the same scopes would help: the hint says what does."""
    error = explain(status, body, headers, flavour=flavour)

    assert isinstance(error, ProviderRefusedError)
    assert f"it probably wants: {words}" in error.message
    assert error.hint == REMEDY


@pytest.mark.parametrize(
    ("flavour", "body", "headers"),
    [
        pytest.param("generic", {"error": "invalid_token"}, {"WWW-Authenticate": CHALLENGE}, id="rfc6750"),
        pytest.param(
            "gitlab",
            {"error": "invalid_token", "error_description": "Token was revoked. You have to re-authorize from the user."},
            {"WWW-Authenticate": 'Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="Token"'},
            id="9-revoked",
        ),
        pytest.param("github", {"message": "Bad credentials"}, {}, id="8-revoked"),
        pytest.param(
            "bitbucket-cloud",
            {"type": "error", "error": {"message": "Access token expired. Use your refresh token to obtain a new access token."}},
            {},
            id="4-expired",
        ),
        pytest.param("atlassian-cloud", {"code": 401, "message": "Unauthorized"}, {}, id="3-expired"),
        pytest.param("datacenter", "", {"WWW-Authenticate": 'OAuth realm="https%3A%2F%2Fjira.example.com"'}, id="2-anonymous"),
    ],
)
def test_a_token_that_is_not_taken_needs_a_dance(flavour: str, body: Any, headers: dict[str, str]) -> None:
    error = explain(401, body, headers, flavour=flavour)

    assert isinstance(error, DanceNeededError)
    assert "atl-sign dance app" in (error.hint or "")
    assert error.message.count("link app: ") == 1


def test_single_sign_on_names_its_page() -> None:
    """Facts oauth2.md section 8.1: the token stays; the page is opened, and the call repeated."""
    page = "https://github.com/orgs/acme/sso?authorization_request=AB"

    error = explain(403, {"message": "SAML"}, {"X-GitHub-SSO": f"required; url={page}"}, flavour="github")

    assert isinstance(error, ProviderRefusedError)
    assert error.hint == f"open {page}"
    for odd in ("required", "required; url=http://github.com/x", "required; url=javascript:alert(1)", "required; url=https://"):
        error = explain(403, "", {"X-GitHub-SSO": odd}, flavour="github")
        assert isinstance(error, ProviderRefusedError)
        assert "open" not in (error.hint or "")


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 410, 429, 500, 503])
def test_other_answers_take_the_token(status: int) -> None:
    """Whatever they say; also when they quote a refusal."""
    assert explain(status, {"error": "insufficient_scope", "message": "scope does not match"}) is None


def test_a_permission_that_the_user_lacks_is_theirs() -> None:
    """Facts oauth2.md section 3: 403 with Jira's errorMessages; the answer goes to the caller as it is."""
    assert explain(403, {"errorMessages": ["You do not have permission"], "errors": {}}, flavour="atlassian-cloud") is None


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body",
    [
        {"error": "Your credentials lack one or more required privilege scopes."},
        {"error": ["required privilege scopes"]},
        {"error": {"message": "required privilege scopes", "detail": "text"}},
        {"error": {"message": "required privilege scopes", "detail": {"required": "text"}}},
        {"error": {"message": "required privilege scopes", "detail": {"required": [None, {}, 5]}}},
        ["required privilege scopes"],
        "required privilege scopes",
        {"error": "insufficient_scope", "scope": ["api"]},
        {"error": "insufficient_scope", "scope": None},
        ["insufficient_scope"],
        {"message": "scope does not match"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("flavour", ["bitbucket-cloud", "atlassian-cloud", "gitlab", "generic"])
def test_a_refusal_of_another_shape_is_one_in_words(flavour: str, body: Any, status: int) -> None:
    """Whatever the provider has made of it."""
    error = explain(status, body, flavour=flavour)

    assert error is None or (error.hint and len(error.message) < 500)
    assert error is not None or status == 403


def test_scopes_that_pour_are_cut() -> None:
    """And none of them reaches a terminal as it is."""
    scopes = ["x" * 1_000, "\u001b[31m"] * 10
    for found in (
        explain(
            403, {"error": {"message": "required privilege scopes", "detail": {"required": scopes}}}, flavour="bitbucket-cloud"
        ),
        explain(403, {"error": "insufficient_scope", "scope": " ".join(scopes)}, flavour="gitlab"),
    ):
        assert found is not None
        assert len(found.message) < 500
        assert found.message.isprintable()


@given(
    st.sampled_from([401, 403]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.text()
        | st.sampled_from(["insufficient_scope", "required privilege scopes"]),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["error", "detail", "required", "scope", "message"]), inner)
        ),
    ),
    st.text(),
)
def test_no_answer_makes_it_fail(status: int, body: Any, challenge: str) -> None:
    found = explain(status, json.dumps(body), {"WWW-Authenticate": challenge}, flavour="bitbucket-cloud")
    assert found is None or found.message
