"""The doctor on this machine: the programs beside the daemon, the crypto policy, the clock, and the network's settings."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from atl_sign.base.errors import InternalError
from atl_sign.base.findings import Finding, Verdict
from atl_sign.base.striking import strike_address
from atl_sign.commands.doctor.tls_probe import ca_file
from atl_sign.commands.programs import find_program, run_program
from atl_sign.config.links import Link, parse_base_url
from atl_sign.custody.keys.software import make_private_key
from atl_sign.providers.tls_files import UnusableFileError, load_files

PROXY_S = 3.0
CALLBACK_ADDRESS = "127.0.0.1"
CRYPTO_POLICY = Path("/etc/crypto-policies/config")
_BROWSERS = ("xdg-open", "sensible-browser", "x-www-browser")  # as clients/bash/atl-sign has them
_VERSION = re.compile(r"\d+(?:\.\d+)+")


def check_signing(environment: Mapping[str, str]) -> list[Finding]:
    """Make a key and sign with RSA-SHA1, which some crypto policies forbid (RHEL 9, Fedora)."""
    del environment
    policy = _read_policy()
    named = f", crypto policy {policy}" if policy else ""
    try:
        make_private_key(2048)  # signs to test itself
    except InternalError as exc:
        hint = f"sudo update-crypto-policies --set {policy}:SHA1" if policy else exc.hint
        return [Finding("rsa-sha1", "broken", f"{exc.message}{named}", hint)]
    if policy and "NO-SHA1" in policy:
        cause = f"signatures with SHA-1 work, though the crypto policy is {policy}: cryptography brings its own OpenSSL"
        return [Finding("rsa-sha1", "ok", cause)]
    return [Finding("rsa-sha1", "ok", f"signatures with SHA-1 work{named}")]


def check_clock(environment: Mapping[str, str]) -> list[Finding]:
    """Ask systemd whether the clock is kept right; how far it is off, the links' checks say."""
    shown = run_program(environment, "timedatectl", "show", "--property=NTP,NTPSynchronized")
    fields = dict(line.split("=", 1) for line in (shown or "").splitlines() if "=" in line)
    if "NTPSynchronized" not in fields:
        return [Finding("clock", "skipped", "systemd does not say whether the clock is kept right; see link.clock")]
    if fields["NTPSynchronized"] == "yes":
        return [Finding("clock", "ok", "kept right by a time server")]
    if fields.get("NTP") == "yes":
        return [
            Finding("clock", "warning", "a time service runs, and has reached no time server yet", "timedatectl timesync-status")
        ]
    return [Finding("clock", "warning", "nothing keeps the clock right", "sudo timedatectl set-ntp true")]


def check_browser(environment: Mapping[str, str]) -> list[Finding]:
    """Tell whether a dance can open a browser where the user sits."""
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return [Finding("browser", "ok", "over SSH a dance goes by a code: open its address where you sit")]
    named = [command.split()[0] for command in environment.get("BROWSER", "").split(":") if command.split()]
    for program in named:
        if find_program(environment, program):
            return [Finding("browser", "ok", f"BROWSER names {program}")]
    has_screen = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    if named:
        hint = "set BROWSER to a program that is there, or unset it"
        return [Finding("browser", "warning", f"BROWSER names {', '.join(named)}, which is not there", hint)]
    if not has_screen:
        cause = "neither DISPLAY nor WAYLAND_DISPLAY is set: a dance goes by a code"
        return [Finding("browser", "ok", cause)]
    for program in _BROWSERS:
        if find_program(environment, program):
            return [Finding("browser", "ok", f"{program} opens it")]
    cause = f"there is a screen, and none of {', '.join(_BROWSERS)}"
    return [Finding("browser", "warning", cause, "install xdg-utils, or set BROWSER; or dance with --oob")]


def check_callback(environment: Mapping[str, str]) -> list[Finding]:
    """Bind a port as a dance does for the browser to come back to."""
    del environment
    try:
        with (
            socket.create_server((CALLBACK_ADDRESS, 0)) as listener,
            socket.create_connection((CALLBACK_ADDRESS, listener.getsockname()[1]), timeout=PROXY_S),
        ):
            return [Finding("callback", "ok", f"a dance can listen on {CALLBACK_ADDRESS}")]
    except OSError as exc:
        cause = f"a dance cannot listen on {CALLBACK_ADDRESS}: {(exc.strerror or type(exc).__name__).lower()}"
        return [Finding("callback", "broken", cause, "bring the loopback interface up: ip link set lo up; or dance with --oob")]


