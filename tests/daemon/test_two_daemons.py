"""Two daemons of one user with one store, as when one was started before the log-in: neither spoils what the other one keeps."""

import threading
import time
from collections.abc import Iterator

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, wait_for

LIFE_S = 6.0
CREDENTIAL = "atl-sign-store-key"


@pytest.fixture
def short_lived() -> Iterator[Sandbox]:
    """Its access tokens last six seconds, and each renewal voids the one before."""
    with Sandbox(["jira"], token_life_s=LIFE_S) as sandbox:
        yield sandbox


@pytest.fixture(params=["file", "secret-service"])
def pair(request: pytest.FixtureRequest, fork_server: ForkServer) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons at two sockets, with one configuration and one store."""
    with KeyringLab() as keyring:
        older = Daemon(fork_server, ATL_SIGN_STORE=request.param, **keyring.env)
        (older.folder / CREDENTIAL).write_text("passphrase\n")
        older.environment["CREDENTIALS_DIRECTORY"] = str(older.folder)
        newer = Daemon(fork_server)
        newer.environment = {**older.environment, "XDG_RUNTIME_DIR": str(newer.folder / "run")}
        newer.config = older.config
        try:
            older.start()
            newer.start()
            yield older, newer
        finally:
            older.close()
            newer.close()


def sign(daemon: Daemon, url: str) -> str:
    """Return the token in a header that *daemon* makes, or the error's code."""
    reply = daemon.request("POST", "/sign", {"method": "GET", "url": url})
    return reply.json["authorization"].partition('oauth_token="')[2].partition('"')[0] if reply.status == 200 else reply.code


def test_both_sign_through_renewals(pair: tuple[Daemon, Daemon], short_lived: Sandbox) -> None:
    """Whichever renews, the other one takes the new token from the store: every check succeeds, and none is renewed twice."""
    older, newer = pair
    older.dance(short_lived, "jira")
    assert newer.request("POST", "/links/jira/check").json["user"] == "alice"
    failures: list[str] = []

    def use(daemon: Daemon) -> None:
        end = time.monotonic() + 2.5 * LIFE_S
        while time.monotonic() < end:
            reply = daemon.request("POST", "/links/jira/check")
            if reply.status != 200 or reply.json["user"] != "alice":
                failures.append(reply.text)
            time.sleep(0.2)

    threads = [threading.Thread(target=use, args=(daemon,)) for daemon in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    swaps = [each for each in short_lived.state.requests if each.target.endswith(b"/access-token")]
    assert failures == []
    assert {each.status for each in swaps} == {200}
    assert 2 <= len(swaps) - 1 <= 4  # one is the dance's own; two daemons by themselves would be refused


def test_the_one_that_slept_takes_the_renewed_token(pair: tuple[Daemon, Daemon], short_lived: Sandbox) -> None:
    """Its own token has ended and is void: it neither asks the provider with it nor writes it over the new one."""
    older, newer = pair
    older.dance(short_lived, "jira")
    url = f"{short_lived.base_url('jira')}/rest/api/2/myself"
    first = sign(newer, url)
    assert first == sign(older, url)
    time.sleep(LIFE_S + 0.5)
    renewed = sign(older, url)
    assert renewed not in (first, "dance_needed")

    assert sign(newer, url) == renewed
    assert newer.request("POST", "/links/jira/check").json["user"] == "alice"
    assert older.request("POST", "/links/jira/check").json["user"] == "alice"


def test_a_logout_and_a_new_key_hold_for_both(pair: tuple[Daemon, Daemon], sandbox: Sandbox) -> None:
    """At the next request: nothing is signed with what the user has taken away."""
    older, newer = pair
    older.dance(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    assert sign(newer, url) == sign(older, url)

    made = older.request("POST", "/key", {"bits": 2048, "replace": True}).json["public_key"]
    assert newer.request("GET", "/key").json["public_key"] == made
    assert older.request("DELETE", "/links/jira/token").status == 200
    assert sign(newer, url) == "dance_needed"
    assert (older.folder / ".local/state/atl-sign/store.changes").stat().st_mode & 0o777 == 0o600


def test_a_daemon_alone_reads_nothing_again(sandbox: Sandbox, fork_server: ForkServer) -> None:
    """Its own changes are not taken for another's: what it has in memory signs while the keyring is locked."""
    with KeyringLab() as keyring, Daemon(fork_server, ATL_SIGN_STORE="secret-service", **keyring.env) as daemon:
        daemon.dance(sandbox, "jira")
        url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
        token = sign(daemon, url)
        keyring.lock()

        wait_for(lambda: daemon.request("GET", "/status").json["store_state"] == "locked")
        assert sign(daemon, url) == token
        changes = daemon.folder / ".local/state/atl-sign/store.changes"
        changes.write_text(changes.read_text() + "x")  # the twin: another daemon's change
        assert sign(daemon, url) == "store_locked"
