"""
Kill a writer with SIGKILL in the middle of writing a token, again and again, and look at what the store has then.

A program of its own, because it forks: `python -m tests.store.killed_writes ROUNDS`, with the keyring in the environment.
Prints how often the old and how often the new value stood there afterwards; any other value ends it with status 1.
"""

import os
import signal
import sys
import time

from atl_sign.base.credentials import Secret
from atl_sign.custody.stores.desktop import SecretServiceStore

NAME = "token:jira"
SPAN_S = 0.05  # at first; more than twice what a write takes on a quiet machine
SIZE = 60_000


def main(rounds: int) -> None:
    """Spread the kills over the time of one write, which follows the machine's speed: later after an old value, else earlier."""
    span_s = SPAN_S
    store = SecretServiceStore()
    store.write(NAME, Secret("0" * SIZE))  # loads everything that the children need
    old = "0" * SIZE
    count = {"old": 0, "new": 0}
    for number in range(rounds):
        new = f"{number % 10}{'x' * number}".ljust(SIZE, "-")
        child = os.fork()
        if child == 0:
            store.write(NAME, Secret(new))
            signal.pause()
        time.sleep(span_s * (number % 10) / 10)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        time.sleep(0.01)  # the keyring may still be carrying out what it was asked for
        item = SecretServiceStore().read(NAME)
        kept = None if item is None else item.value.reveal()
        if kept not in (old, new):
            sys.exit(f"round {number}: neither the old nor the new value, {kept and len(kept)} characters")
        count["new" if kept == new else "old"] += 1
        span_s *= 0.9 if kept == new else 1.1
        old = kept
    print(f"old {count['old']} new {count['new']}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
