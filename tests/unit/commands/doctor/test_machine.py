"""The doctor's checks of the machine: real programs, sockets and files, each once well and once not."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from atl_sign.base.errors import InternalError
from atl_sign.base.findings import Finding
from atl_sign.commands.doctor import machine as doctor_machine
from atl_sign.custody.keys.software import RsaPrivateKey
from tests.unit.raw_server import make_certificate


class Programs:
    """A PATH of nothing but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": str(folder)}

    def add(self, name: str, output: str = "", status: int = 0) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{output}\nEND\nexit {status}\n")
        path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Programs(folder)


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_sha1_signatures_work_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the policy's name where the system has one; NO-SHA1 is no obstacle to a cryptography with its own OpenSSL."""
    monkeypatch.setattr(doctor_machine, "CRYPTO_POLICY", tmp_path / "config")

    assert only(doctor_machine.check_signing({})) == Finding("rsa-sha1", "ok", "signatures with SHA-1 work")
    (tmp_path / "config").write_text("# comment\n\nDEFAULT\n")
    assert only(doctor_machine.check_signing({})).cause.endswith("crypto policy DEFAULT")
    (tmp_path / "config").write_text("DEFAULT:NO-SHA1\n")
    assert "brings its own OpenSSL" in only(doctor_machine.check_signing({})).cause


_NO_MODULE = """
openssl_conf = init
[init]
alg_section = algorithms
[algorithms]
default_properties = fips=yes
"""
_CHECK = """
from atl_sign.commands.doctor.machine import check_authorities, check_signing
for finding in (*check_signing({}), *check_authorities({})):
    print(finding.result, finding.cause, finding.hint, sep="|")
"""


def test_an_openssl_without_its_fips_module_is_named(tmp_path: Path) -> None:
    """A real OpenSSL that is configured for a module which is not there: no RSA, and no TLS. The twin: the same without that."""
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text(_NO_MODULE)

    def check(**environment: str) -> list[list[str]]:
        command = [sys.executable, "-c", _CHECK]
        shown = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout
        return [line.split("|") for line in shown.splitlines()]

    broken = check(OPENSSL_CONF=str(configuration))

    assert [(result, "FIPS module" in cause, "OPENSSL_CONF" in hint) for result, cause, hint in broken] == [
        ("broken", True, True),
        ("broken", True, True),
    ]
    assert [result for result, *_ in check()] == ["ok", "ok"]


def test_a_policy_that_forbids_sha1_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What RHEL 9's OpenSSL does, which this machine's cannot be made to do: the signature raises."""

    def refuse(key: RsaPrivateKey, message: bytes) -> bytes:
        raise InternalError("this machine's cryptography library refuses RSA-SHA1 signatures", "allow them")

    monkeypatch.setattr(RsaPrivateKey, "sign_sha1", refuse)
    monkeypatch.setattr(doctor_machine, "CRYPTO_POLICY", tmp_path / "config")
    assert only(doctor_machine.check_signing({})).hint == "allow them"
    (tmp_path / "config").write_text("DEFAULT\n")

    finding = only(doctor_machine.check_signing({}))

    assert finding.result == "broken"
    assert finding.hint == "sudo update-crypto-policies --set DEFAULT:SHA1"


@pytest.mark.parametrize(
    ("output", "result", "hint"),
    [
        ("NTP=yes\nNTPSynchronized=yes", "ok", None),
        ("NTP=yes\nNTPSynchronized=no", "warning", "timedatectl timesync-status"),
        ("NTP=no\nNTPSynchronized=no", "warning", "sudo timedatectl set-ntp true"),
        ("", "skipped", None),
    ],
)
def test_the_clock_is_kept_right_or_not(programs: Programs, output: str, result: str, hint: str | None) -> None:
    """As timedatectl tells."""
    programs.add("timedatectl", output)

    finding = only(doctor_machine.check_clock(programs.environment))

    assert (finding.result, finding.hint) == (result, hint)


def test_without_timedatectl_nothing_is_said_of_the_clock(programs: Programs) -> None:
    """In a container it is not there, or fails."""
    assert only(doctor_machine.check_clock(programs.environment)).result == "skipped"
    programs.add("timedatectl", "NTPSynchronized=yes", 1)
    assert only(doctor_machine.check_clock(programs.environment)).result == "skipped"


@pytest.mark.parametrize(
    ("variables", "present", "result", "words"),
    [
        ({"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22", "DISPLAY": ":0"}, (), "ok", "over SSH"),
        ({"BROWSER": "nothere:firefox %s"}, ("firefox",), "ok", "BROWSER names firefox"),
        ({"BROWSER": "nothere %s", "DISPLAY": ":0"}, ("xdg-open",), "warning", "BROWSER names nothere"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, ("xdg-open",), "ok", "xdg-open opens it"),
        ({"DISPLAY": ":0"}, (), "warning", "there is a screen, and none of"),
        ({}, ("xdg-open",), "ok", "goes by a code"),
    ],
)
def test_browser(programs: Programs, variables: Mapping[str, str], present: tuple[str, ...], result: str, words: str) -> None:
    """As the bash command would choose."""
    for name in present:
        programs.add(name)

    finding = only(doctor_machine.check_browser({**programs.environment, **variables}))

    assert finding.result == result
    assert words in finding.cause


def test_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real port; the twin: an address that this machine does not have (RFC 5737)."""
    assert only(doctor_machine.check_callback({})).result == "ok"
    monkeypatch.setattr(doctor_machine, "CALLBACK_ADDRESS", "192.0.2.1")

    finding = only(doctor_machine.check_callback({}))

    assert finding.result == "broken"
    assert "192.0.2.1" in finding.cause


