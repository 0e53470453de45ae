"""Others while a daemon is attacked: they are answered in time, it stays small, and every attacker gets an answer or an end."""

import re
from collections.abc import Iterator

import pytest

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon
from tests.reliability.attacks import ATTACKS, MEMORY_KB_MAX, list_links, many_links, measure, peak_kb

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SECONDS = 6.0  # some five hundred requests of others, or three hundred on a slow machine
LINKS = 10_000
# What an attacker may get: an answer, or a clean close where nothing was asked.
EXPECTED = {
    "1,000 idle connections": r"closed|open to the end",
    "500 requests in one moment, every 2 s": "200",
    "500 clients, each signs every 2 s": "200",
    "300 slow senders": r"told|nothing within the deadline",
    "half-closed sockets": r"whole: 200|half: 400|nothing: closed",
    "heads without an end": "cut off",
}


@pytest.fixture(scope="module")
def attacked(sandbox: Sandbox) -> Iterator[Daemon]:
    daemon = Daemon()
    # What measures coverage takes memory of its own.
    daemon.environment = {name: value for name, value in daemon.environment.items() if not name.startswith("COV")}
    with daemon as started:
        started.dance(sandbox, "jira")
        yield started


@pytest.fixture(scope="module")
def left_alone(sandbox: Sandbox) -> Iterator[Daemon]:
    with Daemon() as started:
        started.dance(sandbox, "jira")
        yield started


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_answered_during_an_attack(attacked: Daemon, left_alone: Daemon, sandbox: Sandbox, name: str) -> None:
    """Within 50 ms for 99 of 100, or three times what an idle daemon takes in the same seconds, but for two in each burst."""
    measured = measure(attacked, left_alone, f"{sandbox.base_url('jira')}/x", ATTACKS[name], SECONDS)

    assert measured.errors == ()
    assert measured.is_fast, measured
    assert measured.peak_kb < MEMORY_KB_MAX
    assert measured.outcomes.total() > 0
    assert {each for each in measured.outcomes if not re.fullmatch(EXPECTED[name], each)} == set(), measured
    assert measured.outcomes["nothing within the deadline"] == 0


def test_ten_thousand_links_are_listed_changed_and_signed_for(attacked: Daemon, left_alone: Daemon, sandbox: Sandbox) -> None:
    """In 96 MiB: as models alone they took 20 MB more, and each thread kept a heap of its own at its largest."""
    url = f"{sandbox.base_url('jira')}/x"
    with many_links(attacked, LINKS):
        attacked.request("POST", "/sign", {"method": "GET", "url": url})  # waits until the file is read
        measured = measure(attacked, left_alone, url, list_links, SECONDS / 4)
        for _ in range(3):
            assert len(attacked.request("GET", "/links").json["links"]) == LINKS + 1
            status = attacked.request("GET", "/status").json
        assert len(status["links"]) == len(status["dance_needed"]) + 1 == LINKS + 1
        assert attacked.request("GET", "/links", text=True).text.count("\n") == 1 + LINKS + 1  # a head
        assert attacked.request("PUT", "/links/new", {"url": "http://127.0.0.1:1/new"}).status == 201
        new = attacked.request("POST", "/sign", {"method": "GET", "url": "http://127.0.0.1:1/new/x"})

    assert new.code == "dance_needed"
    assert measured.errors == ()
    assert measured.is_fast, measured
    assert peak_kb(attacked) < MEMORY_KB_MAX
