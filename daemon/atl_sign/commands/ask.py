"""`atl-signd ask`: a token from a person, for a shell whose standard input brings none."""

import os
import sys
from collections.abc import Mapping

from atl_sign.commands.calling import FAILURES, CommandError, report
from atl_sign.commands.passphrase import Asker


def run_ask(environment: Mapping[str, str], question: str) -> int:
    """Print what the person answers to *question*; returns the exit status: 0, or 1 when nobody answers."""
    try:
        if sys.stdout.isatty():
            raise CommandError("the answer is not for a terminal to show", "atl-sign help dance")
        answer = Asker(environment, from_stdin=False, what="token").ask(f"{question}: ")
    except FAILURES as exc:
        return report(exc)
    os.write(1, answer + b"\n")
    return 0
