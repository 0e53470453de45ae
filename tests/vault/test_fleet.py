"""Machines with one grant in one vault: one renews it at a time, whatever happens to them, and nothing is lost without a word."""

import pytest

from tests.fleet import faults
from tests.fleet.lab import Fleet
from tests.fork_server import ForkServer
from tests.lab import wait_for
from tests.openbao import OpenBao

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["oauth1", "datacenter", "atlassian-cloud"])
def test_one_renewal_for_four_machines(openbao: OpenBao, fork_server: ForkServer, kind: str) -> None:
    """Lives of a token without a fault: each is renewed once, and no machine asks with one that is spent."""
    with Fleet(openbao, fork_server, kind, 4, seed=1) as fleet:
        fleet.keep_asking()
        wait_for(lambda: fleet.renewals()[0] >= 2, deadline_s=60)
        fleet.settle()

        assert fleet.renewals()[1] == 0
        assert fleet.counts["reported as lost"] == 0
        assert fleet.counts["not taken by the provider"] == 0, fleet.counts


@pytest.mark.parametrize("kind", ["oauth1", "datacenter", "atlassian-cloud"])
def test_faults(openbao: OpenBao, fork_server: ForkServer, kind: str) -> None:
    """Each of them once: every machine is served again, or says that the token was lost in a renewal that was cut off."""
    with Fleet(openbao, fork_server, kind, 4, seed=2) as fleet:
        fleet.keep_asking()
        for fault in dict.fromkeys(faults.FAULTS):
            faults.run_round(fleet, fault)

        renewed, spent = fleet.renewals()
        assert spent <= fleet.counts["fault: killed"] + fleet.counts["reported as lost"] + 2, (renewed, spent, fleet.counts)