@pytest.mark.parametrize(
    ("check", "name", "good", "old", "result"),
    [
        (
            doctor_machine.check_bash,
            "bash",
            "GNU bash, version 4.4.0(1)-release",
            "GNU bash, version 4.3.48(1)-release",
            "broken",
        ),
        (doctor_machine.check_curl, "curl", "curl 7.76.0 (x)\nFeatures: UnixSockets", "curl 7.68.0 (x)\nUnixSockets", "broken"),
        (doctor_machine.check_git, "git", "git version 2.46.0", "git version 2.17.1", "warning"),
    ],
)
def test_versions(
    programs: Programs, check: Callable[[Mapping[str, str]], list[Finding]], *, name: str, good: str, old: str, result: str
) -> None:
    """New enough, too old, one that says nothing, and the real one of this machine."""
    programs.add(name, good)
    assert only(check(programs.environment)).result == "ok"
    programs.add(name, old)
    assert only(check(programs.environment)).result == result
    assert str(only(check(programs.environment)).hint).startswith(f"install {name}")
    programs.add(name, "hello")
    assert "does not say its version" in only(check(programs.environment)).cause
    assert only(check(os.environ)).result == "ok"


def test_programs_that_are_not_there(programs: Programs) -> None:
    """bash and curl must be; git need not."""
    assert only(doctor_machine.check_bash(programs.environment)).result == "broken"
    assert only(doctor_machine.check_curl(programs.environment)).result == "broken"
    assert only(doctor_machine.check_git(programs.environment)).result == "skipped"
    programs.add("curl", "curl 8.0.0")
    assert "without Unix sockets" in only(doctor_machine.check_curl(programs.environment)).cause
    programs.add("git", "git version 2.39.5")
    assert "2.46 and newer" in only(doctor_machine.check_git(programs.environment)).cause


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """None; one that listens; one that does not; SOCKS; no address; and never a password."""
    assert only(doctor_machine.check_proxy({})).cause == "none is set in this environment"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://ann:canary-7f3a9c@127.0.0.1:{port}")
        good = only(doctor_machine.check_proxy({}))
    dead = only(doctor_machine.check_proxy({}))
    assert (good.result, dead.result) == ("ok", "broken")
    assert "canary" not in good.cause + dead.cause
    assert "https_proxy: http://…@127.0.0.1" in good.cause
    for address, result in (
        ("socks5://127.0.0.1:1080", "warning"),
        ("http://127.0.0.1:x", "broken"),
        ("no.invalid:3128", "broken"),
    ):
        monkeypatch.setenv("https_proxy", address)
        assert only(doctor_machine.check_proxy({})).result == result


def test_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system's, a file of one's own, and one that is none."""
    assert only(doctor_machine.check_authorities(os.environ)).result == "ok"
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path, "authority")))
    assert only(doctor_machine.check_authorities(os.environ)).cause.endswith("named by SSL_CERT_FILE")
    for content in ("hello", None):
        path = tmp_path / f"wrong-{content}.pem"
        if content:
            path.write_text(content)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        finding = only(doctor_machine.check_authorities(os.environ))
        assert finding.result == "broken"
        assert str(path) in finding.cause
