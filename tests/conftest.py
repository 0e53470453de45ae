"""Fixtures that the tests share: a clean environment, a sandbox, a daemon, and one that has danced with every product."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.fork_server import ForkServer
from tests.lab import PRODUCTS, Daemon

if TYPE_CHECKING:
    from atl_sign.sandbox import Sandbox
    from tests.openbao import OpenBao, Space

_LEAKY = ("ATL_SIGN_", "XDG_", "PYTHON_KEYRING_BACKEND", "DBUS_SESSION_BUS_ADDRESS", "LISTEN_", "NOTIFY_SOCKET")
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

# A shell lets what it starts in the background ignore ^C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# And nohup lets it ignore SIGHUP. One that is caught is not inherited, and ends no worker either.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_LEAKY) or name in _AUTHORITIES or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("ATL_SIGN_AUTOSTART", "0")  # a test leaves no daemon behind


@pytest.fixture(autouse=True)
def _own_umask() -> Iterator[None]:
    """A command that is run in this process sets the umask, which is not for the next test."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def sandbox() -> "Iterator[Sandbox]":
    """The four products on one loopback port."""
    from atl_sign.sandbox import Sandbox

    provider = Sandbox()
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[OpenBao]":
    """A real vault."""
    from tests.openbao import OpenBao

    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture
def space(openbao: "OpenBao") -> "Space":
    """A namespace of its own in the vault, with the mounts `secret` and `transit`."""
    return openbao.make_space()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """What forks the daemons of this worker's tests."""
    with ForkServer() as server:
        yield server


@pytest.fixture
def daemon(fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon with nothing in it."""
    with Daemon(fork_server) as started:
        yield started


@pytest.fixture(scope="module")
def danced(sandbox: "Sandbox", fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon that may sign for alice at all four products; shared, so leave it as it was."""
    with Daemon(fork_server) as started:
        for product in PRODUCTS:
            started.dance(sandbox, product)
        yield started
