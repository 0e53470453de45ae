"""
`python -m tests.reliability [--kills N] [--seconds S] [--write]`: faults tried, requests made, lost.

Prints two tables; with --write they go into docs/reliability.md, between its marks. Ends with status 1 when anything was
lost silently, was half written, or waited too long.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from atl_sign.sandbox import Sandbox
from tests.keyring_lab import KeyringLab
from tests.lab import REPOSITORY, Daemon, build_library
from tests.reliability.attacks import ATTACKS, MEMORY_KB_MAX, Measured, measure
from tests.reliability.kills import KINDS, KillLab
from tests.reliability.oauth2_kills import OAuth2KillLab

STEPPED = [  # every step of a refresh takes a kill: some 28 with the file, 190 with a keyring
    *((flavour, kind, "file") for flavour in ("datacenter", "atlassian-cloud", "gitlab") for kind in ("refreshes", "dances")),
    *((flavour, "refreshes", "secret-service") for flavour in ("datacenter", "atlassian-cloud")),
]
PAGE = REPOSITORY / "docs/reliability.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def main() -> int:
    """Do all of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000, help="how often a daemon is killed at random; 0: at no step either")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each attack goes on")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/reliability.md")
    options = parser.parse_args()
    killed, nothing_lost = _kill(options.kills)
    if options.kills:
        rows, nothing_lost_at_steps = _kill_at_each_step()
        killed, nothing_lost = [*killed, *rows], nothing_lost and nothing_lost_at_steps
    attacked, all_in_time = _attack(options.seconds)
    lines = [f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {describe_machine()}.", "", *killed, "", *attacked]
    print("\n".join(lines))
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text("\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]]))
    return 0 if nothing_lost and all_in_time else 1


def _kill(rounds: int) -> tuple[list[str], bool]:
    share = rounds // (len(KINDS) + 1)
    rows, all_lost = [], 0
    for kind in KINDS:
        lost = 0
        with KillLab() as lab:
            try:
                lab.run(kind, share)
            except AssertionError as exc:  # the lab's state means nothing from here on
                lost = 1
                print(f"{kind}: {exc}", file=sys.stderr)
        counts = {name.partition(": ")[2]: count for name, count in lab.counts.items()}
        kills, named = counts.pop("kills", 0) + lost, counts.pop("reported as lost", 0)
        words = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
        rows.append(f"| {kind} | {kills} | {words} | {named} | {lost} |")
        all_lost += lost
    with KeyringLab() as keyring:
        command = [sys.executable, "-m", "tests.store.killed_writes", str(share)]
        done = subprocess.run(
            command, env={**os.environ, **keyring.env}, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False
        )
    rows.append(f"| writes of one item of 60 kB | {share} | {done.stdout.strip()} | 0 | {done.returncode} |")
    head = "| killed during | kills | found afterwards | reported as lost | lost silently or half written |"
    return [head, "| --- | --- | --- | --- | --- |", *rows], not (all_lost or done.returncode)


def _kill_at_each_step() -> tuple[list[str], bool]:
    """The same for OAuth 2.0, with a kill at each step instead of at random moments."""
    rows, all_lost = [], 0
    with tempfile.TemporaryDirectory() as folder:
        library = build_library("kill_at", Path(folder))
        for flavour, kind, store in STEPPED:
            lost = 0
            with OAuth2KillLab(flavour, library, store) as lab:
                try:
                    lab.run(kind)
                except AssertionError as exc:
                    lost = 1
                    print(f"{kind}, {flavour}: {exc}", file=sys.stderr)
            counts = dict(lab.counts)
            kills, named = counts.pop("kills", 0) + lost, counts.pop("reported as lost", 0)
            words = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
            rows.append(f"| {kind} of OAuth 2.0: {flavour}, {store} | {kills} | {words} | {named} | {lost} |")
            all_lost += lost
    return rows, not all_lost


def _attack(seconds: float) -> tuple[list[str], bool]:
    rows, all_measured = [], []
    with Sandbox(["jira"]) as sandbox, Daemon() as daemon, Daemon() as other:
        for each in (daemon, other):
            each.dance(sandbox, "jira")
        url = f"{sandbox.base_url('jira')}/x"
        for name, attack in {"nobody": lambda *_: None, **ATTACKS}.items():
            measured = measure(daemon, other, url, attack, seconds)
            rows.append(_row(name, measured))
            all_measured.append(measured)
    table = [
        "| attackers | answers to the attackers | signed for others | not signed"
        " | p99 of others, ms | p99 of an idle daemon, ms | late | peak, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    return table, all(each.is_fast and not each.errors and each.peak_kb < MEMORY_KB_MAX for each in all_measured)


def _row(name: str, measured: Measured) -> str:
    got = ", ".join(f"{what}: {count}" for what, count in sorted(measured.outcomes.items()) if count)
    return (
        f"| {name} | {got or '-'} | {measured.asked - len(measured.errors)} | {len(measured.errors)} | {measured.p99_ms:.1f}"
        f" | {measured.yardstick_p99_ms:.1f} | {measured.late} | {measured.peak_kb / 1024:.1f} |"
    )


def describe_machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), Python {platform.python_version()}, load {load:.1f} at the end"
    )


if __name__ == "__main__":
    sys.exit(main())
