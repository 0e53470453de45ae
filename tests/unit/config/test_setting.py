"""One row for each setting: parser, schema, options and documentation are made of the rows, so a new setting is one row."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from atl_sign.api.schemas import make_link_answer, make_link_fields
from atl_sign.base.errors import BadFieldsError
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_command import format_link_command
from atl_sign.config.link_fields import link_from_fields, link_settings, link_to_fields
from atl_sign.config.links import Link
from atl_sign.config.setting import Choice, Number, Setting, Switch, Text, setting, settings_of
from atl_sign.config.settings import parse_settings
from atl_sign.schemes.oauth1.settings import SETTINGS
from atl_sign.schemes.registry import LINK_SETTINGS
from tests.tools.write_docs import with_settings

REALM = Setting(
    "realm",
    Choice(("in", "out"), "is neither in nor out"),
    option="--realm in|out",
    help="the side of the door",
    asked="in or out",
    answered="null: unknown",
    example="in",
    docs="`in` or `out`",
)
ONE = {"oauth1": SETTINGS}
WIDER = {"oauth1": (*SETTINGS, REALM)}
FIELDS = {"url": "https://h", "consumer_key": "ann", "realm": "in"}


def test_one_more_row_is_read_and_written(tmp_path: Path) -> None:
    """In the file, there and back; without its row it is refused by name."""
    file = ConfigFile(tmp_path / "config.toml", WIDER)

    file.put_link(link_from_fields("a", FIELDS, WIDER))

    assert file.path.read_text() == '[links.a]\nurl = "https://h"\nconsumer_key = "ann"\nrealm = "in"\n'
    settings = file.settings()
    assert settings.problems == ()
    assert settings.links.get("a").own.get("realm") == "in"
    assert link_to_fields(settings.links.get("a"))["realm"] == "in"
    with pytest.raises(BadFieldsError, match=r"^no such setting: realm$"):
        link_from_fields("a", FIELDS, ONE)


def test_one_more_row_is_refused_by_its_kind() -> None:
    """With the row's own words, and the link's name in the file."""
    with pytest.raises(BadFieldsError, match=r"^realm is neither in nor out$"):
        link_from_fields("a", FIELDS | {"realm": "between"}, WIDER)
    problem = parse_settings('[links.a]\nurl = "https://h"\nconsumer_key = "ann"\nrealm = 5\n', WIDER).problems[0]
    assert str(problem) == "config.toml line 1, links.a: realm is neither in nor out"


def test_one_more_row_is_in_the_schema() -> None:
    """Of the request and of the answer, each with its own words."""
    rows = link_settings(WIDER).values()

    asked, answered = make_link_fields(rows), make_link_answer(rows)

    assert asked.model_json_schema()["properties"]["realm"]["description"] == "in or out"
    assert asked.model_json_schema()["properties"]["realm"]["examples"] == ["in"]
    assert asked.model_validate(FIELDS).model_dump()["realm"] == "in"
    assert answered.model_json_schema()["properties"]["realm"]["description"] == "null: unknown"
    assert "realm" in answered.model_json_schema()["required"]
    with pytest.raises(ValidationError):
        make_link_fields(LINK_SETTINGS.values()).model_validate(FIELDS)


def test_one_more_row_is_an_option() -> None:
    """Of the command that a hint names; a default is not named."""
    link = link_from_fields("a", FIELDS, WIDER)

    assert format_link_command(link) == "atl-sign link add a https://h --realm in --replace"
    assert format_link_command(link, realm="out") == "atl-sign link add a https://h --realm out --replace"
    assert format_link_command(link, realm=None) == "atl-sign link add a https://h --replace"


def test_one_more_row_is_in_the_documentation() -> None:
    """The table is made of the rows, in their order, and ends where it ended."""
    page = "before\n\n| setting | option | needed | what it is |\n| old | table |\n\nafter\n"

    made = with_settings(page, link_settings(WIDER).values())

    assert made.startswith(
        "before\n\n| setting | option | needed | what it is |\n| --- | --- | --- | --- |\n| `url` | `URL` | yes |"
    )
    assert "\n| `realm` | `--realm` | no | `in` or `out` |\n| `ca_bundle` | " in made
    assert made.endswith(" |\n\nafter\n")
    assert "old" not in made


def test_every_field_of_a_link_is_a_setting() -> None:
    """But for its name, and for what its scheme gives it."""
    assert {each.name for each in fields(Link)} - settings_of(Link).keys() == {"name", "own"}
    assert settings_of(Link).keys() <= {each.name for each in fields(Link)}


def test_options_have_their_words() -> None:
    """Help, completion and man page are made of them."""
    options = {row.flag: row.metavar for row in link_settings(ONE).values() if row.flag}

    assert options == {
        "--consumer-key": "KEY",
        "--signing-url": "URL",
        "--ca-bundle": "FILE",
        "--client-cert": "FILE",
        "--proxy": "URL",
        "--timeout": "SECONDS",
        "--git": "read|write",
        "--git-days": "DAYS",
    }
    assert all(row.help for row in LINK_SETTINGS.values() if row.flag)
    assert all(row.asked and row.docs for row in LINK_SETTINGS.values())


def test_a_field_that_is_a_setting_has_its_name_and_its_default() -> None:
    """The twin: a field without a row is not a setting."""

    @dataclass
    class Example:
        plain: int
        needed: str = setting(Text(), is_needed=True)
        below: bool = setting(Switch(), name="table.other", default=False)

    assert list(settings_of(Example)) == ["needed", "below"]
    assert (settings_of(Example)["needed"].name, settings_of(Example)["needed"].is_needed) == ("needed", True)
    assert (settings_of(Example)["below"].name, settings_of(Example)["below"].default) == ("table.other", False)
    assert Example(1, "x").below is False
    with pytest.raises(TypeError):
        Example(1)


@pytest.mark.parametrize("value", [True, "5", None, [], float("nan"), float("inf"), 0.5, 11])
def test_a_number_is_a_number_within_its_bounds(value: object) -> None:
    """True is a number only for Python."""
    kind = Number(1, 10, "is not a number from 1 to 10")

    with pytest.raises(BadFieldsError, match=r"^x is not a number from 1 to 10$"):
        kind.read("x", value)
    assert [kind.read("x", each) for each in (1, 10, 2.5)] == [1.0, 10.0, 2.5]
    assert all(type(kind.read("x", each)) is float for each in (1, 10, 2.5))


def test_a_whole_number_has_no_fraction() -> None:
    """Not even .0, which is another kind in TOML."""
    kind = Number(1, 10, "is not a whole number from 1 to 10", int)

    assert type(kind.read("x", 10)) is int
    with pytest.raises(BadFieldsError):
        kind.read("x", 10.0)
