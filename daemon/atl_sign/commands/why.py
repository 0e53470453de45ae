"""`atl-sign why`: the last refusals, with cause and remedy."""

import sys
from collections.abc import Mapping
from urllib.parse import urlencode

from atl_sign.base.terminal import say
from atl_sign.commands.calling import FAILURES, Conversation, print_answer, report


def run_why(environment: Mapping[str, str], lease: str | None, *, as_json: bool) -> int:
    """Print the refusals that the daemon has kept, or those of one *lease*, its id or name; returns the exit status."""
    target = "/refusals" if lease is None else f"/refusals?{urlencode({'lease': lease})}"
    try:
        text = Conversation(environment, as_json=as_json).call("GET", target).text.rstrip("\n")
        if text:
            print_answer(text)
        else:
            of = "" if lease is None else f" of lease {lease}"
            say(f"nothing{of} was refused since the daemon started, as far as it knows", out=sys.stderr)
    except FAILURES as exc:
        return report(exc)
    return 0
