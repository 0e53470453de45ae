"""A program and all that it starts: watched while it runs."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 20.0


def members(session: int) -> list[int]:
    """Return the processes of a session, those that have lost their parents too."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != b"Z":
            found.append(int(process.name))
    return found


def resident_kb(process: int) -> int:
    """Return a process's proportional share of resident memory in kB; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


@contextmanager
def started(
    command: Sequence[str], environment: dict[str, str], folder: Path, stdin: int = subprocess.DEVNULL
) -> Iterator["subprocess.Popen[bytes]"]:
    """Give the program, in a session of its own, where no signal is ignored; what is left of that at the end is killed."""
    # nohup and a shell's & let what they start ignore signals, and bash cannot undo that.
    command = ["env", "--default-signal", *command]
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
    try:
        yield process
    finally:
        for member in members(process.pid):
            os.kill(member, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        process.wait(DEADLINE_S)


def most_resident_mb(process: "subprocess.Popen[bytes]") -> float:
    """Wait for the program's end; return the most memory, in MB, that it and all it started held together."""
    most = 0
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        assert time.monotonic() < deadline, "it does not end"
        most = max(most, sum(map(resident_kb, members(process.pid))))
        time.sleep(0.01)
    return most / 1024
