"""
One rule of what a program may send: `METHODS PATH [?name=value]`.

A path is relative to the link's base URL. In it `*` stands for any characters of a segment that is not empty, and `**` as the
last segment for any number of segments. A value's `*` stands for any characters. Nothing here is a regular expression.
"""

from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

from atl_sign.access.readings import Reading, cut_extension, decode_segment, split_path
from atl_sign.base.errors import BadRuleError, BadUrlError, PathAmbiguousError
from atl_sign.base.text import printable
from atl_sign.base.urls import parse_pairs

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

RULE_CHARS_MAX = 1_000

_SHOWN_MAX = 80  # characters of a bad rule in a message
_EXAMPLE = "write a rule such as: GET /rest/api/*/issue/**"

Glob = tuple[str, ...]  # the texts between the wildcards: one text for none


@dataclass(frozen=True, slots=True)
class Pattern:
    """The paths and the parameter that a rule is about."""

    segments: tuple[Glob, ...]
    has_tail: bool = False  # `**`: any number of segments behind
    parameter: tuple[str, Glob] | None = None  # name and value

    @property
    def is_literal(self) -> bool:
        """Whether the path has no wildcard."""
        return not self.has_tail and all(len(glob) == 1 for glob in self.segments)

    def fits_path(self, reading: Reading) -> bool:
        """Tell whether the path is one of those."""
        count = len(self.segments)
        if len(reading.segments) < count or (len(reading.segments) > count and not self.has_tail):
            return False
        return all(map(_fits_segment, self.segments, reading.segments))

    def find_values(self, reading: Reading) -> list[bool]:
        """Return for each value of the parameter whether it is one of those."""
        if self.parameter is None:
            return []
        name, glob = self.parameter
        return [fits(glob, value) for value in reading.parameters.get(name, ())]

    def shortened(self) -> "Pattern":
        """The same without a slash and an extension at the end: of the request that servers take for the same one."""
        segments = self.segments
        if not self.has_tail and len(segments) > 1:
            segments = segments[:-1] if segments[-1] == ("",) else segments
            segments = (*segments[:-1], (*segments[-1][:-1], cut_extension(segments[-1][-1])))
        return replace(self, segments=segments)

    def folded(self) -> "Pattern":
        """The same without the difference between capital and small letters."""
        parameter = self.parameter and (self.parameter[0].casefold(), _fold(self.parameter[1]))
        return Pattern(tuple(map(_fold, self.segments)), self.has_tail, parameter)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    text: str  # as it was written, with one blank between its words
    methods: frozenset[str]
    pattern: Pattern
    denied: tuple[Pattern, ...]  # by a denying rule: in small letters, as it is written and shortened
    preset: str | None = None  # the name that it came by

    def covers(self, method: str, reading: Reading) -> bool:
        """Tell whether an allowing rule holds: every value of a parameter that it names must be the rule's."""
        if method not in self.methods or not self.pattern.fits_path(reading):
            return False
        values = self.pattern.find_values(reading)
        return self.pattern.parameter is None or (bool(values) and all(values))

    def hits(self, method: str, folded: Reading) -> bool:
        """Tell whether a denying rule acts on *folded*, a reading in small letters: one value of a parameter is enough."""
        if method not in self.methods or not any(pattern.fits_path(folded) for pattern in self.denied):
            return False
        return self.pattern.parameter is None or any(self.denied[0].find_values(folded))


