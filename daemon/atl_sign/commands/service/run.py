"""`atl-signd service`: the daemon at every log-in, by systemd; without it, what there is instead."""

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from atl_sign.base.folders import explain_failure
from atl_sign.base.terminal import complain, say
from atl_sign.base.text import format_lines
from atl_sign.commands.programs import ProgramError
from atl_sign.commands.service.files import ServiceError
from atl_sign.commands.service.systemd import SystemdUnits
from atl_sign.server.listening import StartError


def run_service(action: str, environment: Mapping[str, str], *, as_json: bool = False) -> int:
    """
    Do *action* ("install", "uninstall" or "status") and print what came of it; returns the exit status.

    Args:
        action: what to do.
        environment: the caller's.
        as_json: print the status as JSON.
    """
    service = SystemdUnits(environment)
    try:
        if action == "status":
            fields = service.status()
            say(*([json.dumps(fields)] if as_json else format_lines(fields)))
            return 0 if fields["installed"] and fields["hint"] is None else 1
        say(*(service.install() if action == "install" else service.uninstall()).split("\n"))
    except (ServiceError, ProgramError, StartError) as exc:
        complain("atl-sign", exc, exc.hint)
        return 1
    except OSError as exc:
        what = exc.filename or "the service"
        complain("atl-sign", f"{what}: {explain_failure(exc, Path(what))}", f"ls -ld {quote(str(what))}")
        return 1
    return 0
