"""The doctor on the daemon: its configuration, whether and as what it runs, its store, key and log."""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from atl_sign import __version__
from atl_sign.access.audit import audit_path
from atl_sign.base.errors import DaemonError
from atl_sign.base.findings import Finding, WarningCode, skip
from atl_sign.base.folders import is_there
from atl_sign.base.user_namespace import OPEN_MEMORY
from atl_sign.base.variables import NAMES
from atl_sign.commands.autostart import SERVICE_UNIT, unit_folders
from atl_sign.commands.daemon_call import DaemonAnswer, NoAnswerError, call_daemon
from atl_sign.commands.doctor.socket import check_runtime_folder, check_socket, explain_silence
from atl_sign.config.file import ConfigFile, config_path, system_config_path
from atl_sign.config.links import Link
from atl_sign.config.reading import UntrustedConfigError
from atl_sign.config.settings import Settings
from atl_sign.custody.stores.opening import STORE_DEFAULT, open_store
from atl_sign.custody.vaults.registry import Vaults
from atl_sign.schemes.registry import SCHEME_SETTINGS, SCHEMES
from atl_sign.server.listening import StartError, socket_path
from atl_sign.server.process import describe_inherited

CALL_S = 6.0  # a keyring has 3 s
ROOM_BYTES = 1 << 20
_STATUS = {"version", "pid", "uptime_s", "signatures", "store", "store_state", "audit", "warnings"}


@dataclass(slots=True)
class DaemonView:
    """The doctor's view of the daemon, for the checks that build on it and for the report."""

    path: Path | None = None
    pid: int | None = None
    status: dict[str, Any] | None = None  # None: no daemon answered
    variables: dict[str, str] | None = None  # of its environment, as `show_variables`; None: it does not say
    findings: list[Finding] = field(default_factory=list)


def read_config(environment: Mapping[str, str]) -> tuple[Settings, Path, list[Finding]]:
    """Return what the configuration says, where it is, and the findings on it."""
    config = ConfigFile(config_path(environment), SCHEME_SETTINGS, system_config_path(environment))
    try:
        config.check_trusted()
    except UntrustedConfigError as exc:
        return config.settings(), config.path, [Finding("config", "broken", f"{exc}, and so redirect links", exc.hint)]
    settings = config.settings()
    if settings.problems:
        return (
            settings,
            config.path,
            [
                Finding("config", "warning" if each.is_harmless else "broken", str(each), config.remedy(each))
                for each in settings.problems
            ],
        )
    count = len(settings.links.by_name)
    if count == 0:
        hint = "atl-sign help link"
        return (
            settings,
            config.path,
            [Finding("config", "warning", f"there is no link in {' or '.join(map(str, config.files() or [config.path]))}", hint)],
        )
    words = "1 link" if count == 1 else f"{count} links"
    return settings, config.path, [Finding("config", "ok", f"{words} in {' and '.join(map(str, config.files()))}")]


def look_at_daemon(environment: Mapping[str, str], settings: Settings) -> DaemonView:
    """
    Ask the daemon how it is; a view with a finding for socket, daemon, version, memory, store, key and audit.

    Args:
        environment: names the socket.
        settings: what the configuration says; without links a missing key is not a fault yet.
    """
    view = DaemonView()
    asked = ("daemon", "version", "memory", "store", "key")
    audit = _check_audit(environment, {"audit": "off" if settings.audit == "off" else ""})
    try:
        view.path = socket_path(environment)
    except StartError as exc:
        view.findings = [Finding("socket", "broken", str(exc), exc.hint), *skip(asked, "there is no place for its socket"), audit]
        return view
    view.findings += [*check_runtime_folder(environment, view.path), check_socket(view.path)]
    try:
        answer = call_daemon(view.path, "GET", "/status", CALL_S)
    except NoAnswerError as exc:
        view.pid = exc.pid
        view.findings += [
            explain_silence(environment, exc, view.path, CALL_S),
            *skip(["version", "memory"], "no daemon answers"),
            _check_store_name(environment, settings),
            *skip(["key"], "no daemon answers"),
            audit,
        ]
        return view
    view.pid = answer.pid
    if answer.error or not answer.fields.keys() >= _STATUS:
        words = answer.error.get("message", "it is not atl-signd")
        view.findings.append(
            Finding("daemon", "broken", f"what answers at {view.path} says: {words}", "atl-signd --version; start it anew")
        )
        view.findings += [*skip(asked[1:], "the daemon does not say how it is"), audit]
        return view
    view.status = status = answer.fields
    view.pid = int(status["pid"])
    view.variables = _ask_variables(view.path)
    view.findings += [
        _check_running(status),
        _check_version(str(status["version"])),
        _check_memory(environment, status, view.pid),
        *_check_secrets(view.path, status, settings.links.by_name.values()),
        _check_audit(environment, status),
    ]
    return view


