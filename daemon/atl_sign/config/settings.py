"""What the configuration says: links and settings out of the file's text, and each broken part named beside the rest."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from atl_sign.base.errors import BadFieldsError, BadUrlError, DaemonError
from atl_sign.base.urls import Url
from atl_sign.config import toml_edit
from atl_sign.config.links import (
    GIT_DAYS_MAX,
    TIMEOUT_S_DEFAULT,
    TIMEOUT_S_MAX,
    Link,
    LinkTable,
    is_consumer_key,
    is_name,
    parse_base_url,
)
from atl_sign.config.toml_load import TooDeepError, load_toml

AuditMode = Literal["on", "required", "off"]
AUDIT_MODES: tuple[AuditMode, ...] = ("on", "required", "off")

LINK_SETTINGS = (
    "url",
    "consumer_key",
    "signing_url",
    "ca_bundle",
    "client_cert",
    "proxy",
    "timeout_s",
    "allow_insecure",
    "git",
    "git_days",
    "default",
)
STORE_SETTINGS = ("backend", "lock_after_minutes")
LOCK_MINUTES_MIN, LOCK_MINUTES_MAX = 1, 525_600  # to a year
IDLE_EXIT_S_DEFAULT = 1800.0
IDLE_EXIT_MINUTES_MAX = 525_600  # a year

_TOML_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_PROXY = re.compile(r"https?://[^/?#@\s]+/?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # half a surrogate pair too: no file can hold one
# Where a table or a setting begins: the first two words of its name. Possessive, for lines of nothing but blanks.
_NAME_WORD = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s.=\[\]"'#]++)"""
_NAMED_LINE = re.compile(
    rf"[ \t]*+(?P<header>\[{{0,2}})[ \t]*+(?P<first>{_NAME_WORD})[ \t]*+(?:\.[ \t]*+(?P<second>{_NAME_WORD})[ \t]*+)?[\].=]"
)


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One part of the file that cannot be used, and why."""

    line: int | None  # from 1; None when the whole file cannot be read
    part: str  # "links.NAME", "store.backend", "file"
    cause: str

    def __str__(self) -> str:
        place = "" if self.line is None else f" line {self.line}"
        return f"config.toml{place}, {self.part}: {self.cause}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What could be read of the file."""

    links: LinkTable
    store_backend: str | None = None  # None when the file does not name one
    audit: AuditMode = "on"
    lock_after_minutes: float | None = None  # None: the store stays open
    problems: tuple[ConfigProblem, ...] = ()
    idle_exit_s: float = IDLE_EXIT_S_DEFAULT  # without a request; 0 for never

    def problem_of_link(self, name: str) -> ConfigProblem | None:
        """Return why the link called *name* cannot be used, when the file holds a broken one of that name."""
        return next((problem for problem in self.problems if problem.part == f"links.{name}"), None)


def parse_settings(text: str) -> Settings:
    """Read *text*, the file's content; what is broken becomes a problem beside the rest."""
    text = text.removeprefix("\ufeff")  # some editors begin UTF-8 with it
    data, problems = _parse_tables(text)
    find_line = _line_finder(text)

    def complain(part: str, cause: str) -> None:
        problems.append(ConfigProblem(find_line(part), part, cause))

    links = []
    tables = data.get("links", {})
    if not isinstance(tables, dict):
        complain("links", "links is not a table of tables: write [links.NAME]")
        tables = {}
    for name, fields in tables.items():
        if not isinstance(fields, dict):
            complain(f"links.{name}", f"not a table: write [links.{name}]")
            continue
        try:
            links.append(link_from_fields(name, fields))
        except DaemonError as exc:
            complain(f"links.{name}", exc.message)
    store = data.get("store", {})
    backend = lock_after_minutes = None
    if not isinstance(store, dict):
        complain("store", "not a table: write [store]")
    elif isinstance(store.get("backend"), str):
        backend = store["backend"]
    elif "backend" in store:
        complain("store.backend", "not a text")
    if isinstance(store, dict):
        lock_after_minutes = store.get("lock_after_minutes")
        if lock_after_minutes is not None and not _is_minutes(lock_after_minutes):
            complain("store.lock_after_minutes", f"not a number of minutes from {LOCK_MINUTES_MIN} to {LOCK_MINUTES_MAX:,}")
            # Whoever wanted a lock gets the shortest one rather than none.
            lock_after_minutes = LOCK_MINUTES_MIN
        for name in sorted(store.keys() - set(STORE_SETTINGS)):
            complain(f"store.{name}", "no such setting")
    audit = data.get("audit", "on")
    if audit not in AUDIT_MODES:
        complain("audit", f"not one of {', '.join(AUDIT_MODES)}; taken for required")
        audit = "required"  # who wrote something there wanted more than the default
    idle_exit_s = _idle_exit_s(data.get("daemon", {}), complain)
    for name in sorted(data.keys() - {"links", "store", "audit", "daemon"}):
        complain(name, "no such setting")
    return Settings(
        LinkTable(links),
        backend,
        lock_after_minutes=lock_after_minutes,
        audit=audit,
        idle_exit_s=idle_exit_s,
        problems=tuple(problems),
    )


