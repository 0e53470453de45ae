"""Scopes: what a request asks for, and what a scope includes."""

import re
from collections.abc import Iterable

from atl_sign.sandbox.oauth2.flavour import ScopeRule
from atl_sign.sandbox.oauth2.records import App


class ScopeError(Exception):
    """The scopes of a request are not given to this app; the message says why."""


def read_scopes(rule: ScopeRule, app: App | None, text: str | None) -> tuple[str, ...]:
    """
    Return the scopes that a request asks for, each once.

    Args:
        rule: the server's.
        app: the one that asks; None when it is not known yet, and then its own scopes do not limit it.
        text: the request's parameter, or None.

    Raises:
        ScopeError: some are unknown, more than the app may have, or not the right number.
    """
    asked = tuple(dict.fromkeys(scope for scope in re.split(f"[{re.escape(rule.separators)}]", text or "") if scope))
    if rule.ignores_unknown:
        asked = tuple(scope for scope in asked if scope in rule.implied)
    if rule.normalizes:
        asked = normalize(rule, asked)
    if rule.is_needed and not asked:
        raise ScopeError("No scope was requested.")
    if rule.is_single and len(asked) > 1:
        raise ScopeError("Only one scope may be requested.")
    unknown = [scope for scope in asked if scope not in rule.implied]
    if unknown:
        raise ScopeError("The requested scope is unknown.")
    if app is None:
        return asked
    if not asked:
        return app.scopes if rule.default == "app" else ()
    # The scope that brings a refresh token is not one of those that an app is registered for.
    if app.scopes and not set(asked) - {rule.offline} <= include(rule, app.scopes):
        raise ScopeError("The requested scope exceeds what the application may have.")
    return asked


def include(rule: ScopeRule, scopes: Iterable[str]) -> frozenset[str]:
    """Return *scopes* with everything that they include."""
    found: set[str] = set()
    rest = list(scopes)
    while rest:
        scope = rest.pop()
        if scope not in found:
            found.add(scope)
            rest += rule.implied.get(scope, ())
    return frozenset(found)


def normalize(rule: ScopeRule, scopes: Iterable[str]) -> tuple[str, ...]:
    """Return *scopes* without those that others of them include."""
    given = tuple(dict.fromkeys(scopes))
    return tuple(scope for scope in given if not any(scope in include(rule, (other,)) for other in given if other != scope))
