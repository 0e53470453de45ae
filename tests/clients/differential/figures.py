"""Two figures of `make bench`: what `atl-sign curl` adds to curl, and what a long command line costs."""

import statistics
import subprocess
import time
from collections.abc import Sequence

from tests.clients.differential.lab import CURL, SCRIPT, Lab

WARM_UP = 3
OPTIONS = 200


def whole_curl_ms(rounds: int = 60) -> tuple[float, float]:
    """
    Return the median milliseconds of `atl-sign curl` and of curl alone, as whole processes against a local server, by turns.

    The aim: the first less the second is at most 1.5 times the second, one more curl process.
    """
    with Lab() as lab:
        rest = ["-s", "-o", "/dev/null", lab.concrete("http://SERVER/jira/x?expand=plans")]
        ours, theirs = _medians_ms(lab, [[str(SCRIPT), "curl", *rest], [CURL, *rest]], rounds)
        return ours, theirs


def parse_ms(rounds: int = 40) -> float:
    """
    Return the milliseconds that `atl-sign curl` takes for 200 options, beyond what curl itself takes for them.

    The aim: under 10. Both are differences of medians of whole processes: with the options and without.
    """
    with Lab() as lab:
        url = lab.concrete("http://SERVER/jira/x")
        few = ["-s", "-o", "/dev/null", url]
        many = [*few, *_options()]
        medians = _medians_ms(
            lab,
            [[str(SCRIPT), "curl", *many], [str(SCRIPT), "curl", *few], [CURL, *many], [CURL, *few]],
            rounds,
        )
        return (medians[0] - medians[1]) - (medians[2] - medians[3])


def _options() -> list[str]:
    """Return the words of 200 options: flags short, joined and long, headers, and a form's fields."""
    words: list[str] = []
    for number in range(OPTIONS // 5):
        words += [
            "-s",
            "--show-error",
            "-H",
            f"X-Number-{number}: {number}",
            "--data",
            f"field{number}=value",
            f"-dmore{number}=x",
        ]
    return words


def _medians_ms(lab: Lab, commands: Sequence[Sequence[str]], rounds: int) -> list[float]:
    """Run the commands by turns, so that a drift of the machine meets all."""
    times: list[list[float]] = [[] for _ in commands]
    for number in range(rounds + WARM_UP):
        for command, measured in zip(commands, times, strict=True):
            started_at = time.perf_counter_ns()
            subprocess.run(
                command, env=lab.environment, cwd=lab.here, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
            )
            if number >= WARM_UP:
                measured.append((time.perf_counter_ns() - started_at) / 1e6)
    return [statistics.median(measured) for measured in times]
