"""A provider in the sandbox and a daemon's link to it, for tests that do the same with providers of several flavours."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atl_sign.sandbox import App, Received
from tests.lab import Daemon, Reply, send
from tests.oauth2_lab import begin, dance, give_app, put_link, sign
from tests.oauth2_providers import Provider, provider_of


class LinkedProvider:
    """A running provider, and what a daemon with the link `app` does with it."""

    def __init__(self, provider: Provider) -> None:
        self.kind = provider.kind
        self.server = provider.server
        self.host = provider.sandbox
        self.who = provider.who
        self._provider = provider

    @property
    def app(self) -> App:
        return self._provider.app

    def add_to(self, daemon: Daemon, name: str = "app", **settings: object) -> None:
        """Add the link, and give it its app."""
        fields = {**self._provider.settings, **settings}
        put_link(daemon, name, str(fields.pop("url")), **fields)
        give_app(daemon, name, self.app)

    def dance(self, daemon: Daemon, name: str = "app") -> None:
        """Consent, by way of the listener."""
        state = dance(daemon, name, self._provider.approve)
        assert state["state"] == "granted", state

    def begin(self, daemon: Daemon, name: str = "app") -> tuple[str, str]:
        """Begin a dance and consent; returns its path and the address that the browser ends on."""
        begun = begin(daemon, name, "oob")
        return f"/dance/{begun['id']}", self._provider.approve(begun["authorize_url"])

    def sign(self, daemon: Daemon) -> Reply:
        return sign(daemon, self.who)

    def send(self, signed: Reply) -> int:
        """Send the request that *signed* is the header of; returns the provider's status."""
        return send(self.who, signed.json["authorization"])[0]

    def takes(self, access: str) -> bool:
        """Tell whether *access* is a living access token."""
        return access in self.server.access_tokens

    def token_requests(self) -> list[Received]:
        """Return the requests that the token endpoint got, as far as they are kept."""
        path = self.server.flavour.endpoints.token.format(version="latest").encode()
        return [each for each in self.host.state.requests if each.target.partition(b"?")[0].endswith(path)]


def access_of(signed: Reply) -> str:
    """Return the access token in a header."""
    assert signed.status == 200, signed.text
    scheme, _, access = str(signed.json["authorization"]).partition(" ")
    assert scheme == "Bearer"
    return access


@contextmanager
def linked_provider(kind: str, clock: Callable[[], float] = time.time) -> Iterator[LinkedProvider]:
    """Run the provider of *kind*, as `provider_of`."""
    with provider_of(kind, clock) as provider:
        yield LinkedProvider(provider)
