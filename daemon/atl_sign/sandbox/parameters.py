"""Parameters as the server's own libraries read them: Tomcat for query and form, net.oauth for the Authorization header."""

import re
from urllib.parse import unquote_plus, unquote_to_bytes

PARAMETERS_MAX = 10_000  # Tomcat's maxParameterCount: what comes after is not read

Pairs = tuple[tuple[str, str], ...]

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(rb"%(?:(?![0-9A-Fa-f]{2})|2[Ff]|5[Cc]|00)")
_AUTHORIZATION = re.compile(r"\s*(\w*)\s+(.*)", re.S)
_ITEM = re.compile(r'(\S*?)\s*=\s*"([^"]*)"')


class ServerThrowsError(Exception):
    """The request makes the real server's own code throw; it answers 500 (facts section 3.1)."""


def has_broken_escape(raw: bytes) -> bool:
    """Tell whether *raw* holds a percent sign without two hex digits."""
    return _BROKEN_ESCAPE.search(raw) is not None


def is_bad_path(raw: bytes) -> bool:
    """
    Tell whether Tomcat answers 400 to the path before any of the product's code sees it.

    It does to a broken escape and, in its default configuration, to an escaped slash, backslash or NUL.
    """
    return _BAD_ESCAPE.search(raw) is not None


def parse_parameters(raw: bytes) -> Pairs:
    """
    Decode a query or an `application/x-www-form-urlencoded` body.

    Parts are split only at "&" and "+" is a blank. A name without "=" has the empty value. A part without a name or with a
    broken escape is dropped in silence, so that a signature over it does not match.
    """
    pairs = []
    for part in raw.split(b"&")[:PARAMETERS_MAX]:
        name, _, value = part.partition(b"=")
        if name and not has_broken_escape(part):
            pairs.append((_decode(name), _decode(value)))
    return tuple(pairs)


def parse_authorization(value: str) -> Pairs:
    """
    Return the items of an Authorization header, its realm left out; empty when its scheme is not OAuth.

    "+" is a blank here too, so an unescaped base64 signature does not survive: net.oauth decodes so.

    Raises:
        ServerThrowsError: an escape of an item is broken.
    """
    match = _AUTHORIZATION.fullmatch(value)
    if match is None or match[1].lower() != "oauth":
        return ()
    pairs = []
    for text in re.split(r"\s*,\s*", match[2].strip()):
        item = _ITEM.fullmatch(text)
        if item is None:
            continue
        if has_broken_escape(text.encode("latin-1")):
            raise ServerThrowsError("a percent escape of the Authorization header is broken")
        name = unquote_plus(item[1])
        if name.lower() != "realm":
            pairs.append((name, unquote_plus(item[2])))
    return tuple(pairs)


def _decode(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")
