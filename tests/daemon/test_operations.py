"""docs/operations.md done: what it removes is everything there was, and a copied configuration is good on another machine."""

import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.keyring_lab import KeyringLab
from tests.lab import DEADLINE_S, REPOSITORY, Daemon

pytestmark = pytest.mark.slow


def commands_of(heading: str) -> str:
    """The block marked bash below *heading*."""
    part = (REPOSITORY / "docs/operations.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^ *```bash\n(.*?)^ *```$", part, re.M | re.S)
    return str(block)


def run(daemon: Daemon, command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-eu", "-c", command],
        env=daemon.environment,
        cwd=daemon.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_uninstalled_without_a_trace(sandbox: Sandbox) -> None:
    """The page's commands leave neither an item in the keyring nor a file; before them there were both."""
    with KeyringLab() as keyring:
        daemon = Daemon(ATL_SIGN_STORE="secret-service", **keyring.env)
        try:
            daemon.start()
            daemon.dance(sandbox, "jira")
            assert run(daemon, "atl-sign link remove jira").returncode == 0
            daemon.stop()
            environment = daemon.folder / ".local/share/atl-sign-venv"
            environment.parent.mkdir(parents=True)
            environment.symlink_to(Path(sys.executable).parent.parent)  # as the page installs it
            assert (len(keyring.read("consumer-key")), keyring.read("token:jira")) == (1, [])
            assert traces(daemon) != []

            done = run(daemon, commands_of("Uninstall without a trace"))

            assert (done.returncode, done.stderr) == (0, "")
            assert keyring.read("consumer-key") == []
            assert traces(daemon) == []
        finally:
            daemon.close()


def traces(daemon: Daemon) -> list[Path]:
    """Every file and socket in the daemon's home, but what the test itself made there."""
    return [path for path in daemon.folder.rglob("*") if not path.is_dir() and path != daemon.log]


def test_a_copied_configuration_is_good_on_a_new_machine(sandbox: Sandbox) -> None:
    """With a key and a consumer key of its own it signs, and the old machine does as well, until it is logged out."""
    with Daemon() as old, Daemon() as new:
        old.dance(sandbox, "jira")
        new.config.parent.mkdir(parents=True)
        shutil.copy(old.config, new.config)
        assert new.request("GET", "/links/jira").json["token"]["state"] == "none"

        assert run(new, commands_of("Move to a new machine")).returncode == 0
        made = run(new, "atl-sign key new")
        assert made.returncode == 0, made.stderr
        consumer_key = new.request("GET", "/links/jira").json["consumer_key"]
        assert consumer_key == old.request("GET", "/links/jira").json["consumer_key"] + "-new"
        assert consumer_key in run(new, "atl-sign link setup jira").stdout
        sandbox.register_consumer("jira", consumer_key, made.stdout, name="the new machine")
        dance(new, sandbox)

        for machine in (old, new):
            assert machine.request("POST", "/links/jira/check").json["user"] == "alice"
        assert old.request("DELETE", "/links/jira/token").status == 200
        assert old.request("POST", "/links/jira/check").code == "dance_needed"
        assert new.request("POST", "/links/jira/check").status == 200


def dance(daemon: Daemon, sandbox: Sandbox) -> None:
    begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json
    code = sandbox.approve("jira", begun["authorize_url"])
    assert daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code}).json["state"] == "granted"


def test_everything_moves_in_an_encrypted_file(sandbox: Sandbox) -> None:
    """From keyring to keyring by the page's commands; a file without its passphrase is of no use."""
    with ExitStack() as stack:
        old, new = (
            stack.enter_context(closing(Daemon(**stack.enter_context(KeyringLab()).env, SSH_ASKPASS_REQUIRE="force")))
            for _ in range(2)
        )
        for machine in (old, new):
            del machine.environment["ATL_SIGN_STORE"]
            asker = machine.folder / "askpass"
            asker.write_text("#!/bin/sh\necho correct horse battery staple\n")
            asker.chmod(0o700)
            machine.environment["SSH_ASKPASS"] = str(asker)
        old.start()
        old.dance(sandbox, "jira")
        assert run(old, "atl-sign store move file").returncode == 0
        old.stop()
        for name in ("config/atl-sign/config.toml", ".local/state/atl-sign/store"):
            (new.folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy(old.folder / name, new.folder / name)

        new.start()
        early = run(new, "atl-sign store move secret-service")
        moved = run(new, "atl-sign unlock && atl-sign store move secret-service && atl-sign check jira")

        assert (early.returncode, "atl-sign unlock" in early.stderr) == (1, True)
        assert moved.returncode == 0, moved.stderr
        assert "user: alice" in moved.stdout
        assert not (new.folder / ".local/state/atl-sign/store").exists()


def test_the_package_installs_into_an_environment_with_its_commands(tmp_path: Path) -> None:
    """What the page links from there is there: both commands run beside the interpreter that pip belongs to."""
    folder = Path(sys.executable).parent
    for command in ("atl-sign", "atl-signd"):
        link = tmp_path / command
        link.symlink_to(folder / command)
        shown = subprocess.run([link, "--version"], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert (shown.returncode, shown.stderr) == (0, "")
