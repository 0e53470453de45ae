"""The kinds of rows in the table, and a command's usage and help as text."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_WIDTH = 100
_INDENT = 17  # of what stands behind an option
Program = Literal["atl-sign", "atl-signd"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command."""

    name: str  # "--since"
    help: str  # a phrase: help, completion, man page
    value: str = ""  # what follows: "TIME", "read|write", "[FILE]"; "" for a switch
    takes: str = ""  # what the shells offer: "links", "leases", "urls", "files", "form", "commands", "programs", or the words
    more: str = ""  # further sentences for the man page
    may_repeat: bool = False
    excludes: str = ""  # the option that it cannot stand beside
    is_hidden: bool = False  # between programs of ours

    @property
    def usage(self) -> str:
        """The option with what follows it, as in a usage line."""
        return f"{self.name} {self.value}" if self.value else self.name


@dataclass(frozen=True, slots=True)
class Argument:
    """A word that is not an option."""

    name: str  # "NAME"
    takes: str = ""  # as in Option
    is_needed: bool = True
    may_repeat: bool = False  # only the last one

    @property
    def usage(self) -> str:
        """The word as in a usage line."""
        name = f"{self.name}..." if self.may_repeat else self.name
        return name if self.is_needed else f"[{name}]"


JSON = Option("--json", "print the daemon's JSON answer, errors too")
LINK = Argument("NAME", "links")
REFERENCE = Argument("REFERENCE")  # of a key
LEASE_ID = Argument("ID", "leases")  # or a lease's name


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a command: with one of its verbs, or without any."""

    help: str  # a phrase or sentences
    verb: str = ""
    aliases: tuple[str, ...] = ()  # whole commands: "ls" for `link list`
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    more: str = ""  # further sentences for the man page


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    name: str
    summary: str  # a phrase: the list of commands, completion, the man page's headings
    text: str  # sentences, paragraphs after an empty line: help and man page
    forms: tuple[Form, ...]
    aliases: tuple[str, ...] = ()
    page: Program = "atl-sign"  # whose man page has it, and which program carries it out when it is not bash's
    is_handed_over: bool = False  # to atl-signd
    has_json: bool = True
    starts_program: bool = False  # the first word that is not an option, and all behind it, is the command line of a program
    more: str = ""  # further sentences for the man page, before the forms
    after: str = ""  # and below the options: paragraphs, items that begin with "- "
    examples: tuple[str, ...] = ()  # lines for a shell

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that there are."""
        return tuple(form.verb for form in self.forms if form.verb)

    @property
    def options(self) -> tuple[Option, ...]:
        """Its own options, of all forms, that people use; one that several forms have is as in the first."""
        found: dict[str, Option] = {}
        for form in self.forms:
            for option in form.options:
                if not option.is_hidden:
                    found.setdefault(option.name, option)
        return tuple(found.values())


def usage_of(command: Command) -> str:
    """Return *command*'s usage, each form on a line, and as many below it as it needs."""
    program = "atl-signd" if command.page == "atl-signd" and not command.is_handed_over else "atl-sign"
    lines: list[str] = []
    for form in command.forms:
        start = f"{'       ' if lines else 'usage: '}{program} "
        words = [command.name, *([form.verb] if form.verb else [])]
        given = [each.usage for each in form.arguments]
        options = list(_bracketed(form.options))
        if command.starts_program:
            ordered = [*options, "--", *given]
        else:
            ordered = [*options, *given] if command.name == "curl" else [*given, *options]  # ours come before curl's
        lines += textwrap.wrap(
            start + "\0".join([*words, *ordered]).replace(" ", "\1").replace("\0", " "),
            _WIDTH,
            subsequent_indent=" " * (len(start) + len(" ".join(words)) + 1),
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
    return "\n".join(lines).replace("\1", " ")


def _bracketed(options: tuple[Option, ...]) -> Iterator[str]:
    """Give each option in brackets, those that exclude each other in one pair."""
    partners = {option.excludes: option for option in options if option.excludes}
    for option in options:
        if option.is_hidden:
            continue
        if option.name in partners:
            yield f"[{option.usage} | {partners[option.name].usage}]{'…' if option.may_repeat else ''}"
        elif not option.excludes:
            yield f"[{option.usage}]{'…' if option.may_repeat else ''}"


def help_of(command: Command) -> str:
    """Return what is printed for `--help`, below the usage."""
    parts = [textwrap.fill(plain(paragraph), _WIDTH) for paragraph in command.text.split("\n\n")]
    verbs = [(form.verb, form.help) for form in command.forms if form.verb]
    if verbs:
        parts.append(_columns(verbs))
    options = [(option.usage, option.help) for option in command.options]
    if command.is_handed_over and command.has_json:
        options.append((JSON.usage, JSON.help))
    if options:
        parts.append(_columns(options))
    names = [f"atl-sign {alias}: the same as atl-sign {full}" for alias, full in aliases_of(command)]
    if names:
        parts.append("\n".join(names))
    if command.examples:
        parts.append("\n".join(["For example:", *(f"  {line}" for line in command.examples)]))
    return "\n\n".join(parts)


def aliases_of(command: Command) -> list[tuple[str, str]]:
    """Return *command*'s other names, each with what it stands for."""
    whole = [(alias, command.name) for alias in command.aliases]
    return whole + [(alias, f"{command.name} {form.verb}") for form in command.forms for alias in form.aliases]


def plain(text: str) -> str:
    """Return *text* without its markup."""
    return text.replace("`", "")


def _columns(rows: list[tuple[str, str]]) -> str:
    lines = []
    width = max(_INDENT - 3, *(len(name) for name, _ in rows if len(name) < 22))
    for name, text in rows:
        folded = textwrap.wrap(plain(text), _WIDTH - width - 4)
        if len(name) > width:
            lines.append(f"  {name}")
            name = ""  # noqa: PLW2901 - the rest is below
        lines += [f"  {name if number == 0 else '':{width}}  {part}" for number, part in enumerate(folded)]
    return "\n".join(lines)
