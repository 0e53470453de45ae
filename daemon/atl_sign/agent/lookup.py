"""One link, by its name or by the URL that it covers, and what is known of its token."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from atl_sign.base.credentials import Grant
from atl_sign.base.errors import ConfigBrokenError, DaemonError, UnknownLinkError
from atl_sign.base.urls import Url
from atl_sign.config.file import ConfigFile
from atl_sign.config.links import Link, parse_base_url
from atl_sign.config.settings import Settings
from atl_sign.config.table import LinkTable
from atl_sign.grants.live import Grants

TokenState = Literal["none", "active", "expired", "unknown"]


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One link, with what is known of its token."""

    link: Link
    token_state: TokenState  # unknown: the store does not say
    token: Grant | None
    file: Path  # the one that the link comes from
    is_own: bool  # whether that is the user's
    scopes: tuple[str, ...] | None = None  # the token's rights, where the provider says them


@dataclass(frozen=True, slots=True)
class Covering:
    """The link that covers an address."""

    link: Link
    base_path: str  # of the base URL that the address is below: the link's own, or its gateway's


class Lookup:
    """Finds links in the configuration."""

    def __init__(self, config: ConfigFile, grants: Grants) -> None:
        """Look in *config*, and for tokens in *grants*."""
        self._config = config
        self._grants = grants

    def get(self, name: str) -> Link:
        """Return the link called *name*; raises UnknownLinkError, or ConfigBrokenError when it may stand in a broken part."""
        settings = self._config.settings()
        try:
            return settings.links.get(name)
        except UnknownLinkError:
            self.raise_problem(settings, name)
            raise

    def list_links(self, names: Collection[str] | None = None) -> tuple[Link, ...]:
        """Return every link that can be read, in the same tuple as long as the configuration is the same; or those of *names*."""
        table = self._config.settings().links
        return table.links if names is None else tuple(link for link in table.links if link.name in names)

    def choose(self, url: Url, name: str | None, among: Collection[str] = ()) -> Covering:
        """Return the link that covers *url*; raises as `LinkTable.choose`, and ConfigBrokenError as `get`."""
        settings = self._config.settings()
        try:
            link = settings.links.choose(url, name, among)
            return Covering(link, link.url.path)
        except UnknownLinkError:
            self.raise_problem(settings, name)
            raise

    def choose_by_gateway(self, url: Url, name: str | None, among: Collection[str] = ()) -> Covering:
        """
        Return the link whose token is good at the gateway's address *url*; waits for the store.

        Raises:
            UnknownLinkError, AmbiguousLinkError, BadUrlError: as `LinkTable.choose`.
            StoreLockedError, StoreUnavailableError: the store does not give the token of a link with that gateway.
        """
        settings = self._config.settings()
        there = []
        for link in settings.links.by_name.values():
            is_meant = name in (None, link.name) and (
                not among or link.name in among
            )  # or the store is asked for another's token
            scheme = self._grants.scheme(link)
            gateway = scheme.gateway(link) if is_meant else None
            grant = self._grants.safe.token(link) if gateway is not None and gateway.origin == url.origin else None
            good_at = None if grant is None else scheme.good_at(link, grant)
            if good_at is not None:
                there.append(replace(link, url=parse_base_url(good_at)))
        if not there:
            settings.links.choose(url, name)  # which says that there is none
        link = LinkTable(there).choose(url, name, among)
        return Covering(settings.links.get(link.name), link.url.path)

    def report(self, link: Link) -> LinkReport:
        """Return what is known of the token of *link*; a store that does not answer is a state, not a failure."""
        file = self._config.file_of(link.name)
        is_own = file == self._config.path
        try:
            token = self._grants.safe.token(link)
        except DaemonError:
            return LinkReport(link, "unknown", None, file, is_own)
        if token is None:
            return LinkReport(link, "none", None, file, is_own)
        now = self._grants.clocks.now_utc()
        is_over = (token.is_expired(now) and not token.may_renew(now)) or self._grants.renewals.has_ended(link, token)
        return LinkReport(link, "expired" if is_over else "active", token, file, is_own, self._grants.scheme(link).scopes(token))

    def report_all(self) -> list[LinkReport]:
        """Return every link that can be read, with its token's state."""
        return [self.report(link) for link in self._config.settings().links.by_name.values()]

    def raise_problem(self, settings: Settings, name: str | None) -> None:
        """Raise ConfigBrokenError if the link called *name* is in a broken part of the file, rather than nowhere."""
        if name is not None and name in settings.links.by_name:
            return
        problem = settings.problem_of_link(name) if name is not None else None
        for found in (problem, *(each for each in settings.problems if not each.is_harmless)):
            if found is not None and (found is problem or found.part == "file" or found.part.startswith("links")):
                raise ConfigBrokenError(str(found), self._config.remedy(found)) from None
