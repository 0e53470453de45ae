"""docs/operations.md done: what it removes is everything there was, and a copied configuration is good on another machine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.keyring_lab import KeyringLab
from tests.lab import DEADLINE_S, REPOSITORY, Daemon

pytestmark = pytest.mark.slow


def commands_of(heading: str) -> str:
    """The block marked bash below *heading*."""
    part = (REPOSITORY / "docs/operations.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```bash\n(.*?)^```$", part, re.M | re.S)
    return str(block)


def test_uninstalled_without_a_trace(sandbox: Sandbox) -> None:
    """The page's commands leave neither an item in the keyring nor a file; before them there were both."""
    with KeyringLab() as keyring:
        daemon = Daemon(ATL_SIGN_STORE="secret-service", **keyring.env)
        try:
            daemon.start()
            daemon.dance(sandbox, "jira")
            assert daemon.request("DELETE", "/links/jira").status == 200
            daemon.stop()
            assert (len(keyring.read("consumer-key")), keyring.read("token:jira")) == (1, [])
            assert traces(daemon) != []

            done = subprocess.run(
                ["bash", "-eu", "-c", commands_of("Uninstall without a trace")],
                env=daemon.environment,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )

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

        new.dance(sandbox, "jira")

        for machine in (old, new):
            assert machine.request("POST", "/links/jira/check").json["user"] == "alice"
        assert old.request("DELETE", "/links/jira/token").status == 200
        assert old.request("POST", "/links/jira/check").code == "dance_needed"
        assert new.request("POST", "/links/jira/check").status == 200


def test_the_package_installs_into_an_environment_with_its_commands(tmp_path: Path) -> None:
    """What the page links from there is there: both commands run beside the interpreter that pip belongs to."""
    folder = Path(sys.executable).parent
    for command in ("atl-sign", "atl-signd"):
        link = tmp_path / command
        link.symlink_to(folder / command)
        shown = subprocess.run([link, "--version"], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert (shown.returncode, shown.stderr) == (0, "")
