"""
Command lines for curl, recorded, with the files that they name.

SERVER and ELSEWHERE stand for the two origins until a line is run, so that a line is the same in every run.
"""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

RECORDED = Path(__file__).resolve().parents[2] / "vectors/curl_lines.json"
FILES: dict[str, bytes] = {
    "form.txt": b"f=1&g=x+y&f=0",
    "crlf.txt": b"line=1\r\nline&two=2\n",
    "nul.bin": b"a=\0b\r\n\0c",
    "bytes.bin": bytes(range(256)),
    "empty": b"",
    "json.json": b'{"a": [1, "\xc3\xa4"]}\r\n',
    "with space.txt": b"s=p",
    "h#sh?.txt": b"h=1",
    "\u00e4.txt": b"u=\xc3\xa4",
    "latin.txt": b"a=\xe4",
    "a=b.txt": b"e=q",
    "a;b,c.txt": b"semicolon=1",
    "headers.txt": b"X-From: file\r\nX-Two: 2\n",
    "type.txt": b"content-type: application/json\n",
    "form-type.txt": b"X-A: 1\nCONTENT-TYPE: application/x-www-form-urlencoded\n",
    "-": b"not standard input",
}
INPUT_FOLDER = "up"
OUTPUT_FOLDER = "out"


@dataclass(frozen=True)
class Line:
    """One command line, with what lies around it."""

    arguments: tuple[str, ...]
    stdin: bytes | None = None  # None: closed from the start, as from /dev/null
    config: str | None = None  # the content of the file "config"
    curlrc: str | None = None  # the content of ~/.curlrc
    options: frozenset[str] = field(default=frozenset(), compare=False)  # the names of those that are compared otherwise

    def describe(self) -> str:
        """Return it as a shell's command line with its surroundings."""
        lines = ["curl " + shlex.join(self.arguments)]
        for name, content in (("standard input", self.stdin), ("config", self.config), (".curlrc", self.curlrc)):
            if content is not None:
                lines.append(f"{name}: {content!r}")
        return "\n".join(lines)


def read_lines() -> list[tuple[Line, str]]:
    """Return the recorded lines, each with what comes of it: "signed" or "refused"."""
    found = []
    for each in json.loads(RECORDED.read_text())["lines"]:
        stdin = each["stdin"].encode("latin-1") if "stdin" in each else None
        line = Line(tuple(each["arguments"]), stdin, each.get("config"), each.get("curlrc"), frozenset(each["options"]))
        found.append((line, each["is"]))
    return found
