"""The scopes that are asked for, and those that a call of Atlassian Cloud wants (facts oauth2.md sections 2 to 4, 8 and 9)."""

import pytest

from atl_sign.providers.products import PRODUCTS
from atl_sign.schemes.oauth2.scopes import scopes_to_ask, wanted_scopes
from tests.oauth2_links import make_link

CLOUD = ["read:jira-work", "read:jira-user", "write:jira-work", "read:me", "offline_access"]


@pytest.mark.parametrize(
    ("flavour", "url", "product", "expected"),
    [
        ("datacenter", "https://jira.example.com", "jira", ["WRITE"]),
        ("datacenter", "https://wiki.example.com", "confluence", ["WRITE"]),
        ("datacenter", "https://git.example.com", "bitbucket", ["REPO_WRITE"]),
        ("datacenter", "https://ci.example.com", "bamboo", ["USER"]),
        ("datacenter", "https://x.example.com", None, ["WRITE"]),
        ("atlassian-cloud", "https://example.atlassian.net", None, CLOUD),
        ("bitbucket-cloud", "https://bitbucket.org", None, ["account", "repository:write", "pullrequest:write"]),
        ("github", "https://github.com", None, ["repo", "read:user"]),
        ("gitlab", "https://gitlab.com", None, ["api"]),
        ("generic", "https://app.example.com", None, []),
    ],
)
def test_each_flavour_asks_for_what_its_calls_need(flavour: str, url: str, product: str | None, expected: list[str]) -> None:
    link = make_link(flavour, url=url)

    assert scopes_to_ask(link, (link,), None if product is None else PRODUCTS[product]) == expected


def test_confluence_asks_for_its_own() -> None:
    """And for a refresh token; Jira's are not among them."""
    link = make_link("atlassian-cloud", url="https://example.atlassian.net/wiki")

    asked = scopes_to_ask(link, (link,), None)

    assert asked[-2:] == ["read:me", "offline_access"]
    assert all("confluence" in scope for scope in asked[:-2])


def test_named_scopes_take_the_place_of_the_usual_ones() -> None:
    """But a refresh token is always asked for at Atlassian Cloud, and nothing twice (sooperset/mcp-atlassian#400)."""
    link = make_link("atlassian-cloud", url="https://example.atlassian.net", scopes="read:page:confluence offline_access")
    assert scopes_to_ask(link, (link,), None) == ["read:page:confluence", "offline_access", "read:me"]

    link = make_link("datacenter", scopes="READ")
    assert scopes_to_ask(link, (link,), PRODUCTS["bitbucket"]) == ["READ"]


def test_links_that_share_a_grant_ask_for_the_scopes_of_all() -> None:
    """A consent for fewer would take the others' away (facts oauth2.md section 3, Races)."""
    jira = make_link("atlassian-cloud", url="https://example.atlassian.net")
    wiki = make_link("atlassian-cloud", "wiki", url="https://example.atlassian.net/wiki")

    one, other = scopes_to_ask(jira, (jira, wiki), None), scopes_to_ask(wiki, (wiki, jira), None)

    assert set(one) == set(other)
    assert set(one) > set(scopes_to_ask(jira, (jira,), None))
    assert len(one) == len(set(one))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/rest/api/3/issue/A-1", "read:jira-work"),
        ("POST", "/rest/api/3/issue", "write:jira-work"),
        ("GET", "/rest/api/3/myself", "read:jira-user"),
        ("GET", "/rest/agile/1.0/board", "read:board-scope:jira-software, read:project:jira, read:issue-details:jira"),
        ("GET", "/rest/agile/1.0/sprint/1", "read:sprint:jira-software, read:project:jira, read:issue-details:jira"),
        ("GET", "/rest/servicedeskapi/request", "read:servicedesk-request"),
        ("GET", "/wiki/api/v2/pages", "read:page:confluence"),
        ("HEAD", "/wiki/api/v2/pages/5", "read:page:confluence"),
        ("PUT", "/wiki/api/v2/pages/5", "write:page:confluence"),
        ("GET", "/wiki/api/v2/blogposts", "read:blogpost:confluence"),
        ("GET", "/wiki/rest/api/user/current", "read:confluence-user"),
        ("GET", "/wiki/rest/api/content/search", "search:confluence"),
        ("GET", "/wiki/rest/api/content/5", "read:confluence-content.all"),
        ("GET", "/browse/A-1", None),
        ("GET", "/", None),
        ("GET", "", None),
    ],
)
def test_a_call_wants_the_scopes_of_the_documentation(method: str, path: str, expected: str | None) -> None:
    """Facts oauth2.md section 3, Scopes: v2 wants granular ones, and Jira Software more than read:jira-work."""
    assert wanted_scopes(method, path) == expected


@pytest.mark.parametrize("path", ["/wiki/api/v2/" + "s" * 50_000, "/rest/api/" + "/" * 50_000, "/wiki/api/v2/" + "as" * 25_000])
def test_a_long_path_takes_no_time(path: str) -> None:
    """The patterns try each place once."""
    wanted_scopes("GET", path)
