"""Text for a terminal, without control sequences from elsewhere: a line a field, columns, and errors in two lines."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FOREIGN_MAX = 200  # characters of others' in a sentence of ours


def to_text(lines: Iterable[str]) -> str:
    """Return *lines* as text, each cleaned as by `printable` and ended by a newline: nothing in a line begins another one."""
    return "".join(f"{printable(line)}\n" for line in lines)


def printable(text: str) -> str:
    """
    Return *text* with each character that cannot be printed as its visible escape, as in JSON: U+001B becomes `\\u001b`.

    These are the controls C0 and C1, DEL, line and paragraph separators, what turns the direction of writing or is invisible, and
    halves of surrogate pairs. In a JSON text they stand only within strings, so that it stays JSON of the same meaning.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def shorten(text: str) -> str:
    """Return the beginning of *text*, which a provider chose, as `printable` has it."""
    return printable(text[:_FOREIGN_MAX])


def one_line(value: object) -> str:
    """Return a field's *value* as one line: `true` for True, 30 for 30.0, and a text as `printable` has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return printable(str(value))


def format_lines(fields: Mapping[str, Any]) -> list[str]:
    """Return a `name: value` line a field: null is left out, a list repeats its name in the singular."""
    lines = []
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, list):
            singular = f"{name.removesuffix('ies')}y" if name.endswith("ies") else name.removesuffix("s")
            lines += [f"{singular}: {one_line(item)}" for item in value]
        elif isinstance(value, dict):
            # An object's state goes by the object's name: "token: active".
            lines += [f"{name if key == 'state' else key}: {one_line(item)}" for key, item in value.items() if item is not None]
        else:
            lines.append(f"{name}: {one_line(value)}")
    return lines


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return *rows* as lines in columns, two blanks between them."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def format_error(message: str, hint: str | None) -> list[str]:
    """Return the message, and the hint on a line of its own when there is one."""
    return [message, f"hint: {hint}"] if hint else [message]
