"""The command line of the daemon's own process: `atl-signd`."""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence

from atl_sign import __version__

_LAST_THREADS_S = 0.3  # for those that are about to end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `atl-signd`; returns its exit status: 0 done, 1 refused, 2 usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="atl-signd", description="The daemon of atl-sign, and what belongs to its own process.")
    parser.add_argument("--version", action="version", version=f"atl-signd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve on the Unix socket until SIGTERM")
    demo = commands.add_parser("demo", help="sandbox, daemon, dance and signed curl in a throw-away folder")
    demo.add_argument("--no-browser", action="store_true", help="approve by itself even where a browser is")
    commands.add_parser("sandbox", help="a provider to try against", add_help=False)
    if given[:1] == ["sandbox"]:  # it has options of its own
        from atl_sign.sandbox.__main__ import main as run_sandbox

        return run_sandbox(given[1:])
    chosen = parser.parse_args(given)
    if chosen.command == "serve":
        return _serve()
    from atl_sign.demo import run_demo

    return run_demo(may_open_browser=not chosen.no_browser)


def _serve() -> int:
    from atl_sign.listening import StartError
    from atl_sign.server import serve

    try:
        serve(os.environ)
    except StartError as exc:
        print(f"atl-signd: {exc}\nhint: {exc.hint}", file=sys.stderr)
        return 1
    _end_past_waiting_threads()
    return 0


def _end_past_waiting_threads() -> None:
    """End the process at once when threads still wait for a provider; the interpreter would wait with them, up to `timeout_s`."""
    deadline = time.monotonic() + _LAST_THREADS_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                os._exit(0)  # as safe as a kill -9, after which nothing needs repair (design, section 8)


if __name__ == "__main__":
    sys.exit(main())
