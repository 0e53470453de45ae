"""
Looks for a text in the arguments and environments of all processes, until the file STOP exists or a minute is over.

usage: watch_processes.py TEXT STOP

Prints the id of each process that shows it and where, then how often it looked; its own process does not count.
"""

import os
import sys
import time
from pathlib import Path


def find(text: bytes) -> set[tuple[str, str]]:
    """Return (process id, "cmdline" or "environ") of all that show *text* now."""
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        for part in ("cmdline", "environ"):
            try:
                content = (process / part).read_bytes()
            except OSError:  # ended meanwhile, or not ours
                continue
            if text in content:
                found.add((process.name, part))
    return found


def main() -> None:
    """Look until told to stop."""
    text, stop = sys.argv[1].encode(), Path(sys.argv[2])
    found: set[tuple[str, str]] = set()
    looks = 0
    end = time.monotonic() + 60
    while not stop.exists() and time.monotonic() < end:
        found |= find(text)
        looks += 1
    for process, part in sorted(found):
        print(f"{process} {part}")
    print(f"looked {looks} times")


if __name__ == "__main__":
    main()
