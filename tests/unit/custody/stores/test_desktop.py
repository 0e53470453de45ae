"""The desktop's keyring without one: a bus that is missing, foreign, silent or rude."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jeepney import DBusErrorResponse, HeaderFields  # type: ignore[import-untyped]  # it has no annotations
from keyring.errors import PasswordDeleteError, PasswordSetError
from secretstorage import ItemNotFoundException

import atl_sign.custody.stores
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, StoreLockedError, StoreUnavailableError
from atl_sign.custody.stores import secret_service
from atl_sign.custody.stores.desktop import PAUSE_S, SecretServiceStore


def test_without_a_session_bus_the_hint_names_both_ways_out() -> None:
    """As in a cron job: the variable is not set."""
    store = SecretServiceStore()

    with pytest.raises(StoreUnavailableError) as caught:
        store.read("token:jira")

    assert "DBUS_SESSION_BUS_ADDRESS is not set" in caught.value.message
    assert caught.value.hint is not None
    assert "log in to the desktop" in caught.value.hint
    assert "encrypted file: atl-sign store move file" in caught.value.hint
    assert caught.value.code == "keyring_missing"
    assert store.state() == "unavailable"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "unix:path",
        "unix:abstract=",
        "unix:path=/nonexistent/bus",
        "unix:path=/dev/null",
        "tcp:host=localhost,port=1",
    ],
)
def test_an_address_without_a_bus_is_an_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Nobody is there, it is no socket, or it is no address at all."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    store = SecretServiceStore()

    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        store.write("token:jira", Secret("canary"))

    assert store.state() == "unavailable"


def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """SecretStorage is installed on Linux alone."""
    monkeypatch.delattr(atl_sign.custody.stores, "secret_service")
    monkeypatch.delitem(sys.modules, "atl_sign.custody.stores.secret_service")
    monkeypatch.setitem(sys.modules, "secretstorage", None)
    store = SecretServiceStore()

    with pytest.raises(StoreUnavailableError, match="the Python package secretstorage is missing"):
        store.read("token:jira")

    assert store.state() == "unavailable"


class _Bus:
    """A session bus that lets peers in, and then does what the test says instead of answering `Hello`."""

    def __init__(self, path: Path, greet: Callable[[socket.socket], None]) -> None:
        self.connections = 0
        self._greet = greet
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with_peers: list[socket.socket] = []
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                break
            with_peers.append(peer)
            self.connections += 1
            self._greet(peer)
        for peer in with_peers:
            peer.close()


def _stay_silent(peer: socket.socket) -> None:
    """Take the connection and nothing more."""


def _let_in(peer: socket.socket) -> None:
    """Do the authentication of the D-Bus specification, and answer no message."""
    peer.recv(1024)
    peer.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")


def _let_in_and_hang_up(peer: socket.socket) -> None:
    _let_in(peer)
    peer.recv(1024)
    peer.close()


def _refuse(peer: socket.socket) -> None:
    peer.recv(1024)
    peer.sendall(b"REJECTED EXTERNAL\r\n")


def _speak_http(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.fixture
def make_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[socket.socket], None]], _Bus]]:
    """Start a bus that behaves as asked, and name it in the environment."""
    buses: list[_Bus] = []

    def make(greet: Callable[[socket.socket], None]) -> _Bus:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
        buses.append(_Bus(tmp_path / "bus", greet))
        return buses[-1]

    yield make
    for bus in buses:
        bus.close()


@pytest.mark.parametrize("greet", [_stay_silent, _let_in])
def test_a_silent_bus_counts_as_locked_at_the_deadline(
    make_bus: Callable[..., _Bus], greet: Callable[[socket.socket], None]
) -> None:
    """Whether the silence begins before or after the authentication: the call ends when it should."""
    make_bus(greet)
    store = SecretServiceStore(timeout_s=0.3)
    started = time.monotonic()

    with pytest.raises(StoreLockedError, match="does not answer"):
        store.read("token:jira")

    assert 0.3 <= time.monotonic() - started < 0.8


@pytest.mark.parametrize("greet", [_let_in_and_hang_up, _refuse, _speak_http])
def test_a_bus_that_is_none_is_unavailable(make_bus: Callable[..., _Bus], greet: Callable[[socket.socket], None]) -> None:
    """It closes the connection, refuses the peer, or speaks another protocol."""
    make_bus(greet)
    store = SecretServiceStore()

    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        store.read("token:jira")

    assert store.state() == "unavailable"


def test_after_a_silence_calls_fail_at_once_and_then_try_again(make_bus: Callable[..., _Bus]) -> None:
    """For half a second nobody is asked; later the bus is, so that a keyring that works again is found."""
    bus = make_bus(_let_in)
    store = SecretServiceStore(timeout_s=0.2)
    assert store.state() == "locked"

    started = time.monotonic()
    for _ in range(100):
        assert store.state() == "locked"
    soon = time.monotonic() - started
    connections = bus.connections
    while bus.connections == connections:
        assert time.monotonic() - started < 10
        assert store.state() == "locked"

    assert soon < PAUSE_S
    assert connections == 1


def test_calls_that_wait_for_each_other_end_at_their_own_deadline(make_bus: Callable[..., _Bus]) -> None:
    """The second call begins while the first one waits, and has no longer than the first."""
    make_bus(_let_in)
    store = SecretServiceStore(timeout_s=0.4)
    first = threading.Thread(target=store.state)
    first.start()
    time.sleep(0.1)
    started = time.monotonic()

    with pytest.raises(StoreLockedError):
        store.read("token:jira")

    assert time.monotonic() - started < 0.45
    first.join()


def test_a_call_whose_turn_never_comes_ends_at_its_deadline() -> None:
    """Somebody else's call takes longer than ours may."""
    store = SecretServiceStore(timeout_s=0.1)

    with store._turn, pytest.raises(StoreLockedError, match="does not answer"):
        store.read("token:jira")


