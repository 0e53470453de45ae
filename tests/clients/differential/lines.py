"""
Command lines for curl, drawn at random.

SERVER and ELSEWHERE stand for the two origins until a line is run, so that a line is the same in every run.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.clients.differential import vocabulary as words
from tests.clients.differential.vocabulary import INPUT_FOLDER, Option


@dataclass(frozen=True)
class Line:
    """One command line, with what lies around it."""

    arguments: tuple[str, ...]
    stdin: bytes | None = None  # None: closed from the start, as from /dev/null
    config: str | None = None  # the content of the file "config"
    curlrc: str | None = None  # the content of ~/.curlrc
    is_forbidden: bool = False  # signed, it must be refused
    options: frozenset[str] = field(default=frozenset(), compare=False)  # the names of what it is made of, for the count

    def describe(self) -> str:
        """Return it as a shell's command line with its surroundings."""
        lines = ["curl " + shlex.join(self.arguments)]
        for name, content in (("standard input", self.stdin), ("config", self.config), (".curlrc", self.curlrc)):
            if content is not None:
                lines.append(f"{name}: {content!r}")
        return "\n".join(lines)


LETTERS = {
    "config": "K", "cookie": "b", "data": "d", "dump-header": "D", "fail": "f", "form": "F", "get": "G", "globoff": "g",
    "head": "I", "header": "H", "http1.0": "0", "include": "i", "insecure": "k", "location": "L", "max-time": "m",
    "netrc": "n", "next": ":", "no-buffer": "N", "output": "o", "parallel": "Z", "progress-bar": "#", "range": "r",
    "referer": "e", "remote-header-name": "J", "remote-name": "O", "remote-time": "R", "request": "X", "show-error": "S",
    "silent": "s", "upload-file": "T", "user": "u", "user-agent": "A", "verbose": "v", "write-out": "w", "ipv4": "4",
}  # fmt: skip


def _happens(draw: st.DrawFn, percent: int) -> bool:
    """Tell whether something rare happens. Not the first or last of a range, which hypothesis likes more than others."""
    return 400 <= draw(st.integers(0, 999)) < 400 + 10 * percent


@st.composite
def _urls(draw: st.DrawFn, is_hard: bool, globs: bool, redirects: bool) -> str:
    origin = draw(words.ODD_ORIGIN if is_hard and _happens(draw, 12) else words.ORIGIN)
    path = "/jira"
    if redirects:
        status = draw(st.sampled_from(["301", "302", "303", "307", "308"]))
        if _happens(draw, 10):
            return f"{origin}/jira/loop/{status}/x"
        place = draw(st.sampled_from(["absolute", "absolute", "relative", "outside", "elsewhere"]))
        path += f"/redirect/{status}/{place}"
        # Relative ones, repeated, would double the URL until one of the two gives up on its length.
        if place != "relative" and _happens(draw, 20):
            path += "/redirect/302/absolute"
    if is_hard and _happens(draw, 5):
        path = draw(st.sampled_from(["", "/", "/jira-test", "/jira/..", "/jira/../jira", "/other/../jira", "/jirA"]))
    count = draw(st.integers(1 if redirects else 0, 3))
    for _ in range(count):
        hard = is_hard and _happens(draw, 25)
        segment = draw(words.HARD_SEGMENT if hard else words.SEGMENT)
        if globs and draw(st.booleans()):
            segment += draw(words.GLOB)
        path += "/" + segment
    if _happens(draw, 16):
        path += "/"
    query = draw(words.QUERY if is_hard else st.one_of(st.just(""), st.builds("?{}".format, words.TAME_FORM)))
    if globs and _happens(draw, 25):
        query += ("&" if query else "?") + "g=" + draw(words.GLOB)
    return str(origin + path + query + draw(words.FRAGMENT))


