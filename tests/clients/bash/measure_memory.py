"""
Runs a command, and prints the highest sum of its and its descendants' resident memory in kB.

usage: measure_memory.py COMMAND…
"""

import subprocess
import sys
import time
from pathlib import Path


def resident_kb(process: int) -> int:
    """Return VmRSS of *process* and everything below it; 0 for what has ended."""
    total = 0
    try:
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:
        return total
    return total + sum(resident_kb(int(child)) for child in children.split())


def main() -> None:
    """Run, look, print; end as the command does."""
    running = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    peak = 0
    while running.poll() is None:
        peak = max(peak, resident_kb(running.pid))
        time.sleep(0.005)
    sys.stdout.write(f"{peak}\n")
    sys.exit(running.returncode)


if __name__ == "__main__":
    main()
