"""The rule of the rooms (design, section 7): imports point left, none goes in a circle, and each library has one door."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "daemon/atl_sign"
ORDER = [
    {"base"},
    {"config"},
    {"providers"},
    {"schemes"},
    {"custody"},
    {"grants", "access"},
    {"agent"},
    {"api", "proxy"},
    {"server"},
    {"commands"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
DOORS = {
    "uvicorn": {"server"},
    "fastapi": {"api"},
    "starlette": {"api"},
    "pydantic": {"api"},
    "keyring": {"custody"},
    "pkcs11": {"custody"},
    "secretstorage": {"custody"},
    "requests": {"providers", "schemes"},
    "requests_oauthlib": {"schemes"},
    "oauthlib": {"schemes"},
    "certifi": {"commands", "providers"},
    "cryptography": {"custody", "commands", "proxy"},
    "h11": {"proxy"},
    "tomlkit": {"config"},
    "tomllib": {"config"},
    "idna": {"base"},
}


def modules(folder: Path = PACKAGE) -> dict[str, set[str]]:
    """Return each module below *folder* by its full name, with all that it imports, wherever in the file."""
    found = {}
    for path in folder.rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                imported |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")] = imported
    return found


def room_of(module: str) -> str:
    """Return the room of a module of ours, or nothing."""
    return module.split(".")[1] if module.startswith("atl_sign.") else ""


def test_a_room_imports_rooms_to_its_left() -> None:
    wrong = {
        (module, name)
        for module, imported in modules().items()
        for name in imported
        if room_of(module) in RANK
        and room_of(name) in RANK.keys() - {room_of(module)}
        and RANK[room_of(name)] >= RANK[room_of(module)]
    }

    assert wrong == set()


def test_imports_go_in_no_circle() -> None:
    found = {module: imported for module, imported in modules().items() if room_of(module) in RANK}

    assert list(TopologicalSorter({module: imported & found.keys() for module, imported in found.items()}).static_order())


def test_every_module_is_in_a_room_that_has_its_page() -> None:
    """A room's `__init__` says its job and its words."""
    pages = {path.parent.name: ast.get_docstring(ast.parse(path.read_text())) for path in PACKAGE.glob("*/__init__.py")}

    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}
    assert {room_of(module) for module in modules()} - {""} == pages.keys()
    assert all(pages.values())


def test_each_library_has_one_door() -> None:
    wrong = {
        (module, name)
        for module, imported in modules().items()
        for name in {full.split(".")[0] for full in imported} & DOORS.keys()
        if room_of(module) not in DOORS[name] | {"sandbox"}
    }

    assert wrong == set()


def test_the_sandbox_stands_apart() -> None:
    """It verifies with its own code, so nothing of ours may be in it."""
    wrong = {
        (module, name)
        for module, imported in modules(PACKAGE / "sandbox").items()
        for name in imported
        if name.startswith("atl_sign") and room_of(name) != "sandbox"
    }

    assert wrong == set()


def test_the_start_loads_nothing_heavy() -> None:
    """requests and the keyring's back ends load when the first call needs them: they take 150 ms and 180 ms."""
    heavy = {
        "requests",
        "keyring",
        "secretstorage",
        "tomlkit",
        "xml",
        "pkcs11",
        "atl_sign.custody.keys.pkcs11",
        "atl_sign.custody.stores.sealing",
        "atl_sign.custody.stores.file",
        "atl_sign.custody.stores.keyring",
        "atl_sign.access.decision",
        "atl_sign.access.presets.loading",
        "atl_sign.access.readings",
        "atl_sign.access.rules",
    }
    code = f"import sys, atl_sign.server.serve; print(*sorted({heavy!r} & sys.modules.keys()))"
    # Measured, a process loads what coverage itself needs.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_"))}
    done = subprocess.run([sys.executable, "-c", code], env=unmeasured, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
