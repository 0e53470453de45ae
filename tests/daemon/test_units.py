"""The shipped units: systemd finds no fault, they close what docs/service.md says, and the daemon does its job in them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from atl_sign.commands.service.files import DROP_IN, format_drop_in
from atl_sign.sandbox import Sandbox
from tests.daemon.activation import Activator, Manager
from tests.keyring_lab import KeyringLab
from tests.lab import DEADLINE_S, REPOSITORY, Daemon, wait_for
from tests.ordinary_user import as_ordinary_user, give_to_ordinary_user
from tests.tools.confine import allowed_calls, read_unit
from tests.unit.raw_server import RawServer, make_certificate, reply, serve_tls

UNITS = REPOSITORY / "systemd"
SERVICE = UNITS / "atl-signd.service"
# What a user manager can apply without a user namespace (systemd.exec(5) says it of the rest: "PrivateUsers= is implicitly
# enabled", from version 254 on; before that they do nothing, or keep the unit from starting). `test_memory` shows what one costs.
WITHOUT_NAMESPACE = {
    "NoNewPrivileges",
    "UMask",
    "LimitCORE",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RestrictAddressFamilies",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallErrorNumber",
}
# Of systemd.service(5): when and how it is started and ended.
OF_A_SERVICE = {
    "Type",
    "ExecStart",
    "ExecReload",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "WatchdogSec",
}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as `service install` leaves them: linked, with the command of an environment of an odd name beside them."""
    command = tmp_path / "my 50% $HOME %h environment/bin/atl-signd"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    folder = tmp_path / "units"
    (folder / DROP_IN).parent.mkdir(parents=True)
    (folder / DROP_IN).write_text(format_drop_in(command))
    for unit in UNITS.iterdir():
        (folder / unit.name).symlink_to(unit)
    return folder


