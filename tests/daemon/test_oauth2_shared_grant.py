"""Two links to Atlassian Cloud that share one grant: one refresh serves both, and a kill or a full disk loses it for neither."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException

import pytest

from tests.daemon.small_disk import SmallDisk
from tests.fork_server import ForkServer
from tests.lab import Daemon, send, wait_for
from tests.oauth2_daemon import LinkedProvider, access_of, linked_provider

pytestmark = pytest.mark.slow
needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the small disk")

CALLERS = 50  # on each of the two
LINKS = ("app", "other")


@pytest.fixture
def cloud() -> Iterator[LinkedProvider]:
    with linked_provider("atlassian-cloud") as provider:
        yield provider


def add_both(daemon: Daemon, cloud: LinkedProvider) -> None:
    """Two links to one site with one app; a request says by name which one it means."""
    for name in LINKS:
        cloud.add_to(daemon, name)


def dance_for(daemon: Daemon, cloud: LinkedProvider, life_s: float) -> None:
    """Get a token of so many seconds, and wait until it has ended; the next one lives long."""
    cloud.server.access_token_life_s = life_s
    cloud.dance(daemon)
    cloud.server.access_token_life_s = 3600.0
    time.sleep(life_s + 0.1)


def sign_by(daemon: Daemon, cloud: LinkedProvider, link: str) -> str:
    """Sign and send with *link*; returns the provider's status, or the code of the daemon's error."""
    reply = daemon.request("POST", "/sign", {"method": "GET", "url": cloud.who, "link": link})
    if reply.status != 200:
        return reply.code
    assert reply.json["link"] == link
    return str(send(cloud.who, reply.json["authorization"])[0])


def test_fifty_callers_on_each(cloud: LinkedProvider, fork_server: ForkServer) -> None:
    """At the end of the token: one refresh."""
    with Daemon(fork_server) as daemon:
        add_both(daemon, cloud)
        dance_for(daemon, cloud, 2.0)
        outcomes: Counter[tuple[str, str]] = Counter()
        barrier = threading.Barrier(CALLERS * len(LINKS))

        def call(link: str) -> None:
            barrier.wait()
            outcomes[link, sign_by(daemon, cloud, link)] += 1

        threads = [threading.Thread(target=call, args=(link,)) for link in LINKS for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert outcomes == {(link, "200"): CALLERS for link in LINKS}
        assert cloud.server.refreshes == 1
        assert len(cloud.token_requests()) == 2  # the first is the dance's


def test_a_dead_grant_is_dead_for_both(cloud: LinkedProvider, fork_server: ForkServer) -> None:
    """The twin: the provider is asked once, both links' states say so, and one dance mends both."""
    with Daemon(fork_server) as daemon:
        add_both(daemon, cloud)
        dance_for(daemon, cloud, 2.0)
        cloud.server.revoke_all()

        assert [sign_by(daemon, cloud, link) for link in LINKS] == ["dance_needed"] * 2

        assert len(cloud.token_requests()) == 2
        status = daemon.request("GET", "/status").json
        assert sorted(status["dance_needed"]) == list(LINKS)
        assert {each["token"]["state"] for each in daemon.request("GET", "/links").json["links"]} == {"expired"}
        cloud.dance(daemon, "other")
        assert [sign_by(daemon, cloud, link) for link in LINKS] == ["200"] * 2
        assert daemon.request("GET", "/status").json["dance_needed"] == []


