"""
A sandbox and a daemon that has danced, for tests in another language: commands by standard input, answers as JSON lines.

The first line names the socket and the base URLs. The end of the input ends it all.
"""

import json
import sys
from contextlib import ExitStack

from atl_sign.sandbox import Sandbox
from tests.clients.bad_daemons import KINDS, BadDaemon
from tests.lab import PRODUCTS, Daemon


def main() -> None:
    """Serve until the input ends."""
    with Sandbox() as sandbox, Daemon() as daemon, ExitStack() as bad_daemons:
        for product in ("jira", "bamboo"):
            daemon.dance(sandbox, product)
        say({"socket": str(daemon.socket), "folder": str(daemon.folder)} | {name: sandbox.base_url(name) for name in PRODUCTS})
        for line in sys.stdin:
            match line.strip():
                case "restart":
                    daemon.stop()
                    daemon.start()
                    # The store is in memory, so a new daemon knows nothing.
                    daemon.dance(sandbox, "jira")
                    say({})
                case "stop":
                    say({"status": daemon.stop()})
                case "requests":
                    said = [
                        {
                            "method": each.method,
                            "target": each.target.decode("latin-1"),
                            "verdict": each.verdict,
                            "user": each.user,
                        }
                        for each in sandbox.state.requests
                    ]
                    sandbox.state.requests.clear()
                    say({"requests": said})
                case "bad daemons":
                    started = {kind: bad_daemons.enter_context(BadDaemon(kind)) for kind in KINDS}
                    say([{"kind": kind, "visible": bad.kind.visible, "socket": str(bad.socket)} for kind, bad in started.items()])
                case other:
                    raise SystemExit(f"no such command: {other}")


def say(answer: object) -> None:
    """Write one line."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
