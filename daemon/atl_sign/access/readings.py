"""
The ways in which a server may read the address of a request, and the spellings that are refused because servers differ.

Nothing is repaired: the bytes that are looked at are those that go out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_letters, digits, hexdigits
from urllib.parse import quote

from atl_sign.access.policy import PARAMETERS_READ_EVERYWHERE
from atl_sign.base.errors import PathAmbiguousError
from atl_sign.base.urls import Pairs, Url, parse_pairs

PATH_BYTES_MAX = 8_192

_HEX = frozenset(hexdigits)
# Tomcat cuts ";…" from each segment before it resolves "..", and some front proxies take a backslash for a slash.
_NOT_RAW = {"\\": "a backslash", ";": "a semicolon", "?": "a question mark", "#": "a number sign"}
_NOT_ENCODED = frozenset("/\\%;?#")
_UNRESERVED = frozenset(f"{ascii_letters}{digits}-._")  # and "~", which Java's clients encode in the name of a personal project
_SHOWN_RAW = "!$&'()+,:=@~"  # of a segment; a "*" would be a wildcard if it were pasted into a rule
# The extensions that Atlassian's REST framework cuts off for every method: /rest/x/1.json is /rest/x/1.
_EXTENSIONS = (".json", ".xml", ".txt", ".htm", ".html", ".atom")

Segments = tuple[str, ...]
Parameters = Mapping[str, Sequence[str]]  # every value of a name


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a request: its path below the link's base URL, decoded, and its parameters."""

    segments: Segments  # never empty; the last one is "" if the path ends with a slash
    parameters: Parameters = field(default_factory=dict)  # of query and form

    def folded(self) -> "Reading":
        """The same without the difference between capital and small letters."""
        pairs = ((name.casefold(), value.casefold()) for name, values in self.parameters.items() for value in values)
        return Reading(tuple(segment.casefold() for segment in self.segments), gather(pairs))

    def __str__(self) -> str:
        """The path, as a rule would have it."""
        return "".join(f"/{quote(segment, safe=_SHOWN_RAW)}" for segment in self.segments)


