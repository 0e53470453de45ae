"""What git waits for its token: `git credential fill` through the helper, against git's own cache in memory."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence

from atl_sign.sandbox import Sandbox
from tests.lab import REPOSITORY, Daemon

HELPER = REPOSITORY / "clients/git/git-credential-atl-sign"
WARM_UP = 3
AIM = 2.0


def git_fill_rows(rounds: int = 60) -> Iterator[tuple[str, float, float, float]]:
    """Give name, our median in milliseconds, the other's, and the aim for their ratio; whole processes, by turns."""
    git = shutil.which("git")
    assert git is not None
    with Sandbox(["bitbucket"]) as sandbox, Daemon() as daemon:
        daemon.dance(sandbox, "bitbucket")
        described = f"protocol=http\nhost={sandbox.base_url('bitbucket').split('/')[2]}\n"
        environment = {**daemon.environment, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        cache = [git, "credential-cache"]
        ours = [git, "-c", f"credential.helper={HELPER} --link bitbucket", "credential", "fill"]
        through_cache = [git, "-c", "credential.helper=cache", "credential", "fill"]
        _run([*cache, "store"], environment, f"{described}username=alice\npassword=x\n\n")
        try:
            commands = [ours, [*cache, "get"], through_cache]
            times: list[list[float]] = [[] for _ in commands]
            for number in range(rounds + WARM_UP):
                for command, taken in zip(commands, times, strict=True):
                    started_at = time.perf_counter_ns()
                    answer = _run(command, environment, f"{described}\n")
                    if number >= WARM_UP:
                        taken.append((time.perf_counter_ns() - started_at) / 1e6)
                    assert "password=" in answer
        finally:
            _run([*cache, "exit"], environment, "")
    fill_ms, get_ms, cached_fill_ms = (statistics.median(taken) for taken in times)
    yield "`git credential fill` through the helper, against `git credential-cache get`", fill_ms, get_ms, AIM
    yield "the same against `git credential fill` through git's own cache", fill_ms, cached_fill_ms, AIM


def _run(command: Sequence[str], environment: dict[str, str], text: str) -> str:
    return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=True).stdout