def _check_running(status: Mapping[str, Any]) -> Finding:
    pid = int(status["pid"])
    words = f"answers with pid {pid}, up for {status['uptime_s']} s, {status['signatures']} signatures"
    held = describe_inherited(pid)
    if not held:
        return Finding("daemon", "ok", words)
    cause = f"{words}; inherited from the program that started it: {', '.join(held)}"
    return Finding("daemon", "warning", cause, "atl-sign restart  # from a shell without that")


def _check_store_name(environment: Mapping[str, str], settings: Settings) -> Finding:
    """Tell of a store whose name keeps a daemon from starting; what else is wrong with one, only a daemon knows."""
    pinned = environment.get("ATL_SIGN_STORE")
    try:
        open_store(pinned or settings.store_backend or STORE_DEFAULT, Path("store"), vaults=Vaults(lambda: settings.vaults))
    except DaemonError as exc:
        where = "unset ATL_SIGN_STORE, or " if pinned else "in config.toml "
        return Finding("store", "broken", exc.message, f"{where}{exc.hint}")
    return skip(["store"], "no daemon answers")[0]


def _check_version(version: str) -> Finding:
    if version == __version__:
        return Finding("version", "ok", f"the daemon and this program are {version}")
    hint = "atl-sign restart"
    return Finding("version", "broken", f"the daemon that runs is {version}, this program {__version__}", hint)


def _check_memory(environment: Mapping[str, str], status: Mapping[str, Any], pid: int) -> Finding:
    """Try what a program that wants the daemon's memory would have to be allowed; the daemon may know of one outside of here."""
    is_open = _find_warning(status, "memory_open") is not None
    if not is_open and os.geteuid() != 0:  # root may look into everything
        with suppress(OSError):
            is_open = bool(Path(f"/proc/{pid}/exe").readlink())
    if not is_open:
        return Finding("memory", "ok", "no other program of yours can read the daemon's memory")
    has_units = any(is_there(folder / SERVICE_UNIT) for folder in unit_folders(environment))
    hint = "atl-sign service install" if has_units else "start it outside of the container: atl-sign serve &"
    return Finding("memory", "warning", OPEN_MEMORY, hint)


