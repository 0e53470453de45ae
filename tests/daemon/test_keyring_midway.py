"""The keyring goes away in the middle of a renewal: after the provider has made the new token, before the store has it."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, wait_for

pytestmark = pytest.mark.slow


def stop(keyring: KeyringLab) -> None:
    keyring.stop_process()


def lock(keyring: KeyringLab) -> None:
    keyring.lock()


@pytest.mark.parametrize(
    ("hinder", "mend"),
    [(stop, KeyringLab.continue_process), (lock, lambda keyring: keyring.unlock(replace=True))],
    ids=["stopped", "locked"],
)
def test_a_new_token_is_used_and_stored_later(
    fork_server: ForkServer, hinder: Callable[[KeyringLab], None], mend: Callable[[KeyringLab], None]
) -> None:
    """It signs from memory; once the keyring is back it is written, and the next daemon has it, even after SIGKILL."""
    with (
        KeyringLab() as keyring,
        Sandbox(["jira"], token_life_s=1) as sandbox,
        Daemon(fork_server, ATL_SIGN_STORE="secret-service", **keyring.env) as daemon,
    ):
        now = time.time()
        sandbox.clock = lambda: now  # the provider's tokens last as long as the test
        daemon.dance(sandbox, "jira")
        state = sandbox.state.sites["jira"].state
        (old,) = state.access_tokens
        state.token_life_s = 600  # the next one's: storing it takes three seconds
        daemon.stop()
        daemon.start()
        time.sleep(max(0.0, now + 2.1 - time.time()))  # the token's end, by the daemon's clock
        renew = state.renew

        def renew_and_hinder(token: Any) -> Any:
            new = renew(token)
            hinder(keyring)
            return new

        state.renew = renew_and_hinder  # type: ignore[method-assign]
        url = f"{sandbox.base_url('jira')}/rest/api/2/myself"

        reply = daemon.request("POST", "/sign", {"method": "GET", "url": url})

        state.renew = renew  # type: ignore[method-assign]
        (new,) = state.access_tokens
        assert reply.status == 200, reply.text
        assert new != old
        assert f'oauth_token="{new}"' in reply.json["authorization"]
        mend(keyring)
        wait_for(lambda: any(new in text for text in keyring.read("token:jira")))
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert daemon.request("POST", "/sign", {"method": "GET", "url": url}).status == 200
