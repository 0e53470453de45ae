"""The output, errors and log of `atl-signd`. Control sequences from elsewhere do not reach the terminal."""

import logging
import sys
from typing import Any, TextIO

from atl_sign.base.text import format_error, printable, to_text


def say(*lines: str, out: TextIO | None = None, colour: str | None = None, flush: bool = False) -> None:
    """
    Print *lines*, each cleaned as by `printable`.

    Args:
        lines: without newlines.
        out: where to; standard output.
        colour: the numbers of a terminal's escape sequence for the first word of each line; None for none.
        flush: do not keep them in a buffer.
    """
    text = to_text(lines)
    if colour is not None:
        text = "".join(_paint(line, colour) for line in text.splitlines(keepends=True))
    print(text, end="", file=sys.stdout if out is None else out, flush=flush)


def say_text(text: str) -> None:
    """Print *text*, which ends with a newline or not: each line cleaned as by `printable`, but for its tabs; raises OSError."""
    for line in text.rstrip("\n").split("\n"):
        sys.stdout.write("\t".join(printable(part) for part in line.split("\t")) + "\n")
    sys.stdout.flush()


def prompt(question: str) -> None:
    """Print *question*, cleaned as by `printable`, and stay on its line."""
    sys.stdout.write(printable(question))
    sys.stdout.flush()


def complain(program: str, message: object, hint: str | None = None) -> None:
    """Print why *program* failed, and the hint on a line of its own, on standard error."""
    say(*format_error(f"{program}: {message}", hint), out=sys.stderr)


class LogFormatter(logging.Formatter):
    """Log entries for a file or the journal, which people look at on a terminal too."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* in lines: of one entry only a traceback has several."""
        trace, record.exc_info, record.exc_text = record.exc_info, None, None
        entry: Any = [super().format(record)]
        if trace:
            entry += self.formatException(trace).split("\n")
        record.exc_info = trace
        return to_text(entry).rstrip("\n")


def _paint(line: str, colour: str) -> str:
    word, blank, rest = line.partition(" ")
    return f"\033[{colour}m{word}\033[0m{blank}{rest}"
