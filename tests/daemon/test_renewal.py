"""Renewals under way in the real daemon: a hundred signers, and a daemon that is killed at any moment of one."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon, UnixConnection

LIFE_S = 4.0
SIGNERS = 100


@pytest.fixture
def short_lived() -> Iterator[Sandbox]:
    """Its access tokens last four seconds."""
    with Sandbox(["jira"], token_life_s=LIFE_S) as sandbox:
        yield sandbox


@pytest.mark.slow
@pytest.mark.alone  # a signature that is sent half a second late is for the token before
def test_a_hundred_signers_through_three_renewals(short_lived: Sandbox) -> None:
    """Each signs and sends without a pause for the life of three tokens: no signature fails."""
    outcomes: Counter[object] = Counter()
    with Daemon() as daemon:
        daemon.dance(short_lived, "jira")
        end = time.monotonic() + 3.2 * LIFE_S
        threads = [threading.Thread(target=_sign_and_send, args=(daemon, short_lived, end, outcomes)) for _ in range(SIGNERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    swaps = sum(each.target.endswith(b"/access-token") for each in short_lived.state.requests)
    asked = [each for each in short_lived.state.requests if each.target.endswith(b"/myself")]
    refused = {each.verdict for each in asked if each.status != 200}
    assert refused == set()
    assert set(outcomes) == {200}, outcomes
    assert sum(outcomes.values()) > SIGNERS
    assert 2 <= swaps - 1 <= 4  # one is the dance's own


def _sign_and_send(daemon: Daemon, sandbox: Sandbox, end: float, outcomes: Counter[object]) -> None:
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    parts = urlsplit(url)
    agent = UnixConnection(daemon.socket)
    provider = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    while time.monotonic() < end:
        agent.request("POST", "/sign", json.dumps({"method": "GET", "url": url}), {"Content-Type": "application/json"})
        answer = agent.getresponse()
        signed = json.loads(answer.read())
        if answer.status != 200:
            outcomes[signed["error"]["code"]] += 1
            continue
        provider.request("GET", parts.path, headers={"Authorization": signed["authorization"]})
        reply = provider.getresponse()
        reply.read()
        outcomes[reply.status] += 1
        time.sleep(0.05)
    agent.close()
    provider.close()
