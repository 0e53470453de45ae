"""
`python -m tests.fleet [--rounds N] [--machines N] [--write]`: what happens to machines with one grant in one vault.

Three fleets at once, one for each kind of grant. Prints a table; with --write it goes into docs/reliability.md.
Ends with status 1 when anything was lost without a word, or was not served again in time.
"""

import argparse
import datetime
import sys
import tempfile
import threading
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from tests.fleet.faults import FAULTS, run_round
from tests.fleet.lab import Fleet
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY
from tests.openbao import RaftBao
from tests.reliability.__main__ import describe_machine

KINDS = ("oauth1", "datacenter", "atlassian-cloud")
PAGE = REPOSITORY / "docs/reliability.md"
BEGIN, END = "<!-- fleet -->", "<!-- end of fleet -->"
_HEADS = (
    "| grant | machines | faults | renewed | asked with a spent token | lost, and said so | lost without a word |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


class Run:
    """One fleet, as long as it goes well."""

    def __init__(self, fleet: Fleet, rounds: int) -> None:
        self.fleet = fleet
        self.failure = ""
        self._rounds = rounds
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def row(self) -> str:
        """Return the table's row."""
        fleet = self.fleet
        faults = sum(count for name, count in fleet.counts.items() if name.startswith("fault: "))
        cells = (fleet.provider.kind, len(fleet.machines), faults, *fleet.renewals(), fleet.counts["reported as lost"])
        return f"| {' | '.join(map(str, cells))} | {int(bool(self.failure))} |"

    def seen(self) -> str:
        """Return everything that was counted, for those who look for a cause."""
        return f"{self.fleet.provider.kind}: {dict(sorted(self.fleet.counts.items()))}, longest {self.fleet.longest_s:.1f} s"

    def _run(self) -> None:
        try:
            self.fleet.keep_asking()
            for _ in range(self._rounds):
                run_round(self.fleet, self.fleet.random.choice(FAULTS))
        except Exception:
            self.failure = traceback.format_exc()


def main() -> int:
    """Do all of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--rounds", type=int, default=510, help="how many faults, over all fleets")
    parser.add_argument("--machines", type=int, default=20, help="how many daemons, over all fleets")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the chances")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        fork_server = stack.enter_context(ForkServer())
        bao = stack.enter_context(RaftBao(Path(folder)))
        runs = []
        for at, kind in enumerate(KINDS):
            size = options.machines // len(KINDS) + (at < options.machines % len(KINDS))
            fleet = stack.enter_context(Fleet(bao, fork_server, kind, size, options.seed + at))
            runs.append(Run(fleet, options.rounds // len(KINDS)))
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    minutes = (time.monotonic() - began) / 60
    head = f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} in {minutes:.0f} minutes, {describe_machine()}."
    lines = [head, "", *_HEADS, *(run.row() for run in runs)]
    print("\n".join([*lines, *(run.seen() for run in runs), *(run.failure for run in runs)]))
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text("\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]]))
    return 1 if any(run.failure for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
