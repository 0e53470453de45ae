"""Git's credential helper: the link that git means, and its token."""

import asyncio
import time

from anyio.to_thread import run_sync

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.git_request import GitRequest
from atl_sign.agent.git_tokens import GitTokens
from atl_sign.agent.lookup import Lookup
from atl_sign.base.credentials import GitToken
from atl_sign.base.errors import AmbiguousLinkError, ProviderUnreachableError
from atl_sign.config.file import ConfigFile
from atl_sign.config.links import Link
from atl_sign.config.table import prefer_default
from atl_sign.grants.live import Grants

WAIT_S_MAX = 60.0

_Flight = tuple[GitRequest, "asyncio.Task[GitToken | None]"]


class GitCredentials:
    """Answers git."""

    def __init__(self, config: ConfigFile, lookup: Lookup, grants: Grants, tokens: GitTokens, records: Records) -> None:
        """Find links in *config* and by *lookup*, and their tokens in *tokens*."""
        self._config = config
        self._lookup = lookup
        self._grants = grants
        self._tokens = tokens
        self._records = records
        self._flights: dict[tuple[object, ...], _Flight] = {}  # tokens on their way, by host and link

    async def get(self, caller: Caller, asked: GitRequest) -> GitToken | None:
        """
        Return git's token for the address that it asks about; None when that is not a Bitbucket of ours, or is for another user.

        A caller that wants what another one waits for waits for the same, and holds no thread.

        Raises:
            UnknownLinkError: no link has the name that the helper was given.
            AmbiguousLinkError: several links could be meant.
            ProviderUnreachableError: it takes too long.
            DaemonError: as `GitTokens.get`, and as the product says who it is.
        """
        with self._records.entry("git-credential", caller, asked.link) as entry:
            entry.host = asked.url.origin.partition("://")[2] if asked.url is not None else None
            token = await self._find(asked)
            if token is None:
                entry.outcome = "not_ours"
            return token

    def erase(self, caller: Caller, asked: GitRequest, secret: str) -> bool:
        """Drop git's token when *secret* is that very one, and return whether it was; raises as the store does."""
        with self._records.entry("git-credential", caller, asked.link):
            erased = [self._tokens.erase(link, secret) for link in self._find_links(asked)]
            return any(erased)

    async def _find(self, asked: GitRequest) -> GitToken | None:
        key = (asked.url.origin if asked.url is not None else None, asked.link)
        deadline = time.monotonic() + WAIT_S_MAX
        while (token := self._peek(asked)) is None:
            flight, task = self._flights.get(key) or self._begin(key, asked)
            await asyncio.wait([task], timeout=max(0.0, deadline - time.monotonic()))
            if not task.done():
                raise ProviderUnreachableError("the provider takes long to make a token for git", "try again in a minute")
            if flight == asked:
                return task.result()
            # It was for another path or user on the same host. Now memory knows more; what failed, may fail for this one too.
        return token

    def _begin(self, key: tuple[object, ...], asked: GitRequest) -> _Flight:
        task = asyncio.ensure_future(run_sync(self._load, asked))
        self._flights[key] = asked, task

        def end(task: "asyncio.Task[GitToken | None]") -> None:
            del self._flights[key]
            if not task.cancelled():
                task.exception()  # looked at: all who waited for it may have gone

        task.add_done_callback(end)
        return asked, task

    def _peek(self, asked: GitRequest) -> GitToken | None:
        """Return the token if memory has it and knows that no other link can be meant; waits for nothing."""
        self._grants.safe.notice_changes()
        links = []
        for link in self._find_links(asked):
            has_record = self._grants.safe.peek_git_record(link) is not None
            if not has_record and not self._grants.manifests.knows(link):
                return None
            if self._has_git(link, has_record):
                links.append(link)
        links = prefer_default(links)
        return self._tokens.peek(links[0], asked.user) if len(links) == 1 else None

    def _load(self, asked: GitRequest) -> GitToken | None:
        """Return as `get`; waits for the store and for providers."""
        safe = self._grants.safe
        links = [link for link in self._find_links(asked) if self._has_git(link, safe.git_record(link) is not None)]
        links = prefer_default(links)
        if len(links) > 1:
            names = ", ".join(link.name for link in links)
            raise AmbiguousLinkError(f"several links could be meant: {names}", f"atl-sign git setup {links[0].name}")
        return self._tokens.get(links[0], asked.user) if links else None

    def _find_links(self, asked: GitRequest) -> list[Link]:
        if asked.link is not None:
            link = self._lookup.get(asked.link)
            return [link] if asked.is_below(link) else []
        return asked.choose(self._config.settings().links)

    def _has_git(self, link: Link, has_record: bool) -> bool:
        """Tell whether *link* leads to a product with git, which one with a record does; asks a product that is not known."""
        if has_record:
            return True
        manifests = self._grants.manifests
        if not manifests.knows(link):
            manifests.fetch(link)
        product = manifests.find_product(link)
        return product is not None and product.has_git
