"""The doctor on the daemon: its configuration and socket, whether and as what it runs, its store, key and log."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from atl_sign import __version__
from atl_sign.access.audit import audit_path
from atl_sign.base.errors import DaemonError
from atl_sign.base.findings import Finding, skip
from atl_sign.base.folders import is_there, runtime_folder
from atl_sign.base.user_namespace import OPEN_MEMORY
from atl_sign.base.variables import NAMES, show_variables
from atl_sign.commands.autostart import SERVICE_HINT, SERVICE_UNIT, SOCKET_UNIT, has_unit_at, manager_environment, unit_folders
from atl_sign.commands.daemon_call import DaemonAnswer, NoAnswerError, call_daemon
from atl_sign.commands.programs import find_program, run_program
from atl_sign.commands.service.systemd import PROPERTIES, find_failure
from atl_sign.config.file import ConfigFile, UntrustedConfigError, config_path
from atl_sign.config.settings import Settings
from atl_sign.custody.stores.opening import STORE_DEFAULT, open_store
from atl_sign.schemes.registry import SCHEMES
from atl_sign.server.listening import StartError, check_way, socket_path
from atl_sign.server.own_process import describe_inherited

CALL_S = 6.0  # a keyring has 3 s
ROOM_BYTES = 1 << 20
UNITS = (SOCKET_UNIT, SERVICE_UNIT)
START_HINT = "atl-sign service install, or by hand: atl-sign serve &"
_STATUS = {"version", "pid", "uptime_s", "signatures", "store", "store_state", "audit", "warnings"}


@dataclass(slots=True)
class DaemonView:
    """What the doctor learned of the daemon, for the checks that build on it and for the report."""

    path: Path | None = None
    pid: int | None = None
    status: dict[str, Any] | None = None  # None: no daemon answered
    variables: dict[str, str] | None = None  # of its environment, as `show_variables`; None: it does not say
    findings: list[Finding] = field(default_factory=list)


def read_config(environment: Mapping[str, str]) -> tuple[Settings, Path, list[Finding]]:
    """Return what the configuration says, where it is, and the findings on it."""
    config = ConfigFile(config_path(environment), SCHEMES)
    try:
        config.check_trusted()
    except UntrustedConfigError as exc:
        return config.settings(), config.path, [Finding("config", "broken", f"{exc}, and so redirect links", exc.hint)]
    settings = config.settings()
    if settings.problems:
        return (
            settings,
            config.path,
            [Finding("config", "broken", str(each), f"fix {config.path}") for each in settings.problems],
        )
    count = len(settings.links.by_name)
    if count == 0:
        hint = "atl-sign help link"
        return settings, config.path, [Finding("config", "warning", f"there is no link in {config.path}", hint)]
    words = "1 link" if count == 1 else f"{count} links"
    return settings, config.path, [Finding("config", "ok", f"{words} in {config.path}")]


def look_at_daemon(environment: Mapping[str, str], settings: Settings) -> DaemonView:
    """
    Ask the daemon how it is; a view with a finding for socket, daemon, version, memory, store, key and audit.

    Args:
        environment: names the socket.
        settings: what the configuration says; without links a missing key is no fault yet.
    """
    view = DaemonView()
    asked = ("daemon", "version", "memory", "store", "key")
    audit = _check_audit(environment, {"audit": "off" if settings.audit == "off" else "", "warnings": []})
    try:
        view.path = socket_path(environment)
    except StartError as exc:
        view.findings = [Finding("socket", "broken", str(exc), exc.hint), *skip(asked, "there is no place for its socket"), audit]
        return view
    view.findings += [*_check_runtime_folder(environment, view.path), _check_socket(view.path)]
    try:
        answer = call_daemon(view.path, "GET", "/status", CALL_S)
    except NoAnswerError as exc:
        view.pid = exc.pid
        view.findings += [
            _no_daemon(environment, exc, view.path),
            *skip(["version", "memory"], "no daemon answers"),
            _check_store_name(environment, settings),
            *skip(["key"], "no daemon answers"),
            audit,
        ]
        return view
    view.pid = answer.pid
    if answer.error or not answer.fields.keys() >= _STATUS:
        words = answer.error.get("message", "it is no atl-signd")
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
        *_check_secrets(view.path, status, len(settings.links.by_name)),
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


def check_service(environment: Mapping[str, str]) -> list[Finding]:
    """Return how systemd's user manager has the units."""
    shown = ask_manager(environment, "show", *UNITS, "-p", PROPERTIES)
    if shown is None:
        return skip(["service"], "no user manager of systemd answers here: the daemon is started by hand or by its clients")
    units = {}
    for block in shown.strip().split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        units[fields.get("Id", "")] = fields
    sock, service = (units.get(name, {}) for name in UNITS)
    if sock.get("LoadState") != "loaded" or service.get("LoadState") != "loaded":
        cause = "the units are not installed: no daemon is there after login until a client starts one"
        return [Finding("service", "warning", cause, "atl-sign service install")]
    failure = find_failure(manager_environment(environment), service)
    if failure is not None and sock.get("ActiveState") == "active":
        return [Finding("service", "broken", f"the daemon {failure.cause}", failure.hint)]
    failed = [name for name in UNITS if units[name].get("ActiveState") == "failed"]
    if failed:
        results = ", ".join(f"{name}: {units[name].get('Result')}" for name in failed)
        reset = f"systemctl --user reset-failed {' '.join(UNITS)} && systemctl --user start {UNITS[0]}"
        hint = f"journalctl --user -u atl-signd; then {reset}"
        return [Finding("service", "broken", f"it failed ({results})", hint)]
    if service.get("NeedDaemonReload") == "yes" or sock.get("NeedDaemonReload") == "yes":
        return [Finding("service", "warning", "the units changed since systemd read them", "atl-sign service install")]
    if sock.get("ActiveState") != "active":
        return [Finding("service", "broken", f"{UNITS[0]} is {sock.get('ActiveState')}", f"systemctl --user start {UNITS[0]}")]
    if sock.get("UnitFileState") not in ("enabled", "enabled-runtime", "static"):
        hint = f"systemctl --user enable {UNITS[0]}"
        return [Finding("service", "warning", f"{UNITS[0]} is {sock.get('UnitFileState')}: it is not there after login", hint)]
    return [Finding("service", "ok", f"{UNITS[0]} is active, {UNITS[1]} is {service.get('ActiveState')}")]


