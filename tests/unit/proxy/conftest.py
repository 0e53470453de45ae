"""The fixtures of the proxy's tests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atl_sign.proxy.certificates import Authority
from tests.unit.proxy.front_lab import Provider, ProxyLab, tls_provider


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProxyLab]:
    with ProxyLab(tmp_path) as started:
        yield started


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as started:
        yield started


@pytest.fixture
def authority() -> Authority:
    return Authority(["127.0.0.1"], 3600, lambda: datetime.now(UTC))


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    """The file that a program is given."""
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.certificate_pem)
    return path


@pytest.fixture
def https(tmp_path: Path, lab: ProxyLab) -> Iterator[Provider]:
    """A provider over TLS, and its link jira."""
    with tls_provider(tmp_path) as (provider, certificate):
        lab.add_link("jira", f"{provider.origin}/jira", ca_bundle=str(certificate))
        yield provider
