"""One row for each setting: its name, kind, default and words. Parser, schema, options and documentation are made of the rows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from atl_sign.base.errors import BadFieldsError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # half a surrogate pair too: no file can hold one
_METADATA = "setting"

Written = str | float | bool | None  # a setting's value as the file and the socket have it


class Kind(Protocol):
    """The kinds of values that a setting can have."""

    @property
    def type(self) -> Any:
        """The type of the value in TOML and JSON, for the schema."""

    def read(self, name: str, value: object) -> Any:
        """Return what *value*, given for the setting *name*, means; raises BadFieldsError, which never repeats the value."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, of a link or of the daemon."""

    name: str  # in the file and in JSON: "timeout_s"; with its table's name where that is not a link: "store.backend"
    kind: Kind
    default: Any = None  # the value of a setting that is left out
    is_needed: bool = False  # in the file; there is no default then
    schemes: tuple[str, ...] = ()  # those whose links have it; () for a setting of every link
    is_kept: bool = False  # a PUT that leaves it out keeps the value that the link has
    when_wrong: Any = None  # the value in place of one of another kind; a link with one is not used at all
    option: str = ""  # how the command line names it: "--timeout SECONDS", "--git read|write"; the URL is a word of its own
    help: str = ""  # a line, for help, completion and man page
    asked: str = ""  # what the schema says of it in a request
    answered: str = ""  # and in an answer
    example: str = ""  # for the schema
    docs: str = ""  # the cell of the documentation's table

    @property
    def flag(self) -> str:
        """The option without what follows it, `--timeout`; "" when the setting is not an option of `link add`."""
        return self.option.partition(" ")[0] if self.option.startswith("--") else ""

    @property
    def metavar(self) -> str:
        """The option's value in usage lines: `SECONDS`; "" for a switch."""
        return self.option.partition(" ")[2] if self.flag else ""


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text."""

    pattern: str = ".*"  # the whole of it
    wanted: str = ""  # what to say of a text that is not like that
    hint: str | None = None
    type: Any = str

    def read(self, name: str, value: object) -> str:
        """Return the text."""
        text = read_line(name, value)
        if not re.fullmatch(self.pattern, text):
            raise BadFieldsError(f"{name} {self.wanted}", self.hint)
        return text


@dataclass(frozen=True, slots=True)
class AbsolutePath:
    """The path of a file."""

    type: Any = str

    def read(self, name: str, value: object) -> Path:
        """Return the path."""
        text = read_line(name, value)
        if not text.startswith("/"):
            raise BadFieldsError(f"{name} is not an absolute path", "the daemon runs in another folder: begin it with /")
        return Path(text)


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two others; a whole one where `type` is int."""

    least: float
    most: float
    wanted: str
    type: Any = float

    def read(self, name: str, value: object) -> float:
        """Return the number."""
        is_number = type(value) is int or (self.type is float and type(value) is float)
        if not is_number or not self.least <= value <= self.most:  # type: ignore[operator]  # it is a number
            raise BadFieldsError(f"{name} {self.wanted}")
        number: float = self.type(value)
        return number


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    type: Any = bool

    def read(self, name: str, value: object) -> bool:
        """Return the value."""
        if not isinstance(value, bool):
            raise BadFieldsError(f"{name} is neither true nor false")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]
    wanted: str
    type: Any = str

    def read(self, name: str, value: object) -> str:
        """Return the word."""
        if value not in self.words:
            raise BadFieldsError(f"{name} {self.wanted}")
        return str(value)


def setting(kind: Kind, *, name: str = "", default: Any = None, is_needed: bool = False, **words: Any) -> Any:
    """
    Return a dataclass's field that is a setting; `settings_of` gives its row.

    Args:
        kind: what the value can be.
        name: as in `Setting`; "" when it is the field's.
        default: the field's too.
        is_needed: there is no default.
        words: the other fields of `Setting`.
    """
    row = Setting(name, kind, default, is_needed, **words)
    return field(metadata={_METADATA: row}) if is_needed else field(default=default, metadata={_METADATA: row})


@cache
def settings_of(kind: type) -> Mapping[str, Setting]:
    """Return the rows of the dataclass *kind* by the names of its fields, in their order."""
    rows = {each.name: each.metadata[_METADATA] for each in fields(kind) if _METADATA in each.metadata}
    return MappingProxyType({name: replace(row, name=row.name or name) for name, row in rows.items()})


def read_line(name: str, value: object) -> str:
    """Return *value*, given for the setting *name*, when it is a text without control characters; raises BadFieldsError."""
    if not isinstance(value, str):
        raise BadFieldsError(f"{name} is not a text")
    if _CONTROL.search(value):
        raise BadFieldsError(f"{name} holds a control character")
    return value


def written(value: Any) -> Written:
    """Return the value of a setting as the file and the socket have it; None for one that is not set."""
    return value if value is None or isinstance(value, str | int | float) else str(value)
