"""A link out of its settings as a person wrote them, and back: each setting is read and written by its row."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from atl_sign.base.errors import BadFieldsError
from atl_sign.config.links import SCHEME_DEFAULT, Link, OwnSettings, Schemes, is_name
from atl_sign.config.setting import Choice, Setting, Written, settings_of, written


def link_settings(schemes: Schemes) -> dict[str, Setting]:
    """Return the row of every setting that a link can have, by its name, in the order in which they are shown."""
    rows = {}
    for row in _rows(schemes, *schemes):
        having = tuple(scheme for scheme, own in schemes.items() if row in own)
        rows[row.name] = replace(row, schemes=having) if 0 < len(having) < len(schemes) else row
    return rows


def _rows(schemes: Schemes, *named: str) -> Iterator[Setting]:
    for row in settings_of(Link).values():
        if row.name != "scheme":
            yield row
            continue
        if len(schemes) > 1:  # with one there is nothing to choose
            yield replace(row, kind=_choice_of(schemes), option=f"--scheme {'|'.join(schemes)}")
        for scheme in named:
            yield from schemes[scheme]


def link_from_fields(name: str, fields: Mapping[str, object], schemes: Schemes, before: Link | None = None) -> Link:
    """
    Make a link of what a person wrote: in the file's `[links.NAME]`, or in `PUT /links/NAME`.

    Args:
        name: the link's name.
        fields: settings by their names; what is absent or None gets its default.
        schemes: the settings of each scheme.
        before: the link as it was; of the settings that are kept it gives those that *fields* leave out.

    Raises:
        BadFieldsError: a setting is missing, unknown, or not of its kind; the message names it.
        BadUrlError: a setting is not a base URL.
    """
    if not is_name(name):
        raise BadFieldsError("a link's name is 1 to 64 letters, digits, dots, dashes and underscores", "choose a name like jira")
    scheme = _read_scheme(fields.get("scheme"), schemes) or (before.scheme if before is not None else SCHEME_DEFAULT)
    _check_names(fields, schemes, scheme)
    kept = before.own if before is not None and before.scheme == scheme else OwnSettings()
    values = {row.name: _read_value(row, fields, kept) for row in settings_of(Link).values() if row.name != "scheme"}
    own = schemes[scheme]
    return Link(name, scheme=scheme, own=OwnSettings(own, tuple(_read_value(row, fields, kept) for row in own)), **values)


def _read_scheme(value: object, schemes: Schemes) -> str | None:
    return None if value is None else _choice_of(schemes).read("scheme", value)


def _choice_of(schemes: Schemes) -> Choice:
    return Choice(tuple(schemes), f"is not one of {', '.join(schemes)}")


def _check_names(fields: Mapping[str, object], schemes: Schemes, scheme: str) -> None:
    """Raise BadFieldsError if *fields* hold what is not a setting of a link of *scheme*."""
    own = {row.name for row in schemes[scheme]}
    others = {name for name in fields if name not in own and name not in settings_of(Link)}
    if not others:
        return
    hint = f"a link has {', '.join(row.name for row in _rows(schemes, scheme))}"
    unknown = sorted(others - {row.name for row in _rows(schemes, *schemes)})
    if unknown:
        raise BadFieldsError(f"no such setting: {', '.join(unknown)}", hint)
    given = sorted(name for name in others if fields[name] is not None)
    if given:
        raise BadFieldsError(f"a link with scheme {scheme} has no {', '.join(given)}", hint.replace("a link", "it", 1))


def _read_value(row: Setting, fields: Mapping[str, object], kept: OwnSettings) -> Any:
    """Return the value of the setting *row* in *fields*, else the one that is kept, or the default."""
    value = fields.get(row.name)
    if value is not None:
        return row.kind.read(row.name, value)
    if row.is_kept and (before := kept.get(row.name)) is not None:
        return before
    if row.is_needed:
        raise BadFieldsError(f"{row.name} is missing")
    return row.default


def link_to_fields(link: Link) -> dict[str, Written]:
    """Return the settings of *link* as the file and the socket have them; None for one that is not set."""
    return {row.name: written(value) for row, value in link.settings()}


def chosen_fields(link: Link) -> dict[str, str | float]:
    """Return the settings of *link* that differ from their defaults, as the file has them."""
    fields = {row.name: written(value) for row, value in link.settings() if value != row.default}
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in fields.items()
        if value is not None
    }
