"""`atl-sign dance` on a terminal: how long it waits, that it waits, and who signed in."""

import time

import pytest

from atl_sign.sandbox import Sandbox, access
from atl_sign.sandbox.call import Call
from tests.api.test_dance import visit
from tests.clients.terminal import Terminal
from tests.lab import REPOSITORY, Daemon

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_a_dance_counts_down_and_says_who_signed_in(sandbox: Sandbox, kind: str) -> None:
    """The time that is left is written over itself, and wiped; a terminal that cannot do that is spared."""
    with Daemon() as daemon:
        daemon.link(sandbox, "jira")
        environment = {**daemon.environment, "TERM": kind}
        with Terminal(["bash", ATL_SIGN, "dance", "jira", "--no-browser"], environment, daemon.folder) as terminal:
            address = terminal.read_until(r"(http://\S+oauth_token=\S+)\r\n")[1]
            terminal.read_until(r"^You have 10 minutes; \^C cancels\.\r\n")
            if kind == "xterm":
                terminal.read_until(r"^\rwaiting for your consent, (10:00|9:5\d) left ")
                terminal.read_until(r"^\r +\r\rwaiting for your consent, 9:5\d left ")
            visit(sandbox.approve("jira", address))
            before, user = terminal.read_until(r"^(.*)state: granted\r\nuser: (\w+)\r\nsigned in as alice at jira\r\n").groups()

    assert user == "alice"
    assert ("waiting" in before or before.endswith("\r")) == (kind == "xterm")


def test_a_slow_provider_still_names_the_user(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal asks each second, and an answer may come after the consent and before the name."""
    identify = access.identify

    def identify_late(call: Call) -> None:
        if call.path.endswith("/myself"):
            time.sleep(2.5)  # longer than two of the terminal's waits
        identify(call)

    monkeypatch.setattr(access, "identify", identify_late)
    with Daemon() as daemon:
        daemon.link(sandbox, "jira")
        environment = {**daemon.environment, "TERM": "xterm"}
        with Terminal(["bash", ATL_SIGN, "dance", "jira", "--no-browser"], environment, daemon.folder) as terminal:
            address = terminal.read_until(r"(http://\S+oauth_token=\S+)\r\n")[1]
            visit(sandbox.approve("jira", address))

            terminal.read_until(r"signed in as alice at jira\r\n")
