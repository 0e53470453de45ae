"""The configuration: links and settings out of the file's text, and each wrong one named beside the rest."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from atl_sign.base.errors import BadFieldsError, DaemonError
from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.links import Link, Schemes, is_name
from atl_sign.config.placeholders import expand, has_braces
from atl_sign.config.setting import Choice, Number, Setting, Text, setting, settings_of
from atl_sign.config.table import LinkTable
from atl_sign.config.vaults import VaultServer

AuditMode = Literal["on", "required", "off"]
AUDIT_MODES: tuple[AuditMode, ...] = ("on", "required", "off")
IDLE_EXIT_MINUTES_DEFAULT = 30.0

USERS_FILE = "config.toml"  # what the user's file is called where no other one is meant

Complain = Callable[[str, str], None]  # about a part of the file, with the cause

# Settings that links had once. A link goes on without them: it must not be lost by an upgrade.
_FORMER_SETTINGS = {
    "allow_insecure": "it has no effect: certificates are always verified; take it out, and name a self-signed one in ca_bundle",
}

_TOML_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
# Where a table or a setting begins: the first two words of its name. Possessive, for lines of nothing but blanks.
_NAME_WORD = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s.=\[\]"'#]++)"""
_NAMED_LINE = re.compile(
    rf"[ \t]*+(?P<header>\[{{0,2}})[ \t]*+(?P<first>{_NAME_WORD})[ \t]*+(?:\.[ \t]*+(?P<second>{_NAME_WORD})[ \t]*+)?[\].=]"
)


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One part of the file that cannot be used, and why."""

    line: int | None  # from 1; None when it is in no line
    part: str  # "links.NAME", "store.backend", "file"
    cause: str
    is_harmless: bool = False  # nothing is left out, or taken for something else, because of it
    file: str = USERS_FILE  # the administrator's by its path

    def __str__(self) -> str:
        place = "" if self.line is None else f" line {self.line}"
        return f"{self.file}{place}, {self.part}: {self.cause}"


class BrokenFileError(Exception):
    """The file is not TOML; `problem` says where and why."""

    def __init__(self, problem: ConfigProblem) -> None:
        """Say what *problem* says."""
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the file that could be read. Each field that is not about links is a setting, with its row."""

    links: LinkTable
    store_backend: str | None = setting(Text(), name="store.backend")  # None when the file does not name one
    audit: AuditMode = setting(
        Choice(AUDIT_MODES, f"is not one of {', '.join(AUDIT_MODES)}; taken for required"),
        default="on",
        when_wrong="required",  # the person who wrote something there wanted more than the default
    )
    lock_after_minutes: float | None = setting(  # None: the store stays open
        Number(1, 525_600, "is not a number of minutes from 1 to 525,600"),  # to a year
        name="store.lock_after_minutes",
        when_wrong=1,  # the shortest lock rather than no lock
    )
    problems: tuple[ConfigProblem, ...] = ()
    problem_of_file: ConfigProblem | None = (
        None  # the first of them when the file is not used at all: then this is an older reading
    )
    vaults: Mapping[str, VaultServer] = field(default_factory=dict)
    idle_exit_minutes: float = setting(  # without a request; 0 for never
        Number(0, 525_600, "is not a number of minutes from 0 (never) to 525600"),
        name="daemon.idle_exit_minutes",
        default=IDLE_EXIT_MINUTES_DEFAULT,
        when_wrong=IDLE_EXIT_MINUTES_DEFAULT,
    )
    named: frozenset[str] = frozenset()  # the fields of the settings that the file names, well or wrong
    templates: Mapping[str, str] = field(default_factory=dict)  # by link, consumer keys that were written with placeholders
    pkcs11_timeout_s: float = setting(  # for one signature
        Number(1, 120, "is not a number of seconds from 1 to 120"), name="pkcs11.timeout_s", default=3.0, when_wrong=3.0
    )
    pkcs11_idle_s: float = setting(  # without a signature, after which tokens are let go of
        Number(1, 86_400, "is not a number of seconds from 1 to 86,400"), name="pkcs11.idle_s", default=60.0, when_wrong=60.0
    )

    @property
    def idle_exit_s(self) -> float:
        """How many seconds without a request end the daemon; 0 for never."""
        return self.idle_exit_minutes * 60.0

    @property
    def problem_of_store(self) -> ConfigProblem | None:
        """Why it is not known which store the files name; None when it is known, or they name none."""
        if self.store_backend is None and self.problem_of_file is None:
            return next((each for each in self.problems if each.part in ("store", "store.backend")), None)
        return self.problem_of_file

    def problem_of_link(self, name: str) -> ConfigProblem | None:
        """Return why the link called *name* cannot be used, when the file holds a broken one of that name."""
        return next((each for each in self.problems if each.part == f"links.{name}" and not each.is_harmless), None)