def check_environment(environment: Mapping[str, str], view: DaemonView) -> list[Finding]:
    """
    Return what the daemon, or a service that would be started, lacks of what this shell has.

    Args:
        environment: this shell's.
        view: what the daemon told of its own, which nobody else can read: it lets no process of its user look into it.
    """
    theirs, who = view.variables, "the daemon"
    if theirs is None:
        shown = ask_manager(environment, "show-environment")
        if shown is None:
            return skip(["environment"], "neither the daemon's environment nor a user manager's can be read")
        managers = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        who = "what the user manager starts"
        command = find_program(environment, "atl-signd")
        if command is not None and find_program(managers, "atl-signd") is None:
            hint = "atl-sign service install names the whole path"
            return [Finding("environment", "warning", f"{command} is on this shell's PATH and not on the user manager's", hint)]
        theirs = show_variables(managers)
    ours = show_variables(environment)
    differing = [name for name in NAMES if ours.get(name) != theirs.get(name)]
    if not differing:
        return [Finding("environment", "ok", f"{who} has the same buses, folders, proxies and authorities as this shell")]
    shown_differences = "; ".join(
        f"{name} is {theirs.get(name, 'not set')} there, {ours.get(name, 'not set')} here" for name in differing
    )
    cause = f"{who} has another environment: {shown_differences}"
    return [Finding("environment", "warning", cause, _carry_over(environment, differing, view.pid))]