def _is_minutes(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and LOCK_MINUTES_MIN <= value <= LOCK_MINUTES_MAX


def _idle_exit_s(table: object, complain: Callable[[str, str], None]) -> float:
    """Return the seconds of `[daemon] idle_exit_minutes`; what is wrong there is told by *complain*, and the default holds."""
    if not isinstance(table, dict):
        complain("daemon", "not a table: write [daemon]")
        return IDLE_EXIT_S_DEFAULT
    for name in sorted(table.keys() - {"idle_exit_minutes"}):
        complain(f"daemon.{name}", "no such setting")
    minutes = table.get("idle_exit_minutes")
    if minutes is None:
        return IDLE_EXIT_S_DEFAULT
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 <= minutes <= IDLE_EXIT_MINUTES_MAX:
        complain("daemon.idle_exit_minutes", f"not a number of minutes from 0 (never) to {IDLE_EXIT_MINUTES_MAX}")
        return IDLE_EXIT_S_DEFAULT
    return minutes * 60.0


def link_from_fields(name: str, fields: Mapping[str, object]) -> Link:
    """
    Make a link of what a person wrote: in the file's `[links.NAME]`, or in `PUT /links/NAME`.

    Args:
        name: the link's name.
        fields: the settings of `LINK_SETTINGS`; all but `url` and `consumer_key` may be absent or None.

    Raises:
        BadFieldsError: a setting is missing, unknown, or not of its kind; the message names it.
        BadUrlError: `url` or `signing_url` is no base URL.
    """
    if not is_name(name):
        raise BadFieldsError("a link's name is 1 to 64 letters, digits, dots, dashes and underscores", "choose a name like jira")
    unknown = sorted(fields.keys() - set(LINK_SETTINGS))
    if unknown:
        raise BadFieldsError(f"no such setting: {', '.join(unknown)}", f"a link has {', '.join(LINK_SETTINGS)}")
    url = _text(fields, "url")
    consumer_key = _text(fields, "consumer_key")
    if url is None or consumer_key is None:
        raise BadFieldsError(f"{'url' if url is None else 'consumer_key'} is missing")
    if not is_consumer_key(consumer_key):
        raise BadFieldsError("consumer_key is not 1 to 255 printable ASCII characters without a blank")
    signing_url = _text(fields, "signing_url")
    proxy = _text(fields, "proxy")
    if proxy is not None and not _PROXY.fullmatch(proxy):
        raise BadFieldsError("proxy is not of the form http://host:port", "a proxy that wants a password is not supported")
    timeout_s = fields.get("timeout_s")
    if timeout_s is None:
        timeout_s = TIMEOUT_S_DEFAULT
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 1 <= timeout_s <= TIMEOUT_S_MAX:
        raise BadFieldsError(f"timeout_s is not a number of seconds from 1 to {TIMEOUT_S_MAX:.0f}")
    allow_insecure = fields.get("allow_insecure")
    if allow_insecure is not None and not isinstance(allow_insecure, bool):
        raise BadFieldsError("allow_insecure is neither true nor false")
    git = fields.get("git")
    if git is not None and git not in ("read", "write"):
        raise BadFieldsError("git is neither read nor write")
    git_days = fields.get("git_days")
    if git_days is not None and (type(git_days) is not int or not 1 <= git_days <= GIT_DAYS_MAX):
        raise BadFieldsError(f"git_days is not a whole number from 1 to {GIT_DAYS_MAX}")
    default = fields.get("default")
    if default is not None and not isinstance(default, bool):
        raise BadFieldsError("default is neither true nor false")
    return Link(
        name=name,
        url=_base_url("url", url),
        consumer_key=consumer_key,
        signing_url=None if signing_url is None else _base_url("signing_url", signing_url),
        ca_bundle=_absolute_path(fields, "ca_bundle"),
        client_cert=_absolute_path(fields, "client_cert"),
        proxy=proxy,
        timeout_s=float(timeout_s),
        allow_insecure=bool(allow_insecure),
        git=git,
        git_days=git_days,
        default=bool(default),
    )


def link_to_fields(link: Link) -> dict[str, str | float | bool | None]:
    """Return the settings of *link* as the file and the socket have them; None for one that is not set."""
    return {
        "url": str(link.url),
        "consumer_key": link.consumer_key,
        "signing_url": None if link.signing_url is None else str(link.signing_url),
        "ca_bundle": None if link.ca_bundle is None else str(link.ca_bundle),
        "client_cert": None if link.client_cert is None else str(link.client_cert),
        "proxy": link.proxy,
        "timeout_s": link.timeout_s,
        "allow_insecure": link.allow_insecure,
        "git": link.git,
        "git_days": link.git_days,
        "default": link.default,
    }


def _base_url(setting: str, text: str) -> Url:
    try:
        return parse_base_url(text)
    except BadUrlError as exc:
        raise BadUrlError(f"{setting}: {exc.message}", exc.hint) from None


def _text(fields: Mapping[str, object], setting: str) -> str | None:
    value = fields.get(setting)
    if value is not None and not isinstance(value, str):
        raise BadFieldsError(f"{setting} is not a text")
    if value is not None and _CONTROL.search(value):
        raise BadFieldsError(f"{setting} holds a control character")
    return value


def _absolute_path(fields: Mapping[str, object], setting: str) -> Path | None:
    text = _text(fields, setting)
    if text is None:
        return None
    if not text.startswith("/"):
        raise BadFieldsError(f"{setting} is not an absolute path", "the daemon runs in another folder: begin it with /")
    return Path(text)


def _parse_tables(text: str) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """Parse *text* whole; when that fails, table by table, so that one broken table costs one link."""
    try:
        return load_toml(text), []
    except (ValueError, RecursionError) as exc:  # ValueError: also a number of thousands of digits
        broken = _problem_of_toml(exc, None, "file")
    starts = [0, *(match.start() for match in toml_edit.TABLE_HEADER.finditer(text)), len(text)]
    data: dict[str, Any] = {}
    problems = []
    first_line = 1
    for start, end in pairwise(starts):
        header = toml_edit.TABLE_HEADER.match(text, start, end)
        part = "file" if header is None else toml_edit.table_name(header)
        try:
            twice = _merge(data, load_toml(text[start:end]))
            problems += [ConfigProblem(first_line, name, "it stands there twice") for name in twice]
        except (ValueError, RecursionError) as exc:
            problems.append(_problem_of_toml(exc, first_line, part))
        first_line += text.count("\n", start, end)
    broken_parts = {problem.part for problem in problems}
    if isinstance(data.get("links"), dict):
        data["links"] = {name: fields for name, fields in data["links"].items() if f"links.{name}" not in broken_parts}
    if not any(problem.cause == broken.cause if broken.line is None else problem.line == broken.line for problem in problems):
        problems.insert(0, broken)
    return data, problems


def _merge(data: dict[str, Any], tables: dict[str, Any]) -> list[str]:
    """Add *tables* to *data*; return the names of those that were there already, of which the first stays."""
    names = []
    for key, value in tables.items():
        known = data.setdefault(key, value)
        if known is value:
            continue
        if key == "links" and isinstance(known, dict) and isinstance(value, dict):
            names += [f"links.{name}" for name in value if name in known]
            known.update({name: fields for name, fields in value.items() if name not in known})
        else:
            names.append(key)
    return names


def _problem_of_toml(exc: Exception, first_line: int | None, part: str) -> ConfigProblem:
    """Return the problem that *exc* tells of a text that begins at *first_line* of the file (None: it is the file)."""
    if isinstance(exc, TooDeepError):
        return ConfigProblem(exc.line + (first_line or 1) - 1, part, str(exc))
    if not isinstance(exc, tomllib.TOMLDecodeError):
        return ConfigProblem(first_line, part, "it is nested too deeply, or holds a number too long to read")
    text = str(exc)
    place = _TOML_PLACE.search(text)
    cause = text if place is None else text[: place.start()]
    line = int(place["line"]) + (first_line or 1) - 1 if place is not None and place["line"] else first_line
    return ConfigProblem(line, part, cause[:1].lower() + cause[1:])


def _line_finder(text: str) -> Callable[[str], int | None]:
    """Return what gives the line of the table or the setting of a name, as near as a look at each line's first words finds it."""

    @cache  # once, for there may be a problem in every line; and not at all where there is none
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