def test_no_time_at_all_is_a_deadline_too(make_bus: Callable[..., _Bus]) -> None:
    """A call whose whole time went into waiting for its turn asks nobody."""
    bus = make_bus(_let_in)
    store = SecretServiceStore(timeout_s=0)

    with pytest.raises(StoreLockedError, match="does not answer"):
        store.read("token:jira")

    assert bus.connections == 0


class _Backend:
    """A keyring back end that does what the test says."""

    def __init__(self, **outcomes: Any) -> None:
        self.outcomes = outcomes
        self.calls = 0

    def get_password(self, *_: str) -> Any:
        return self._do("get")

    def set_password(self, *_: str) -> Any:
        return self._do("set")

    def delete_password(self, *_: str) -> Any:
        return self._do("delete")

    def _do(self, call: str) -> Any:
        self.calls += 1
        outcome = self.outcomes.get(call)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _use(monkeypatch: pytest.MonkeyPatch, backend: _Backend) -> SecretServiceStore:
    monkeypatch.setattr(secret_service, "_backend", lambda deadline, bus: backend)
    return SecretServiceStore()


@pytest.mark.parametrize("kept", [None, "", "canary-", "another text"])
def test_a_keyring_that_keeps_something_else_is_an_error(monkeypatch: pytest.MonkeyPatch, kept: str | None) -> None:
    """A write that seemed to work would be noticed at the next start only, when the token is gone."""
    store = _use(monkeypatch, _Backend(get=kept))

    with pytest.raises(StoreUnavailableError, match="does not give it back") as caught:
        store.write("token:jira", Secret("canary"))

    assert "canary" not in f"{caught.value} {caught.value.hint}"


def test_a_keyring_that_does_not_delete_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says done and has the item still: told to the user, who believes to be logged out, and not tried for ever."""
    backend = _Backend()
    store = _use(monkeypatch, backend)

    with pytest.raises(StoreUnavailableError, match="did not remove"):
        store.delete("token:jira")

    assert backend.calls < 100


@pytest.mark.parametrize("outcome", [PasswordDeleteError("No such password!"), ItemNotFoundException("Item does not exist!")])
def test_an_item_that_somebody_else_deleted_is_deleted(monkeypatch: pytest.MonkeyPatch, outcome: Exception) -> None:
    """Before the search or after it: what was asked for is so."""
    store = _use(monkeypatch, _Backend(delete=outcome))

    store.delete("token:jira")


def _bus_error(name: str) -> DBusErrorResponse:
    header = SimpleNamespace(fields={HeaderFields.error_name: name})
    return DBusErrorResponse(SimpleNamespace(header=header, body=("canary",)))


@pytest.mark.parametrize(
    ("outcome", "error", "message"),
    [
        (_bus_error("org.freedesktop.Secret.Error.IsLocked"), StoreLockedError, "the keyring is locked"),
        (_bus_error("org.example.Odd"), StoreUnavailableError, "the keyring failed with org.example.Odd"),
        (ItemNotFoundException("canary"), StoreUnavailableError, "the keyring changed while it was asked"),
        (ConnectionResetError("canary"), StoreUnavailableError, "the connection to the keyring broke"),
        (PasswordSetError("canary"), StoreUnavailableError, "the keyring failed with PasswordSetError"),
    ],
)
def test_what_a_keyring_can_raise_becomes_our_error(
    monkeypatch: pytest.MonkeyPatch, outcome: Exception, error: type[DaemonError], message: str
) -> None:
    """A code and a sentence of ours; what the other side said is not repeated."""
    store = _use(monkeypatch, _Backend(get=outcome, set=outcome))
    calls: list[Callable[[], object]] = [lambda: store.read("token:jira"), lambda: store.write("token:jira", Secret("text"))]

    for call in calls:
        with pytest.raises(error) as caught:
            call()

        assert caught.value.message == message
        assert caught.value.hint
        assert "canary" not in caught.value.hint


def test_a_bug_is_not_taken_for_a_broken_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no library is known to raise is left to the outermost handler."""
    store = _use(monkeypatch, _Backend(get=ZeroDivisionError()))

    with pytest.raises(ZeroDivisionError):
        store.read("token:jira")
