"""Machines with one store in one vault and one grant at one provider, each asked for headers all the time."""

import json
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from tests.fleet.oauth1 import OAuth1Provider, oauth1_provider
from tests.fleet.relay import Relay
from tests.fork_server import ForkServer
from tests.lab import Daemon, Reply, wait_for
from tests.oauth2_daemon import LinkedProvider, linked_provider
from tests.openbao import OpenBao, Space

STORE = "vault:ci/secret/atl-sign"
KEY = "vault:ci/transit/atl-sign"
LIFE_S = 8.0  # of an access token; half of it, and a renewal is due
LOST = ("was lost in a renewal that was cut off", "no machine has stored the answer")
# Some eighth of what they are, so that a fault takes an eighth of the time; but a header has a second to reach the provider.
CONSTANTS = {
    "atl_sign.custody.claims": {"LEASE_S": 4.0, "PATIENCE_S": 8.5, "EXCHANGE_S_MAX": 1.0, "_POLL_S": 0.05},
    "atl_sign.grants.live": {"EXCHANGE_S_MAX": 1.0},
    "atl_sign.grants.renewal": {"DRAIN_S": 1.0, "AGE_S_DUE": 0.3, "RETRY_S": 6.0, "RETRY_EXPIRED_S": 0.5},
    "atl_sign.custody.shelf": {"_SILENCE_S": 1.0},
    "atl_sign.custody.stores.kv": {"CACHE_S": 3.0},
}
SETTLED_S = 40.0  # in which a fault's end must have come through to every machine


class Machine:
    """One machine: a daemon, and its way to the vault."""

    def __init__(self, number: int, fork_server: ForkServer, space: Space, token_file: Path) -> None:
        self.number = number
        self.relay = Relay(space.server.port)
        self.daemon = Daemon(fork_server, ATL_SIGN_STORE="", TESTS_CONSTANTS=json.dumps(CONSTANTS))
        self._vault = {
            **space.settings(token_file),
            "address": space.server.address.replace(str(space.server.port), str(self.relay.port)),
        }
        self.is_up = False

    def configure(self, links: str = "") -> None:
        """Write its configuration, with *links* as another machine has them."""
        settings = "\n".join(f'{name} = "{value}"' for name, value in self._vault.items())
        self.daemon.config.parent.mkdir(parents=True, exist_ok=True)
        self.daemon.config.write_text(f'[store]\nbackend = "{STORE}"\n[vaults.ci]\n{settings}\n{links}')

    def start(self) -> None:
        self.daemon.start()
        self.is_up = True

    def kill(self) -> None:
        self.is_up = False
        self.daemon.stop(signal.SIGKILL)


class Fleet:
    """The machines, and the counts of what was seen."""

    def __init__(self, bao: OpenBao, fork_server: ForkServer, kind: str, machines: int, seed: int) -> None:
        """
        Prepare.

        Args:
            bao: the vault.
            fork_server: forks the daemons.
            kind: of the provider, as in `provider_of`.
            machines: how many.
            seed: of the chances.
        """
        self.counts: Counter[str] = Counter()
        self.random = random.Random(seed)
        self.bao = bao
        self._fork_server = fork_server
        self._kind = kind
        self._size = machines
        self._stack = ExitStack()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.longest_s = 0.0  # without a header that the provider took, of one machine

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            self.provider: LinkedProvider | OAuth1Provider
            if self._kind == "oauth1":
                self.provider = stack.enter_context(oauth1_provider(2 * LIFE_S))
            else:
                self.provider = stack.enter_context(linked_provider(self._kind))
            self.provider.server.access_token_life_s = LIFE_S
            space = self.bao.make_space()
            space.make_policy()
            space.call("POST", "transit/keys/atl-sign", {"type": "rsa-2048"})
            token_file = space.token_file(folder / "token", space.make_token("atl-sign", ttl="10h"))
            self.space = space
            self.machines = [Machine(each, self._fork_server, space, token_file) for each in range(self._size)]
            for machine in self.machines:
                stack.enter_context(machine.relay)
                stack.callback(machine.daemon.close)
            self._begin()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._stack.close()

    def _begin(self) -> None:
        first = self.machines[0]
        first.configure()
        first.start()
        self.provider.add_to(first.daemon, timeout_s=3)
        self.dance(first)
        links = first.daemon.config.read_text().partition("[links.")
        for machine in self.machines[1:]:
            machine.configure(links[1] + links[2])
            machine.start()

    def dance(self, machine: Machine) -> None:
        self.provider.dance(machine.daemon)
        self.counts["dances"] += 1

    def ask(self, machine: Machine) -> Reply | None:
        """Ask *machine* for a header; None when it died meanwhile."""
        try:
            return self.provider.sign(machine.daemon)
        except (OSError, HTTPException):
            return None

    def is_served(self, machine: Machine) -> bool:
        """Tell whether *machine* gives a header that the provider takes."""
        reply = self.ask(machine)
        if reply is None or reply.status != 200:
            return False
        return self.provider.send(reply) == 200

    def says_lost(self, machine: Machine) -> bool:
        """Tell whether *machine* says that the token was lost, and that a dance is needed."""
        reply = self.ask(machine)
        return reply is not None and reply.status == 409 and any(words in reply.message for words in LOST)

    def settle(self) -> None:
        """Wait until every machine is served, or says that the token was lost: then one dances, and all are served again."""
        began = time.monotonic()
        waiting = list(self.machines)

        def look() -> bool:
            nonlocal waiting
            waiting = [machine for machine in waiting if not self.is_served(machine)]
            return not waiting or any(self.says_lost(machine) for machine in waiting)

        wait_for(look, lambda: self._explain(waiting), SETTLED_S)
        if waiting:
            self.counts["reported as lost"] += 1
            self.dance(waiting[0])
            waiting = list(self.machines)
            wait_for(lambda: look() and not waiting, lambda: self._explain(waiting), SETTLED_S)
        self.longest_s = max(self.longest_s, time.monotonic() - began)

    def _explain(self, waiting: list[Machine]) -> str:
        replies = {}
        for machine in waiting:
            reply = self.ask(machine)
            replies[machine.number] = None if reply is None else reply.text
        logs = {machine.number: machine.daemon.log.read_text()[-600:] for machine in waiting}
        return f"lost without a word, or not served: {replies}\n{logs}"

    def keep_asking(self) -> None:
        """Ask every machine for headers from now on, some four times a second each, and send what they give."""
        for machine in self.machines:
            threading.Thread(target=self._keep_asking, args=(machine,), daemon=True).start()

    def _keep_asking(self, machine: Machine) -> None:
        while not self._is_over.wait(self.random.uniform(0.1, 0.4)):
            if not machine.is_up:
                continue
            with suppress(OSError, HTTPException, ValueError):
                reply = self.ask(machine)
                with self._lock:
                    if reply is None:
                        self.counts["died"] += 1
                    elif reply.status != 200:
                        self.counts[f"refused: {reply.code}"] += 1
                    else:
                        taken = self.provider.send(reply) == 200
                        self.counts["taken" if taken else "not taken by the provider"] += 1

    def renewals(self) -> tuple[int, int]:
        """Return how often the provider renewed the grant, and how often it was asked with a token that it takes no more."""
        return self.provider.server.refreshes, self.provider.server.spent_refreshes