def analyze(tmp_path: Path, *arguments: str | Path) -> str:
    """Everything that systemd-analyze says; it complains of unknown keys with status 0."""
    done = subprocess.run(
        ["systemd-analyze", *(str(each) for each in arguments)],
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_systemd_finds_no_fault(units: Path, tmp_path: Path) -> None:
    """Not a word of complaint; the twins with a key and with a command that are not there are complained of."""
    verify = ("--user", "--man=no", "verify")
    assert analyze(tmp_path, *verify, units / "atl-signd.service", units / "atl-signd.socket") == ""

    text = SERVICE.read_text()
    (units / "atl-signd.service").unlink()
    (units / "atl-signd.service").write_text(text.replace("UMask=", "UMasc="))
    assert "Unknown key 'UMasc'" in analyze(tmp_path, *verify, units / "atl-signd.service")
    (units / "atl-signd.service").write_text(text)
    (units / DROP_IN).write_text(format_drop_in(Path("/nowhere/atl-signd")))
    assert "/nowhere/atl-signd is not executable" in analyze(tmp_path, *verify, units / "atl-signd.service")


def test_nothing_in_the_unit_needs_a_user_namespace() -> None:
    """One would open the daemon's memory to every program of its user."""
    assert read_unit(SERVICE).keys() == WITHOUT_NAMESPACE | OF_A_SERVICE


def test_no_limit_of_starts_can_close_the_socket() -> None:
    """Both that close it are off (systemd.unit(5), systemd.socket(5)), and a wait between two starts stands in their place."""
    service, socket_unit = SERVICE.read_text(), (UNITS / "atl-signd.socket").read_text()

    assert "\nStartLimitIntervalSec=0\n" in service.partition("[Service]")[0]
    assert "\nTriggerLimitIntervalSec=0\n" in socket_unit
    assert read_unit(SERVICE)["Restart"] == ["on-failure"]
    assert float(read_unit(SERVICE)["RestartSec"][0]) >= 1


@pytest.fixture
def confined() -> Iterator[Daemon]:
    """A daemon on a real keyring, started by its socket, in the unit's confinement."""
    with KeyringLab() as keyring, Manager(keyring.home / "notify") as manager:
        lab = Daemon(ATL_SIGN_STORE="secret-service", NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1000000", **keyring.env)
        command = (
            sys.executable,
            "-m",
            "tests.tools.confine",
            str(SERVICE),
            sys.executable,
            "-m",
            "atl_sign.commands.cli",
            "serve",
        )
        lab.environment["PYTHONPATH"] = str(REPOSITORY)
        with Activator(lab, command):
            yield lab
        assert manager.count("READY=1") == 1
        assert manager.count("STOPPING=1") == 1
        assert manager.count("WATCHDOG=1") >= 1
        lab.close()


def test_the_daemon_does_its_whole_job_in_confinement(confined: Daemon, sandbox: Sandbox) -> None:
    """Key into the keyring, configuration written, a dance by the browser's redirect, a signature that the provider takes."""
    name = confined.link(sandbox, "jira")
    begun = confined.request("POST", "/dance", {"link": name, "callback": "loopback"})
    assert begun.status == 201, begun.text
    with build_opener(ProxyHandler({})).open(sandbox.approve("jira", begun.json["authorize_url"]), timeout=DEADLINE_S) as page:
        assert f"Signed in to {name}" in page.read().decode()
    wait_for(lambda: confined.request("GET", f"/dance/{begun.json['id']}").json["state"] == "granted")

    checked = confined.request("POST", "/links/jira/check")

    assert checked.status == 200, checked.text
    assert checked.json["user"] == "alice"
    assert "[links.jira]" in confined.config.read_text()
    status = confined.request("GET", "/status").json
    assert (status["store"], status["store_state"]) == ("secret-service", "ready")
    confinement = Path(f"/proc/{status['pid']}/status").read_text()
    assert re.search(r"^Seccomp:\t2$", confinement, re.M)
    assert re.search(r"^NoNewPrivs:\t1$", confinement, re.M)
    assert "Traceback" not in confined.log.read_text()


def test_it_speaks_https_and_looks_names_up_in_confinement(confined: Daemon, tmp_path: Path) -> None:
    """TLS with an authority from a file; the twin whose authority nobody knows is told of; and a host that has a name."""
    certificate = make_certificate(confined.folder, "authority")
    manifest = reply(
        "<manifest><typeId>jira</typeId><version>9.12.1</version></manifest>", headers={"Content-Type": "application/xml"}
    )
    with RawServer(manifest, tls=serve_tls(certificate)) as server, RawServer(manifest) as plain:
        known = confined.request("PUT", "/links/a", {"url": server.url, "ca_bundle": str(certificate)})
        unknown = confined.request("PUT", "/links/b", {"url": server.url + "/b"})
        named = confined.request("PUT", "/links/c", {"url": f"http://localhost:{plain.port}"})

    assert (known.json["product"], known.json["version"]) == ("jira", "9.12.1"), known.text
    assert unknown.json["product"] is None
    assert "certificate" in " ".join(unknown.json["warnings"])
    assert named.json["product"] == "jira", named.text


CONFINED_ATTEMPTS = """
import ctypes, mmap, os, resource, socket, stat, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def call_to(name, mode):
    open(os.environ['HOME'] + '/x', 'a').close()
    os.chmod(os.environ['HOME'] + '/x', mode)
for name, attempt in {
    'family': lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    'memory': lambda: mmap.mmap(-1, 4096, prot=7),
    'resources': lambda: os.nice(1),
    'namespace of a child': lambda: subprocess.run(['unshare', '--user', 'true'], check=True, capture_output=True),
    'personality': lambda: call('personality', 0x0400000),
    'setuid file': lambda: call_to('chmod', 0o4755),
    'core': lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
    'home': lambda: call_to('chmod', 0o755),
    'run': lambda: subprocess.run(['true'], check=True),
    'namespace': lambda: call('unshare', 0x10000000),
}.items():
    try:
        attempt()
        print(name)
    except (OSError, ValueError, subprocess.CalledProcessError):
        pass
status = open('/proc/self/status').read()
print('privileges' if 'NoNewPrivs:\\t0' in status else 'no new privileges')
print(oct(os.umask(0)))
"""


def test_the_confinement_confines() -> None:
    """What docs/service.md calls closed fails in it, and all of it works outside, for the same ordinary user."""
    home = Path(tempfile.mkdtemp(prefix="atls-"))
    give_to_ordinary_user(home)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    inner = [sys.executable, "-c", CONFINED_ATTEMPTS]

    def run(*command: str) -> list[str]:
        line = as_ordinary_user(command)
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, umask=0o022, check=False)
        assert done.stderr == ""
        return done.stdout.splitlines()

    inside = run(sys.executable, "-m", "tests.tools.confine", str(SERVICE), *inner)
    outside = run(*inner)
    shutil.rmtree(home)

    assert inside == ["home", "run", "no new privileges", "0o77"]
    opened = {"family", "memory", "resources", "namespace", "namespace of a child", "personality", "setuid file"}
    assert opened | {"home", "run", "privileges", "0o22"} <= set(outside)


def test_the_filter_is_read_as_systemd_reads_it() -> None:
    """A list to allow, less a list to deny; sets within sets are followed."""
    calls = allowed_calls(["@system-service", "~@privileged @resources"])

    assert {"socket", "read", "getuid", "clone3", "prlimit64"} <= calls
    assert calls & {"setuid", "chown", "reboot", "mount", "nice", "ptrace"} == set()


@pytest.mark.slow
def test_a_hung_event_loop_is_noticed() -> None:
    """The watchdog's sign comes from the loop: when a call holds it up, none comes, though other threads go on."""
    with KeyringLab() as keyring, Manager(keyring.home / "notify") as manager:
        lab = Daemon(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="200000")
        code = (
            "import asyncio, time, sys\n"
            "from atl_sign.server import loop as server\n"
            "from atl_sign.commands.cli import main\n"
            "tick = server.Server.on_tick\n"
            "async def hang(self, counter):\n"
            "    if counter == 15: time.sleep(1.5)\n"  # on the loop, as a bug would
            "    return await tick(self, counter)\n"
            "server.Server.on_tick = hang\n"
            "sys.exit(main(['serve']))\n"
        )
        with lab.log.open("ab") as log:
            lab.process = subprocess.Popen([sys.executable, "-c", code], env=lab.environment, cwd=lab.folder, stderr=log)
        moments: list[float] = []
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and not (len(moments) > 20 and longest_gap(moments) > 1):
            before = manager.count("WATCHDOG=1")
            if before > len(moments):
                moments += [time.monotonic()] * (before - len(moments))
            time.sleep(0.01)
        assert longest_gap(moments) > 1.0
        assert lab.stop(signal.SIGTERM) == 0
        lab.close()


def longest_gap(moments: list[float]) -> float:
    return max((b - a for a, b in pairwise(moments)), default=0.0)