def _check_secrets(path: Path, status: Mapping[str, Any], links: Collection[Link]) -> Iterator[Finding]:
    store, state = str(status["store"]), status["store_state"]
    key: DaemonAnswer | None
    try:
        key = call_daemon(path, "GET", "/key", CALL_S)
    except NoAnswerError:
        key = None
    error = key.error if key is not None else {}
    moved = _find_warning(status, "store_move")
    if state == "ready" and moved is not None:
        yield Finding("store", "warning", moved["message"], moved["hint"])
    elif state == "ready" and store == "memory":
        cause = "secrets are only in the daemon's memory, and are lost when it ends"
        yield Finding("store", "warning", cause, "to keep them: unset ATL_SIGN_STORE, or [store] backend in config.toml")
    elif state == "ready":
        yield Finding("store", "ok", f"{store} is reachable and unlocked")
    else:
        # The result of reading the key has the store's own words; a key in memory needs no store.
        is_stores = str(error.get("code", "")).startswith(("store_", "keyring_"))
        locked = "atl-sign unlock" if store == "file" else "log in to the desktop, or: gnome-keyring-daemon --replace --unlock"
        hint = error.get("hint") if is_stores else locked if state == "locked" else "look whether the keyring runs"
        yield Finding("store", "broken", f"{store} is {state}" + (f": {error['message']}" if is_stores else ""), hint)
    if key is None:
        yield Finding("key", "skipped", "the daemon did not answer in time")
    elif error.get("code") == "key_missing" and links and not any(SCHEMES[link.scheme].needs_key for link in links):
        yield Finding("key", "skipped", "no link needs one")
    elif error.get("code") == "key_missing":
        verdict = "broken" if links else "warning"
        yield Finding("key", verdict, str(error["message"]), error.get("hint"))  # type: ignore[arg-type]  # one of the two
    elif error:
        yield Finding("key", "skipped", f"the store does not say: {error.get('message')}")
    elif key.fields.get("reference"):
        yield _try_key(path, f"{key.fields.get('bits')} bits, {key.fields.get('fingerprint')}, {key.fields['reference']}")
    else:
        place = key.fields.get("reference")
        words = f"{key.fields.get('bits')} bits, {key.fields.get('fingerprint')}"
        yield Finding("key", "ok", words if place is None else f"{words}, at {place}")


def _try_key(path: Path, words: str) -> Finding:
    """Have a key that is elsewhere make a signature: only that shows that its module, its token and SHA-1 are there."""
    try:
        answer = call_daemon(path, "POST", "/key/check", CALL_S)
    except NoAnswerError:
        return Finding("key", "broken", f"{words}: no signature in {CALL_S:g} s", "atl-sign status")
    if answer.error:
        verdict = "warning" if answer.error.get("code") == "key_locked" else "broken"
        return Finding("key", verdict, f"{words}: {answer.error['message']}", answer.error.get("hint"))  # type: ignore[arg-type]
    return Finding("key", "ok", words)


def _find_warning(status: Mapping[str, Any], code: WarningCode) -> dict[str, Any] | None:
    """Return the daemon's warning with *code*; None when there is none, or the daemon is of a version without codes."""
    return next((each for each in status.get("warning_details", ()) if each["code"] == code), None)


def _ask_variables(path: Path) -> dict[str, str] | None:
    try:
        answer = call_daemon(path, "GET", "/environment", CALL_S)
    except NoAnswerError:
        return None
    told = answer.fields.get("variables")  # one of another version may not know the call
    if not isinstance(told, dict):
        return None
    return {name: str(told[name]) for name in NAMES if told.get(name)}


def _check_audit(environment: Mapping[str, str], status: Mapping[str, Any]) -> Finding:
    place = str(status["audit"])
    failure = _find_warning(status, "audit_failing")
    if failure is not None:
        return Finding("audit", "broken", failure["message"], "make room, or fix the permissions")
    if place == "off":
        return Finding("audit", "warning", "decisions are not recorded", 'remove audit = "off" from config.toml')
    if place == "journal":
        return Finding("audit", "ok", "decisions go to the journal: atl-sign log")
    path = audit_path(environment)
    nearest = next(each for each in (path, *path.parents) if is_there(each))
    if not os.access(nearest, os.W_OK | (os.X_OK if nearest.is_dir() else 0)):
        return Finding("audit", "broken", f"{nearest} cannot be written", f"ls -ld {quote(str(nearest))}; it must be yours")
    if is_there(path) and stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding("audit", "warning", f"others may read {path}", f"chmod 600 {quote(str(path))}")
    filesystem = os.statvfs(nearest)
    if filesystem.f_bavail * filesystem.f_frsize < ROOM_BYTES:
        return Finding("audit", "broken", f"there is no room left where {path} is", "make room: df -h")
    return Finding("audit", "ok", f"decisions go to {path}: atl-sign log")
