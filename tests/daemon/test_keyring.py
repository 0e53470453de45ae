"""The real daemon on the real gnome-keyring: secrets that outlive it, a keyring that locks or stops, kill -9 during a write."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, wait_for

pytestmark = pytest.mark.slow

KILLS = 12


@pytest.fixture
def keyring() -> Iterator[KeyringLab]:
    with KeyringLab() as lab:
        yield lab


@pytest.fixture
def kept(keyring: KeyringLab, fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon whose secrets are in *keyring*."""
    with Daemon(fork_server, ATL_SIGN_STORE="secret-service", **keyring.env) as started:
        yield started


def test_key_and_token_outlive_the_daemon(kept: Daemon, sandbox: Sandbox) -> None:
    """Also one that was killed; the twin: after a logout there is no token, whoever looks."""
    kept.dance(sandbox, "jira")
    key = kept.request("GET", "/key").json["public_key"]

    kept.stop(signal.SIGKILL)
    kept.start()

    assert kept.request("GET", "/key").json["public_key"] == key
    assert kept.request("POST", "/links/jira/check").json["user"] == "alice"
    assert kept.request("DELETE", "/links/jira/token").status == 200
    kept.stop()
    kept.start()
    assert kept.request("POST", "/links/jira/check").code == "dance_needed"


@pytest.mark.alone  # it is about time
def test_a_locked_keyring_is_told_and_works_again(kept: Daemon, keyring: KeyringLab, sandbox: Sandbox) -> None:
    """`store_locked` with a hint, at once; what was read before goes on, and after unlocking all does."""
    kept.dance(sandbox, "jira")
    kept.stop()
    keyring.lock()
    kept.start()
    url = f"{sandbox.base_url('jira')}/x"

    started_at = time.monotonic()
    reply = kept.request("POST", "/sign", {"method": "GET", "url": url})
    assert (reply.status, reply.code) == (423, "store_locked")
    assert "unlock" in reply.hint
    assert kept.request("GET", "/status").json["store_state"] == "locked"
    assert kept.request("GET", "/links").json["links"][0]["token"]["state"] == "unknown"
    assert kept.request("POST", "/dance", {"link": "jira"}).code == "store_locked"
    assert time.monotonic() - started_at < 3
    assert not keyring.has_prompted()

    keyring.unlock(replace=True)
    wait_for(lambda: kept.request("POST", "/sign", {"method": "GET", "url": url}).status == 200)


@pytest.mark.parametrize("path", ["/links/jira/token", "/links/jira"])
def test_a_logout_that_a_locked_keyring_refused_is_none(path: str, kept: Daemon, keyring: KeyringLab, sandbox: Sandbox) -> None:
    """Meanwhile nothing is signed, for the keyring's reason; after it is unlocked the token signs, without any command."""
    kept.dance(sandbox, "jira")
    fields = {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"}
    keyring.lock()

    assert kept.request("DELETE", path).code == "store_locked"

    assert kept.request("POST", "/sign", fields).code == "store_locked"
    assert kept.request("GET", "/status").json["dance_needed"] == []
    keyring.unlock(replace=True)
    wait_for(lambda: kept.request("POST", "/sign", fields).status == 200)
    assert kept.request("DELETE", path).status == 200
    assert keyring.read("token:jira") == []
    assert kept.request("POST", "/sign", fields).code in ("dance_needed", "unknown_link")


@pytest.mark.alone  # it is about time
def test_a_stopped_keyring_holds_nobody_up(kept: Daemon, keyring: KeyringLab, sandbox: Sandbox) -> None:
    """Requests that need a secret hear within 3 s and a little; those that need none are answered at once."""
    kept.link(sandbox, "jira")
    kept.stop()
    kept.start()
    keyring.stop_process()
    try:
        started_at = time.monotonic()
        asked = threading.Thread(target=kept.request, args=("GET", "/key"))
        asked.start()
        for path in ("/openapi.json", "/dance/none", "/nothing"):
            kept.request("GET", path)
        assert asked.is_alive()  # it waits for the keyring still, which takes 3 s
        asked.join(10)
        assert time.monotonic() - started_at < 4.5
        reply = kept.request("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"})
        assert reply.code in ("store_locked", "store_unavailable")
    finally:
        keyring.continue_process()
    wait_for(lambda: kept.request("GET", "/key").status == 200)


def test_kill_9_while_a_token_is_written_loses_no_token(kept: Daemon, sandbox: Sandbox) -> None:
    """
    The old token or the new one is there after each of a dozen kills at random moments.

    When success was told, it is the new one: the provider takes no other any more. Else both are good there.
    """
    kept.dance(sandbox, "jira")
    state = sandbox.state.sites["jira"].state
    moments = random.Random(20261124)
    for _ in range(KILLS):
        begun = kept.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json
        code = sandbox.approve("jira", begun["authorize_url"])
        before = set(state.access_tokens)
        replies: list[int] = []

        def finish(path: str = f"/dance/{begun['id']}", code: str = code, replies: list[int] = replies) -> None:
            with suppress(OSError):  # cut off by the kill
                replies.append(kept.request("POST", path, {"verifier": code}).status)

        finishing = threading.Thread(target=finish)
        finishing.start()
        time.sleep(moments.uniform(0.0, 0.2))  # the moment is what varies; nothing is waited for
        kept.stop(signal.SIGKILL)
        finishing.join(20)
        if replies == [200]:
            for old in before:
                del state.access_tokens[old]
        kept.start()

        reply = kept.request("POST", "/links/jira/check")
        assert reply.status == 200, reply.text
    assert kept.request("GET", "/links/jira").json["token"]["state"] == "active"


def test_lock_and_unlock_leave_the_keyring_alone(kept: Daemon, sandbox: Sandbox) -> None:
    """The keyring stays open, and yet nothing is signed until `unlock`; the twin: with the keyring locked, unlock says so."""
    kept.dance(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/x"
    assert kept.request("POST", "/lock").json == {"store": "secret-service", "state": "locked"}
    assert kept.request("POST", "/sign", {"method": "GET", "url": url}).code == "store_locked"
    assert kept.request("POST", "/unlock", {"passphrase": "x"}).code == "bad_request"

    assert kept.request("POST", "/unlock").json == {"store": "secret-service", "state": "ready"}

    assert kept.request("POST", "/sign", {"method": "GET", "url": url}).status == 200


def test_everything_moves_from_the_keyring_to_a_file_and_back(
    keyring: KeyringLab, sandbox: Sandbox, fork_server: ForkServer
) -> None:
    """Key and token sign on after each move and after a new start; the keyring is empty meanwhile."""
    with Daemon(fork_server, ATL_SIGN_STORE="", **keyring.env) as daemon:
        daemon.dance(sandbox, "jira")
        url = f"{sandbox.base_url('jira')}/x"
        for backend, passphrase in (("file", {"new_passphrase": "word"}), ("secret-service", {})):
            moved = daemon.request("POST", "/store/move", {"backend": backend, **passphrase})
            assert (moved.status, moved.json) == (200, {"store": backend, "warnings": []})
            assert daemon.request("POST", "/sign", {"method": "GET", "url": url}).status == 200
            daemon.stop(signal.SIGKILL)
            daemon.start()
            if backend == "file":
                assert daemon.request("POST", "/unlock", {"passphrase": "word"}).status == 200
            assert daemon.request("POST", "/links/jira/check").json["user"] == "alice"
