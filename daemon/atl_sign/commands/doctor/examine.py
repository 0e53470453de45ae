"""`atl-sign doctor`: every check at once, each with a deadline, shown as lines or as JSON; and the bundle for a bug report."""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Generic, TextIO, TypeVar

from atl_sign import __version__
from atl_sign.base.findings import GRANT_CHECKS, MACHINE_CHECKS, NETWORK_CHECKS, VAULT_CHECKS, VERDICTS, Finding, skip, worst_of
from atl_sign.base.folders import explain_failure
from atl_sign.base.terminal import complain, say
from atl_sign.base.text import one_line
from atl_sign.commands.doctor.daemon import DaemonView, look_at_daemon, read_config
from atl_sign.commands.doctor.link import check_grant, check_network
from atl_sign.commands.doctor.machine import (
    check_authorities,
    check_bash,
    check_browser,
    check_callback,
    check_clock,
    check_curl,
    check_git,
    check_proxy,
    check_signing,
)
from atl_sign.commands.doctor.report import describe_report, make_report, write_report
from atl_sign.commands.doctor.service import check_environment, check_service
from atl_sign.config.links import Link
from atl_sign.config.settings import Settings

MACHINE_S = 15.0
LINK_S = 25.0
RUN_S = 60.0
# Below what the daemon lets talk to providers at once, in all and to one of them (http_out).
_LINKS_AT_ONCE = 8
_LINKS_PER_ORIGIN = 2

_COLOURS: Mapping[str, str] = {"ok": "32", "warning": "33", "broken": "31", "skipped": "2"}
_Result = TypeVar("_Result")

_MACHINE: Mapping[str, Callable[[Mapping[str, str]], list[Finding]]] = {
    "service": check_service,
    "rsa-sha1": check_signing,
    "clock": check_clock,
    "browser": check_browser,
    "callback": check_callback,
    "bash": check_bash,
    "curl": check_curl,
    "git": check_git,
    "proxy": check_proxy,
    "authorities": check_authorities,
}


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found."""

    findings: tuple[Finding, ...]
    settings: Settings
    view: DaemonView


class LateError(Exception):
    """A check did not end in time."""


class _Job(Generic[_Result]):
    """A call in a thread that nobody needs to wait for: a name that DNS does not answer holds its thread for minutes."""

    def __init__(self, call: Callable[[], _Result]) -> None:
        self._call = call
        self._done = threading.Event()
        self._outcome: list[_Result] = []
        self._failure: Exception | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except Exception as exc:  # raised again for the thread that asks for the result
            self._failure = exc
        self._done.set()

    def result(self, deadline: float) -> _Result:
        """Return what the call returned; raises what it raised, and LateError when *deadline* (monotonic) is over."""
        if not self._done.wait(max(0.0, deadline - time.monotonic())):
            raise LateError
        if self._failure is not None:
            raise self._failure
        return self._outcome[0]


def run_doctor(
    environment: Mapping[str, str],
    name: str | None,
    *,
    as_json: bool,
    report: str | None,
    redact: bool,
    out: TextIO | None = None,
) -> int:
    """
    Examine and print; returns the exit status: 1 when something is broken or the report cannot be written, else 0.

    Args:
        environment: this shell's.
        name: the one link to look at; None for all.
        as_json: print JSON instead of lines.
        report: the file for the bundle, "" for one in this folder, None for none.
        redact: leave hosts and paths out of the bundle.
        out: where to print; standard output.
    """
    out = sys.stdout if out is None else out
    examination = examine(environment, name)
    status = int(worst_of(examination.findings) == "broken")
    if report is not None:
        return max(status, _report(environment, examination, report, as_json=as_json, redact=redact, out=out))
    if as_json:
        say(*_format_json(examination.findings).split("\n"), out=out)
    else:
        is_coloured = out.isatty() and not environment.get("NO_COLOR")
        for line in format_findings(examination.findings):
            say(line, out=out, colour=_COLOURS.get(line.partition(" ")[0]) if is_coloured else None)
    return status


def examine(environment: Mapping[str, str], name: str | None = None) -> Examination:
    """Run every check, on all links or the one called *name*; takes a minute at most, whatever hangs."""
    end = time.monotonic() + RUN_S
    machine_end = time.monotonic() + MACHINE_S
    settings, path, findings = read_config(environment)
    links = [link for link in settings.links.by_name.values() if name is None or link.name == name]
    if name is not None and not links and settings.problem_of_link(name) is None:
        findings = [*findings, Finding("config", "broken", f"there is no link {one_line(name)} in {path}", "atl-sign link list")]
    looking = _Job(lambda: look_at_daemon(environment, settings))
    jobs = {check: _Job(lambda call=call: call(environment)) for check, call in _MACHINE.items()}  # type: ignore[misc]
    try:
        view = looking.result(machine_end)
    except Exception as exc:
        view = DaemonView(findings=_explain(("daemon", "socket", "version", "store", "key", "audit"), None, exc))
    jobs["environment"] = _Job(lambda: check_environment(environment, view))
    found_of_vaults = _examine_vaults(settings, view, time.monotonic() + MACHINE_S)
    found_of_links = _examine_links(links, view, end)
    findings = [*findings, *view.findings]
    for check, job in jobs.items():
        findings += _collect((check,), None, job, machine_end)
    findings.sort(key=lambda finding: MACHINE_CHECKS.index(finding.check))
    return Examination((*findings, *found_of_vaults, *found_of_links), settings, view)


def format_findings(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each finding, in columns, with its hint below when it is not well; and a line that counts them."""
    names = [
        finding.check if finding.link is None else f"{finding.link}: {finding.check.removeprefix('link.')}"
        for finding in findings
    ]
    width = max((len(name) for name in names), default=0)
    lines = []
    for finding, name in zip(findings, names, strict=True):
        lines.append(f"{finding.result:<7}  {one_line(name):<{width}}  {one_line(finding.cause)}")
        if finding.hint and finding.result in ("warning", "broken"):
            lines.append(f"{'':<{width + 11}}hint: {one_line(finding.hint)}")
    counts = [(verdict, sum(finding.result == verdict for finding in findings)) for verdict in VERDICTS]
    return [*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in counts if count)]


