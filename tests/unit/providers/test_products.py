"""The four products' differences, and their answers to who-am-I (facts section 7)."""

import pytest

from atl_sign.providers.products import PRODUCTS, find_product


@pytest.mark.parametrize(
    ("type_id", "name"),
    [("jira", "jira"), ("bamboo", "bamboo"), ("confluence", "confluence"), ("bitbucket", "bitbucket"), ("stash", "bitbucket")],
)
def test_a_manifests_type_names_its_product(type_id: str | None, name: str) -> None:
    """Bitbucket was called Stash once."""
    product = find_product(type_id)

    assert product is PRODUCTS[name]


@pytest.mark.parametrize("type_id", ["crowd", "", "JIRA", None])
def test_another_type_is_no_product(type_id: str | None) -> None:
    """Nothing is taken for a product that we do not know."""
    assert find_product(type_id) is None


@pytest.mark.parametrize(
    ("product", "answer"),
    [
        ("jira", '{"name": "alice", "key": "JIRAUSER1"}'),
        ("bamboo", '{"name": "alice", "fullName": "Alice"}'),
        ("confluence", '{"type": "known", "username": "alice"}'),
    ],
)
def test_each_product_names_its_user(product: str, answer: str) -> None:
    """The answers of facts section 7."""
    assert PRODUCTS[product].parse_user(answer) == "alice"


@pytest.mark.parametrize(
    "answer",
    ["", "null", "[]", "{}", "not json", '{"name": 5}', '{"name": ""}', '{"name": null}', "[" * 100_000, "9" * 5000],
)
@pytest.mark.parametrize("product", ["jira", "bamboo", "confluence"])
def test_another_shape_names_nobody(product: str, answer: str) -> None:
    """Whatever else comes is no user, and no crash: nested too deeply, a number too long."""
    assert PRODUCTS[product].parse_user(answer) is None


def test_an_anonymous_confluence_user_is_nobody() -> None:
    """Confluence can answer 200 to a request that it took as anonymous."""
    assert PRODUCTS["confluence"].parse_user('{"type": "anonymous", "username": "anonymous"}') is None
    assert PRODUCTS["confluence"].parse_user('{"type": "known"}') is None
