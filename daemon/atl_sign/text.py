"""Answers as the text that a shell would print: a line a field, columns, and errors in two lines."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_lines(fields: Mapping[str, Any]) -> str:
    """Return a `name: value` line a field: null is left out, a list repeats its name in the singular."""
    lines = []
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, list):
            lines += [f"{name.removesuffix('s')}: {one_line(item)}" for item in value]
        elif isinstance(value, dict):
            # An object's state goes by the object's name: "token: active".
            lines += [f"{name if key == 'state' else key}: {one_line(item)}" for key, item in value.items() if item is not None]
        else:
            lines.append(f"{name}: {one_line(value)}")
    return "\n".join(lines)


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return *rows* as lines in columns, two blanks between them."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def format_error(message: str, hint: str | None) -> str:
    """Return the message, and the hint on a line of its own when there is one."""
    return f"{one_line(message)}\n" + (f"hint: {one_line(hint)}\n" if hint else "")


def one_line(value: object) -> str:
    """Return *value* as one line without control characters, whoever chose it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "".join(char if char.isprintable() else "?" for char in str(value))
