"""What goes to a service manager, and when none is there; the process's own messages are in tests/daemon."""

import os
import socket
from pathlib import Path

import pytest

from atl_sign.server.notify import Notifier, notifier_of


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    """A manager's socket."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "n"))
    listener.setblocking(False)
    return listener


def test_the_watchdog_is_fed_at_half_of_its_time(manager: socket.socket) -> None:
    """Not with every look of the event loop."""
    with manager:
        notifier = Notifier(str(manager.getsockname()), 10.0)
        for now in (100.0, 101.0, 104.9, 105.0, 109.9):
            notifier.tell_alive(now)

        assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_an_abstract_address_begins_with_an_at() -> None:
    """As sd_notify(3) has it."""
    name = f"atl-sign-tests-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.setblocking(False)

        Notifier(f"@{name}").tell_ready("two\nlines")

        assert listener.recv(100) == b"READY=1\nSTATUS=two lines"


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, None),  # nobody to tell
        ({"NOTIFY_SOCKET": "/n"}, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000"}, 3.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "3000000"}, None),
    ],
)
def test_the_watchdog_is_asked_for_by_the_environment(environment: dict[str, str], watchdog_s: float | None) -> None:
    """As sd_watchdog_enabled(3) reads it; and an address of another kind is not ours."""
    assert notifier_of(environment).watchdog_s == watchdog_s


def test_nobody_is_told_where_nobody_is() -> None:
    """No address, no message, no failure."""
    notifier = notifier_of({})

    notifier.tell_ready("x")
    notifier.tell_reloading()
    notifier.tell_alive(1.0)
    notifier.tell_stopping("x")
