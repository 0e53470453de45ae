"""The lab that these tests share: starting it takes a second."""

from collections.abc import Iterator

import pytest

from tests.clients.differential.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A daemon that has danced, and a recorder as its provider."""
    with Lab() as started:
        yield started
