"""The real daemon, killed (SIGKILL) at the steps of a refresh and of a dance's end; `make reliability` takes every step."""

from collections import Counter
from pathlib import Path

import pytest

from tests.lab import build_library
from tests.reliability.oauth2_kills import OAuth2KillLab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# A refresh with the file takes 28 calls, of which 5 are between the provider's answer and the new item; with a keyring some 190.
# What is beyond the last call is a kill after it.
STEPS = {"file": range(2, 31, 3), "secret-service": range(8, 190, 18)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library("kill_at", tmp_path_factory.mktemp("kill_at"))


def kill(library: Path, flavour: str, kind: str, calls: range, store: str = "file") -> Counter[str]:
    with OAuth2KillLab(flavour, library, store) as lab:
        lab.run(kind, calls)
        assert lab.counts["kills"] == len(calls)
        return lab.counts


@pytest.mark.parametrize(("flavour", "store"), [("datacenter", "file"), ("datacenter", "secret-service"), ("gitlab", "file")])
def test_a_refresh_where_the_old_pair_dies_at_once(library: Path, flavour: str, store: str) -> None:
    """Signed at the next start, or reported as lost in a renewal that was cut off: the answer came and went with the daemon."""
    counts = kill(library, flavour, "refreshes", STEPS[store], store)

    assert counts["reported as lost"] >= 1
    assert counts["signed at the next start"] >= 1


@pytest.mark.parametrize("store", ["file", "secret-service"])
def test_a_refresh_with_leeway_loses_nothing(library: Path, store: str) -> None:
    """Atlassian Cloud takes the same refresh token for ten minutes: what the daemon did not store is asked for once more."""
    counts = kill(library, "atlassian-cloud", "refreshes", STEPS[store], store)

    assert counts["reported as lost"] == 0
    assert counts["refreshes that the provider had done"] >= 1


def test_the_leeway_is_what_saves_it(library: Path) -> None:
    """The twin of the one before: a Cloud without leeway."""
    with OAuth2KillLab("atlassian-cloud", library) as lab:
        lab.provider.server.leeway_s = 0.0
        lab.run("refreshes", range(16, 30, 3))

    assert lab.counts["reported as lost"] >= 1


@pytest.mark.parametrize("flavour", ["datacenter", "atlassian-cloud", "gitlab"])
def test_a_dances_end(library: Path, flavour: str) -> None:
    """The grant before, whole, until the new one is in the store; the new one when that was told."""
    counts = kill(library, flavour, "dances", range(2, 32, 3))

    assert counts["the old grant"] >= 1
    assert counts["the new grant"] >= 1


def test_a_first_dances_end(library: Path) -> None:
    """Nothing or the grant."""
    counts = kill(library, "datacenter", "first dances", range(3, 31, 4))

    assert counts["no grant, as before"] >= 1
    assert counts["the new grant"] >= 1