def _carry_over(environment: Mapping[str, str], names: Iterable[str], pid: int | None) -> str:
    """Return the commands that give a daemon, started anew, the variables *names* as this shell has them."""
    steps = []
    if ask_manager(environment, "show-environment") is not None:
        for verb, is_there in (("import-environment", True), ("unset-environment", False)):
            chosen = [name for name in names if bool(environment.get(name)) == is_there]
            if chosen:
                steps.append(f"systemctl --user {verb} {' '.join(chosen)}")
    if pid is not None:
        steps.append(f"kill {pid}")
    return f"if this shell is right: {'; '.join([*steps, 'the next command starts the daemon anew'])}"


def ask_manager(environment: Mapping[str, str], *arguments: str) -> str | None:
    """Return what `systemctl --user` prints; None when there is none, or it fails or hangs."""
    return run_program(manager_environment(environment), "systemctl", "--user", "--no-pager", *arguments)


def _check_runtime_folder(environment: Mapping[str, str], path: Path) -> Iterator[Finding]:
    """Report a runtime folder that is not used, as after `su`, which leaves that of the user before in the environment."""
    named, used = environment.get("XDG_RUNTIME_DIR"), runtime_folder(environment)
    if named and not environment.get("ATL_SIGN_SOCK") and used != Path(named).absolute():
        cause = f"XDG_RUNTIME_DIR is not a folder of this user and is ignored: {named}; the socket is {path}"
        hint = "unset XDG_RUNTIME_DIR" if used is None else f"export XDG_RUNTIME_DIR={used}"
        yield Finding("socket", "warning", cause, hint)


def _check_socket(path: Path) -> Finding:
    folder = path.parent
    try:
        status = folder.stat()
        check_way(folder)
    except FileNotFoundError:
        return Finding("socket", "ok", f"{path} is made when the daemon starts")
    except StartError as exc:
        return Finding("socket", "broken", str(exc), exc.hint)
    except OSError as exc:
        return Finding("socket", "broken", f"{folder} cannot be looked at: {exc.strerror}", f"ls -ld {quote(str(folder))}")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        hint = (
            f"chmod 700 {quote(str(folder))}"
            if status.st_uid == os.geteuid()
            else "set ATL_SIGN_SOCK to a path in a folder of yours"
        )
        return Finding("socket", "broken", f"others may write into {folder} ({stat.filemode(status.st_mode)})", hint)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Finding("socket", "ok", f"{path} is made when the daemon starts")
    except OSError as exc:
        return Finding("socket", "broken", f"{path} cannot be looked at: {exc.strerror}", f"ls -l {quote(str(folder))}")
    if not stat.S_ISSOCK(found.st_mode):
        return Finding("socket", "broken", f"{path} is not a socket", f"mv {quote(str(path))} {quote(f'{path}.away')}")
    if found.st_uid != os.geteuid():
        return Finding("socket", "broken", f"{path} belongs to another user", "set ATL_SIGN_SOCK to a path in a folder of yours")
    mode = stat.S_IMODE(found.st_mode)
    # Behind a folder that is closed to others the socket's own mode does not matter; systemd-socket-activate makes 0644.
    if mode & 0o077 and status.st_mode & 0o011:
        return Finding(
            "socket", "broken", f"{path} has mode {mode:04o}, in a folder that others may enter", f"chmod 600 {quote(str(path))}"
        )
    if mode & 0o077:
        return Finding("socket", "warning", f"{path} has mode {mode:04o}", f"chmod 600 {quote(str(path))}")
    return Finding("socket", "ok", f"{path}: mode {mode:04o}, in {stat.S_IMODE(status.st_mode):04o}")


