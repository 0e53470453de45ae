"""
A daemon with a link of OAuth 2.0 that is killed (SIGKILL) in a refresh or at a dance's end, at each of its steps in turn.

`tests/tools/kill_at.c` ends the daemon just before its n-th call that writes, renames, syncs, connects, sends or receives; n goes
from 1 until the daemon comes through. So there is a kill before and after the note in the store, the question to the provider,
its answer, and the new item. After each kill the daemon starts anew, and says what it has.
"""

import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Self

from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, Reply, wait_for
from tests.oauth2_daemon import access_of, linked_provider

KINDS = ("refreshes", "dances", "first dances")
CREDENTIAL = "atl-sign-store-key"
_CALLS_MAX = 400  # of one refresh or dance; a dozen requests to provider, store and audit log
_LOST = "was lost in a renewal that was cut off"


class OAuth2KillLab:
    """One daemon, one store, one provider, and the counts of what was tried."""

    def __init__(self, flavour: str, library: Path, store: str = "file") -> None:
        """
        Prepare.

        Args:
            flavour: of the kinds of `provider_of`.
            library: made of `tests/tools/kill_at.c`.
            store: "file" or "secret-service".
        """
        self.counts: Counter[str] = Counter()
        self._flavour = flavour
        self._library = library
        self._store = store
        self._has_grant = False
        self._given_at = 0.0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.provider = stack.enter_context(linked_provider(self._flavour))
            keyring = stack.enter_context(KeyringLab()) if self._store == "secret-service" else None
            self.daemon = Daemon(
                LD_PRELOAD=str(self._library), ATL_SIGN_STORE=self._store, **({} if keyring is None else keyring.env)
            )
            stack.callback(self.daemon.close)
            self._countdown = self.daemon.folder / "countdown"
            self._countdown.write_bytes(bytes(8))
            self.daemon.environment["KILL_AT_FILE"] = str(self._countdown)
            (self.daemon.folder / CREDENTIAL).write_text("passphrase\n")
            self.daemon.environment["CREDENTIALS_DIRECTORY"] = str(self.daemon.folder)
            self.daemon.start()
            self.provider.add_to(self.daemon)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, kind: str, calls: Iterable[int] | None = None) -> None:
        """
        Kill the daemon during *kind* of `KINDS`, before its n-th call, for each n of *calls*; raises AssertionError on a loss.

        Without *calls*, for every n up to the first with which the daemon comes through.
        """
        one = self._refresh if kind == "refreshes" else self._dance_end
        self.provider.server.access_token_life_s = 1.0 if kind == "refreshes" else 3600.0
        if kind != "first dances":
            self._dance()
        for number in count(1) if calls is None else calls:
            assert number < _CALLS_MAX
            if not one(number) and calls is None:
                return
            self.counts["kills"] += 1

    def _refresh(self, number: int) -> bool:
        """Kill in a refresh; tells whether it came to that."""
        server = self.provider.server
        given_at = self._given_at
        wait_for(lambda: time.time() > given_at + 1.1)  # the access token's end, by the daemon's clock
        self._freeze()
        before = server.refreshes
        is_killed, told = self._kill_at(number, lambda: self.provider.sign(self.daemon))
        is_replaced = server.refreshes != before
        self.counts["refreshes that the provider had done"] += is_replaced

        self.daemon.start()
        reply = self.provider.sign(self.daemon)

        if reply.status == 200:
            assert self.provider.send(reply) == 200
            self.counts["signed at the next start"] += 1
        else:
            assert reply.code == "dance_needed", reply.text
            assert _LOST in reply.message, reply.text
            assert not server.leeway_s, "the refresh token could have been used again"
            assert told is None, "a signature was given with a token that the store did not keep"
            assert is_replaced, "reported as lost, and nothing was replaced"
            self.counts["reported as lost"] += 1
            self._dance()
        self._given_at = time.time()
        return is_killed

    def _dance_end(self, number: int) -> bool:
        """Kill while the browser's address is brought: nothing, the old grant or the new one; the new one when that was told."""
        self._freeze()
        path, address = self.provider.begin(self.daemon)
        before = set(self.provider.server.access_tokens)
        is_killed, told = self._kill_at(number, lambda: self.daemon.request("POST", path, {"redirect_url": address}))
        self.daemon.start()
        reply = self.provider.sign(self.daemon)

        if reply.status == 200:
            assert self.provider.send(reply) == 200
            is_new = access_of(reply) not in before
        else:
            assert reply.code == "dance_needed", reply.text
            assert "no access token" in reply.message, reply.text
            assert not self._has_grant, "the grant before is gone"
            is_new = False
        assert is_new or told is None, "it was told as done, and is not"
        self.counts["the new grant" if is_new else "the old grant" if self._has_grant else "no grant, as before"] += 1
        self._has_grant = self._has_grant or is_new
        return is_killed

    def _kill_at(self, number: int, call: Callable[[], Reply]) -> tuple[bool, Reply | None]:
        """Let the daemon die before its *number*-th call during *call*, else after it; returns whether it did, and the answer."""
        replies: list[Reply] = []

        def run() -> None:
            with suppress(OSError, HTTPException):
                replies.append(call())

        calling = threading.Thread(target=run)
        self._set_countdown(number)
        calling.start()
        calling.join()
        left = struct.unpack("@q", self._countdown.read_bytes())[0]
        self._set_countdown(0)
        self.daemon.stop(signal.SIGKILL)
        assert all(reply.status == 200 for reply in replies), replies
        return left == 0, replies[0] if replies else None

    def _set_countdown(self, number: int) -> None:
        with self._countdown.open("r+b") as file:
            file.write(struct.pack("@q", number))

    def _dance(self) -> None:
        self._freeze()
        self.provider.dance(self.daemon)
        self._has_grant, self._given_at = True, time.time()

    def _freeze(self) -> None:
        """Stop the provider's clock here, so that a token of one second is good for as long as one round takes."""
        now = time.time()
        self.provider.host.clock = lambda: now
