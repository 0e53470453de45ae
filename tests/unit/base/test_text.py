"""Answers as a shell prints them."""

import json
import unicodedata

import pytest

from atl_sign.base.text import format_error, format_lines, format_table, one_line, printable, to_text


def test_a_field_is_a_line_and_null_is_left_out() -> None:
    """`name: value`, in the order of the fields."""
    assert format_lines({"link": "jira", "user": None, "bits": 2048}) == ["link: jira", "bits: 2048"]


def test_a_list_repeats_its_name_in_the_singular() -> None:
    """Each item is a line of its own; an empty list is none."""
    assert format_lines({"warnings": ["one", "two"], "links": []}) == ["warning: one", "warning: two"]


def test_an_objects_state_goes_by_the_objects_name() -> None:
    """A link's token: its state under `token`, the rest under their own names."""
    fields = {"name": "jira", "token": {"state": "active", "user": "alice", "expires_at": None}}

    assert format_lines(fields) == ["name: jira", "token: active", "user: alice"]


def test_nothing_is_an_empty_text() -> None:
    """No fields, no rows: no line."""
    assert format_lines({}) == []
    assert format_table([]) == []


def test_whole_floats_lose_their_point_and_others_keep_it() -> None:
    """Seconds read as people write them."""
    assert format_lines({"timeout_s": 30.0, "clock_offset_s": -0.25}) == ["timeout_s: 30", "clock_offset_s: -0.25"]


def test_a_table_has_columns_without_blanks_at_the_end() -> None:
    """Two blanks between the widest cells."""
    rows = [("jira", "https://j", "none"), ("bb", "https://bitbucket", "active"), ("x", "", "")]

    assert format_table(rows) == ["jira  https://j          none", "bb    https://bitbucket  active", "x"]


def test_rows_of_different_lengths_are_a_mistake() -> None:
    """Every row has every column."""
    with pytest.raises(ValueError, match="zip"):
        format_table([("a", "b"), ("c",)])


def test_an_error_has_its_hint_on_a_line_of_its_own() -> None:
    """The hint line only when there is a hint."""
    assert format_error("no such link", "atl-sign link list") == ["no such link", "hint: atl-sign link list"]
    assert format_error("no such link", None) == ["no such link"]


@pytest.mark.parametrize("bad", ["a\nb", "a\x1b[2Jb", "a\rb", "a\x00b", "a\u202eb", "a\u2028b", "a\x7fb"])
def test_control_characters_never_reach_a_terminal(bad: str) -> None:
    """A provider chooses some of these words: a line stays one line, and no cursor moves."""
    texts = [one_line(bad), to_text([bad]), to_text(format_lines({"user": bad})), to_text(format_error(bad, bad))]
    for shown in (*texts, *format_table([(bad, bad)])):
        assert all(char.isprintable() or char == "\n" for char in shown)
    assert to_text([bad]).count("\n") == 1
    assert one_line(bad).startswith("a\\")
    assert one_line("ä b") == "ä b"


def test_no_character_that_a_terminal_obeys_or_hides_is_printable() -> None:
    """All that Unicode calls a control, a format, a surrogate or a separator; letters of all scripts stay as they are."""
    every = "".join(map(chr, range(0x110000)))
    kinds = {char: unicodedata.category(char) for char in printable(every)}

    assert {kind for kind in kinds.values() if kind in ("Cc", "Cf", "Cs", "Zl", "Zp")} == set()
    assert printable("Ünïcödé 日本語 עברית 🎉") == "Ünïcödé 日本語 עברית 🎉"


@pytest.mark.parametrize("text", ["\x9b31m", "\x7f", "\u202eevil", "\u2028", "\U000e0041", "\udc80", "plain"])
def test_json_stays_json_of_the_same_meaning(text: str) -> None:
    """pydantic leaves in strings what JSON need not escape; a terminal obeys some of it."""
    written = json.dumps({"user": text}, ensure_ascii=False)

    assert printable(written).isprintable()
    assert json.loads(printable(written)) == {"user": text}