def _no_daemon(environment: Mapping[str, str], exc: NoAnswerError, path: Path) -> Finding:
    if has_unit_at(environment, path) and exc.kind in ("absent", "dead", "silent"):
        # The kernel's pid is that of the last daemon on this socket, or of systemd itself: neither is to be ended.
        silence = f"nobody answers at {path}" + (f" within {CALL_S:g} s" if exc.kind == "silent" else "")
        return Finding("daemon", "broken", f"{silence}, where systemd listens", SERVICE_HINT)
    if exc.kind == "absent":
        return Finding("daemon", "broken", f"no daemon runs: there is no {path}", START_HINT)
    if exc.kind == "dead":
        return Finding("daemon", "broken", f"no daemon runs: nobody listens at {path}, which a dead one left", START_HINT)
    if exc.kind == "closed":
        return Finding("daemon", "broken", str(exc), f"ls -l {quote(str(path))}")
    who = "" if exc.pid is None else f" (pid {exc.pid})"
    end = "look who listens there: ss -xlp" if exc.pid is None else f"kill {exc.pid}; then {START_HINT}"
    if exc.kind == "silent":
        return Finding("daemon", "broken", f"the daemon{who} does not answer within {CALL_S:g} s", end)
    return Finding("daemon", "broken", f"{exc}{who}", "set ATL_SIGN_SOCK to another path, or end that")


def _check_store_name(environment: Mapping[str, str], settings: Settings) -> Finding:
    """Tell of a store whose name keeps a daemon from starting; what else is wrong with one, only a daemon knows."""
    pinned = environment.get("ATL_SIGN_STORE")
    try:
        open_store(pinned or settings.store_backend or STORE_DEFAULT, Path("store"))
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
    is_open = OPEN_MEMORY in status["warnings"]
    if not is_open and os.geteuid() != 0:  # root may look into everything
        with suppress(OSError):
            is_open = bool(Path(f"/proc/{pid}/exe").readlink())
    if not is_open:
        return Finding("memory", "ok", "no other program of yours can read the daemon's memory")
    has_units = any(is_there(folder / SERVICE_UNIT) for folder in unit_folders(environment))
    hint = "atl-sign service install" if has_units else "start it outside of the container: atl-sign serve &"
    return Finding("memory", "warning", OPEN_MEMORY, hint)


def _check_secrets(path: Path, status: Mapping[str, Any], links: int) -> Iterator[Finding]:
    store, state = str(status["store"]), status["store_state"]
    key: DaemonAnswer | None
    try:
        key = call_daemon(path, "GET", "/key", CALL_S)
    except NoAnswerError:
        key = None
    error = key.error if key is not None else {}
    moved = next((each for each in status["warnings"] if "atl-sign store move" in each), None)
    if state == "ready" and moved is not None:
        cause, _, command = str(moved).rpartition(": ")
        yield Finding("store", "warning", cause, command)
    elif state == "ready" and store == "memory":
        cause = "secrets are in the daemon's memory alone, and gone with it"
        yield Finding("store", "warning", cause, "to keep them: unset ATL_SIGN_STORE, or [store] backend in config.toml")
    elif state == "ready":
        yield Finding("store", "ok", f"{store} is reachable and unlocked")
    else:
        # What reading the key came to has the store's own words; a key in memory needs no store.
        is_stores = str(error.get("code", "")).startswith(("store_", "keyring_"))
        locked = "atl-sign unlock" if store == "file" else "log in to the desktop, or: gnome-keyring-daemon --replace --unlock"
        hint = error.get("hint") if is_stores else locked if state == "locked" else "look whether the keyring runs"
        yield Finding("store", "broken", f"{store} is {state}" + (f": {error['message']}" if is_stores else ""), hint)
    if key is None:
        yield Finding("key", "skipped", "the daemon did not answer in time")
    elif error.get("code") == "key_missing":
        verdict = "broken" if links else "warning"
        yield Finding("key", verdict, str(error["message"]), error.get("hint"))  # type: ignore[arg-type]  # one of the two
    elif error:
        yield Finding("key", "skipped", f"the store does not say: {error.get('message')}")
    else:
        yield Finding("key", "ok", f"{key.fields.get('bits')} bits, {key.fields.get('fingerprint')}")


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
    failure = next((each for each in status["warnings"] if "audit log" in each), None)
    if failure is not None:
        return Finding("audit", "broken", failure, "make room, or mend the permissions")
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