@st.composite
def _operations(draw: st.DrawFn, is_everyday: bool) -> list[Option]:
    """The options and URLs between two `--next`."""
    is_hard = _happens(draw, 30)
    options: list[Option] = []
    kinds = ["get", "get", "query", "form", "form", "form", "json", "head"]
    if not is_everyday:
        kinds += ["form type", "--json", "-F", "-F", "-T", "-T", "mixed", "url-query"]
    kind = draw(st.sampled_from(kinds))
    data = st.lists(words.DATA if is_hard else words.DATA.filter(_is_tame), min_size=1, max_size=3)
    if kind == "query":
        options += [Option("get"), *draw(data)]
        if _happens(draw, 20):
            options.append(Option("head"))
    elif kind == "form":
        options += draw(data)
    elif kind == "form type":
        options += [Option("header", draw(words.FORM_TYPE)), *draw(data)]
    elif kind == "json":
        options += [Option("header", draw(words.OPAQUE_TYPE)), *draw(st.lists(words.OPAQUE, min_size=1, max_size=2))]
    elif kind == "--json":
        options += draw(st.lists(words.JSON, min_size=1, max_size=2))
    elif kind == "-F":
        options += draw(words.MULTIPART)
    elif kind == "-T":
        options += [draw(words.UPLOAD) for _ in range(draw(st.sampled_from([1, 1, 1, 2])))]
    elif kind == "head":
        options.append(Option("head"))
    elif kind == "url-query":
        options += draw(st.lists(words.URL_QUERY, min_size=1, max_size=2))
    elif kind == "mixed":
        options += draw(
            st.lists(
                st.one_of(words.DATA, words.JSON, words.UPLOAD, words.MULTIPART.map(lambda parts: parts[0]), words.URL_QUERY),
                max_size=3,
            )
        )
        options += draw(st.lists(st.sampled_from([Option("get"), Option("head")]), max_size=2))
    if not is_everyday and kind in ("form", "form type", "json", "--json", "-F") and _happens(draw, 6):
        options.append(Option("header", draw(words.BODY_HEADER)))
    if _happens(draw, 30 if kind in ("get", "json", "--json", "mixed") else 8):
        options.append(Option("request", draw(words.METHOD)))
    options += draw(st.lists(words.EVERYDAY_EXTRA if is_everyday else words.EXTRA, max_size=3))
    if _happens(draw, 4):
        options.append(draw(words.FORBIDDEN))
    redirects = not is_everyday and _happens(draw, 10)
    if redirects:
        options.append(Option("location"))
        options += draw(
            st.lists(
                st.sampled_from([Option("post301"), Option("post302"), Option("post303"), Option("max-redirs", "2")]), max_size=2
            )
        )
    elif not is_everyday and _happens(draw, 12):  # with these, bodies have to be kept for another request
        options.append(draw(st.sampled_from([Option("location"), Option("retry", "1")])))
    globs = not is_everyday and _happens(draw, 16)
    count = 1 if is_everyday else draw(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 0] if is_hard else [1, 1, 1, 1, 1, 2]))
    for _ in range(count):
        url = draw(_urls(is_hard, globs, redirects))
        options.append(Option("url" if _happens(draw, 20) else "", url))
        if count > 1 and draw(st.booleans()):
            options.append(Option("output", f"out.{draw(st.integers(1, 3))}"))
    return list(draw(st.permutations(options)))


def _is_tame(option: Option) -> bool:
    """Tell whether the option's value is what people type: mostly to be signed."""
    value = option.value or ""
    name = value.partition("@")[2] if option.name == "data-urlencode" and "=" not in value else value.removeprefix("@")
    if name in ("nul.bin", "bytes.bin", "latin.txt", "missing", INPUT_FOLDER):
        return False
    if option.name == "data-urlencode":
        return not value.startswith("=") and "\udce4" not in value
    return re.search(r"%(?![0-9A-Fa-f]{2})|%e4|oauth_|(^|&)=|\udce4|%00", value) is None


