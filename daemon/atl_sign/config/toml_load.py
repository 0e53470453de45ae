"""TOML with a bound on its depth: tomllib takes memory by the square of it, and what it returns can be too deep to compare."""

import re
import tomllib
from typing import Any

# Dots in a line, and brackets in brackets; ours have 2 of each. Both at once stay far from Python's limit of calls in calls.
DEPTH_MAX = 16

_WORD = re.compile(r"[.\[\]{}\n#]|\"{3}|'{3}|[\"']")
# How what a quote or # begins comes to its end; a backslash and what it escapes is no end.
_ENDS = {
    '"""': re.compile(r'\\.|"{3,5}', re.S),  # two quotes more may stand inside, right before the end
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\[^\n]|["\n]'),
    "'": re.compile(r"['\n]"),
    "#": re.compile(r"\n"),
}


class TooDeepError(ValueError):
    """The text is nested deeper than any configuration; `line` (from 1) says where."""

    def __init__(self, line: int) -> None:
        """Say that the text is too deep in *line*."""
        super().__init__("it is nested too deeply")
        self.line = line


def load_toml(text: str) -> dict[str, Any]:
    """
    Return what *text* means.

    Raises:
        TooDeepError: it is nested more than `DEPTH_MAX` deep.
        ValueError, RecursionError: it is no TOML (then `tomllib.TOMLDecodeError`), or holds a number of thousands of digits.
    """
    _check_depth(text)
    return tomllib.loads(text)


def _check_depth(text: str) -> None:
    """Raise TooDeepError; reads each character once."""
    dots = brackets = position = 0
    while (found := _WORD.search(text, position)) is not None:
        word, position = found[0], found.end()
        if word == "\n":
            dots = 0  # a key never goes on in the next line
        elif word == ".":
            dots += 1
        elif word in "[{":
            brackets += 1
        elif word in "]}":
            brackets = max(0, brackets - 1)
        else:
            position = _end_of(word, text, position)
        if max(dots, brackets) > DEPTH_MAX:
            raise TooDeepError(text.count("\n", 0, position) + 1)


def _end_of(beginning: str, text: str, position: int) -> int:
    """Return where the string or comment ends whose *beginning* stands before *position*; a line's end is no part of it."""
    for found in _ENDS[beginning].finditer(text, position):
        if not found[0].startswith("\\"):
            return found.start() if found[0] == "\n" else found.end()
    return len(text)