def parse_settings(text: str, schemes: Schemes, names: Mapping[str, str] | None = None) -> Settings:
    """
    Read *text*, a file's content; a wrong setting becomes a problem beside the rest.

    Args:
        text: TOML.
        schemes: those that links can have.
        names: what placeholders stand for, in a file that can have them; as in `placeholders.expand`.

    Raises:
        BrokenFileError: it is not TOML; nothing of it is used, since nobody knows where its tables end.
    """
    text = text.removeprefix("\ufeff")  # some editors begin UTF-8 with it
    data = load(text)
    problems: list[ConfigProblem] = []
    find_line = line_finder(text)

    def complain(part: str, cause: str) -> None:
        problems.append(ConfigProblem(find_line(part), part, cause))

    tables = data.pop("links", {})
    links = read_links(tables, schemes, complain, names)
    problems += _find_former(tables, links, text, find_line)
    vaults = dict(_read_vaults(data.pop("vaults", {}), complain))
    values, named = _read_rows(data, settings_of(Settings), complain)
    keys = {} if names is None else {link.name: str(tables[link.name].get("consumer_key")) for link in links}
    templates = {name: key for name, key in keys.items() if has_braces(key)}
    return Settings(LinkTable(links), problems=tuple(problems), named=named, templates=templates, vaults=vaults, **values)


def read_links(tables: object, schemes: Schemes, complain: Complain, names: Mapping[str, str] | None = None) -> list[Link]:
    """Return the links of *tables*, what stands below `links`; arguments as of `parse_settings`, and *complain* as it has it."""
    links: list[Link] = []
    if not isinstance(tables, dict):
        complain("links", "links is not a table of tables: write [links.NAME]")
        return links
    for name, fields in tables.items():
        if not isinstance(fields, dict):
            complain(f"links.{name}", f"not a table: write [links.{name}]")
            continue
        kept = {setting: value for setting, value in fields.items() if setting not in _FORMER_SETTINGS}
        try:
            links.append(link_from_fields(name, kept if names is None else expand(kept, names), schemes))
        except DaemonError as exc:
            complain(f"links.{name}", exc.message)
    return links


def _read_vaults(tables: object, complain: Complain) -> Iterator[tuple[str, VaultServer]]:
    if not isinstance(tables, dict):
        complain("vaults", "vaults is not a table of tables: write [vaults.NAME]")
        return
    for name, fields in tables.items():
        try:
            yield name, _read_vault(name, fields)
        except BadFieldsError as exc:
            complain(f"vaults.{name}", exc.message)


def _read_vault(name: str, fields: object) -> VaultServer:
    if not is_name(name):
        raise BadFieldsError("a vault's name is 1 to 64 letters, digits, dots, dashes and underscores")
    if not isinstance(fields, dict):
        raise BadFieldsError(f"not a table: write [vaults.{name}]")
    causes: list[str] = []
    values, _ = _read_rows(fields, settings_of(VaultServer), lambda part, cause: causes.append(f"{part}: {cause}"))
    if causes:
        raise BadFieldsError("; ".join(causes))
    vault = VaultServer(name, **values)
    vault.check()
    return vault


