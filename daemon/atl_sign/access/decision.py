"""
Whether a program's rules allow a request: one pure function.

The order is: what is never allowed, the denying rules, the built-in denials, the allowing rules; what no rule allows is refused.
A denial acts if one reading of the request hits it, whatever its letters' case; an allowing rule must hold for every reading.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from atl_sign.access.readings import Reading, read_path
from atl_sign.access.rules import METHODS, Rule, parse_rule
from atl_sign.base.text import printable

By = Literal["allow", "deny", "built_in", "none"]


class _Denials:
    """Denying rules. Only those are looked at whose segments without wildcards are all in the request's path."""

    def __init__(self, *lines: str) -> None:
        self.rules = tuple(map(parse_rule, lines))
        paths = [(rule, pattern.segments) for rule in self.rules for pattern in rule.denied]
        self._plain = [(frozenset(glob[0] for glob in path if len(glob) == 1), rule) for rule, path in paths]

    def rules_for(self, folded: Reading) -> list[Rule]:
        """Return those that may hit *folded*."""
        segments = set(folded.segments)
        return [rule for plain, rule in self._plain if plain <= segments]


# A method override, other credentials, another user; and all that begins with "oauth_".
_NEVER_PARAMETERS = frozenset({"_method", "os_username", "os_password", "os_authtype", "user_id", "xoauth_requestor_id"})
# GraphQL: reads and writes look the same from outside.
_NEVER = _Denials("* /gateway/api/graphql/**", "* /graphql/**", "* /rest/graphql/**")
_BUILT_IN = _Denials(
    # They make credentials, which would outlive the program's own right.
    "* /rest/pat/**",
    "* /rest/access-tokens/**",
    "* /rest/api/*/access-token/**",
    "* /rest/oauth2/**",
    "* /plugins/servlet/oauth/**",
    "* /plugins/servlet/access-tokens/**",
    "* /plugins/personalaccesstokens/**",
    "* /rest/auth/**",
    "* /rest/api/*/user/password/**",
    "* /rest/api/*/myself/password/**",
    "* /rest/api/*/users/credentials/**",
    "* /rest/api/user/*/password/**",
    "* /rest/ssh/**",
    "* /rest/gpg/**",
    "* /rest/keys/**",
    # They run code in the product, or configure it.
    "* /rest/plugins/**",
    "* /rest/scriptrunner/**",
    "* /rest/applinks*/**",
    "* /rest/webhooks/**",
    "* /rest/api/*/projects/*/webhooks/**",
    "* /rest/api/*/projects/*/repos/*/webhooks/**",
    "* /rest/api/admin/**",
    "* /rest/api/*/admin/**",
    "* /rest/*/hook-scripts/**",
    "* /rest/api/*/hook-scripts/**",
    "* /rest/api/*/projects/*/hook-scripts/**",
    "* /rest/api/*/projects/*/repos/*/hook-scripts/**",
    "* /admin/**",
    "* /secure/admin/**",
    "* /bamboo/admin/**",
    # The product fetches another address with the user's right.
    "* /plugins/servlet/applinks/proxy/**",
    "* /plugins/servlet/gadgets/makeRequest/**",
)
# One POST of a remote procedure call is any method, so only a rule whose path has this segment covers it.
_NAMED_ONLY = "rpc"
# A denied path begins with one of these: "s" with the cache prefix.
_ROOTS = frozenset({"rest", "plugins", "secure", "rpc", "gateway", "graphql", "admin", "s"})
# Of Bitbucket, Jira, Confluence, Bamboo: a key, a name, or an "admin" of its own comes behind.
_NO_CONTEXT = _ROOTS | {"projects", "users", "browse", "download", "display", "spaces", "build", "chain"}


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one program."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision on one request."""

    is_allowed: bool
    by: By  # which rules decided; "none": no rule allows it
    reason: str
    reading: Reading  # the one that decided
    rule: Rule | None = None  # None if no single rule decided


def decide(rules: Rules, method: str, readings: tuple[Reading, ...]) -> Ruling:
    """
    Return whether *rules* allow a request, and what decided that.

    Args:
        rules: without an allowing rule, nothing is allowed.
        method: as it will be sent.
        readings: every reading of the request, the first as it is written.
    """
    if method not in METHODS:
        return Ruling(False, "built_in", "a rule can only allow GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS", readings[0])
    as_sent = _fold(readings)
    anywhere = as_sent + _fold(_below_context(readings))
    for reading, folded in as_sent:
        name = next((name for name in folded.parameters if name in _NEVER_PARAMETERS or name.startswith("oauth_")), None)
        if name is not None:
            return Ruling(False, "built_in", f"no rule can allow the parameter {printable(name[:80])}", reading)
    found = _find_denial(_NEVER.rules_for, method, anywhere)
    if found is not None:
        return Ruling(False, "built_in", "no rule can allow it", *found)
    found = _find_denial(lambda _: rules.deny, method, as_sent)
    if found is not None:
        return Ruling(False, "deny", "a rule denies it", *found)
    found = _find_denial(_BUILT_IN.rules_for, method, anywhere)
    if found is not None and not _is_named(rules.allow, method, readings):
        return Ruling(False, "built_in", "only a rule that names the path without wildcards allows it", *found)
    # Asking a person will stand here.
    allow = rules.allow
    if any(folded.segments[0] == _NAMED_ONLY for _, folded in anywhere):
        allow = tuple(rule for rule in allow if (_NAMED_ONLY,) in rule.denied[0].segments)
    covers = [_find_cover(allow, method, reading) for reading in readings]
    for reading, rule in zip(readings, covers, strict=True):
        if rule is None:
            reason = "no rule allows it" if reading is readings[0] else "no rule allows it as some servers read it"
            return Ruling(False, "none", reason, reading)
    return Ruling(True, "allow", "a rule allows it", readings[0], covers[0])


def _fold(readings: Iterable[Reading]) -> list[tuple[Reading, Reading]]:
    """Return each reading, with the same in small letters."""
    return [(reading, reading.folded()) for reading in readings]


def _find_denial(
    rules_for: Callable[[Reading], Iterable[Rule]], method: str, readings: Iterable[tuple[Reading, Reading]]
) -> tuple[Reading, Rule] | None:
    """Return the first reading that a rule hits, and that rule."""
    hits = ((reading, rule) for reading, folded in readings for rule in rules_for(folded) if rule.hits(method, folded))
    return next(hits, None)


def _is_named(rules: Iterable[Rule], method: str, readings: Iterable[Reading]) -> bool:
    """Tell whether a rule without wildcards allows each reading."""
    literal = [rule for rule in rules if rule.pattern.is_literal]
    return all(_find_cover(literal, method, reading) for reading in readings)


def _find_cover(rules: Iterable[Rule], method: str, reading: Reading) -> Rule | None:
    """Return the first rule that allows the reading."""
    return next((rule for rule in rules if rule.covers(method, reading)), None)


def _below_context(readings: Iterable[Reading]) -> list[Reading]:
    """Return the readings for a link whose base URL lacks the product's context path, of one segment or more."""
    found: list[Reading] = []
    for reading in readings:
        for count in range(1, len(reading.segments)):
            if reading.segments[count - 1].casefold() in _NO_CONTEXT:
                break
            if reading.segments[count].casefold() in _ROOTS:
                found += [Reading(path, reading.parameters) for path in read_path(reading.segments[count:])]
    return found
