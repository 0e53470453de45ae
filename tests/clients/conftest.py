"""A daemon that has danced, with a provider that verifies each signature; starting both takes a second."""

from collections.abc import Iterator

import pytest

from tests.clients.differential.lab import Lab


@pytest.fixture(scope="session")
def started_lab() -> Iterator[Lab]:
    """For all tests of one process."""
    with Lab() as started:
        yield started


@pytest.fixture
def lab(started_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """As a program finds it: by the environment; nothing was sent yet."""
    monkeypatch.setenv("ATL_SIGN_SOCK", str(started_lab.daemon.socket))
    started_lab.recorder.take()
    return started_lab