def _find_former(
    tables: Mapping[str, Any], links: Iterable[Link], text: str, find_line: Callable[[str], int | None]
) -> Iterator[ConfigProblem]:
    """Give a problem for each former setting of *links*, which are good ones of *tables*."""
    lines: list[str] = []
    for link in links:
        for name in _FORMER_SETTINGS.keys() & tables[link.name].keys():
            lines = lines or text.split("\n")
            line = _find_within(lines, find_line(f"links.{link.name}"), name)
            yield ConfigProblem(line, f"links.{link.name}.{name}", _FORMER_SETTINGS[name], is_harmless=True)


def _find_within(lines: Sequence[str], begin: int | None, name: str) -> int | None:
    """Return the number of the line with the setting *name* of the table that begins in line *begin*, or else *begin*."""
    for at in range(begin, len(lines) + 1) if begin is not None else ():
        words = lines[at - 1].partition("#")[0]
        if name in words:
            return at
        if at != begin and words.lstrip().startswith("["):
            break
    return begin


def _read_rows(data: Mapping[str, Any], rows: Mapping[str, Setting], complain: Complain) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the values of *rows* in *data*, tables and all, and which are there; *complain* gets everything that is wrong."""
    by_place = {row.name.rpartition(".")[::2]: (name, row) for name, row in rows.items()}  # (table or "", name)
    tables = {table for table, _ in by_place} - {""}
    found = {("", name): value for name, value in data.items() if name not in tables}
    for table in tables & data.keys():
        if isinstance(data[table], dict):
            found |= {(table, name): value for name, value in data[table].items()}
        else:
            complain(table, f"not a table: write [{table}]")
    values = {}
    named = frozenset(name for place, (name, _) in by_place.items() if place in found)
    for place, (name_of_field, row) in by_place.items():
        value = found.pop(place, None)
        try:
            values[name_of_field] = row.default if value is None else row.kind.read("", value)
        except BadFieldsError as exc:
            complain(row.name, exc.message.strip().removeprefix("is "))
            values[name_of_field] = row.when_wrong
    for table, name in sorted(found):
        complain(f"{table}.{name}".removeprefix("."), "no such setting")
    return values, named


def load(text: str) -> dict[str, Any]:
    """Return what *text* means in TOML; raises BrokenFileError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        words = str(exc)
        place = _TOML_PLACE.search(words)
        cause = words if place is None else words[: place.start()]
        line = int(place["line"]) if place is not None and place["line"] else len(text.splitlines())  # else at the end
        raise BrokenFileError(ConfigProblem(line, "file", cause[:1].lower() + cause[1:])) from None
    except (ValueError, RecursionError):  # ValueError: a number of thousands of digits
        cause = "it is nested too deeply, or holds a number too long to read"
        raise BrokenFileError(ConfigProblem(None, "file", cause)) from None


def line_finder(text: str) -> Callable[[str], int | None]:
    """Return what gives the line of the table or the setting of a name, as near as a look at each line's first words finds it."""

    @cache  # once, for there may be a problem in every line; and not at all without a problem
    def read_lines() -> tuple[dict[str, int], dict[str, int]]:
        lines: dict[str, int] = {}
        lines_of_settings: dict[str, int] = {}  # those that do not say which table they are in
        for number, line in enumerate(text.split("\n"), 1):
            found = _NAMED_LINE.match(line)
            if found is None:
                continue
            first, second = (word and word.strip("\"'") for word in found.group("first", "second"))
            lines.setdefault(first, number)
            if second is not None:
                lines.setdefault(f"{first}.{second}", number)
            if not found["header"]:
                lines_of_settings.setdefault(first, number)
        return lines, lines_of_settings

    def find_line(part: str) -> int | None:
        lines, lines_of_settings = read_lines()
        return lines.get(part) or lines_of_settings.get(part.split(".", 1)[-1])

    return find_line
