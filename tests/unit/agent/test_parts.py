"""What a route calls takes the caller first and records itself: a new route cannot forget it."""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import atl_sign.api
from atl_sign.access.caller import Caller
from atl_sign.agent.build import Agent

PARTS = typing.get_type_hints(Agent)
API = Path(atl_sign.api.__path__[0])
# These only read: what they give is no secret and changes nothing.
READS = ("show", "list_all", "explain_problem")
# The end of a dance is recorded wherever it comes from: by its beginning.
RECORDED_BY_BEGIN = {("dances", "finish"), ("dances", "finish_by_url"), ("dances", "cancel")}
# A refusal has its line from where it was raised; this keeps its words.
RECORDED_BEFORE = {("refusals", "add")}


def calls() -> Iterator[tuple[str, str, str]]:
    """Part, method and first argument of each use of the agent in a route."""
    for path in API.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                arguments = [ast.unparse(each) for each in node.args]
                # Directly, or handed to a thread together with its arguments.
                for at, name in enumerate([ast.unparse(node.func), *arguments]):
                    match name.split("."):
                        case ["agent", part, method] if not name.endswith(")"):
                            yield part, method, arguments[at] if at < len(arguments) else ""


USED = sorted(set(calls()))


def test_there_are_routes() -> None:
    """The list that the tests below go through is not empty."""
    assert len({(part, method) for part, method, _ in USED}) > 20
    assert {part for part, _, _ in USED} == PARTS.keys() - {"life", "tunnels"}  # one is for the process, one for the proxy


@pytest.mark.parametrize(("part", "method", "first"), USED)
def test_a_route_names_the_caller(part: str, method: str, first: str) -> None:
    """By the connection's peer."""
    assert first in ("caller", "caller_of(request)")
    parameters = list(inspect.signature(getattr(PARTS[part], method)).parameters.values())
    assert (parameters[1].name, parameters[1].annotation) == ("caller", Caller)


@pytest.mark.parametrize(
    ("part", "method"), sorted({(part, method) for part, method, _ in USED} - RECORDED_BY_BEGIN - RECORDED_BEFORE)
)
def test_what_does_something_records_itself(part: str, method: str) -> None:
    """In a `with` around all that it does."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(PARTS[part], method)))).body
    entries = [
        ast.unparse(item.context_expr)
        for node in ast.walk(function)
        if isinstance(node, ast.With)
        for item in node.items
        if ".entry(" in ast.unparse(item.context_expr)
    ]

    if method.startswith(READS):
        assert entries == []
    else:
        assert len(entries) == 1
        assert ", caller" in entries[0]


def test_the_agent_is_a_record() -> None:
    """Nothing but its parts."""
    assert dataclasses.is_dataclass(Agent)
    assert {name for name in vars(Agent) if not name.startswith("_")} == PARTS.keys()
