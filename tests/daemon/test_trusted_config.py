"""A `config.toml` that another user can change decides nothing: not where requests go, and not which store is taken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import DEADLINE_S, Daemon

LINK = '[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "me"\n'
NOBODY = 65_534


def test_a_daemon_does_not_start_with_it(daemon: Daemon) -> None:
    """The file is named, with the command that helps; after the command it starts."""
    daemon.stop()
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(LINK)
    daemon.config.chmod(0o666)

    refused = subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "serve"],
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )

    assert refused.returncode == 1
    message, hint = refused.stderr.splitlines()
    assert message == f"atl-signd: others may write {daemon.config}"
    assert hint == f"hint: chmod go-w {daemon.config}"
    assert not daemon.socket.exists()
    subprocess.run(["sh", "-c", hint.removeprefix("hint: ")], check=True)
    daemon.start()
    assert "jira" in daemon.request("GET", "/links", text=True).text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_running_daemon_goes_on_with_what_it_had(daemon: Daemon) -> None:
    """Another user adds a proxy: it is not taken, and status, links and a change say why."""
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(LINK)
    assert daemon.request("GET", "/links/jira").json["proxy"] is None
    daemon.config.chmod(0o666)
    for folder in (daemon.folder, daemon.folder / "config", daemon.config.parent):
        folder.chmod(0o755)

    line = 'proxy = "http://evil.example:3128"'
    command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "sh", "-c", f"echo '{line}' >>{daemon.config}"]
    subprocess.run(command, check=True)

    assert line in Path(daemon.config).read_text()
    shown = daemon.request("GET", "/links/jira")
    assert (shown.status, shown.json["proxy"]) == (200, None)
    (warning,) = daemon.request("GET", "/status").json["warnings"]
    assert f"others may write {daemon.config}: chmod go-w {daemon.config}" in warning
    changed = daemon.request("PUT", "/links/new", {"url": "https://h", "consumer_key": "me"})
    assert (changed.code, changed.hint) == ("config_broken", f"chmod go-w {daemon.config}")

    daemon.config.chmod(0o644)  # the user has looked at it, and takes it
    assert daemon.request("GET", "/links/jira").json["proxy"] == "http://evil.example:3128"
