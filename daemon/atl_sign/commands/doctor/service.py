"""The doctor on the service: how systemd has the units, and what a daemon lacks of this shell's environment."""

from collections.abc import Iterable, Mapping

from atl_sign.base.findings import Finding, skip
from atl_sign.base.variables import NAMES, show_variables
from atl_sign.commands.autostart import SERVICE_UNIT, SOCKET_UNIT, manager_environment
from atl_sign.commands.doctor.daemon import DaemonView
from atl_sign.commands.programs import find_program, run_program
from atl_sign.commands.service.systemd import PROPERTIES, find_failure

UNITS = (SOCKET_UNIT, SERVICE_UNIT)


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
