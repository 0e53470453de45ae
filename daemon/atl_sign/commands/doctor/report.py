"""A bundle for a bug report: versions, findings, links, the last decisions and messages, in one JSON file without a secret."""

import json
import os
import platform
import re
import ssl
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from atl_sign import __version__
from atl_sign.base.files import open_without_waiting
from atl_sign.base.findings import Finding
from atl_sign.base.folders import log_path
from atl_sign.base.striking import strike_address, strike_secrets
from atl_sign.commands.autostart import SERVICE_UNIT
from atl_sign.commands.doctor.daemon import DaemonView
from atl_sign.commands.log import LogFilter, NothingRecordedError, show_log
from atl_sign.commands.programs import run_program
from atl_sign.config.link_fields import link_to_fields
from atl_sign.config.settings import Settings

DECISIONS_MAX = 100
MESSAGES_MAX = 100  # of each of the two places
LOG_BYTES_MAX = 1 << 18
_VARIABLES = re.compile(
    r"(?i)ATL_SIGN_(?:SOCK|STORE|AUTOSTART)|XDG_\w+|(?:https?|all|no)_proxy|DBUS_SESSION_BUS_ADDRESS|\w*CA_BUNDLE|SSL_CERT_\w+"
)
_PRESENT_ALONE = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY", "JOURNAL_STREAM", "PYTHONPATH")


def make_report(
    environment: Mapping[str, str], findings: Iterable[Finding], settings: Settings, view: DaemonView, *, redact: bool
) -> dict[str, Any]:
    """
    Return the bundle as an object of sections.

    Args:
        environment: this shell's.
        findings: the checks' results.
        settings: the configuration, of which links are reported, not the file's text.
        view: what the daemon said of itself.
        redact: put numbers in the place of hosts, and leave paths of requests out.
    """
    report: dict[str, Any] = {
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": _versions(environment),
        "environment": _variables(environment),
        "checks": [asdict(finding) for finding in findings],
        "links": {name: link_to_fields(link) for name, link in settings.links.by_name.items()},
        "config": {
            "store": settings.store_backend,
            "audit": settings.audit,
            "problems": [{"file": each.file, "line": each.line, "part": each.part} for each in settings.problems],
        },
        "status": view.status,
        "daemon_environment": view.variables,
        "decisions": _decisions(environment),
        "messages": _messages(environment),
    }
    hidden: dict[str, str] = {}
    if redact:
        for decision in report["decisions"]:
            decision.pop("path", None)
        hosts = sorted(_hosts_of(report), key=len, reverse=True)
        hidden = {host: f"host-{number}.invalid" for number, host in enumerate(hosts, 1)}
    cleaned = _clean(report, hidden, Path.home())
    assert isinstance(cleaned, dict)  # noqa: S101 - it keeps the shape
    # Only now: a key has many lines.
    cleaned["messages"] = [line for text in cleaned["messages"] for line in text.splitlines()[-MESSAGES_MAX:]]
    return cleaned


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write *report* into the new file *path*, mode 0600; raises OSError, also when there is such a file."""
    descriptor = open_without_waiting(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2, ensure_ascii=False)
        file.write("\n")


def describe_report(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each section: what is in it."""
    counts = {name: len(report[name]) for name in ("checks", "links", "decisions", "messages", "environment")}
    return [
        "versions: " + ", ".join(report["versions"]),
        f"environment: {counts['environment']} variables that matter here, without passwords",
        f"daemon_environment: {len(report['daemon_environment'] or ())} variables of the daemon's, without passwords",
        f"checks: {counts['checks']} results",
        f"links: {counts['links']}, with addresses and consumer keys",
        "config: store, audit, and where the file is broken; not its text",
        "status: what the daemon says of itself" if report["status"] else "status: none, no daemon answered",
        f"decisions: the last {counts['decisions']} of the audit log",
        f"messages: the last {counts['messages']} of the daemon's own, in the journal and in its log",
    ]


def _versions(environment: Mapping[str, str]) -> dict[str, str]:
    found = {
        "atl-sign": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "openssl of python": ssl.OPENSSL_VERSION,
        "installed in": sys.prefix,
    }
    try:
        found["distribution"] = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        found["distribution"] = "unknown"
    for name in ("cryptography", "requests", "urllib3", "requests-oauthlib", "fastapi", "uvicorn", "keyring", "secretstorage"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    for name, option in (("bash", "--version"), ("curl", "-qV"), ("git", "--version"), ("systemctl", "--version")):
        found[name] = (run_program(environment, name, option) or "none").partition("\n")[0]
    return found


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    shown = {
        name: strike_address(value) if name.lower() in ("http_proxy", "https_proxy", "all_proxy") else value
        for name, value in environment.items()
        if _VARIABLES.fullmatch(name)
    }
    return shown | {name: "set" for name in _PRESENT_ALONE if environment.get(name)}


def _decisions(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    lines: deque[str] = deque(maxlen=DECISIONS_MAX)
    try:
        show_log(environment, LogFilter(), as_json=True, write=lines.append)
    except (NothingRecordedError, OSError):
        return []
    return [json.loads(line) for line in lines]


def _messages(environment: Mapping[str, str]) -> list[str]:
    """Return what the daemon wrote to the journal, and to the log when a client started it: each a text of whole lines."""
    shown = run_program(
        environment, "journalctl", "--user", "--quiet", "--no-pager", f"--unit={SERVICE_UNIT}", f"--lines={MESSAGES_MAX}"
    )
    log = log_path(environment)
    return [shown or "", _read_end(log.with_name(f"{log.name}.1")) + _read_end(log)]


def _read_end(path: Path) -> str:
    """Return the last lines of *path*, of which the first is whole too: the rest of a secret would not look like one."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - LOG_BYTES_MAX)
            file.seek(start)
            if start:
                file.readline()
            return file.read(LOG_BYTES_MAX).decode(errors="replace")
    except OSError:  # most often there is none
        return ""


def _hosts_of(report: Mapping[str, Any]) -> set[str]:
    """Return every host that links, decisions and proxies name, and this machine."""
    hosts = {platform.node(), *(str(each.get("host", "")).partition(":")[0] for each in report["decisions"])}
    addresses = [value for link in report["links"].values() for value in link.values() if isinstance(value, str)]
    for text in (*addresses, *report["environment"].values(), *(finding["cause"] for finding in report["checks"])):
        for address in re.findall(r"[A-Za-z][\w+.-]*://[^\s,;'\"]+", text):
            try:
                hosts.add(urlsplit(address).hostname or "")
            except ValueError:
                continue
    for name, value in (*report["environment"].items(), *(report["daemon_environment"] or {}).items()):
        if name.lower().endswith("_proxy"):  # without a scheme too, and a list of names
            hosts |= {re.split(r"[:/]", each.strip().rpartition("@")[2])[0].lstrip(".*") for each in value.split(",")}
    return {host for host in hosts if len(host) > 3 and host not in ("127.0.0.1", "localhost")}


def _clean(value: Any, hidden: Mapping[str, str], home: Path) -> Any:
    """Return *value* with home as `~`, the *hidden* texts replaced, and what looks like a secret struck out."""
    if isinstance(value, dict):
        return {str(_clean(key, hidden, home)): _clean(each, hidden, home) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each, hidden, home) for each in value]
    if not isinstance(value, str):
        return value
    text = strike_secrets(value)
    if len(home.parts) > 1:
        text = re.sub(rf"{re.escape(str(home))}(?![\w.-])", "~", text)
    for found, instead in hidden.items():
        text = re.sub(rf"(?i)(?<![\w-]){re.escape(found)}(?![\w-])", instead, text)
    return text