@st.composite
def _spelled(draw: st.DrawFn, options: Sequence[Option]) -> list[str]:
    """The options as somebody types them."""
    typed: list[str] = []
    joint = False  # the last word consists of short flags, so that another may be joined
    for option in options:
        name, value = option.name, option.value
        if not name:
            assert value is not None
            typed.append(value)
            joint = False
            continue
        letter = LETTERS.get(name)
        if letter is not None and draw(st.booleans()):
            if joint and draw(st.booleans()):
                typed[-1] += letter
            else:
                typed.append("-" + letter)
            joint = value is None
            if value is not None:
                if value and draw(st.booleans()):
                    typed[-1] += value
                else:
                    typed.append(value)
            continue
        joint = False
        if _happens(draw, 8):  # an abbreviation, unique or not
            name = name[: max(2, len(name) - draw(st.sampled_from([1, 2, 3, 4, 6])))]
        if value is not None and _happens(draw, 1):
            typed.append(f"--{name}={value}")
        elif value is None and not option.forbidden and _happens(draw, 3):
            typed.append("--no-" + name)
        else:
            typed.append("--" + name)
            if value is not None:
                typed.append(value)
    return typed


@st.composite
def _configs(draw: st.DrawFn, options: Sequence[Option]) -> str:
    """The options as lines of a file for `-K`."""
    lines = []
    for option in options:
        name, value = option.name or "url", option.value
        if _happens(draw, 12):
            lines.append(draw(st.sampled_from(["", "# a comment", "  # url = http://ELSEWHERE/", "\t"])))
        letter = LETTERS.get(name)
        word = draw(st.sampled_from(["", "--", "--"])) + name
        if letter is not None and _happens(draw, 30):
            word = "-" + letter
        if value is None:
            lines.append(draw(st.sampled_from(["", "", " "])) + word)
            continue
        between = draw(st.sampled_from([" ", " = ", "=", ": ", " : ", "  ", "\t"]))
        if re.fullmatch(r"[A-Za-z0-9./_%&=-]+", value) and draw(st.booleans()):
            text = value
        else:
            text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
            text = f'"{text}"'
        lines.append(word + between + text)
    return "\n".join(lines) + draw(st.sampled_from(["\n", "", "\r\n"]))


@st.composite
def command_lines(draw: st.DrawFn, *, reads_curlrc: bool) -> Line:
    """
    A whole line; half of them of the everyday kind.

    Args:
        reads_curlrc: draw a ~/.curlrc now and then.
    """
    is_everyday = draw(st.booleans())
    operations = [draw(_operations(is_everyday))]
    if not is_everyday:
        while len(operations) < 3 and _happens(draw, 10):
            operations.append(draw(_operations(False)))
    config: str | None = None
    curlrc: str | None = None
    stdin = draw(st.sampled_from([None, b"f=from+stdin&g=1", b"f=from+stdin", b"s\r\n=\xc3\xa4\n", b"", b"nul=\0x"]))
    used = [option for options in operations for option in options]
    if not is_everyday and _happens(draw, 12):
        rest: list[Option] = []
        moved: list[Option] = []
        for option in operations[0]:
            (moved if draw(st.booleans()) else rest).append(option)
        config = draw(_configs(moved))
        source = draw(st.sampled_from(["config", "config", "./config", "-"]))
        if source == "-":
            stdin = config.encode("utf-8", "surrogateescape")
            config = None
        used.append(Option("config", source))
        rest.insert(draw(st.integers(0, len(rest))), used[-1])
        operations[0] = rest
    if reads_curlrc and _happens(draw, 8):
        options = draw(st.lists(words.EXTRA, max_size=2))
        curlrc = draw(_configs(options))
        used += [*options, Option("curlrc")]
    typed = draw(_spelled(operations[0]))
    for options in operations[1:]:
        typed += ["-:" if draw(st.booleans()) else "--next", *draw(_spelled(options))]
        used.append(Option("next"))
    # A few typed for what curl takes as a name of its own.
    return Line(
        tuple(word.replace("\0", "") for word in typed),
        stdin,
        config,
        curlrc,
        any(option.forbidden for option in used),
        frozenset(option.name or "url" for option in used),
    )
