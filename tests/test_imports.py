"""The dependency rule of the design, section 7: imports point down only, and `sandbox` stands apart."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "daemon/atl_sign"

VALUES = {"errors", "credentials"}
# The rows that are lists build on each other, in this order.
RULES = [
    "text",
    "urls",
    "products",
    "links",
    "link_command",
    "git_request",
    "signing",
    "store_items",
    "policy",
    "problems",
    "applink_form",
    "callback_page",
    "toml_load",
    "toml_edit",
    "settings",
    "dance_state",
    "hourly",
    "sealing",
    "tries",
    "findings",
    "striking",
    "variables",
]
EDGES = {
    "clock",
    "ownership",
    "folders",
    "audit",
    "config",
    "move_note",
    "neighbours",
    "store",
    "session_bus",
    "secret_service",
    "store_file",
    "store_keyring",
    "tls_files",
    "tls_probe",
    "unreachable",
    "http_out",
    "callback",
    "peer",
    "daemon_call",
    "programs",
    "terminal",
    "notify",
    "installed",
    "user_namespace",
    "own_process",
}
USE_CASES = [
    "unexpected",
    "provider",
    "store_copy",
    "vault",
    "renewal",
    "check",
    "diagnosis",
    "http_tokens",
    "git_tokens",
    "dance",
    "linkbook",
    "storekeeper",
    "agent",
]
SURFACE = ["schemas", "request_fields", "answers", "git_credential", "status_calls", "store_calls", "api"]
PROCESS = [
    "listening",
    "connections",
    "refusal",
    "idle",
    "server",
    "autostart",
    "stopping",
    "service_files",
    "systemd_units",
    "launch_agent",
    "service",
    "demo",
    "setup_guide",
    "log_reader",
    "doctor_link",
    "doctor_daemon",
    "doctor_machine",
    "doctor_report",
    "doctor",
    "cli",
]
EDGE_USES = {
    "folders": {"ownership"},
    "audit": {"folders"},
    "config": {"folders", "ownership"},
    "session_bus": {"folders", "peer"},
    "secret_service": {"ownership", "peer", "session_bus"},
    "move_note": {"folders"},
    "neighbours": {"folders"},
    "store_file": {"folders"},
    "store": {"secret_service", "session_bus", "store_file", "store_keyring"},
    "unreachable": {"tls_files"},
    "http_out": {"tls_files", "unreachable"},
    "tls_probe": {"tls_files"},
    "daemon_call": {"peer"},
    "user_namespace": {"ownership"},
}
FOREIGN = {
    "uvicorn": {"server", "connections"},
    "fastapi": {"api", "answers", "git_credential", "request_fields", "status_calls", "store_calls"},
    "starlette": {"answers"},
    "pydantic": {"schemas", "answers", "request_fields"},
    "keyring": {"secret_service", "store_keyring"},
    "secretstorage": {"secret_service"},
    "requests": {"http_out", "problems", "unreachable"},
    "requests_oauthlib": {"provider"},
    "oauthlib": {"provider"},
    "certifi": {"tls_probe"},
    "cryptography": {"signing", "sealing", "tls_probe"},
    "tomlkit": {"toml_edit"},
    "tomllib": {"settings", "toml_load"},
    "idna": {"urls"},
}
FREE = {"__init__"}


def imports_of(path: Path) -> set[str]:
    """Every module that *path* imports, wherever in the file, by its full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            if node.module == "atl_sign":
                found |= {f"atl_sign.{alias.name}" for alias in node.names}
            else:
                found.add(str(node.module))
    return found


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("atl_sign.")} - {"__version__"}


def allowed(module: str) -> set[str]:
    below = VALUES | set(RULES)
    if module in VALUES:
        return set()
    if module in RULES:
        return VALUES | set(RULES[: RULES.index(module)])
    if module in EDGES:
        return below | EDGE_USES.get(module, set())
    if module in USE_CASES:
        return below | EDGES | set(USE_CASES[: USE_CASES.index(module)])
    if module in SURFACE:
        # The surface speaks in the terms of what the agent returns; it calls nothing below the agent but values and rules.
        core = {"agent", "linkbook", "storekeeper", "dance", "vault"}
        return below | core | set(SURFACE[: SURFACE.index(module)])
    return below | EDGES | set(USE_CASES) | set(SURFACE) | {"sandbox"} | set(PROCESS[: PROCESS.index(module)])


def test_every_module_has_its_place() -> None:
    """A new file must be put into a row, or it is not in the design."""
    placed = VALUES | set(RULES) | EDGES | set(USE_CASES) | set(SURFACE) | set(PROCESS) | FREE

    assert {path.stem for path in PACKAGE.glob("*.py")} == placed


def test_imports_point_down() -> None:
    """Each module imports only from rows above its own in the table."""
    wrong = {
        path.stem: sorted(bad)
        for path in PACKAGE.glob("*.py")
        if path.stem not in FREE and (bad := ours(imports_of(path)) - allowed(path.stem))
    }

    assert wrong == {}


def test_each_library_has_one_door() -> None:
    """uvicorn is the server's, requests the outgoing edge's, the keyring the store's."""
    wrong = {
        (path.stem, name)
        for path in PACKAGE.glob("*.py")
        for name in {full.split(".")[0] for full in imports_of(path)} & FOREIGN.keys()
        if path.stem not in FOREIGN[name]
    }

    assert wrong == set()


def test_the_sandbox_stands_apart() -> None:
    """It verifies with its own code, so nothing of ours may be in it."""
    wrong = {
        (path.name, name)
        for path in (PACKAGE / "sandbox").rglob("*.py")
        for name in imports_of(path)
        if name.startswith("atl_sign") and not name.startswith("atl_sign.sandbox")
    }

    assert wrong == set()


def test_the_start_loads_nothing_heavy() -> None:
    """requests and the keyring's back ends load when the first call needs them: they take 150 ms and 180 ms."""
    import subprocess
    import sys

    heavy = {
        "requests",
        "keyring",
        "secretstorage",
        "tomlkit",
        "atl_sign.sealing",
        "atl_sign.store_file",
        "atl_sign.store_keyring",
    }
    code = f"import sys, atl_sign.server; print(*sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