def _examine_links(links: Iterable[Link], view: DaemonView, end: float) -> list[Finding]:
    """Look at *links*, some at once; those for which no time is left are skipped."""
    waiting = deque(links)
    found: dict[str, list[Finding]] = {
        link.name: skip((*NETWORK_CHECKS, *GRANT_CHECKS), "no time was left", link.name) for link in waiting
    }
    names = list(found)
    places = {link.url.origin: threading.Semaphore(_LINKS_PER_ORIGIN) for link in waiting}

    def work() -> None:
        while time.monotonic() < end:
            try:
                link = waiting.popleft()
            except IndexError:
                return
            with places[link.url.origin]:
                found[link.name] = _examine_link(link, view, min(end, time.monotonic() + LINK_S))

    workers = [_Job(work) for _ in range(min(_LINKS_AT_ONCE, len(names)))]
    for worker in workers:
        try:
            worker.result(end)
        except LateError:
            break
    return [finding for name in names for finding in found[name]]


def _examine_link(link: Link, view: DaemonView, end: float) -> list[Finding]:
    network = _Job(lambda: check_network(link))
    if view.status is None or view.path is None:
        granted = skip(GRANT_CHECKS, "no daemon answers: it has key and token", link.name)
    else:
        path = view.path
        grant = _Job(lambda: check_grant(link, path, LINK_S - 1))
        granted = _collect(GRANT_CHECKS, link.name, grant, end)
    return [*_collect(NETWORK_CHECKS, link.name, network, end), *granted]


def _examine_vaults(settings: Settings, view: DaemonView, end: float) -> list[Finding]:
    if not settings.vaults:
        return []
    from atl_sign.commands.doctor.vault import ask_key, check_vault

    store = settings.store_backend if view.status is None else str(view.status["store"])
    key = None if view.status is None else ask_key(view.path)
    jobs = [_Job(lambda server=server: check_vault(server, store, key)) for server in settings.vaults.values()]  # type: ignore[misc]
    return [finding for job in jobs for finding in _collect(VAULT_CHECKS, None, job, end)]


def _collect(checks: Sequence[str], link: str | None, job: _Job[list[Finding]], deadline: float) -> list[Finding]:
    try:
        return job.result(deadline)
    except Exception as exc:
        return _explain(checks, link, exc)


def _explain(checks: Sequence[str], link: str | None, exc: Exception) -> list[Finding]:
    """Return findings for *checks*, which *exc* ended: the first is broken, the others could not be made."""
    if isinstance(exc, LateError):
        cause, hint = "no result in time", "look what hangs there, then try again"
    elif isinstance(exc, OSError) and isinstance(exc.filename, str):
        cause, hint = f"{exc.filename}: {explain_failure(exc, Path(exc.filename))}", f"ls -ld {quote(exc.filename)}"
    else:
        cause, hint = f"the check itself failed: {type(exc).__name__}", "please report it"
    return [Finding(checks[0], "broken", cause, hint, link), *skip(checks[1:], cause, link)]


def _format_json(findings: Iterable[Finding]) -> str:
    findings = tuple(findings)
    checks = [
        {"check": each.check, "link": each.link, "result": each.result, "cause": each.cause, "hint": each.hint}
        for each in findings
    ]
    return json.dumps({"version": __version__, "result": worst_of(findings), "checks": checks}, indent=2)


def _report(
    environment: Mapping[str, str], examination: Examination, name: str, *, as_json: bool, redact: bool, out: TextIO
) -> int:
    path = Path(name or f"atl-sign-report-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")
    report = make_report(environment, examination.findings, examination.settings, examination.view, redact=redact)
    try:
        write_report(report, path)
    except OSError as exc:
        hint = "name a new file in a folder of yours: --report FILE"
        complain("atl-sign", f"{path} cannot be written: {os.strerror(exc.errno or 0)}", hint)
        return 1
    if as_json:
        say(json.dumps({"report": str(path), "result": worst_of(examination.findings)}), out=out)
        return 0
    say(f"wrote {path}, which only you can read. In it are:", *(f"  {line}" for line in describe_report(report)), out=out)
    say("Secrets are not. Read it before you send it" + ("." if redact else "; --redact leaves hosts and paths out."), out=out)
    return 0
