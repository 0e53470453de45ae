"""Programs match on codes: no module of ours looks into the words of a message (design, section 4)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "daemon/atl_sign"
WORDS = {"message", "reason", "hint"}  # of an error, a warning or an answer of the daemon
LOOKS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "find", "index", "count"}


def looks_into_words(source: str) -> list[int]:
    """Return the lines of *source* that compare or cut the words of an error."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = [each for each in sides if not (isinstance(each, ast.Constant) and each.value is None)]
            if len(constants) == len(sides) and any(map(_is_words, sides)):
                found.add(node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_regex = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
            if (node.func.attr in LOOKS and _is_words(node.func.value)) or (is_regex and any(map(_is_words, node.args))):
                found.add(node.lineno)
    return sorted(found)


def _is_words(node: ast.expr) -> bool:
    """Tell whether *node* is an error's text: `exc.message`, `error["hint"]`, `error.get("message")`, `str(exc)`."""
    if isinstance(node, ast.Attribute):
        return node.attr in WORDS
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value in WORDS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value in WORDS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
        return isinstance(node.args[0], ast.Name) and node.args[0].id in ("exc", "error")
    return False


def test_no_module_looks_into_the_words_of_a_message() -> None:
    """A code, a field or a class says it; the words may change with every version."""
    lines = [f"{path}:{line}" for path in PACKAGE.rglob("*.py") for line in looks_into_words(path.read_text())]

    assert lines == []


@pytest.mark.parametrize(
    "source",
    [
        'if "store move" in exc.message: pass',
        'exc.message.removeprefix("link jira: ")',
        'str(exc).startswith("link")',
        'error["message"] == "no"',
        're.search("no", error.get("message"))',
        'cause, _, hint = str(error).rpartition(": ")',
    ],
)
def test_each_way_to_do_so_is_found(source: str) -> None:
    """The twin: what the daemon does with words, and with other texts."""
    assert looks_into_words(source) == [1]
    assert looks_into_words('if exc.message is None or exc.code == "x": print(exc.message, text.startswith("link"))') == []
