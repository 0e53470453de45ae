"""Answers as a shell prints them."""

import pytest

from atl_sign.text import format_error, format_lines, format_table, one_line


def test_a_field_is_a_line_and_null_is_left_out() -> None:
    """`name: value`, in the order of the fields."""
    assert format_lines({"link": "jira", "user": None, "bits": 2048}) == "link: jira\nbits: 2048"


def test_a_list_repeats_its_name_in_the_singular() -> None:
    """Each item is a line of its own; an empty list is none."""
    assert format_lines({"warnings": ["one", "two"], "links": []}) == "warning: one\nwarning: two"


def test_an_objects_state_goes_by_the_objects_name() -> None:
    """A link's token: its state under `token`, the rest under their own names."""
    fields = {"name": "jira", "token": {"state": "active", "user": "alice", "expires_at": None}}

    assert format_lines(fields) == "name: jira\ntoken: active\nuser: alice"


def test_nothing_is_an_empty_text() -> None:
    """No fields, no rows: no line."""
    assert format_lines({}) == ""
    assert format_table([]) == []


def test_whole_floats_lose_their_point_and_others_keep_it() -> None:
    """Seconds read as people write them."""
    assert format_lines({"timeout_s": 30.0, "clock_offset_s": -0.25}) == "timeout_s: 30\nclock_offset_s: -0.25"


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
    assert format_error("no such link", "atl-sign link list") == "no such link\nhint: atl-sign link list\n"
    assert format_error("no such link", None) == "no such link\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\x1b[2Jb", "a\rb", "a\x00b", "a\u202eb", "a\u2028b", "a\x7fb"])
def test_control_characters_never_reach_a_terminal(bad: str) -> None:
    """A provider chooses some of these words: a line stays one line, and no cursor moves."""
    for shown in (one_line(bad), format_lines({"user": bad}), format_error(bad, bad), *format_table([(bad, bad)])):
        assert all(char.isprintable() or char == "\n" for char in shown)
    assert one_line(bad).startswith("a?")
    assert one_line("ä b") == "ä b"