def fits(glob: Glob, text: str) -> bool:
    """Tell whether *text* is the texts of *glob* in this order, with anything between them."""
    if len(glob) == 1:
        return text == glob[0]
    first, *middle, last = glob
    end = len(text) - len(last)
    position = len(first)
    if position > end or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def parse_rule(line: str, preset: str | None = None) -> Rule:
    """
    Take *line* apart; it comes from the preset called *preset*, if that is given.

    Raises:
        BadRuleError: it is not a rule, or one that could be read in two ways.
    """
    words = line.split()
    shown = _show(" ".join(words))
    if len(line) > RULE_CHARS_MAX:
        raise BadRuleError(f"the rule {shown}: it is longer than {RULE_CHARS_MAX} characters", "use wildcards")
    if words[:1] == ["confirm"]:
        raise BadRuleError(f"the rule {shown}: the word confirm is reserved", "leave it out: what no rule allows is refused")
    if len(words) == 1 and "/" not in line:
        raise BadRuleError(f"the rule {shown}: there is no such preset, and a rule has a path", "atl-sign lease presets")
    if not 2 <= len(words) <= 3:
        raise BadRuleError(f"the rule {shown}: a rule has two or three words", _EXAMPLE)
    methods = _parse_methods(words[0], shown)
    path, parameter = words[1], words[2] if len(words) == 3 else None
    pattern = _parse_path(path, shown)
    if parameter is not None:
        pattern = Pattern(pattern.segments, pattern.has_tail, _parse_parameter(parameter, shown))
    denied = tuple(dict.fromkeys([pattern.folded(), pattern.folded().shortened()]))
    return Rule(" ".join(words), methods, pattern, denied, preset)


def _parse_methods(word: str, shown: str) -> frozenset[str]:
    if word == "*":
        return METHODS
    names = word.split(",")
    for name in names:
        if name not in METHODS:
            meant = name.upper() if name.upper() in METHODS else f"one or more of {','.join(sorted(METHODS))}, or *"
            raise BadRuleError(f"the rule {shown}: a rule has no method {_show(name)!r}", f"write {meant}")
    return frozenset(names) | ({"HEAD"} if "GET" in names else set())  # HEAD is a GET without the body


def _parse_path(path: str, shown: str) -> Pattern:
    if "://" in path:
        raise BadRuleError(f"the rule {shown}: its path is a URL", "leave out the link's base URL: begin with the / behind it")
    if "?" in path:
        raise BadRuleError(f"the rule {shown}: its path holds a question mark", "put a blank before the ?")
    try:
        split_path(path)
    except PathAmbiguousError as exc:
        raise BadRuleError(f"the rule {shown}: {exc.message}", exc.hint) from None
    *before, last = path[1:].split("/")
    has_tail = last == "**"
    segments = before if has_tail else [*before, last]
    if any("**" in segment for segment in segments):
        raise BadRuleError(f"the rule {shown}: ** is only for the end of a path, as /**", "write * for one segment")
    # Taken apart at the wildcards before it is decoded, so that %2A is the character itself.
    return Pattern(tuple(tuple(decode_segment(piece) for piece in each.split("*")) for each in segments), has_tail)


def _parse_parameter(word: str, shown: str) -> tuple[str, Glob]:
    name, equals, value = word[1:].partition("=")
    if not word.startswith("?") or not name or not equals:
        raise BadRuleError(f"the rule {shown}: its last word is not ?name=value", "write ?name=* for any value")
    if "*" in name:
        raise BadRuleError(f"the rule {shown}: the name of its parameter has a *", "write the whole name")
    if "&" in word or ";" in word or not word.isascii():
        raise BadRuleError(
            f"the rule {shown}: its last word is not one parameter", "write & as %26, ; as %3B, letters beyond ASCII escaped"
        )
    try:
        parse_pairs(word[1:], "rule")
    except BadUrlError as exc:
        raise BadRuleError(f"the rule {shown}: {exc.message}", exc.hint) from None
    return unquote_plus(name), tuple(unquote_plus(piece) for piece in value.split("*"))


def _fits_segment(glob: Glob, segment: str) -> bool:
    return fits(glob, segment) and (bool(segment) or len(glob) == 1)


def _fold(glob: Glob) -> Glob:
    return tuple(piece.casefold() for piece in glob)


def _show(text: str) -> str:
    return printable(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…")
