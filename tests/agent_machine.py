"""One user's machine in the tests' own process: an agent on a store that outlives it, and a clock that a test moves."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from atl_sign.agent.build import make_agent
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.grants.states import DanceState
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, grants_of, sign
from tests.audit_lab import make_audit
from tests.lab import wait_for


class Machine:
    """An agent; `restart` is a new process on the same store."""

    def __init__(self, folder: Path) -> None:
        """Begin with no link in *folder*, at a time that is no particular one."""
        self.now = 1_700_000_000.0
        self.folder = folder
        self.store = MemoryStore()
        self.restart()

    def clock(self) -> float:
        """Return the time, for providers that shall share it."""
        return self.now

    def restart(self) -> None:
        """Forget all that is only in memory."""
        config = ConfigFile(self.folder / "config.toml", SCHEME_SETTINGS)
        self.agent = make_agent(config, Safe(self.store), Dances(), make_audit(), clock=self.clock)

    def put(self, name: str, settings: Mapping[str, object], secret: str | None) -> None:
        """Add or change a link of OAuth 2.0, and keep the secret of its app."""
        self.agent.links.put(CALLER, name, {"scheme": "oauth2", **settings})
        if secret is not None:
            self.agent.links.put_secret(CALLER, name, Secret(secret))

    def dance(self, name: str, approve: Callable[[str], str]) -> DanceState:
        """Dance, and paste the address that *approve* makes of the consent's."""
        dance = self.agent.dances.begin(CALLER, name, "oob")
        return self.agent.dances.finish_by_url(CALLER, dance.id, Secret(approve(dance.authorize_url))).state

    def header(self, url: str, link: str | None = None) -> str:
        """Return the header's value for a GET."""
        assert urlsplit(url).path
        return sign(self.agent, "GET", url, link=link)[0]

    def begin_renewal(self, url: str, link: str | None = None) -> None:
        """Ask for a header, which begins a renewal that is due, and wait for its end, whatever that is."""
        with suppress(DaemonError):
            self.header(url, link)
        wait_for(lambda: not grants_of(self.agent).renewals.are_under_way())

    def try_again_at_once(self) -> None:
        """Let the minute pass for which a renewal that failed is not tried again."""
        grants_of(self.agent).renewals.forget_ended()

    def stored(self, item: str) -> dict[str, Any] | None:
        """Return what the store has of a grant, after all that was under way; None when it has none."""
        found = self.store.read(item)
        if found is None:
            return None
        fields: dict[str, Any] = json.loads(found.value.reveal())["grant"]
        return fields