def check_bash(environment: Mapping[str, str]) -> list[Finding]:
    """The clients' bash: 4.4 or newer."""
    return _check_version(environment, "bash", "--version", (4, 4), "broken")


def check_curl(environment: Mapping[str, str]) -> list[Finding]:
    """The clients' curl: 7.76 or newer, with Unix sockets."""
    findings = _check_version(environment, "curl", "-qV", (7, 76), "broken")
    shown = run_program(environment, "curl", "-qV") or ""
    if findings[0].result == "ok" and "UnixSockets" not in shown:
        return [Finding("curl", "broken", f"{findings[0].cause}, built without Unix sockets", "install your system's own curl")]
    return findings


def check_git(environment: Mapping[str, str]) -> list[Finding]:
    """The git that asks for credentials; having none is not a fault."""
    if find_program(environment, "git") is None:
        return [Finding("git", "skipped", "there is no git")]
    findings = _check_version(environment, "git", "--version", (2, 31), "warning")
    version = _VERSION.search(findings[0].cause)
    if findings[0].result == "ok" and version is not None and _parse_version(version[0]) < (2, 46):
        return [Finding("git", "ok", f"{findings[0].cause}; 2.46 and newer take tokens as Bearer")]
    return findings


def check_proxy(environment: Mapping[str, str]) -> list[Finding]:
    """The proxies that the environment names: can their addresses be read, does each take a connection?"""
    del environment  # the standard library reads its own
    proxies = {
        kind: address for kind, address in getproxies_environment().items() if kind in ("http", "https", "all") and address
    }
    if not proxies:
        return [Finding("proxy", "ok", "none is set in this environment")]
    findings = []
    for address in dict.fromkeys(proxies.values()):
        shown = strike_address(address)
        names = ", ".join(f"{kind}_proxy" for kind, each in proxies.items() if each == address)
        try:
            parts = urlsplit(address if "://" in address else f"http://{address}")
            place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        except ValueError:
            findings.append(Finding("proxy", "broken", f"{names}: {shown} is not an address", "write it as http://host:port"))
            continue
        if parts.scheme.startswith("socks"):
            cause = f"{names}: {shown} is a SOCKS proxy, which needs the Python package PySocks"
            findings.append(Finding("proxy", "warning", cause, "pipx inject atl-sign PySocks, or use an HTTP proxy"))
            continue
        try:
            socket.create_connection(place, timeout=PROXY_S).close()
        except (OSError, UnicodeError) as exc:
            reason = (exc.strerror if isinstance(exc, OSError) else None) or type(exc).__name__
            cause = f"{names}: {shown} accepts no connection: {reason.lower()}"
            findings.append(
                Finding("proxy", "broken", cause, "correct the address, or unset the variable here and for the daemon")
            )
        else:
            findings.append(Finding("proxy", "ok", f"{names}: {shown} accepts connections"))
    return findings


def check_authorities(environment: Mapping[str, str]) -> list[Finding]:
    """The authorities that links without a ca_bundle trust."""
    anyone = Link("any", parse_base_url("https://localhost"))
    named = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE") if environment.get(name)]
    whence = f", named by {named[0]}" if named else ""
    try:
        load_files(anyone)
    except UnusableFileError as exc:
        words, hint = exc.args
        return [Finding("authorities", "broken", f"{words}{whence}", hint)]
    return [Finding("authorities", "ok", f"{ca_file(anyone)}{whence}")]


def _check_version(
    environment: Mapping[str, str], name: str, option: str, least: tuple[int, ...], verdict: Verdict
) -> list[Finding]:
    wanted = ".".join(map(str, least))
    hint = f"install {name} {wanted} or newer"
    path = find_program(environment, name)
    if path is None:
        return [Finding(name, verdict, f"there is no {name} on PATH", hint)]
    found = _VERSION.search(run_program(environment, name, option) or "")
    if found is None:
        return [Finding(name, verdict, f"{path} does not say its version", hint)]
    if _parse_version(found[0]) < least:
        return [Finding(name, verdict, f"{path} is {found[0]}, older than {wanted}", hint)]
    return [Finding(name, "ok", f"{path} is {found[0]}")]


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _read_policy() -> str | None:
    try:
        lines = CRYPTO_POLICY.read_text(errors="replace").splitlines()
    except OSError:
        return None
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return named[0][:100] if named else None
