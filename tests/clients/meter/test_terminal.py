"""What a person at a terminal sees of a transfer: the same as of curl alone, in a pseudo-terminal."""

import os
import pty
import re
import subprocess
from collections.abc import Sequence

import pytest

from tests.clients.differential.lab import CURL, DEADLINE_S, SCRIPT, Lab

_FIGURE = re.compile(r"[0-9.:-]+[kMG]?")


def watch(lab: Lab, program: Sequence[str], arguments: Sequence[str]) -> tuple[int, str]:
    """Run it with all three streams in one terminal; returns the status and all that came out."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*program, *(lab.concrete(word) for word in arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=lab.environment,
        cwd=lab.here,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    try:
        while data := os.read(master, 65_536):
            seen += data
    except OSError:  # the last one has closed the terminal
        pass
    finally:
        os.close(master)
    return process.wait(DEADLINE_S), seen.decode("latin-1")


def kinds(seen: str) -> list[str]:
    """Return which kinds of lines there are, without figures and what moves before a length is known, each once and in order."""
    lines = [re.sub(r"[#=O-]", "", _FIGURE.sub("", line)).split() for line in re.split(r"[\r\n]+", seen)]
    return list(dict.fromkeys(" ".join(words) for words in lines if words))


@pytest.mark.parametrize(
    ("arguments", "shown", "hidden"),
    [
        (("-o", "out.bin"), "% Total", "#"),
        (("-#", "-o", "out.bin"), "#", "% Total"),
        (("-s", "-o", "out.bin"), "", "%"),
        (("--no-progress-meter", "-o", "out.bin"), "", "%"),
    ],
    ids=["meter", "bar", "silent", "no meter"],
)
def test_the_meter_is_curls_own(lab: Lab, arguments: tuple[str, ...], shown: str, hidden: str) -> None:
    """Shown, drawn as a bar, or left out exactly where curl alone does."""
    line = (*arguments, "http://SERVER/jira/source/1000000")

    plain = watch(lab, [CURL, "-q"], line)
    signed = watch(lab, [str(SCRIPT), "curl"], line)

    assert plain[0] == signed[0] == 0
    assert kinds(signed[1]) == kinds(plain[1])
    assert shown in signed[1]
    assert hidden not in signed[1]
    (lab.here / "out.bin").unlink()


def test_output_to_the_terminal_turns_the_meter_off(lab: Lab) -> None:
    """What the server said and nothing else."""
    line = ("http://SERVER/jira/x",)

    assert watch(lab, [str(SCRIPT), "curl"], line) == watch(lab, [CURL, "-q"], line) == (0, "GET /jira/x\r\n")


def test_binary_output_to_the_terminal_is_warned_of(lab: Lab) -> None:
    """Zero bytes do not reach a terminal: curl's own warning and status."""
    line = ("http://SERVER/jira/source/1000",)

    plain = watch(lab, [CURL, "-q"], line)
    signed = watch(lab, [str(SCRIPT), "curl"], line)

    assert signed == plain
    assert plain[0] == 23
    assert "Binary output can mess up your terminal" in signed[1]
    assert "\0" not in signed[1]