@needs_mount
@pytest.mark.parametrize("has_leeway", [True, False])
def test_a_kill_in_the_refresh_of_one(cloud: LinkedProvider, fork_server: ForkServer, has_leeway: bool) -> None:
    """The next daemon signs for both; the twin, where a used refresh token is dead: both are told that it was lost."""
    with SmallDisk(fork_server) as daemon:
        add_both(daemon, cloud)
        if not has_leeway:
            cloud.server.leeway_s = 0.0
        dance_for(daemon, cloud, 2.0)
        run_after_refresh(cloud, lambda: daemon.process and daemon.process.kill())
        with suppress(OSError, HTTPException):
            sign_by(daemon, cloud, "app")
        daemon.stop(signal.SIGKILL)
        daemon.start()

        outcomes = [sign_by(daemon, cloud, link) for link in LINKS]

        assert outcomes == (["200"] * 2 if has_leeway else ["dance_needed"] * 2)
        if not has_leeway:
            lost = [daemon.request("POST", "/sign", {"method": "GET", "url": cloud.who, "link": link}) for link in LINKS]
            assert all("was lost in a renewal that was cut off" in reply.message for reply in lost)
            cloud.dance(daemon)
            assert [sign_by(daemon, cloud, link) for link in LINKS] == ["200"] * 2


def run_after_refresh(cloud: LinkedProvider, call: Callable[[], object]) -> None:
    """Run *call* when the provider has done the next refresh and not answered it yet."""
    refresh = cloud.server.refresh

    def refresh_and_call(token: object) -> object:
        cloud.server.refresh = refresh  # type: ignore[method-assign]
        issued = refresh(token)  # type: ignore[arg-type]
        call()
        return issued

    cloud.server.refresh = refresh_and_call  # type: ignore[method-assign,assignment]


@needs_mount
def test_a_full_disk_spends_no_refresh_token(cloud: LinkedProvider, fork_server: ForkServer) -> None:
    """The note that cannot be written stops the refresh: the provider is not asked. With room, it is, and nothing is lost."""
    with SmallDisk(fork_server) as daemon:
        add_both(daemon, cloud)
        dance_for(daemon, cloud, 2.0)
        daemon.fill()

        refused = [sign_by(daemon, cloud, link) for link in LINKS]

        assert refused == ["store_unavailable"] * 2
        assert len(cloud.token_requests()) == 1  # the dance's
        daemon.make_room()
        wait_for(lambda: sign_by(daemon, cloud, "other") == "200")
        assert sign_by(daemon, cloud, "app") == "200"
        assert cloud.server.refreshes == 1


@needs_mount
def test_a_full_disk_stops_nobody_before_the_end(cloud: LinkedProvider, fork_server: ForkServer) -> None:
    """The old token serves on."""
    with SmallDisk(fork_server) as daemon:
        add_both(daemon, cloud)
        cloud.server.access_token_life_s = 10.0  # so a refresh is due after five seconds
        cloud.dance(daemon)
        given_at = time.monotonic()
        daemon.fill()

        while time.monotonic() < given_at + 8:
            assert {sign_by(daemon, cloud, link) for link in LINKS} == {"200"}
            time.sleep(0.1)

        assert len(cloud.token_requests()) == 1
        assert "was not renewed" in daemon.log.read_text()


@needs_mount
@pytest.mark.parametrize("kind", ["datacenter", "atlassian-cloud"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["lives", "killed"])
def test_a_disk_that_is_full_after_the_note(kind: str, is_killed: bool, fork_server: ForkServer) -> None:
    """The new token signs while the daemon lives, and is stored when there is room; the twin: a daemon that is killed before."""
    with linked_provider(kind) as provider, SmallDisk(fork_server) as daemon:
        provider.add_to(daemon)
        dance_for(daemon, provider, 2.0)
        run_after_refresh(provider, daemon.fill)

        new = access_of(provider.sign(daemon))

        assert provider.takes(new)
        assert access_of(provider.sign(daemon)) == new
        assert "is not in the store yet" in daemon.log.read_text()
        if is_killed:
            daemon.stop(signal.SIGKILL)
            daemon.make_room()
            daemon.start()
            reply = provider.sign(daemon)
            if kind == "atlassian-cloud":
                assert provider.send(reply) == 200
            else:
                assert "was lost in a renewal that was cut off" in reply.message
            return
        before = (daemon.disk / "store").read_bytes()
        daemon.make_room()
        wait_for(lambda: (daemon.disk / "store").read_bytes() != before)
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert access_of(provider.sign(daemon)) == new
        assert provider.server.refreshes == 1
