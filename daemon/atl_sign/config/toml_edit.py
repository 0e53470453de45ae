"""Changes of one link in the configuration's text that leave everything else, comments and order too, as it stands."""

import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

TABLE_HEADER = re.compile(r"^[ \t]*\[{1,2}(?P<name>[^\]\n]*)", re.M)

Fields = Mapping[str, str | float]


class EditError(Exception):
    """The text has a form that cannot be changed without changing more than was asked for."""


def table_name(header: re.Match[str]) -> str:
    """Return the dotted name in a `TABLE_HEADER` match without blanks and quotes: `links.NAME`, where NAME may hold dots too."""
    return ".".join(word.strip(" \t\"'") for word in header["name"].split(".", 1))


def put_links(text: str, links: Mapping[str, Fields]) -> str:
    """
    Return *text* with a table `[links.NAME]` for each of *links*, holding its fields and nothing else.

    New tables come at the end. In those that are there, settings keep their place and their comments.

    Raises:
        EditError: *text* is not TOML, or its `links` or a link in it is not a table.
    """
    data = _load(text)
    tables = data.setdefault("links", {})
    if not isinstance(tables, dict) or not all(isinstance(tables.get(name, {}), dict) for name in links):
        raise EditError
    new = {name: fields for name, fields in links.items() if name not in tables}
    present = {name: fields for name, fields in links.items() if name in tables}
    tables.update({name: dict(fields) for name, fields in links.items()})
    if present:
        text = _replace(text, present)
    return _checked(data, _append(text, new) if new else text)


def put_setting(text: str, table: str, name: str, value: str) -> str:
    """
    Return *text* with the setting *name* of the top-level table *table* being *value*; everything else stays.

    Raises:
        EditError: *text* is not TOML, or *table* in it is not a table.
    """
    import tomlkit

    data = _load(text)
    data.setdefault("links", {})
    if not isinstance(data.setdefault(table, {}), dict):
        raise EditError
    data[table][name] = value
    document: Any = tomlkit.parse(text)
    if table in document:
        document[table][name] = value
        return _checked(data, tomlkit.dumps(document))
    end_of_line = "" if not text or text.endswith("\n") else "\n"
    blank_line = "\n" if text.strip() else ""
    return _checked(data, text + end_of_line + blank_line + tomlkit.dumps({table: {name: value}}))


def remove_link(text: str, name: str) -> str:
    """
    Return *text* without the link called *name*; the same text if there is no such link.

    Comments below its last setting stay: they may speak of the table that follows.

    Raises:
        EditError: *text* is not TOML, or the link stands in a form that cannot be taken out without the rest.
    """
    data = _load(text)
    links = data.get("links")
    if not isinstance(links, dict) or name not in links:
        return text
    del links[name]
    try:
        return _checked(data, _cut(text, name))
    except EditError:  # not a table of its own, but an inline table, dotted names, or tables below it
        return _checked(data, _delete(text, name))


def _load(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):  # ValueError: also a number of thousands of digits
        raise EditError from None


def _checked(wanted: dict[str, Any], text: str) -> str:
    """Return *text* when it means *wanted*: two parsers and our own cutting have to agree before anything is written."""
    found = _load(text)
    found.setdefault("links", {})
    if found != wanted:
        raise EditError
    return text


def _append(text: str, links: Mapping[str, Fields]) -> str:
    import tomlkit

    tables = tomlkit.table(is_super_table=True)
    for name, fields in links.items():
        tables[name] = dict(fields)
    end_of_line = "" if not text or text.endswith("\n") else "\n"
    blank_line = "\n" if text.strip() else ""
    return text + end_of_line + blank_line + tomlkit.dumps({"links": tables})


def _replace(text: str, links: Mapping[str, Fields]) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    tables: Any = document["links"]
    for name, fields in links.items():
        _replace_table(tables[name], fields)
    return tomlkit.dumps(document)


def _replace_table(table: Any, fields: Fields) -> None:
    from tomlkit.items import Table

    tail: list[Any] = []
    if isinstance(table, Table):
        # Lines below the last setting belong to the next table; new settings must not come after it.
        body = table.value.body
        while body and body[-1][0] is None:
            tail.insert(0, body.pop())
    for setting in [setting for setting in table if setting not in fields]:
        del table[setting]
    for setting, value in fields.items():
        if table.get(setting) != value:
            table[setting] = value
    if tail:
        table.value.body.extend(tail)


def _cut(text: str, name: str) -> str:
    headers = [*TABLE_HEADER.finditer(text)]
    for header, following in pairwise([*headers, None]):
        if header is not None and table_name(header) == f"links.{name}":
            before, end = text[: header.start()], len(text) if following is None else following.start()
            lines = text[header.start() : end].splitlines(keepends=True)
            tail: list[str] = []
            while lines[-1].strip() == "" or lines[-1].lstrip().startswith("#"):
                tail.insert(0, lines.pop())
            kept = "".join(tail) if "".join(tail).strip() else ""
            if following is None and not kept:
                return before.rstrip() + "\n" if before.strip() else ""
            return before + kept.lstrip("\n") + text[end:]
    return text


def _delete(text: str, name: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    links: Any = document["links"]
    del links[name]
    return tomlkit.dumps(document)
