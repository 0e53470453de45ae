"""`atl-sign lease`: its verbs, and of them `check` and `presets`: rules tried out, and those that have a name."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atl_sign.access.presets import NAMES
from atl_sign.access.presets.loading import Preset, load_preset
from atl_sign.base.terminal import complain
from atl_sign.base.text import format_table
from atl_sign.commands.calling import FAILURES, CommandError, Conversation, print_answer, report, to_json
from atl_sign.commands.command_line import CommandLine, UsageError, suggest
from atl_sign.commands.lease_opening import read_limits, run_lease_new
from atl_sign.commands.leases import run_lease_change, run_lease_list, run_lease_show, run_lease_verb
from atl_sign.commands.table.lease import LEASE
from atl_sign.commands.table.rows import usage_of


@dataclass(frozen=True, slots=True)
class Trial:
    """A request, and the rules to compare it with."""

    request: str  # "POST https://…"
    link: str | None
    allow: Sequence[str]  # empty: the daemon's default
    deny: Sequence[str]


def run_lease(environment: Mapping[str, str], line: CommandLine) -> int:
    """Carry out the verb of *line*, but for `log`; returns the exit status, or raises UsageError."""
    verb, words, as_json = line.form.verb, line.words, line.has("--json")
    if verb == "presets":
        return run_lease_presets(words[0] if words else None, as_json=as_json)
    if verb == "check":
        link = line.get("--link") or environment.get("ATL_SIGN_LINK")
        return run_lease_check(
            environment, Trial(words[0], link, line.get_all("--allow"), line.get_all("--deny")), as_json=as_json
        )
    if verb == "new":
        return run_lease_new(environment, line)
    if verb == "list":
        return run_lease_list(environment, as_json=as_json)
    if verb == "show":
        return run_lease_show(environment, words[0], as_json=as_json)
    if verb == "change":
        fields = read_limits(line, LEASE)
        if not fields:
            raise UsageError("lease change needs --for or --uses", usage_of(LEASE))
        return run_lease_change(environment, words[0], fields, as_json=as_json)
    if line.has("--all") == bool(words):
        raise UsageError(f"lease {verb} needs the ID of a lease, or --all", usage_of(LEASE))
    return run_lease_verb(environment, verb, words, as_json=as_json)


def run_lease_check(environment: Mapping[str, str], trial: Trial, *, as_json: bool) -> int:
    """Print whether the rules would allow the request; returns 0 when they would, 1 when not, 2 or 3 when that is not known."""
    method, _, url = trial.request.strip().partition(" ")
    if not url:
        complain("atl-sign", "the request has no URL", "atl-sign lease check 'GET https://jira.example.com/rest/api/2/myself'")
        return 2
    fields = {"method": method, "url": url.strip(), "link": trial.link}
    fields |= {name: "\n".join(rules) for name, rules in (("allow", trial.allow), ("deny", trial.deny)) if rules}
    try:
        daemon = Conversation(environment, as_json=as_json)
        sent = {name: os.fsencode(value) for name, value in fields.items() if value is not None}
        answer = daemon.call("POST", "/policy/check", sent).text
        print_answer(answer.rstrip("\n"))
    except FAILURES as exc:
        return max(2, report(exc))  # 1 is a denial, and a script must not take a mistyped rule for one
    decision = json.loads(answer)["decision"] if as_json else answer.partition("\n")[0].removeprefix("decision: ")
    return 0 if decision == "allow" else 1


def run_lease_presets(name: str | None, *, as_json: bool) -> int:
    """Print every preset with its summary, or the rules of the one called *name*; returns the exit status."""
    try:
        if name is not None and name not in NAMES:
            raise CommandError(f"there is no preset {name}{suggest(name, NAMES)}", "atl-sign lease presets")
        presets = [load_preset(each) for each in ([name] if name else NAMES)]
        if as_json:
            print_answer(to_json({"presets": [_describe(preset) for preset in presets]}))
        elif name:
            print_answer("\n".join(rule.text for rule in presets[0].rules))
        else:
            print_answer("\n".join(format_table([(preset.name, preset.summary) for preset in presets])))
    except FAILURES as exc:
        return report(exc)
    return 0


def _describe(preset: Preset) -> dict[str, Any]:
    return {"name": preset.name, "summary": preset.summary, "rules": [rule.text for rule in preset.rules]}