def gather(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """Return the values of each name in *pairs*."""
    parameters: dict[str, list[str]] = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return parameters


def read_request(url: Url, base_path: str, form: Pairs | None) -> tuple[Reading, ...]:
    """
    Return every reading of a request; the first is the one as it is written.

    Args:
        url: where it goes, as it will be sent.
        base_path: the path of the link's base URL, "" without a context path.
        form: decoded names and values of a form body; None for every other body.

    Raises:
        PathAmbiguousError: two servers could read the path or the parameters differently, or the path is not below *base_path*.
        BadUrlError: the query cannot be read at all.
    """
    segments = split_path(url.path)
    base = split_path(base_path) if base_path else ()
    if segments[: len(base)] != base:
        raise PathAmbiguousError("the path is not below the link's base URL", "atl-sign link list")
    readings = [(*pairs, *(form or ())) for pairs in _read_query(url.query or "")]
    if any(len(pairs) > PARAMETERS_READ_EVERYWHERE for pairs in readings):
        raise PathAmbiguousError(
            f"there are more than {PARAMETERS_READ_EVERYWHERE} parameters",
            "send several requests: many servers read only the first ones",
        )
    parameters = [gather(pairs) for pairs in readings]
    return tuple(Reading(path, each) for path in read_path(segments[len(base) :] or ("",)) for each in parameters)


def split_path(path: str) -> Segments:
    """
    Return the segments of *path*, each decoded once.

    Raises:
        PathAmbiguousError: a spelling that two servers could read as different paths.
    """
    if len(path) > PATH_BYTES_MAX:
        raise PathAmbiguousError(f"the path is longer than {PATH_BYTES_MAX} bytes", "send long values in the query or the body")
    if not path.startswith("/"):
        raise PathAmbiguousError("the path does not begin with a slash", "begin it with /")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise PathAmbiguousError("the path holds a character that is not printable ASCII", "write it as a percent escape")
    for char, name in _NOT_RAW.items():
        if char in path:
            raise PathAmbiguousError(f"the path holds {name}", "take it out: servers differ in how they read it")
    segments = path[1:].split("/")
    if "" in segments[:-1]:
        raise PathAmbiguousError("the path holds two slashes in a row", "write one slash")
    if "." in segments or ".." in segments:
        raise PathAmbiguousError("the path holds a . or .. segment", "write the path that it leads to")
    return tuple(map(decode_segment, segments))


def decode_segment(segment: str) -> str:
    """Return *segment*, or a part of one, decoded once; raises PathAmbiguousError."""
    if "%" not in segment:
        return segment
    first, *rest = segment.split("%")
    decoded = bytearray(first.encode())
    for part in rest:
        escape = part[:2]
        if len(escape) < 2 or not _HEX.issuperset(escape):
            raise PathAmbiguousError("the path holds a percent sign without two hex digits", "take it out")
        code = int(escape, 16)
        if code < 0x20 or code == 0x7F:
            raise PathAmbiguousError("the path holds an encoded control character", "take it out")
        if chr(code) in _NOT_ENCODED:
            raise PathAmbiguousError(
                f"the path holds {chr(code)} as %{escape}", "take it out: servers differ in how they read it"
            )
        if chr(code) in _UNRESERVED:
            raise PathAmbiguousError(f"the path holds {chr(code)} as %{escape}", f"write {chr(code)}")
        decoded.append(code)
        decoded += part[2:].encode()
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        raise PathAmbiguousError("the path holds percent escapes that are not UTF-8", "encode the text as UTF-8 first") from None
    if any("\x80" <= char <= "\x9f" for char in text):
        raise PathAmbiguousError("the path holds an encoded control character", "take it out")
    return text


def read_path(segments: Segments) -> list[Segments]:
    """Return the readings of a path: as it is, behind a cache prefix, without an extension, without a slash at the end."""
    readings = [segments]
    for change in (_without_cache_prefix, _without_slash, _without_extension, _without_slash):
        readings = _with_each(change, readings)
    return readings


def _with_each(change: Callable[[Segments], Segments], readings: list[Segments]) -> list[Segments]:
    """Return *readings*, and each of them after *change*; none twice."""
    return list(dict.fromkeys([*readings, *map(change, readings)]))


def _without_cache_prefix(segments: Segments) -> Segments:
    """The products forward /s/…/_/x to /x, whatever the method: so browsers keep static files, and it works for every x."""
    if segments[0].casefold() != "s" or "_" not in segments[1:-1]:
        return segments
    return segments[len(segments) - segments[::-1].index("_", 1) :]


def _without_slash(segments: Segments) -> Segments:
    return segments[:-1] if len(segments) > 1 and not segments[-1] else segments


def _without_extension(segments: Segments) -> Segments:
    if segments[0].casefold() != "rest":
        return segments
    return (*segments[:-1], cut_extension(segments[-1]))


def cut_extension(text: str) -> str:
    """Return the last segment, or the end of one, without an extension that Atlassian's REST framework cuts off."""
    cut = next((len(each) for each in _EXTENSIONS if text.casefold().endswith(each)), 0)
    return text[:-cut] if cut else text


def _read_query(query: str) -> list[Pairs]:
    """Return the parameters of *query* as servers read them: split at "&", or at ";" too."""
    if not query.isascii() or not query.isprintable() or " " in query:
        raise PathAmbiguousError("the query holds a character that is not printable ASCII", "write it as a percent escape")
    readings = [parse_pairs(query, "query")]
    if ";" in query:
        parts = query.replace(";", "&").split("&")
        readings.append(parse_pairs("&".join(part for part in parts if part.partition("=")[0]), "query"))
    return readings
