"""The fixtures of the proxy's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.proxy.front_lab import Provider, ProxyLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProxyLab]:
    with ProxyLab(tmp_path) as started:
        yield started


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as started:
        yield started
