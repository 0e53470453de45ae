"""What happens to a fleet: one fault at a time, at some moment of a token's life."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fleet.lab import LIFE_S, Fleet, Machine
from tests.openbao import RaftBao

_SEALING = threading.Lock()  # fleets share the vault


def nothing(fleet: Fleet, machine: Machine) -> None:
    """A life without a fault."""
    del fleet, machine


def killed(fleet: Fleet, machine: Machine) -> None:
    """The daemon dies, and starts again."""
    machine.kill()
    time.sleep(fleet.random.uniform(0, 2))
    machine.start()


def stopped(fleet: Fleet, machine: Machine) -> None:
    """It sleeps, for a moment or longer than the others' patience, as a laptop does whose lid is closed."""
    assert machine.daemon.process is not None
    with _held(machine.daemon.process.pid):
        time.sleep(fleet.random.choice([0.3, 1.5, 4.0, 9.0]))


def cut_off(fleet: Fleet, machine: Machine) -> None:
    """It does not reach the vault; the provider it does."""
    machine.relay.cut()
    time.sleep(fleet.random.choice([0.3, 1.5, 4.0, 9.0]))
    machine.relay.mend()


def all_cut_off(fleet: Fleet, machine: Machine) -> None:
    """Nobody reaches the vault."""
    del machine
    for each in fleet.machines:
        each.relay.cut()
    time.sleep(fleet.random.uniform(0.3, 3))
    for each in fleet.machines:
        each.relay.mend()


def vault_stopped(fleet: Fleet, machine: Machine) -> None:
    """The vault takes connections and says nothing."""
    del machine
    assert fleet.bao.process is not None
    with _held(fleet.bao.process.pid):
        time.sleep(fleet.random.uniform(0.3, 3))


def sealed(fleet: Fleet, machine: Machine) -> None:
    """Its operators seal the vault, and unseal it after a while; one for tests has no seal, and stops instead."""
    if not isinstance(fleet.bao, RaftBao):
        vault_stopped(fleet, machine)
        return
    with _SEALING:
        fleet.bao.seal()
        time.sleep(fleet.random.uniform(0.3, 3))
        fleet.bao.unseal()


def provider_busy(fleet: Fleet, machine: Machine) -> None:
    """The provider gives no token for a while."""
    del machine
    faults = fleet.provider.server.faults
    faults.token = "503"
    time.sleep(fleet.random.uniform(0.3, 3))
    faults.clear()


def key_rotated(fleet: Fleet, machine: Machine) -> None:
    """Its operators make another version of the key."""
    del machine
    with _SEALING:  # or the test itself meets a sealed vault
        fleet.space.call("POST", "transit/keys/atl-sign/rotate", {})


FAULTS: tuple[Callable[[Fleet, Machine], None], ...] = (
    *(nothing, killed, killed, stopped, stopped, cut_off, cut_off),
    *(all_cut_off, vault_stopped, sealed, provider_busy, key_rotated),
)


def run_round(fleet: Fleet, fault: Callable[[Fleet, Machine], None]) -> None:
    """Let *fault* happen to some machine at some moment of a token's life, and wait until every machine is served again."""
    time.sleep(fleet.random.uniform(0, LIFE_S / 2))
    fault(fleet, fleet.random.choice(fleet.machines))
    fleet.counts[f"fault: {fault.__name__}"] += 1
    fleet.settle()


@contextmanager
def _held(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
