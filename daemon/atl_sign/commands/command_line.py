"""A command line, read by the command's row of the table; what cannot be understood is refused with the usage, and status 2."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from atl_sign.commands.table.rows import JSON, Command, Form, Option, help_of, usage_of

_LIKE = 0.65  # difflib's measure, from 0 to 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMED = {"links": "link", "leases": "lease"}


class UsageError(Exception):
    """The command line cannot be understood; `usage` has what could be."""

    def __init__(self, message: str, usage: str) -> None:
        """Say what is wrong, and what would be right."""
        super().__init__(message)
        self.usage = usage


@dataclass(slots=True)
class CommandLine:
    """The arguments that were given."""

    form: Form
    words: list[str]  # the form's arguments
    options: dict[str, str] = field(default_factory=dict)  # by name, "--since"; "" for a switch
    repeated: dict[str, list[str]] = field(default_factory=dict)  # every value, in the order given
    wants_help: bool = False

    def has(self, name: str) -> bool:
        """Tell whether the option *name* was given."""
        return name in self.options

    def get(self, name: str) -> str | None:
        """Return the value of the option *name*; None when it was not given."""
        return self.options.get(name)

    def get_all(self, name: str) -> list[str]:
        """Return every value that was given for the option *name*, in their order."""
        return self.repeated.get(name, [])


def read_line(command: Command, given: Sequence[str]) -> CommandLine:
    """
    Read *given*, the words behind *command*'s name.

    An option's value is the next word, or follows an equals sign; behind `--` nothing is an option, and nothing behind the name
    of a program that is to be started.

    Raises:
        UsageError: it cannot be understood.
    """
    taken = {option.name: option for form in command.forms for option in form.options}
    if command.has_json:
        taken[JSON.name] = JSON
    words: list[str] = []
    options: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    rest = list(given)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word in ("-h", "--help"):
            return CommandLine(command.forms[0], [], wants_help=True)
        if not word.startswith("-") or word == "-":
            words.append(word)
            if command.starts_program:
                words += rest
                break
            continue
        name, equals, value = word.partition("=")
        option = taken.get(name)
        if option is None:
            raise UsageError(f"unknown option {name}{suggest(name, [*_shown(taken), '--help'])}", usage_of(command))
        options[name] = _value_of(command, option, value if equals else None, rest)
        repeated.setdefault(name, []).append(options[name])  # of another form, perhaps, an option of this name takes only one
    form = _form_of(command, words)
    arguments = words[1:] if form.verb else words
    _check(command, form, arguments, options)
    return CommandLine(form, arguments, options, repeated)


def suggest(word: str, words: Iterable[str], before: str = "") -> str:
    """Return ", did you mean: " and the one of *words* that *word* may be a slip for, behind *before*; "" without one."""
    found = get_close_matches(word, list(words), 1, _LIKE)
    return f", did you mean: {before}{found[0]}" if found else ""


def _shown(options: Mapping[str, Option]) -> list[str]:
    return [name for name, option in options.items() if not option.is_hidden]


def show_help(command: Command) -> str:
    """Return what `--help` prints of *command*."""
    return f"{usage_of(command)}\n\n{help_of(command)}\n\n  -h, --help      print this"


def _value_of(command: Command, option: Option, given: str | None, rest: list[str]) -> str:
    """Return the value of *option*: *given* behind its equals sign, or the first of *rest*, which is taken out."""
    if not option.value:
        if given is not None:
            raise UsageError(f"option {option.name} takes no value", usage_of(command))
        return ""
    if given is not None:
        return given
    if rest and (not option.value.startswith("[") or not rest[0].startswith("-")):
        return rest.pop(0)
    if option.value.startswith("["):
        return ""
    raise UsageError(f"option {option.name} needs a value", usage_of(command))


def _form_of(command: Command, words: Sequence[str]) -> Form:
    if not command.verbs:
        return command.forms[0]
    if not words:
        *others, last = command.verbs
        raise UsageError(
            f"{command.name} needs a verb: {' or '.join(filter(None, (', '.join(others), last)))}", usage_of(command)
        )
    form = next((form for form in command.forms if form.verb == words[0]), None)
    if form is None:
        meant = suggest(words[0], command.verbs, f"atl-sign {command.name} ")
        raise UsageError(f"there is no {command.name} {words[0]}{meant}", usage_of(command))
    return form


def _check(command: Command, form: Form, arguments: Sequence[str], options: dict[str, str]) -> None:
    own = {option.name: option for option in form.options}
    taken_by_all = JSON.name if command.has_json else ""
    foreign = next((name for name in options if name not in own and taken_by_all != name), None)
    if foreign is not None:
        raise UsageError(f"{command.name} {form.verb} does not take {foreign}", usage_of(command))
    for option in own.values():
        if option.excludes and option.name in options and option.excludes in options:
            raise UsageError(f"{option.excludes} and {option.name} exclude each other", usage_of(command))
    count, most = len(arguments), len(form.arguments)
    least = sum(argument.is_needed for argument in form.arguments)
    is_open = any(argument.may_repeat for argument in form.arguments)
    if not least <= count <= (max(most, count) if is_open else most):
        verb = 1 if form.verb else 0
        bound = f"{most + verb}" if least == most else f"at most {most + verb}"
        if is_open:
            bound = f"at least {least + verb}"
        raise UsageError(f"{command.name} takes {bound} argument(s), not {count + verb}", usage_of(command))
    kinds = [*(argument.takes for argument in form.arguments), *[form.arguments[-1].takes] * (count - most)] if count else []
    for takes, word in zip(kinds, arguments, strict=False):
        if takes in _NAMED and not _NAME.fullmatch(word):
            message = f"a {_NAMED[takes]}'s name is up to 64 letters, digits, dots, dashes and underscores"
            raise UsageError(message, usage_of(command))
