"""The commands in the manual pages, made of the table of commands, in mdoc(7)."""

import re
import textwrap
from collections.abc import Iterator, Sequence

from atl_sign.commands.table.calls import COMMANDS
from atl_sign.commands.table.handed_over import HANDED_OVER
from atl_sign.commands.table.rows import Command, Form, Option, Program, aliases_of

_WIDTH = 78  # of the source: mandoc's style
_TOKEN = re.compile(r"(`[^`]+`|(?<![\w-])--[a-z][a-z-]*|[^\s`]+)([.,;:)]*)(?=\s|$)")
_NAMES = {row.name for row in COMMANDS}


def parts(page: Program) -> dict[str, str]:
    """Return what stands between the marks of *page*."""
    rows = [row for row in (*COMMANDS, *HANDED_OVER.values()) if row.page == page]
    rows = list({row.name: row for row in rows}.values())
    return {"synopsis": "\n".join(_synopsis(rows)), "commands": "\n".join(line for row in rows for line in _section(row))}


def _synopsis(rows: Sequence[Command]) -> Iterator[str]:
    for row in rows:
        for form in row.forms:
            yield ".Nm"
            words = f"{row.name} {form.verb}".strip().replace("-", "\\-")
            yield f".Cm {words}{_arguments(form) if row.name != 'curl' and not row.starts_program else ''}"
            partners = {option.excludes: option for option in form.options if option.excludes}
            for option in form.options:
                if option.is_hidden or option.excludes:
                    continue
                other = partners.get(option.name)
                yield f".Op {_option(option)}" + (f" | {_option(other)}" if other else "")
            if row.starts_program:
                yield ".Fl \\-"
            if row.name == "curl" or row.starts_program:
                yield f".{_arguments(form).strip()}"


def _arguments(form: Form) -> str:
    words = ""
    is_argument = False
    for argument in form.arguments:
        name = argument.name.replace("-", "\\-").replace("...", " ...") + (" ..." if argument.may_repeat else "")
        if not argument.is_needed:
            words += f" Op Ar {name}"
        else:
            words += f" {name}" if is_argument else f" Ar {name}"
            is_argument = True
    return words


def _option(option: Option) -> str:
    value = option.value.strip("[]").replace("-", "\\-").replace("|", " | ")
    words = "Fl " + option.name[1:].replace("-", "\\-")
    if not value:
        return words
    kind = "Ar" if value.isupper() or "@" in value else "Cm"
    if option.value.startswith("["):
        return f"{words} Op Ar {value}"
    return f"{words} {kind} {value}"


def _section(row: Command) -> Iterator[str]:
    placeholders = _placeholders(row)

    def text(words: str) -> Iterator[str]:
        return _paragraphs(words, placeholders)

    yield f".Ss {row.name}: {row.summary}".replace("-", "\\-")
    if row.verbs:
        yield from text(_join(row.text, row.more))
    yield ".Bl -tag -width 4n"
    for form in row.forms:
        words = f"{row.name} {form.verb}".strip().replace("-", "\\-")
        yield f".It Cm {words}{_arguments(form)}"
        yield from text(_join(_sentence(form.help), form.more) if row.verbs else _join(row.text, row.more))
        names = [alias for alias, full in aliases_of(row) if full == f"{row.name} {form.verb}".strip()]
        for name in names:
            yield f".Cm {name}"
            yield "is the same."
    yield ".El"
    for form in row.forms:
        options = [option for option in form.options if not option.is_hidden]
        if not options:
            continue
        yield ".Pp"
        words = f"{row.name} {form.verb}".strip().replace("-", "\\-")
        yield from ["Options of", f".Cm {words} :"]
        yield ".Bl -tag -width 4n"
        for option in options:
            yield f".It {_option(option)}"
            repeated = "May be given several times." if option.may_repeat else ""
            yield from text(_join(_sentence(option.help), _join(option.more, repeated)))
        yield ".El"
    yield from _after(row, placeholders)


def _after(row: Command, placeholders: set[str]) -> Iterator[str]:
    is_list = False
    for paragraph in filter(None, row.after.split("\n\n")):
        is_item = paragraph.startswith("- ")
        if is_item != is_list:
            yield ".Bl -bullet -width 2n" if is_item else ".El"
        if is_item:
            yield ".It"
        else:
            yield ".Pp"
        yield from _paragraphs(paragraph.removeprefix("- "), placeholders)
        is_list = is_item
    if is_list:
        yield ".El"


def _placeholders(row: Command) -> set[str]:
    values = [option.value.strip("[]") for option in row.options]
    return {argument.name for form in row.forms for argument in form.arguments} | {each for each in values if each.isupper()}


def _join(first: str, second: str) -> str:
    return f"{first} {second}".strip()


def _sentence(phrase: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}."


def _paragraphs(text: str, placeholders: set[str]) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".Pp"
        for sentence in re.split(r"(?<=[.])\s+(?=[A-Z`^])", paragraph):
            yield from _lines(sentence, placeholders)


def _lines(sentence: str, placeholders: set[str]) -> Iterator[str]:
    """Give the lines of *sentence*, what is marked up on lines of its own."""
    waiting: list[str] = []
    for found in _TOKEN.finditer(sentence):
        word, end = found[1], found[2]
        bare = re.fullmatch(r"(.*?)([.,;:)]*)", word)
        assert bare is not None
        if not word.startswith("`") and not word.startswith("--"):
            word, end = bare[1], bare[2] + end
        macro = _macro(word, placeholders)
        if macro is None:
            waiting.append(found[0])
            continue
        yield from _wrap(waiting)
        waiting = []
        yield " ".join([f".{macro}", *end])
    yield from _wrap(waiting)


def _macro(word: str, placeholders: set[str]) -> str | None:
    """Return the macro for *word*; None for an ordinary one."""
    if word in placeholders:
        return f"Ar {word}"
    if word.startswith("--"):
        return "Fl " + word[1:].replace("-", "\\-")
    if not word.startswith("`"):
        return None
    word = word.strip("`").replace("-", "\\-")
    if word.startswith("\\-"):
        return f"Fl {word[2:]}"
    if re.fullmatch(r"[A-Z]+_[A-Z_]+", word):
        return f"Ev {word}"
    if "/" in word:
        return f"Pa {word}"
    return f"{'Cm' if word in _NAMES else 'Ql'} {word}"


def _wrap(words: list[str]) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(words), _WIDTH, break_on_hyphens=False, break_long_words=False):
        yield f"\\&{line}" if line.startswith((".", "'")) else line
