"""What an attacker, a hostile provider or bad luck does to the daemon; each of these broke it once."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.fork_server import ForkServer
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, Reply, wait_for
from tests.unit.raw_server import RawServer, reply

MANIFEST = reply("<manifest><typeId>jira</typeId><version>9</version><url></url></manifest>")
BEGUN = reply(urlencode({"oauth_token": "r", "oauth_token_secret": "rs", "oauth_callback_confirmed": "true"}))
GRANTED = reply(urlencode({"oauth_token": "canary-access", "oauth_token_secret": "as"}))
pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}


def provider(who: Callable[[socket.socket], None], swap: Callable[[socket.socket], None] | None = None) -> RawServer:
    """Return a provider that answers the dance as it should, and leaves the who-am-I and the swap to the test."""

    def answer(connection: socket.socket, request: bytes) -> None:
        line = request.partition(b"\r\n")[0]
        if b"manifest" in line:
            connection.sendall(MANIFEST)
        elif b"request-token" in line:
            connection.sendall(BEGUN)
        elif b"access-token" in line:
            (swap or (lambda to: to.sendall(GRANTED)))(connection)
        else:
            who(connection)

    return RawServer(answer)


def begin(daemon: Daemon, url: str, timeout_s: int = 15) -> str:
    """Add the link `l` to *url* and begin a dance; returns its id."""
    daemon.make_key()
    assert daemon.request("PUT", "/links/l", {"url": url, "consumer_key": "c", "timeout_s": timeout_s}).status == 201
    begun = daemon.request("POST", "/dance", {"link": "l", "callback": "oob"})
    assert begun.status == 201, begun.text
    return str(begun.json["id"])


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Return what *call* gives, called *count* times at the same moment."""
    found: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def run(index: int) -> None:
        gate.wait(10)
        found[index] = call(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a provider that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def asking_for_the_name(daemon: Daemon) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """A dance that asks for the user's name, its token stored; gives its id, the link's address, and what ends the asking."""
    may_answer = threading.Event()

    def who(connection: socket.socket) -> None:
        may_answer.wait(20)
        connection.sendall(reply('{"name": "alice"}', headers=JSON))

    with provider(who) as server:
        dance = begin(daemon, server.url)
        finishing = threading.Thread(target=daemon.request, args=("POST", f"/dance/{dance}", {"verifier": "abc"}))
        finishing.start()
        wait_for(lambda: daemon.request("GET", "/links/l").json["token"]["state"] == "active")

        def let_it_come() -> None:
            may_answer.set()
            finishing.join(20)

        yield dance, server.url, let_it_come


@pytest.mark.parametrize("action", ["/links/l/token", "/links/l"])
def test_a_token_that_was_forgotten_stays_forgotten(daemon: Daemon, action: str) -> None:
    """Logout or removal while the dance still asks for the user's name: the name's arrival must not store the token again."""
    with asking_for_the_name(daemon) as (_, url, let_it_come):
        forgotten = daemon.request("DELETE", action)
        let_it_come()

        assert forgotten.status == 200
        if action == "/links/l":
            daemon.request("PUT", "/links/l", {"url": url, "consumer_key": "c"})
        assert daemon.request("GET", "/links/l").json["token"]["state"] == "none"


def test_a_dance_that_stored_its_token_is_not_told_as_cancelled(daemon: Daemon) -> None:
    """Cancelled while the user's name is asked for: "cancelled" would say that there is no grant, and there is one."""
    with asking_for_the_name(daemon) as (dance, _, let_it_come):
        told = daemon.request("DELETE", f"/dance/{dance}").json["state"]
        let_it_come()
        token = daemon.request("GET", "/links/l").json["token"]["state"]

    assert (told, token) in {("cancelled", "none"), ("granted", "active")}


def test_one_of_two_new_keys_is_refused(daemon: Daemon) -> None:
    """Two `link add` at once: a public key that is told as made and lost at once would be given to an administrator."""
    replies: list[Reply] = at_once(4, lambda _: daemon.request("POST", "/key", {"bits": 2048}))

    assert sorted(each.status for each in replies) == [201, 409, 409, 409]


def test_one_of_two_new_links_is_refused(daemon: Daemon) -> None:
    """`If-None-Match: *` holds among callers at the same moment too."""
    replies: list[Reply] = at_once(
        6,
        lambda index: daemon.request("PUT", "/links/l", {"url": f"http://127.0.0.1:1/c{index}"}, headers={"If-None-Match": "*"}),
    )

    assert sorted(each.status for each in replies) == [201, 409, 409, 409, 409, 409]


def test_a_locked_keyring_does_not_keep_a_logout_from_ending_signatures(fork_server: ForkServer) -> None:
    """docs/security.md: "Locking the keyring does not stop signing. `atl-sign logout NAME` does"."""
    with (
        provider(lambda to: to.sendall(reply('{"name": "alice"}', headers=JSON))) as server,
        KeyringLab() as lab,
        Daemon(fork_server, **lab.env, ATL_SIGN_STORE="secret-service") as daemon,
    ):
        dance = begin(daemon, server.url)
        assert daemon.request("POST", f"/dance/{dance}", {"verifier": "abc"}).status == 200
        lab.lock()

        daemon.request("DELETE", "/links/l/token")

        assert daemon.request("POST", "/sign", {"method": "GET", "url": f"{server.url}/x"}).status != 200


def test_a_user_name_of_no_unicode_breaks_no_answer(daemon: Daemon) -> None:
    """Half a surrogate pair in the provider's JSON: it was stored, and `GET /links` failed for every link from then on."""
    with provider(lambda to: to.sendall(reply('{"name": "\\ud800x"}', headers=JSON))) as server:
        dance = begin(daemon, server.url)

        finished = daemon.request("POST", f"/dance/{dance}", {"verifier": "abc"})

        assert finished.status == 200, finished.text
        assert daemon.request("GET", "/links").status == 200
        assert daemon.request("POST", "/links/l/check").status in (200, 502)


def test_a_refusal_from_outside_sets_no_clock_far_ahead(daemon: Daemon, silent: int) -> None:
    """Who answers in a provider's place must get no headers that are good in years (docs/security.md: five minutes)."""
    url = f"http://127.0.0.1:{silent}/a"
    daemon.make_key()
    daemon.request("PUT", "/links/l", {"url": url, "timeout_s": 1})
    refusal = 'OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="1-99999999999"'

    daemon.request("POST", "/links/l/problem", {"www_authenticate": refusal})

    base_string = daemon.request("POST", "/sign", {"method": "GET", "url": url, "dry_run": True}).json["base_string"]
    timestamp = int(base_string.partition("oauth_timestamp%3D")[2].partition("%26")[0])
    assert abs(timestamp - time.time()) < 2 * 86_400


def test_a_queue_of_codes_for_one_dance_waits_out_one_deadline(daemon: Daemon) -> None:
    """Each swap waits for the one before; ten of them must not wait ten deadlines."""
    silence = threading.Event()
    with provider(lambda _: None, swap=lambda _: (silence.wait(20), None)[1]) as server:
        dance = begin(daemon, server.url, timeout_s=2)
        began_at = time.monotonic()

        at_once(6, lambda _: daemon.request("POST", f"/dance/{dance}", {"verifier": "abc"}))

        silence.set()
        assert time.monotonic() - began_at < 6


def _try_to_put(daemon: Daemon, name: str, fields: dict[str, object]) -> None:
    # The daemon may end meanwhile.
    with suppress(OSError, http.client.HTTPException):
        daemon.request("PUT", f"/links/{name}", fields)
