"""A link out of its settings as a person wrote them, and back: each setting is read and written by its row."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

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


def settings_of_scheme(schemes: Schemes, scheme: str) -> dict[str, Setting]:
    """Return the rows of the settings that a link of *scheme*, one of *schemes*, can have."""
    return {row.name: row for row in _rows(schemes, scheme)}


def _rows(schemes: Schemes, *named: str) -> Iterator[Setting]:
    for row in settings_of(Link).values():
        if row.name != "scheme":
            yield row
            continue
        if len(schemes) > 1:  # with one there is nothing to choose
            choice = Choice(tuple(schemes), f"is not one of {', '.join(schemes)}")
            yield replace(row, kind=choice, option=f"--scheme {'|'.join(schemes)}")
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
    rows = settings_of_scheme(schemes, scheme)
    _check_names(fields, rows, schemes, scheme)
    kept = before.own if before is not None and before.scheme == scheme else OwnSettings()
    values = {}
    for row in rows.values():
        value = fields.get(row.name)
        if value is not None:
            values[row.name] = row.kind.read(row.name, value)
        elif row.is_kept and (kept_value := kept.get(row.name)) is not None:
            values[row.name] = kept_value
        elif row.is_needed:
            raise BadFieldsError(f"{row.name} is missing")
        else:
            values[row.name] = row.default
    values["scheme"] = scheme
    own = {row.name: values.pop(row.name) for row in schemes[scheme]}
    return Link(name, own=OwnSettings.of(schemes[scheme], own), **values)


def _read_scheme(value: object, schemes: Schemes) -> str | None:
    row = Choice(tuple(schemes), f"is not one of {', '.join(schemes)}")
    return None if value is None else row.read("scheme", value)


def _check_names(fields: Mapping[str, object], rows: Mapping[str, Setting], schemes: Schemes, scheme: str) -> None:
    """Raise BadFieldsError if *fields* hold what is not a setting of a link of *scheme*."""
    given = {name for name, value in fields.items() if name != "scheme" and name not in rows}
    hint = f"a link has {', '.join(rows)}"
    unknown = sorted(given - link_settings(schemes).keys())
    if unknown:
        raise BadFieldsError(f"no such setting: {', '.join(unknown)}", hint)
    others = sorted(name for name in given if fields[name] is not None)
    if others:
        raise BadFieldsError(f"a link with scheme {scheme} has no {', '.join(others)}", hint.replace("a link has", "it has", 1))


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
