"""
A daemon on the real keyring that is killed (SIGKILL) again and again: during renewals, dances, and writes of key and links.

After each kill the store's items are looked at, the daemon starts anew, and says what it has.
What it had told somebody must be there; what it had not is the old or the new, whole.
"""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.client import HTTPException
from typing import Any, Self

from atl_sign.sandbox import Sandbox
from tests.keyring_lab import KeyringLab
from tests.lab import DEADLINE_S, Daemon, Reply, wait_for

KINDS = ("renewals", "dances", "writes")
_ITEM = {"v": int, "scheme": str, "url": str, "client": str, "grant": dict}
_GRANT = {"oauth_token": str, "oauth_token_secret": str, "session_handle": str, "is_in_doubt": bool}


class KillLab:
    """One daemon, one keyring, one provider, and the counts of what was tried."""

    def __init__(self, seed: int = 20261125) -> None:
        """Choose the moments of the kills by *seed*."""
        self.counts: Counter[str] = Counter()
        self._moments = random.Random(seed)
        self._longest_s = 0.3  # how long what is killed takes; learned from those that came through
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.keyring = stack.enter_context(KeyringLab())
            self.sandbox = stack.enter_context(Sandbox(["jira"], token_life_s=1))
            self.daemon = stack.enter_context(Daemon(ATL_SIGN_STORE="secret-service", **self.keyring.env))
            self._state = self.sandbox.state.sites["jira"].state
            self._url = f"{self.sandbox.base_url('jira')}/rest/api/2/myself"
            self.freeze()
            self._dance()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def freeze(self) -> None:
        """Stop the provider's clock here, so that a token of one second is good for as long as one round takes."""
        now = time.time()
        self.sandbox.clock = lambda: now

    def run(self, kind: str, rounds: int) -> None:
        """Kill the daemon *rounds* times during *kind* of `KINDS`; raises AssertionError when anything is half or gone."""
        one: Callable[[int], None] = {"renewals": self._renewal, "dances": self._dancing, "writes": self._writing}[kind]
        if kind != "renewals":  # with a life of one second the provider may end a token a moment before the daemon does
            self._state.token_life_s = 3600
            self._dance()
        for number in range(rounds):
            one(number)
            self.counts[f"{kind}: kills"] += 1

    def _renewal(self, number: int) -> None:
        """Kill during a renewal; each third time just when the provider has made the new token and has not answered yet."""
        # The store has whole seconds. Before the end the daemon would first wait for headers under way, for two seconds.
        ends_at = self._kept_grant()["expires_at"]
        wait_for(lambda: time.time() > ends_at + 1)
        self.freeze()
        before = set(self._state.access_tokens)
        renew = self._state.renew
        if number % 3 == 0:

            def renew_and_kill(token: Any) -> Any:
                new = renew(token)
                self._daemon_process().kill()
                return new

            self._state.renew = renew_and_kill  # type: ignore[method-assign]
        told = self._kill_during(
            lambda: self.daemon.request("POST", "/sign", {"method": "GET", "url": self._url}), is_timed=number % 3 != 0
        )
        self._state.renew = renew  # type: ignore[method-assign]
        kept = self._kept_grant()["oauth_token"]
        is_replaced = set(self._state.access_tokens) != before
        self.counts["renewals: the provider had replaced the token"] += is_replaced

        self.daemon.start()
        reply = self.daemon.request("POST", "/sign", {"method": "GET", "url": self._url})

        if reply.status == 200:
            assert self._send(reply.json["authorization"]) == 200
            self.counts["renewals: signed at the next start"] += 1
            return
        assert reply.code == "dance_needed", reply.text
        assert "was lost in a renewal" in reply.message, reply.text
        assert not told, "a signature was given with a token that the store did not keep"
        assert is_replaced, "called lost, and the provider has it still"
        assert kept not in self._state.access_tokens, "called lost, and the store has it"
        self.counts["renewals: reported as lost"] += 1
        self._dance()

    def _dancing(self, number: int) -> None:
        """Kill while the verifier is brought: the old token or the new one is there, and the new one when that was told."""
        del number
        self.freeze()
        begun = self.daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json
        code = self.sandbox.approve("jira", begun["authorize_url"])
        before = set(self._state.access_tokens)
        told = self._kill_during(lambda: self.daemon.request("POST", f"/dance/{begun['id']}", {"verifier": code}))
        kept = self._kept_grant()["oauth_token"]
        if told:
            for old in before:
                del self._state.access_tokens[old]
        assert kept in self._state.access_tokens
        self.counts["dances: the new token" if kept not in before else "dances: the old token"] += 1

        self.daemon.start()
        reply = self.daemon.request("POST", "/sign", {"method": "GET", "url": self._url})

        assert reply.status == 200, reply.text
        assert self._send(reply.json["authorization"]) == 200

    def _writing(self, number: int) -> None:
        """Kill while the key is replaced, or while a link is written."""
        if number % 2:
            before = self.daemon.request("GET", "/key").json["public_key"]
            told = self._kill_during(lambda: self.daemon.request("POST", "/key", {"bits": 2048, "replace": True}))
            assert len(self._items("consumer-key")) == 1
            self.daemon.start()
            after = self.daemon.request("GET", "/key")
            assert after.status == 200, after.text
            is_new = after.json["public_key"] != before
            self._dance()
        else:
            name = f"link{number}"
            fields = {"url": f"http://127.0.0.1:1/{name}", "consumer_key": "x" * 200}
            told = self._kill_during(lambda: self.daemon.request("PUT", f"/links/{name}", fields))
            self.daemon.start()
            listed = self.daemon.request("GET", "/links").json
            assert listed["problems"] == []
            names = {link["name"] for link in listed["links"]}
            assert "jira" in names
            is_new = name in names
            if is_new:
                assert self.daemon.request("DELETE", f"/links/{name}").status == 200
        assert is_new or not told, "it was told as done, and is not"
        self.counts["writes: the new one" if is_new else "writes: the old one"] += 1

    def _kill_during(self, call: Callable[[], Reply], *, is_timed: bool = True) -> bool:
        """Kill the daemon at some moment of *call*, unless that sees to it; tell whether it came through with success before."""
        replies: list[int] = []
        took_s: list[float] = []

        def run() -> None:
            started_at = time.monotonic()
            with suppress(OSError, HTTPException):
                replies.append(call().status)
                took_s.append(time.monotonic() - started_at)

        calling = threading.Thread(target=run)
        calling.start()
        calling.join(self._moments.uniform(0.0, 1.1 * self._longest_s) if is_timed else DEADLINE_S)  # the moment is what varies
        self.daemon.stop(signal.SIGKILL)
        calling.join()
        if took_s:
            self._longest_s = 0.8 * self._longest_s + 0.2 * min(took_s[0], 3.0)
        elif self._longest_s < 3.0:
            self._longest_s *= 1.02  # else calls that have become slower would always be killed at their beginning
        assert all(status in (200, 201) for status in replies), replies
        return bool(replies)

    def _dance(self) -> None:
        self.freeze()
        self.daemon.dance(self.sandbox, "jira")

    def _daemon_process(self) -> Any:
        return self.daemon.process

    def _items(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.keyring.read(name)]

    def _kept_grant(self) -> dict[str, Any]:
        """Return the link's grant as the keyring has it: one item, and a whole one."""
        (item,) = self._items("token:jira")
        assert {name: type(item.get(name)) for name in _ITEM} == _ITEM, sorted(item)
        grant: dict[str, Any] = item["grant"]
        assert {name: type(grant.get(name)) for name in _GRANT} == _GRANT, sorted(grant)
        return grant

    def _send(self, authorization: str) -> int:
        """Return the provider's status for a request with that header."""
        import requests

        return requests.get(self._url, headers={"Authorization": authorization}, timeout=10).status_code
