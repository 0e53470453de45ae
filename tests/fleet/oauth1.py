"""The provider of OAuth 1.0a for a fleet: Jira with a session handle, for the machines' key in the vault."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from atl_sign.sandbox import Sandbox
from tests.lab import Daemon, Reply, send


class _Faults:
    """What the provider does wrong; nothing, but that it may be away."""

    token: str | None = None

    def clear(self) -> None:
        self.token = None


class _Server:
    """The provider's counts, by the names that the others have."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._state = sandbox.state.sites["jira"].state
        self.faults = _Faults()
        self.access_token_life_s = 0.0  # it is given when the sandbox is made

    @property
    def refreshes(self) -> int:
        """How many tokens were renewed."""
        return self._state.renewals

    @property
    def spent_refreshes(self) -> int:
        """How often a renewal was asked for with a token that was replaced."""
        return self._state.spent_renewals


class OAuth1Provider:
    """A running Jira, and what a daemon with the link `app` does with it, as `LinkedProvider`."""

    kind = "oauth1"

    def __init__(self, sandbox: Sandbox) -> None:
        self.server = _Server(sandbox)
        self._sandbox = sandbox
        self.who = f"{sandbox.base_url('jira')}/rest/api/2/myself"

    def add_to(self, daemon: Daemon, **settings: object) -> None:
        """Add the link, and register the key, which is in the vault."""
        used = daemon.request("POST", "/key/use", {"reference": "vault:ci/transit/atl-sign"})
        assert used.status == 200, used.text
        fields = {"url": self._sandbox.base_url("jira"), "consumer_key": "fleet", **settings}
        assert daemon.request("PUT", "/links/app", fields).status == 201
        self._sandbox.register_consumer("jira", "fleet", used.json["public_key"])

    def dance(self, daemon: Daemon) -> None:
        begun = daemon.request("POST", "/dance", {"link": "app", "callback": "oob"})
        assert begun.status == 201, begun.text
        code = self._sandbox.approve("jira", begun.json["authorize_url"])
        reply = daemon.request("POST", f"/dance/{begun.json['id']}", {"verifier": code})
        assert reply.json["state"] == "granted", reply.text

    def sign(self, daemon: Daemon) -> Reply:
        return daemon.request("POST", "/sign", {"method": "GET", "url": self.who})

    def send(self, signed: Reply) -> int:
        return send(self.who, signed.json["authorization"])[0]


@contextmanager
def oauth1_provider(life_s: float) -> Iterator[OAuth1Provider]:
    """Run it, with access tokens that live *life_s* seconds."""
    with Sandbox(["jira"], clock=time.time, token_life_s=life_s) as sandbox:
        yield OAuth1Provider(sandbox)
