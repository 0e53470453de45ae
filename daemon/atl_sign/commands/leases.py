"""`atl-sign lease list`, `show`, `change`, `suspend`, `resume` and `revoke`: the leases that there are."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from atl_sign.access.presets import NAMES
from atl_sign.access.presets.loading import load_preset
from atl_sign.base.terminal import say
from atl_sign.base.text import format_table, one_line
from atl_sign.commands.calling import FAILURES, Conversation, RefusedError, print_answer, report, to_json
from atl_sign.commands.daemon_call import find_listener
from atl_sign.commands.durations import format_duration
from atl_sign.server.listening import socket_path

_OVER = ("expired", "revoked", "ended")
_ID = re.compile(r"[0-9a-f]{8}")
_DENY = "deny "


def run_lease_list(environment: Mapping[str, str], *, as_json: bool) -> int:
    """Print every lease as a table; returns the exit status."""
    try:
        found = Conversation(environment, as_json=as_json).fields_of("/leases")
        if as_json:
            print_answer(to_json(found))
        elif found["leases"]:
            print_answer("\n".join(format_table([_HEADS, *map(_row, found["leases"])])))
        else:
            say("there are no leases", out=sys.stderr)
    except FAILURES as exc:
        return report(exc)
    return 0


def run_lease_show(environment: Mapping[str, str], name: str, *, as_json: bool) -> int:
    """Print the lease with this id or name; returns the exit status."""
    return _print_one(environment, as_json=as_json, call=lambda daemon: daemon.fields_of(_address(name)))


def run_lease_change(environment: Mapping[str, str], name: str, fields: Mapping[str, str], *, as_json: bool) -> int:
    """Change the lease as *fields* of `PATCH /leases/NAME` say, and print it; returns the exit status."""
    sent = {field: value.encode() for field, value in fields.items()}
    return _print_one(environment, as_json=as_json, call=lambda daemon: daemon.change("PATCH", _address(name), sent))


def run_lease_verb(environment: Mapping[str, str], verb: str, names: Sequence[str], *, as_json: bool) -> int:
    """
    Suspend, resume or revoke the leases with these ids or names, or every open one; returns the exit status.

    Args:
        environment: names the socket.
        verb: suspend, resume or revoke.
        names: empty for every open lease that this would change.
        as_json: print the ids as one object.
    """
    done, status = [], 0
    try:
        daemon = Conversation(environment, as_json=as_json)
        for name in names or _names_of_open(daemon, verb):
            try:
                if verb == "revoke":
                    lease_id = str(daemon.fields_of(_address(name))["id"])
                    daemon.change("DELETE", _address(lease_id))
                else:
                    lease_id = str(daemon.change("POST", f"{_address(name)}/{verb}")["id"])
            except RefusedError as exc:
                status = report(exc)  # the others are done nevertheless
            else:
                done.append((lease_id, name))
        if as_json:
            print_answer(to_json({_PAST[verb]: [lease_id for lease_id, _ in done]}))
        elif done:
            print_answer("\n".join(_tell(verb, *each) for each in done))
        elif not names:
            say(f"there are no leases to {verb}", out=sys.stderr)
    except FAILURES as exc:
        return report(exc)
    return status


def find_lease_id(environment: Mapping[str, str], name: str, *, as_json: bool) -> str:
    """Return the id of the lease with this id or name; an id also when the lease is forgotten. Raises FAILURES."""
    if _ID.fullmatch(name) and find_listener(socket_path(environment)) is None:
        return name  # the log has it without a daemon
    daemon = Conversation(environment, as_json=as_json)
    if _ID.fullmatch(name) and daemon.read(_address(name)).status == 404:
        return name
    return str(daemon.fields_of(_address(name))["id"])


def describe(lease: Mapping[str, Any], *, is_new: bool = False) -> list[str]:
    """Return the lines on *lease*, an answer of the daemon; without those that say nothing about one that *is_new*."""
    return [one_line(line) for line in _describe(lease, is_new=is_new)]


def _describe(lease: Mapping[str, Any], *, is_new: bool) -> list[str]:
    lines = [f"id: {lease['id']}"]
    lines += [f"{name}: {lease[name]}" for name in ("name", "purpose") if lease[name] is not None]
    if not is_new:
        lines.append(f"state: {lease['state'].replace('_', ' ')}")
    lines += [f"link: {link}" for link in lease["links"]]
    lines += _format_rules(lease["rules"])
    left = "" if lease["state"] in _OVER else f", in {format_duration(lease['expires_in_s'])}"
    lines.append(f"until: {lease['expires_at']}{left}")
    if lease["uses_left"] is not None:
        lines.append(f"uses_left: {lease['uses_left']}")
    if not is_new:
        lines += [f"allowed: {lease['allowed']}", f"denied: {lease['denied']}"]
        if lease["last_used_at"] is not None:
            lines.append(f"last_used: {lease['last_used_at']}{_describe_peer(lease['last_peer'])}")
    if lease["peers"] != "own":
        lines.append(f"peers: {lease['peers'] if lease['peers'] == 'any' else ' '.join(map(str, lease['peers']))}")
    if lease["tunnel"]:
        lines.append("tunnel: true")
    lines += [f"{name}: {lease[name]}" for name in ("parent", "lives_with") if lease[name] is not None]
    if lease["state"] in _OVER:
        return lines
    lines += [f"{kind}_socket: {lease['sockets'][kind]}" for kind in lease["entries"] if kind in lease["sockets"]]
    return lines + [f"{name}: {lease[name]}" for name in ("url", "ca_file") if lease[name] is not None]


def _describe_peer(peer: Mapping[str, Any] | None) -> str:
    if peer is None:
        return ""
    return f" by {str(peer['program'] or '').rpartition('/')[2]}[{peer['pid']}]"


def _format_rules(rules: Sequence[str]) -> list[str]:
    """Return a line for each of *rules*, and one for those that a preset stands for."""
    allowed = [rule for rule in rules if not rule.startswith(_DENY)]
    denied = [rule.removeprefix(_DENY) for rule in rules if rule.startswith(_DENY)]
    return [f"allow: {rule}" for rule in _shorten(allowed)] + [f"deny: {rule}" for rule in _shorten(denied)]


def _shorten(rules: Sequence[str]) -> list[str]:
    presets = {name: {rule.text for rule in load_preset(name).rules} for name in NAMES}
    whole = {name: texts for name, texts in presets.items() if texts <= set(rules)}
    named = [name for name, texts in whole.items() if not any(texts < other for other in whole.values())]
    covered = set().union(*(whole[name] for name in named))
    return [*named, *(rule for rule in rules if rule not in covered)]


_HEADS = ("ID", "NAME", "STATE", "UNTIL", "USES", "LINKS", "PURPOSE")
_PAST = {"suspend": "suspended", "resume": "resumed", "revoke": "revoked"}


def _row(lease: Mapping[str, Any]) -> tuple[str, ...]:
    left = "" if lease["uses_left"] is None else f", {lease['uses_left']} left"
    uses = f"{lease['allowed']} allowed, {lease['denied']} denied{left}"
    state = lease["state"].replace("_", " ")
    return (
        *(lease["id"], lease["name"] or "-", state, lease["expires_at"], uses, " ".join(lease["links"]), lease["purpose"] or "-"),
    )


def _names_of_open(daemon: Conversation, verb: str) -> list[str]:
    leases = [lease for lease in daemon.fields_of("/leases")["leases"] if lease["state"] not in _OVER]
    if verb != "revoke":
        leases = [lease for lease in leases if (lease["state"] == "suspended") == (verb == "resume")]
    # One that was made from another one ends with it.
    ids = {lease["id"] for lease in leases}
    return [lease["id"] for lease in leases if verb != "revoke" or lease["parent"] not in ids]


def _tell(verb: str, lease_id: str, name: str) -> str:
    return f"{_PAST[verb]} {lease_id}" + ("" if name == lease_id else f" ({name})")


def _print_one(environment: Mapping[str, str], *, as_json: bool, call: Callable[[Conversation], dict[str, Any]]) -> int:
    try:
        lease = call(Conversation(environment, as_json=as_json))
        print_answer(to_json(lease) if as_json else "\n".join(describe(lease)))
    except FAILURES as exc:
        return report(exc)
    return 0


def _address(name: str) -> str:
    return f"/leases/{quote(name, safe='')}"
