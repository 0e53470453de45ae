"""
Property tests with the same result on every machine: the same examples, no time limit for one of them, no memory.

Also the OAuth 2.0 servers that others wrote, started once for all tests.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fork_server import ForkServer
from tests.interop.daemon_lab import FileDaemon
from tests.interop.oauth2_servers import AuthlibServer, ForeignServer, OidcProvider

# INTEROP_RANDOM=1 searches elsewhere than CI does; INTEROP_EXAMPLES=10000 searches longer.
settings.register_profile(
    "interop",
    max_examples=int(os.environ.get("INTEROP_EXAMPLES", "300")),
    derandomize="INTEROP_RANDOM" not in os.environ,
    deadline=None,
    database=None,
)


@pytest.fixture(scope="session")
def oidc_provider() -> Iterator[OidcProvider]:
    """The npm package oidc-provider, with long lifetimes; `with OidcProvider(access_s=3)` starts one with others."""
    with OidcProvider() as server:
        yield server


@pytest.fixture(scope="session")
def authlib_server() -> Iterator[AuthlibServer]:
    """Authlib's server, with long lifetimes; `with AuthlibServer(access_s=3)` starts one with others."""
    with AuthlibServer() as server:
        yield server


@pytest.fixture(params=["oidc_provider", "authlib_server"])
def server(request: pytest.FixtureRequest) -> ForeignServer:
    """Each of the two."""
    started: ForeignServer = request.getfixturevalue(request.param)
    return started


@pytest.fixture(params=[OidcProvider, AuthlibServer])
def short(request: pytest.FixtureRequest) -> Iterator[ForeignServer]:
    """Each of the two, new, with access tokens of three seconds."""
    with request.param(access_s=3, device_interval_s=1) as started:
        yield started


@pytest.fixture
def file_daemon(fork_server: ForkServer) -> Iterator[FileDaemon]:
    """A daemon whose store outlives it."""
    with FileDaemon(fork_server) as started:
        yield started
