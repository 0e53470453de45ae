"""A small part of Jira's query language: clauses joined by AND, and ORDER BY."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

FIELDS = ("project", "key", "status", "issuetype", "assignee", "reporter", "priority", "resolution", "summary", "labels")
# Fields to sort by, which are compared with nothing here.
ORDER_FIELDS = (*FIELDS, "created", "updated", "resolved", "duedate", "description")
_ALIASES = {
    "type": "issuetype",
    "issue": "key",
    "issuekey": "key",
    "id": "key",
    "text": "summary",
    "createddate": "created",
    "updateddate": "updated",
    "resolutiondate": "resolved",
    "due": "duedate",
}
_TOKEN = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(!=|!~|=|~|\(|\)|,)|([^\s=!~(),"']+))""")


class JqlError(Exception):
    """The query is not understood; the message is Jira's manner of saying so."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query."""

    clauses: tuple[tuple[str, str, tuple[str, ...]], ...]  # field, operator (=, !=, ~, !~, in, not in), values in lower case
    order_by: tuple[tuple[str, bool], ...]  # field, whether descending

    def select(self, issues: Iterable["Searchable"]) -> list["Searchable"]:
        """Return those of *issues* that match, in order."""
        found = [issue for issue in issues if all(_matches(issue, *clause) for clause in self.clauses)]
        for field, is_descending in reversed(self.order_by):
            found.sort(key=lambda issue: issue.sort_key(field), reverse=is_descending)
        return found

    def values_of(self, field: str) -> set[str]:
        """Return every value that *field* is compared with."""
        return {value for name, _, values in self.clauses if name == field for value in values}


class Searchable(Protocol):
    """Something that a query selects."""

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return what the field *name* (of `FIELDS`) may be compared with, in lower case."""

    def sort_key(self, name: str) -> tuple[Any, ...]:
        """Return what the field *name* (of `ORDER_FIELDS`) is sorted by; what has no value comes last."""


def parse_jql(text: str, user: str | None) -> Query:
    """
    Parse *text*.

    Args:
        text: the query; empty for everything.
        user: what currentUser() stands for.

    Raises:
        JqlError: it goes beyond what is understood here, or is wrong.
    """
    tokens = _split(text)
    clauses = []
    while tokens and tokens[0][1] != "order":
        clauses.append(_parse_clause(tokens, user))
        if tokens and tokens[0][1] == "and":
            tokens.pop(0)
            if not tokens:
                raise JqlError("Error in the JQL Query: Expecting a clause after 'and'.")
        elif tokens and tokens[0][1] != "order":
            raise JqlError(
                f"Error in the JQL Query: Expecting either 'OR' or 'AND' but got '{tokens[0][0]}'. (The sandbox knows only AND.)"
            )
    return Query(tuple(clauses), _parse_order(tokens))


def _split(text: str) -> list[tuple[str, str]]:
    """Return the words: each as written, and its meaning in lower case ("" before quoted text, which is never a keyword)."""
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise JqlError(f"Error in the JQL Query: The character '{text[position]}' is not expected here.")
        quoted = match[1] if match[1] is not None else match[2]
        if quoted is not None:
            tokens.append((re.sub(r"\\(.)", r"\1", quoted), ""))
        else:
            word = match[3] or match[4]
            tokens.append((word, word.lower()))
        position = match.end()
    return tokens


def _parse_clause(tokens: list[tuple[str, str]], user: str | None) -> tuple[str, str, tuple[str, ...]]:
    written, _ = tokens.pop(0)
    field = _ALIASES.get(written.lower(), written.lower())
    if field not in FIELDS:
        raise JqlError(f"Field '{written}' does not exist or you do not have permission to view it.")
    operator = _take(tokens)
    if operator == "not":
        operator = f"not {_take(tokens)}"
    if operator in ("in", "not in"):
        _expect(tokens, "(")
        values = [_parse_value(tokens, user)]
        while tokens and tokens[0][1] == ",":
            tokens.pop(0)
            values.append(_parse_value(tokens, user))
        _expect(tokens, ")")
        return field, operator, tuple(values)
    if operator == "is":
        is_negated = bool(tokens) and tokens[0][1] == "not"
        if is_negated:
            tokens.pop(0)
        if _take(tokens) not in ("empty", "null"):
            raise JqlError("Error in the JQL Query: 'is' goes only with EMPTY.")
        return field, "!=" if is_negated else "=", ("",)
    if operator not in ("=", "!=", "~", "!~"):
        raise JqlError(f"Error in the JQL Query: Expecting operator but got '{operator}'.")
    return field, operator, (_parse_value(tokens, user),)


def _parse_value(tokens: list[tuple[str, str]], user: str | None) -> str:
    if not tokens:
        raise JqlError("Error in the JQL Query: Expecting a value at the end of the query.")
    written, meaning = tokens.pop(0)
    if meaning in ("(", ")", ",", "=", "!=", "~", "!~"):
        raise JqlError(f"Error in the JQL Query: Expecting a value but got '{written}'.")
    if tokens and tokens[0][1] == "(":
        tokens.pop(0)
        _expect(tokens, ")")
        if meaning != "currentuser":
            raise JqlError(f"Unable to find JQL function '{written}()'.")
        return user or ""
    return "" if meaning in ("empty", "unresolved") else written.lower()


def _parse_order(tokens: list[tuple[str, str]]) -> tuple[tuple[str, bool], ...]:
    order: list[tuple[str, bool]] = []
    if not tokens:
        return ()
    _expect(tokens, "order")
    _expect(tokens, "by")
    while True:
        if not tokens:
            raise JqlError("Error in the JQL Query: The query ends too early.")
        written, _ = tokens.pop(0)
        field = _ALIASES.get(written.lower(), written.lower())
        if field not in ORDER_FIELDS:
            raise JqlError(f"Field '{written}' does not exist or you do not have permission to view it.")
        direction = _take(tokens) if tokens and tokens[0][1] in ("asc", "desc") else "asc"
        order.append((field, direction == "desc"))
        if not tokens:
            return tuple(order)
        _expect(tokens, ",")


def _take(tokens: list[tuple[str, str]]) -> str:
    if not tokens:
        raise JqlError("Error in the JQL Query: The query ends too early.")
    return tokens.pop(0)[1]


def _expect(tokens: list[tuple[str, str]], meaning: str) -> None:
    if _take(tokens) != meaning:
        raise JqlError(f"Error in the JQL Query: Expecting '{meaning}'.")


def _matches(issue: Searchable, field: str, operator: str, values: tuple[str, ...]) -> bool:
    own = issue(field)
    if operator.endswith("~"):
        is_match = any(word in text for word in values for text in own)
    else:
        is_match = any(value in own for value in values)
    return is_match != operator.startswith(("!", "not"))
