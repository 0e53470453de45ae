"""`atl-sign demo`, as a newcomer runs it where there is no browser."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import REPOSITORY, Daemon


@pytest.mark.slow
def test_the_demo_shows_the_main_job() -> None:
    """Every step with its command; it ends with 0, leaves nothing behind and is quick."""
    environment = {**os.environ, "PATH": f"{REPOSITORY}/clients/bash:{os.environ['PATH']}"}
    before = set(Path("/tmp").glob("atl-sign-demo-*"))
    started_at = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "$ atl-sign key new",
        "$ atl-sign link add bamboo",
        "presses Allow by itself",
        "state: granted",
        "user: alice",
        '"buildNumber": ',
        "expand=plans.plan",
        "oauth_problem=signature_invalid",
    ):
        assert words in done.stdout
    assert time.monotonic() - started_at < 15
    assert set(Path("/tmp").glob("atl-sign-demo-*")) <= before


def test_without_the_bash_command_the_demo_says_so(daemon: Daemon) -> None:
    """The command is looked for beside atl-signd and on PATH."""
    code = (
        "import sys; sys.executable = '/nowhere/python'; sys.argv[0] = '/nowhere/atl-signd'\n"
        "from atl_sign.commands.demo import run_demo; sys.exit(run_demo())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env={**daemon.environment, "PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "atl-sign is not beside atl-signd" in done.stderr


def test_the_sandbox_has_a_command(daemon: Daemon) -> None:
    """`atl-signd sandbox` serves until SIGTERM; a wrong option ends with 2."""
    command = [sys.executable, "-m", "atl_sign.commands.cli", "sandbox"]
    with subprocess.Popen([*command, "--product", "jira"], env=daemon.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("jira http://127.0.0.1:")
        process.terminate()
        assert process.wait(20) == 0
    assert subprocess.run([*command, "--nonsense"], env=daemon.environment, capture_output=True, check=False).returncode == 2
