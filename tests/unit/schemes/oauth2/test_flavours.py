"""Each row, held against what the provider documents (facts oauth2.md), and against what the other modules take."""

import re

import pytest

from atl_sign.base.urls import parse_url
from atl_sign.config.link_fields import link_from_fields
from atl_sign.schemes.oauth2.flavours import FLAVOURS, Flavour, find_flavour
from atl_sign.schemes.oauth2.server import address as address_of
from atl_sign.schemes.registry import SCHEME_SETTINGS

BASE = parse_url("https://h.example:8443/context")
ADDRESSES = ("authorize", "token", "device", "revoke", "deletes", "who", "grants_page", "makes_apps")


def address(flavour: str, name: str, base: str = "https://h.example/context", **settings: object) -> str:
    fields = {"url": base, "scheme": "oauth2", "flavour": flavour, **settings}
    template: str = getattr(FLAVOURS[flavour], name)
    return address_of(link_from_fields("x", fields, SCHEME_SETTINGS), template)


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=FLAVOURS)
@pytest.mark.parametrize("name", ADDRESSES)
def test_every_address_is_https_and_whole(flavour: Flavour, name: str) -> None:
    template = getattr(flavour, name)
    if template is None:
        return
    made = address(flavour.name, name, str(BASE))

    assert parse_url(made).scheme == "https"
    assert "{" not in made
    assert "//" not in made.removeprefix("https://")


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=FLAVOURS)
def test_scopes_can_be_asked_for(flavour: Flavour) -> None:
    """RFC 6749 §3.3: no blank, quote or backslash in one; and each only once."""
    asked = flavour.scopes + flavour.added_scopes

    assert asked
    assert len(set(asked)) == len(asked)
    assert all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) for scope in asked)


def test_the_addresses_are_those_of_the_documentation() -> None:
    """By section of the facts: 2, 3, 4, 8.1, 8.3, 9; of a product below a context path, and of one without."""
    base = "https://h.example/context/rest/oauth2/latest"
    assert address("datacenter", "authorize") == f"{base}/authorize"
    assert address("datacenter", "token", "https://h.example") == "https://h.example/rest/oauth2/latest/token"
    assert address("atlassian-cloud", "token") == "https://auth.atlassian.com/oauth/token"
    assert address("bitbucket-cloud", "token", "https://bitbucket.org") == "https://bitbucket.org/site/oauth2/access_token"
    assert address("github", "device", "https://github.com/team") == "https://github.com/login/device/code"
    assert address("github-enterprise", "who", "https://git.corp.example/team/repo") == "https://git.corp.example/api/v3/user"
    assert address("github", "who", "https://github.com/team") == "https://api.github.com/user"
    assert address("github", "who", "https://acme.ghe.com") == "https://api.acme.ghe.com/user"
    assert address("bitbucket-cloud", "who", "https://bitbucket.org") == "https://api.bitbucket.org/2.0/user"
    assert address("atlassian-cloud", "who") == "https://api.atlassian.com/me"
    assert address("gitlab", "device") == "https://h.example/context/oauth/authorize_device"


def test_what_differs_between_them_is_in_the_rows() -> None:
    """The table of section 1, row by row."""
    rows = list(FLAVOURS.values())

    assert {each.name for each in rows if each.redirects == "any_port"} == {"github", "github-enterprise", "gitlab"}
    assert {each.name for each in rows if each.redirect_host == "127.0.0.1"} == {"github", "gitlab"}
    assert {each.name for each in rows if not each.needs_secret} == {"gitlab"}
    assert {each.name for each in rows if each.device is not None} == {"github", "github-enterprise", "gitlab"}
    assert {each.name: each.leeway_s for each in rows if each.leeway_s} == {"atlassian-cloud": 600, "bitbucket-cloud": 600}
    assert {each.name: each.git_user for each in rows if each.git_user} == {
        "bitbucket-cloud": "x-token-auth",
        "github": "x-access-token",
        "github-enterprise": "x-access-token",
        "gitlab": "oauth2",
    }
    assert FLAVOURS["atlassian-cloud"].added_scopes == ("read:me", "offline_access")
    assert {each.name for each in rows if not each.old_dies_at_once} == {"atlassian-cloud", "bitbucket-cloud"}
    assert {each.name for each in rows if each.shares_grant} == {"atlassian-cloud"}
    assert {each.name for each in rows if each.translates} == {"atlassian-cloud", "bitbucket-cloud"}
    assert {each.name for each in rows if each.revoke is None and each.deletes is None} == {"bitbucket-cloud"}
    assert dict(FLAVOURS["atlassian-cloud"].extra) == {"audience": "api.atlassian.com", "prompt": "consent"}
    assert FLAVOURS["datacenter"].late_code_words == {"invalid_request"}
    assert FLAVOURS["gitlab"].repeats_redirect
    assert FLAVOURS["bitbucket-cloud"].client_auth == "basic"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acme.atlassian.net", "atlassian-cloud"),
        ("https://ACME.atlassian.net./wiki", "atlassian-cloud"),
        ("https://acme.jira.com", "atlassian-cloud"),
        ("https://bitbucket.org/team", "bitbucket-cloud"),
        ("https://api.bitbucket.org/2.0", "bitbucket-cloud"),
        ("https://github.com", "github"),
        ("https://gitlab.com/group", "gitlab"),
        ("https://atlassian.net", None),
        ("https://notbitbucket.org", None),
        ("https://bitbucket.org.evil.example", None),
        ("https://evil-atlassian.net", None),
        ("https://jira.example.com/jira", None),
        ("https://127.0.0.1:8700/jira", None),
    ],
)
def test_an_address_tells_the_flavour(url: str, expected: str | None) -> None:
    """The twins are those that only look so: nobody's own server gets the secret of an app at a large provider."""
    found = find_flavour(parse_url(url))

    assert (None if found is None else found.name) == expected


def test_a_link_can_name_another_server_and_another_second_host() -> None:
    """As it must to be tried against anything but the provider itself."""
    cloud = {"base": "https://acme.atlassian.net/wiki", "issuer": "http://127.0.0.1:8/", "gateway": "http://127.0.0.1:9"}

    assert address("atlassian-cloud", "token", **cloud) == "http://127.0.0.1:8/oauth/token"
    assert address("atlassian-cloud", "who", **cloud) == "http://127.0.0.1:9/me"
