"""
How long somebody else waits: `python -m tests.reliability.probe SECONDS SOCKET URL [SOCKET URL]…` signs at each in turn.

A process of its own, so that what attacks a daemon does not slow down the one who measures. Prints JSON, a list for each
socket: milliseconds from the connection's start to the answer's end, or an error's text.
"""

import json
import sys
import time
from http.client import HTTPException
from pathlib import Path

from tests.lab import UnixConnection

PAUSE_S = 0.005


def main(seconds: str, *targets: str) -> None:
    """Measure for *seconds*; *targets* are sockets and the addresses to sign there."""
    sockets = [Path(each) for each in targets[::2]]
    bodies = [json.dumps({"method": "GET", "url": each}) for each in targets[1::2]]
    outcomes: list[list[float | str]] = [[] for _ in sockets]
    end = time.monotonic() + float(seconds)
    print("ready", flush=True)
    while time.monotonic() < end:
        for socket, body, outcome in zip(sockets, bodies, outcomes, strict=True):
            outcome.append(_sign(socket, body))
        time.sleep(PAUSE_S)
    print(json.dumps(outcomes))


def _sign(socket: Path, body: str) -> float | str:
    connection = UnixConnection(socket)
    started_at = time.perf_counter()
    try:
        connection.request("POST", "/sign", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, HTTPException) as exc:
        return f"{type(exc).__name__}: {exc}"
    finally:
        connection.close()
    return (time.perf_counter() - started_at) * 1_000 if answer.status == 200 else text.decode()


if __name__ == "__main__":
    main(*sys.argv[1:])
