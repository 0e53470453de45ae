"""Presets as rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from atl_sign.access.presets import NAMES
from atl_sign.access.rules import Rule, parse_rule
from atl_sign.base.errors import BadRuleError

RULES_MAX = 200  # in one list, after presets are replaced by their rules


@dataclass(frozen=True, slots=True)
class Preset:
    """Several rules under a name."""

    name: str
    summary: str  # a phrase
    rules: tuple[Rule, ...]


@cache
def load_preset(name: str) -> Preset:
    """Return the preset called *name*, one of NAMES."""
    path = Path(__file__).parent / f"{name.replace(':', '/')}.rules"
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    rules = tuple(parse_rule(line, name) for line in lines if line and not line.startswith("#"))
    return Preset(name, first.removeprefix("# "), rules)


def parse_rules(lines: Iterable[str]) -> tuple[Rule, ...]:
    """
    Return the rules that *lines* stand for, each a rule or the name of a preset; empty lines do not count.

    Raises:
        BadRuleError: one of them cannot be read, or there are more than 200 rules.
    """
    rules: list[Rule] = []
    for line in map(str.strip, lines):
        if line in NAMES:
            rules += load_preset(line).rules
        elif line:
            rules.append(parse_rule(line))
        if len(rules) > RULES_MAX:
            raise BadRuleError(f"there are more than {RULES_MAX} rules", "use wildcards instead of a rule for each path")
    return tuple(rules)
