"""`atl-sign lease new`: a lease opened as the options want it, and printed for a person, a shell, or `docker run`."""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from shlex import quote
from typing import Any
from urllib.parse import quote as quote_url

from atl_sign.base.terminal import say
from atl_sign.commands.calling import FAILURES, CommandError, Conversation, print_answer, report, to_json
from atl_sign.commands.command_line import CommandLine, UsageError
from atl_sign.commands.daemon_call import NoAnswerError
from atl_sign.commands.durations import parse_duration
from atl_sign.commands.leases import describe
from atl_sign.commands.table.lease import LEASE
from atl_sign.commands.table.rows import Command, usage_of

_LIFETIME_S_MAX = 30 * 24 * 3600
_USES = re.compile(r"[1-9][0-9]{0,8}")
_PEERS = re.compile(r"own|any|[0-9]{1,10}(,[0-9]{1,10})*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PURPOSE_CHARS_MAX = 200
_IN_CONTAINER = "/run/atl-sign"


def run_lease_new(environment: Mapping[str, str], line: CommandLine) -> int:
    """Open the lease that *line* describes and print it; returns the exit status."""
    fields = read_terms(line, LEASE)
    fields |= _read_own_terms(line)
    as_json = line.has("--json")
    try:
        daemon = Conversation(environment, as_json=as_json)
        lease = open_lease(daemon, fields)
        try:
            if as_json:
                print_answer(to_json(lease))
            elif line.has("--env"):
                print_answer("\n".join(_format_environment(lease)))
            elif line.has("--docker"):
                print_answer(" ".join(map(quote, _docker_options(lease))))
                say(*_docker_notes(lease), out=sys.stderr)
            else:
                print_answer("\n".join(_format_opened(lease)))
        except CommandError:
            revoke_quietly(daemon, lease)  # nobody has seen how to use it
            raise
    except FAILURES as exc:
        return report(exc)
    return 0


def read_terms(line: CommandLine, command: Command) -> dict[str, str]:
    """
    Return the fields of `POST /leases` that the options of both `lease new` and `run` give.

    Raises:
        UsageError: a value cannot be understood; *command* is the one whose usage is shown.
    """
    lists = {"links": line.get_all("--link"), "allow": line.get_all("--allow"), "deny": line.get_all("--deny")}
    if line.has("--read-only"):
        lists["allow"] = ["read"]
    for option, values in (("--link", lists["links"]), ("--allow", lists["allow"]), ("--deny", lists["deny"])):
        if any(not value.strip() or "\n" in value for value in values):
            raise UsageError(f"option {option} needs a value in one line", usage_of(command))
    if line.has("--allow-reusable") and not line.has("--sign"):
        raise UsageError("--allow-reusable goes with --sign", usage_of(command))
    fields = {name: "\n".join(values) for name, values in lists.items() if values}
    if line.has("--allow-reusable"):
        fields["allow_reusable"] = "true"
    return fields | read_limits(line, command)


def read_limits(line: CommandLine, command: Command) -> dict[str, str]:
    """Return the fields for `--for` and `--uses`; raises UsageError as `read_terms`."""
    fields = {}
    duration = line.get("--for")
    if duration is not None:
        try:
            seconds = int(parse_duration(duration).total_seconds())
        except ValueError:
            raise UsageError("option --for needs a time such as 90s, 30m, 2h or 7d", usage_of(command)) from None
        if not 0 < seconds <= _LIFETIME_S_MAX:
            raise UsageError("option --for takes from 1s to 30d", usage_of(command))
        fields["expires_in_s"] = str(seconds)
    uses = line.get("--uses")
    if uses is not None:
        if not _USES.fullmatch(uses):
            raise UsageError("option --uses needs a whole number from 1 to 999999999", usage_of(command))
        fields["uses"] = uses
    return fields


def open_lease(daemon: Conversation, fields: Mapping[str, str]) -> dict[str, Any]:
    """Open the lease that *fields* describe, as `POST /leases` takes them, and return it; raises RefusedError, NoAnswerError."""
    return daemon.change("POST", "/leases", {name: value.encode(errors="surrogateescape") for name, value in fields.items()})


def revoke_quietly(daemon: Conversation, lease: Mapping[str, Any]) -> None:
    """Revoke *lease* at the end; without a daemon it has ended already."""
    with suppress(NoAnswerError):
        daemon.ask("DELETE", f"/leases/{quote_url(str(lease['id']), safe='')}")


def _read_own_terms(line: CommandLine) -> dict[str, str]:
    """Return the fields for the options that only `lease new` has; raises UsageError."""
    peers, name, purpose = line.get("--peers"), line.get("--name"), line.get("--purpose")
    if line.has("--json"):
        other = next((option for option in ("--env", "--docker") if line.has(option)), None)
        if other is not None:
            raise UsageError(f"--json and {other} exclude each other", usage_of(LEASE))
    if line.has("--docker") and line.has("--port"):
        raise UsageError("a container cannot reach the port: --docker and --port exclude each other", usage_of(LEASE))
    if peers is not None and not _PEERS.fullmatch(peers):
        raise UsageError("option --peers needs own, any, or uids with commas between", usage_of(LEASE))
    if name is not None and not _NAME.fullmatch(name):
        message = "a lease's name is up to 64 letters, digits, dots, dashes and underscores"
        raise UsageError(message, usage_of(LEASE))
    if purpose is not None and len(purpose) > _PURPOSE_CHARS_MAX:
        raise UsageError(f"option --purpose takes up to {_PURPOSE_CHARS_MAX} characters", usage_of(LEASE))
    entries = ["http", *(["sign"] if line.has("--sign") else []), *(["port"] if line.has("--port") else [])]
    given = {"peers": peers, "name": name, "purpose": purpose, "entries": "\n".join(entries)}
    fields = {field: value for field, value in given.items() if value is not None}
    return fields | ({"tunnel": "true"} if line.has("--tunnel") else {})


def _format_opened(lease: Mapping[str, Any]) -> list[str]:
    lines = describe(lease, is_new=True)
    if lease.get("secret"):
        lines.append(f"secret: {lease['secret']}")
    return lines


def _format_environment(lease: Mapping[str, Any]) -> list[str]:
    variables = lease["env"]
    return ["export {}='{}'".format(name, str(value).replace("'", "'\\''")) for name, value in variables.items()]


def _docker_options(lease: Mapping[str, Any]) -> list[str]:
    """Return the options that put the lease's folder into a container, and name what is there."""
    folder = _folder_of(lease)
    if folder is None:
        raise CommandError("the lease has no socket for a container", "atl-sign doctor")
    options = ["-v", f"{folder}:{_IN_CONTAINER}"]
    for name, value in lease["env"].items():
        path = PurePath(str(value))
        if path.is_relative_to(folder):
            value = PurePath(_IN_CONTAINER) / path.relative_to(folder)  # noqa: PLW2901 - the same, as the container sees it
        options += ["-e", f"{name}={value}"]
    return options


def _folder_of(lease: Mapping[str, Any]) -> PurePath | None:
    paths = [*lease["sockets"].values(), *filter(None, [lease.get("ca_file")])]
    return PurePath(paths[0]).parent if paths else None


def _docker_notes(lease: Mapping[str, Any]) -> list[str]:
    notes = ["note: a system with SELinux also needs --security-opt label=disable"]
    if lease["peers"] == "own":
        notes.append("note: only your own user may use the lease: add --user $(id -u), or open it with --peers")
    return notes
