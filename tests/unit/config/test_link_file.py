"""Files of links: what they say, what is refused by line, and that what was written is read as the same."""

import tomllib

import pytest

from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.link_file import read_link_file, write_link_file
from atl_sign.config.links import Link
from atl_sign.config.settings import parse_settings
from atl_sign.schemes.registry import SCHEME_SETTINGS

NAMES = {"user": "ann", "host": "desk"}
OTHERS = {"user": "ben", "host": "build-7"}


def make(name: str, **fields: object) -> Link:
    return link_from_fields(name, {"url": "https://h", "consumer_key": "shared", **fields}, SCHEME_SETTINGS)


LINKS = [
    make("jira", timeout_s=60, proxy="http://p:3128", default=True),
    make("old.one", signing_url="http://inside:8080/x"),
    link_from_fields("wiki", {"scheme": "basic", "url": "https://w", "user": 'ann "a" \\ b'}, SCHEME_SETTINGS),
    link_from_fields("app", {"scheme": "oauth2", "url": "https://g", "flavour": "gitlab", "client_id": "id"}, SCHEME_SETTINGS),
]


def test_what_is_written_is_read_as_the_same() -> None:
    """By the import, and as the administrator's file."""
    text, left = write_link_file(LINKS, NAMES)

    assert left == ()
    assert read_link_file(text, SCHEME_SETTINGS, OTHERS).links == tuple(LINKS)
    assert read_link_file(text, SCHEME_SETTINGS, OTHERS).problems == ()
    assert parse_settings(text, SCHEME_SETTINGS, OTHERS).links.links == tuple(LINKS)


def test_a_key_of_this_user_and_machine_is_one_of_each() -> None:
    """The one that the daemon made; keys that a person chose stay."""
    text, _ = write_link_file([make("a", consumer_key="atl-sign-ann-desk"), make("b", consumer_key="ann-desk")], NAMES)

    assert tomllib.loads(text)["links"]["a"]["consumer_key"] == "atl-sign-{user}-{host}"
    assert [link.consumer_key for link in read_link_file(text, SCHEME_SETTINGS, OTHERS).links] == [
        "atl-sign-ben-build-7",
        "ann-desk",
    ]


def test_a_key_with_braces_cannot_be_in_such_a_file() -> None:
    """It would be taken for a placeholder elsewhere."""
    assert write_link_file([make("a", consumer_key="k-{user}"), make("b", consumer_key="}")], NAMES) == ("", ("a", "b"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[links.a\n", [(1, "file")]),
        ("", [(None, "file")]),
        ("[links]\n", [(None, "file")]),
        ("links = 5\n", [(1, "links")]),
        ('[links.a]\nurl = "https://h"\n\n[store]\nbackend = "memory"\n', [(1, "links.a"), (4, "store")]),
        ('audit = "off"\n[links.a]\nurl = "https://h"\nconsumer_key = "k"\n', [(1, "audit")]),
        ('[links.a]\nurl = "https://h"\nconsumer_key = "k-{x}"\n[links.b]\nurl = "ftp://h"\n', [(1, "links.a"), (4, "links.b")]),
        ('[links."a b"]\nurl = "https://h"\nconsumer_key = "k"\n', [(1, "links.a b")]),
        ("[links.a]\nurl = " + "[" * 5000, [(None, "file")]),
    ],
)
def test_each_problem_is_named_with_its_line(text: str, expected: list[tuple[int | None, str]]) -> None:
    """All of them, in one reading."""
    found = read_link_file(text, SCHEME_SETTINGS, NAMES)

    assert [(each.line, each.part) for each in found.problems] == expected


def test_other_editors_files_are_read() -> None:
    """Windows' line ends and the mark before UTF-8."""
    text = '\ufeff[links.a]\r\nurl = "https://h"\r\nconsumer_key = "k"\r\n'

    assert [link.name for link in read_link_file(text, SCHEME_SETTINGS, NAMES).links] == ["a"]
