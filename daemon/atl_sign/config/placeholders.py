"""Names in a file that many users read: what stands in braces in a consumer key is replaced for each user and machine."""

import re
from collections.abc import Mapping

from atl_sign.base.errors import BadFieldsError
from atl_sign.base.machine import short_host_name, user_name

DEFAULT_CONSUMER_KEY = "atl-sign-{user}-{host}"  # no colleague's atl-sign has it

_SETTING = "consumer_key"  # the only one with placeholders: it must be unique at a provider (facts section 1.3)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def own_names() -> dict[str, str]:
    """Return what `{user}` and `{host}` stand for here; what a name at a provider should not have becomes a dash."""
    return {"user": plain_name(user_name()), "host": plain_name(short_host_name())}


def plain_name(text: str) -> str:
    """Return *text* in ASCII letters, digits, "-", "." and "_"; each other character is a dash."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "-._") else "-" for char in text)


def expand(fields: Mapping[str, object], names: Mapping[str, str]) -> Mapping[str, object]:
    """
    Return the settings *fields* of a link with the placeholders of its consumer key replaced by *names*.

    Raises:
        BadFieldsError: something else is in braces, or a brace has no partner.
    """
    value = fields.get(_SETTING)
    if not isinstance(value, str) or not has_braces(value):
        return fields
    known = " and ".join(f"{{{name}}}" for name in names)
    unknown = [name for name in _PLACEHOLDER.findall(value) if name not in names]
    if unknown:
        raise BadFieldsError(f"{_SETTING}: {{{unknown[0]}}} is not a placeholder; there are {known}")
    if has_braces(_PLACEHOLDER.sub("", value)):
        raise BadFieldsError(f"{_SETTING} has a brace that is not part of {known.replace(' and ', ' or ')}")
    return {**fields, _SETTING: expand_text(value, names)}


def expand_text(text: str, names: Mapping[str, str]) -> str:
    """Return *text*, in which nothing else is in braces, with its placeholders replaced by *names*."""
    return _PLACEHOLDER.sub(lambda found: names[found[1]], text)


def has_braces(text: str) -> bool:
    """Tell whether *text* has a brace, which a file with placeholders cannot have beside them."""
    return "{" in text or "}" in text
