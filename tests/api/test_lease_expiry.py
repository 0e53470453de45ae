"""The end of a lease's time: transfers are cut, and every later request is answered, on whichever connection it comes."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, Daemon, UnixConnection, wait_for
from tests.lease_lab import MYSELF, arrivals, code_of, open_lease, send

ALL = ["http", "sign", "port"]


@pytest.fixture(scope="module")
def jira(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        yield daemon


def is_recorded(daemon: Daemon, lease_id: str) -> bool:
    """Whether the daemon has noticed the end of the lease's time."""
    lines = daemon.run_program("lease", "log", lease_id).stdout
    return "  expire  " in lines


def test_kept_connections_are_refused_and_not_cut(jira: Daemon, sandbox: Sandbox) -> None:
    """One that has been used, one that has not, at each entry; before and after the daemon has noticed."""
    lease = open_lease(jira, links=["jira"], entries=ALL, expires_in_s=2)
    address = urlsplit(lease["url"])
    secret = {"Authorization": f"Bearer {lease['secret']}"}
    url = f"{sandbox.base_url('jira')}{MYSELF}"
    with contextlib.ExitStack() as stack:
        kept = [
            (stack.enter_context(contextlib.closing(connection)), headers)
            for _ in range(2)
            for connection, headers in (
                (UnixConnection(Path(lease["sockets"]["http"])), {"Host": "localhost"}),
                (http.client.HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE_S), secret),
            )
        ]
        signing = stack.enter_context(contextlib.closing(UnixConnection(Path(lease["sockets"]["sign"]))))
        for connection, headers in kept[:2]:
            connection.request("GET", f"/jira{MYSELF}", headers=headers)
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (200, True)
        for connection, _ in kept[2:]:
            connection.connect()
        signing.request("GET", "/~/lease")
        assert signing.getresponse().read()
        sockets = [connection.sock for connection, _ in kept]
        wait_for(lambda: jira.request("GET", f"/leases/{lease['id']}").json["state"] == "expired")

        with arrivals(sandbox) as seen:
            for _ in range(2):
                for connection, headers in kept:
                    connection.request("GET", f"/jira{MYSELF}", headers=headers)
                    response = connection.getresponse()
                    assert (response.status, response.headers["X-Atl-Sign"]) == (403, "lease_expired")
                    response.read()
                signing.request("POST", "/sign", json.dumps({"method": "GET", "url": url}), {"Content-Type": "application/json"})
                assert b"lease_expired" in signing.getresponse().read()
                wait_for(lambda: is_recorded(jira, lease["id"]))
        assert seen == []
        assert [connection.sock for connection, _ in kept] == sockets, "http.client connects again when it was cut"
    assert code_of(send(lease)) == "lease_expired"


def test_every_request_around_the_end_has_an_answer(jira: Daemon) -> None:
    """Programs that never stop asking: 200 until then, lease_expired from then on; only a transfer under way may be cut."""
    lease = open_lease(jira, links=["jira"], expires_in_s=1)
    found: set[tuple[int, str]] = set()
    is_enough = threading.Event()

    def ask() -> None:
        while not is_enough.is_set():
            try:
                reply = send(lease)
            except (OSError, http.client.HTTPException) as exc:
                found.add((0, type(exc).__name__))
                return
            found.add((reply.status, code_of(reply)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: is_recorded(jira, lease["id"]) or any(status == 0 for status, _ in found))
    finally:
        is_enough.set()
        for thread in threads:
            thread.join(DEADLINE_S)

    # A transfer that is under way just then may be cut, which is what the end of a lease is for.
    assert {(200, ""), (403, "lease_expired")} <= found
    assert {status for status, _ in found} <= {0, 200, 403}
