"""The real daemon on the real keyring, killed (SIGKILL) at any moment; `make reliability` does the same a thousand times."""

import pytest

from tests.reliability.kills import KINDS, KillLab

pytestmark = pytest.mark.slow

ROUNDS = 9


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_told_outlives_a_kill(kind: str) -> None:
    """And what was not is the old or the new, whole; a token that died in a renewal is named as that."""
    with KillLab() as lab:
        lab.run(kind, ROUNDS)

    assert lab.counts[f"{kind}: kills"] == ROUNDS
    if kind == "renewals":  # each third kill is after the provider has made the new token, so this was really tried
        assert lab.counts["renewals: reported as lost"] >= 1
        assert lab.counts["renewals: signed at the next start"] >= 1
