"""What a link's flavour says of its provider, before that was asked anything."""

import json

import pytest

from atl_sign.schemes.oauth2.described import describe
from atl_sign.schemes.oauth2.flavours import FLAVOURS
from tests.oauth2_links import make_link


@pytest.mark.parametrize("flavour", ["datacenter", "atlassian-cloud"])
def test_atlassians_products_say_themselves_what_they_are(flavour: str) -> None:
    """Which one it is decides the scopes, and what there is."""
    assert describe(make_link(flavour)) is None


def test_bitbucket_cloud_is_the_product_of_that_name() -> None:
    """With the second host as its API."""
    manifest = describe(make_link("bitbucket-cloud", url="https://bitbucket.org"))

    assert manifest is not None
    assert manifest.is_cloud
    assert manifest.api is not None
    assert manifest.api.origin == "https://api.bitbucket.org"
    assert manifest.product is not None


@pytest.mark.parametrize(
    ("flavour", "url", "who", "answer", "user"),
    [
        # Facts oauth2.md sections 8.1 and 9.
        ("github", "https://github.com", "https://api.github.com/user", {"login": "alice", "id": 1}, "alice"),
        ("github", "https://acme.ghe.com", "https://api.acme.ghe.com/user", {"login": "alice"}, "alice"),
        ("github-enterprise", "https://git.example.com", "https://git.example.com/api/v3/user", {"login": "alice"}, "alice"),
        (
            "gitlab",
            "https://h.example/gitlab",
            "https://h.example/gitlab/api/v4/user",
            {"username": "alice", "name": "A"},
            "alice",
        ),
        ("gitlab", "https://gitlab.com", "https://gitlab.com/api/v4/user", {"name": "Alice"}, None),
        ("github", "https://github.com", "https://api.github.com/user", {"login": 5}, None),
        ("github", "https://github.com", "https://api.github.com/user", [], None),
    ],
)
def test_a_forge_says_who_one_is(flavour: str, url: str, who: str, answer: object, user: str | None) -> None:
    manifest = describe(make_link(flavour, url=url))

    assert manifest is not None
    assert manifest.product is not None
    assert manifest.product.who_am_i == who
    assert manifest.product.parse_user(json.dumps(answer)) == user
    assert manifest.product.name == FLAVOURS[flavour].title


def test_another_server_says_it_where_the_link_says() -> None:
    """OpenID Connect's `sub` by default."""
    who = "https://login.example.com/userinfo"
    for field in (None, "preferred_username"):
        settings = {} if field is None else {"who_field": field}
        manifest = describe(make_link(who_url=who, **settings))
        assert manifest is not None
        assert manifest.product is not None
        assert manifest.product.who_am_i == who
        answer = {"sub": "248289761001", "preferred_username": "j.doe"}  # OpenID Connect Core 1.0 §5.3.2
        assert manifest.product.parse_user(json.dumps(answer)) == answer[field or "sub"]


def test_without_an_address_nobody_knows_who_one_is() -> None:
    manifest = describe(make_link())

    assert manifest is not None
    assert manifest.product is not None
    assert manifest.product.who_am_i == ""
