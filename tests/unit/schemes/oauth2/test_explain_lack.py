"""What an answer says of the token's scopes, in each provider's words (facts oauth2.md sections 3, 4, 8 and 9)."""

import pytest

from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.providers.answer import Answer, Headers
from atl_sign.schemes.oauth2.refusal import explain_lack
from tests.oauth2_links import make_link

SITE = "https://example.atlassian.net"
MISMATCH = '{"code":401,"message":"Unauthorized; scope does not match"}'
UNNAMED = "one that the page of that call names"


def lack(flavour: str, url: str, answer: Answer, method: str = "GET") -> tuple[str, str, str] | None:
    return explain_lack(make_link(flavour, url=SITE), Request(method, parse_url(url)), answer)


def answer(status: int, text: str, **headers: str) -> Answer:
    return Answer(status, Headers((name.replace("_", "-"), value) for name, value in headers.items()), text, None)


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/rest/api/3/myself", "read:jira-user"),
        ("GET", "/ex/jira/1324a887-45db/rest/api/3/myself", "read:jira-user"),
        ("PUT", "/rest/api/3/issue/WEB-1", "write:jira-work"),
        ("HEAD", "/rest/api/3/issue/WEB-1", "read:jira-work"),
        ("GET", "/wiki/api/v2/pages", "read:page:confluence"),
        ("GET", "/ex/confluence/1324a887-45db/wiki/api/v2/pages", "read:page:confluence"),
        ("GET", "/rest/agile/1.0/board", "read:board-scope:jira-software, read:project:jira, read:issue-details:jira"),
        ("GET", "/other", UNNAMED),
    ],
)
def test_atlassian_cloud_names_no_scope(method: str, path: str, scopes: str) -> None:
    """So the path tells, at the site and at the gateway; the twins: another refusal, and another provider with these words."""
    word, message, hint = lack("atlassian-cloud", SITE + path, answer(401, MISMATCH), method) or ("", "", "")

    assert word == "insufficient_scope"
    assert message == f"link app: the token lacks a scope for this (status 401); it probably wants: {scopes}"
    assert hint.endswith("then: atl-sign dance app")
    for other in (answer(401, '{"message":"Unauthorized"}'), answer(403, "{}"), answer(200, MISMATCH), answer(404, MISMATCH)):
        assert lack("atlassian-cloud", SITE + path, other, method) is None
    assert lack("gitlab", SITE + path, answer(401, MISMATCH), method) is None


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        ('{"error":{"message":"x","detail":{"required":["repository","account"]}}}', "repository, account"),
        ('{"error":{"message":"x","detail":{"required":"all"}}}', UNNAMED),
        ('{"error":{"message":"x","detail":"none"}}', UNNAMED),
        ('{"error":"x"}', UNNAMED),
        ('["x"]', UNNAMED),
        ("x", UNNAMED),
        ('{"error":{"detail":{"required":[{"a":1}, null]}}}', "{'a': 1}, None"),
    ],
)
def test_bitbucket_cloud_lists_them(text: str, scopes: str) -> None:
    """And no other shape of its answer is a failure of ours."""
    words = "Your credentials lack one or more required privilege scopes."
    full = text.replace("x", words) if "x" in text else f"{text[:-1]}, {chr(34)}message{chr(34)}: {chr(34)}{words}{chr(34)}}}"

    found = lack("bitbucket-cloud", f"{SITE}/2.0/user", answer(403, full))

    assert found is not None
    assert found[1].endswith(f"; it probably wants: {scopes}")


@pytest.mark.parametrize(
    ("text", "challenge", "scopes"),
    [
        ('{"error":"insufficient_scope","scope":"api"}', "", "api"),
        ('{"error":"insufficient_scope","scope":7}', "", UNNAMED),
        ('{"error":"insufficient_scope"}', 'Bearer realm="x", error="insufficient_scope", scope="read write"', "read write"),
        ('{"error":"insufficient_scope"}', "Bearer", UNNAMED),
    ],
)
def test_the_scope_of_rfc_6750(text: str, challenge: str, scopes: str) -> None:
    """In the JSON or in the challenge; the twin: the word under another status."""
    found = lack("gitlab", f"{SITE}/api/v4/user", answer(403, text, WWW_Authenticate=challenge))

    assert found is not None
    assert found[1].endswith(f"; it probably wants: {scopes}")
    assert lack("gitlab", f"{SITE}/api/v4/user", answer(401, text, WWW_Authenticate=challenge)) is None


def test_a_long_word_of_the_provider_is_cut() -> None:
    """It stands in a line for people."""
    found = lack("gitlab", f"{SITE}/x", answer(403, f'{{"error":"insufficient_scope","scope":"{"s" * 5_000}"}}'))

    assert found is not None
    assert len(found[1]) < 500


def test_single_sign_on_of_github() -> None:
    """Its header has the page; the twins: an address that is not https, and an answer without the header."""
    page = "https://github.com/orgs/acme/sso?authorization_request=x"

    for value, hint in (
        (f"required; url={page}", f"open {page}"),
        ("required; url=http://github.com/x", "authorize the token for the organization on GitHub's page"),
    ):
        found = lack("github", f"{SITE}/user", answer(403, "{}", x_github_sso=value))
        assert found == ("sso_required", "link app: the organization requires single sign-on for this token", hint)
    assert lack("github", f"{SITE}/user", answer(403, "{}")) is None
