"""The user's links: added, changed, shown and removed, each with its token's state and what its product says of itself."""

import getpass
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Literal

from atl_sign.agent.git import GitTokens
from atl_sign.base.credentials import AccessToken
from atl_sign.base.errors import (
    BadUrlError,
    ConfigBrokenError,
    DaemonError,
    LinkExistsError,
    ProviderRefusedError,
    UnknownLinkError,
)
from atl_sign.base.urls import Url
from atl_sign.config.base_path import guess_base_path, possible_base_paths
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_command import format_link_command
from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.links import SCHEME_DEFAULT, Link, parse_base_url
from atl_sign.config.settings import Settings
from atl_sign.custody.vault import Vault
from atl_sign.grants.dance import Dances
from atl_sign.providers.products import REVOKE_PATH, Product, find_product

if TYPE_CHECKING:  # requests and all that takes 150 ms to load: when the first call needs it
    from atl_sign.schemes.oauth1.legs import Manifest

TokenState = Literal["none", "active", "expired", "unknown"]
GitFate = Literal["none", "revoked", "kept", "left"]


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One link, with what is known of its token."""

    link: Link
    token_state: TokenState  # unknown: the store does not say
    token: AccessToken | None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a link's manifest said when the link was put."""

    report: LinkReport
    is_new: bool
    manifest: "Manifest | None"
    warnings: tuple[str, ...]
    hint: str | None = None  # what to do when no product answered: the command with the right base URL, where that is known


@dataclass(frozen=True, slots=True)
class LogoutReport:
    """What became of a link's tokens."""

    revoke_url: str  # the page where the user revokes the access token at the provider
    git_fate: GitFate  # of the token for git
    git_left: tuple[str, ...]  # the names of tokens for git that are at the provider still


class LinkBook:
    """Every link of the configuration, with its token in the vault."""

    def __init__(
        self, config: ConfigFile, vault: Vault, dances: Dances, git_tokens: GitTokens, clock: Callable[[], float]
    ) -> None:
        """
        Keep links in *config* and forget tokens in *vault*.

        Args:
            config: the file.
            vault: the credentials.
            dances: those that wait; a link's end with it.
            git_tokens: those for git; revoked before the access token that it takes is forgotten.
            clock: seconds since 1970-01-01 UTC.
        """
        self._git_tokens = git_tokens
        self._config = config
        self._vault = vault
        self._dances = dances
        self._clock = clock
        self._changing = threading.Lock()
        self._manifests: dict[str, Manifest] = {}  # by base URL

    def list_links(self) -> list[LinkReport]:
        """Return every link that can be read, with its token's state."""
        return [self.report_link(link) for link in self._config.settings().links.by_name.values()]

    def show_link(self, name: str) -> LinkReport:
        """Return one link with its token's state."""
        return self.report_link(self.get_link(name))

    def get_link(self, name: str) -> Link:
        """Return the link called *name*; raises UnknownLinkError, or ConfigBrokenError when it may stand in a broken part."""
        settings = self._config.settings()
        try:
            return settings.links.get(name)
        except UnknownLinkError:
            self._raise_config_problem(settings, name)
            raise

    def choose_link(self, url: Url, name: str | None) -> Link:
        """Return the link that covers *url*; raises as `LinkTable.choose`, and ConfigBrokenError as `get_link`."""
        settings = self._config.settings()
        try:
            return settings.links.choose(url, name)
        except UnknownLinkError:
            self._raise_config_problem(settings, name)
            raise

    def put_link(self, name: str, fields: Mapping[str, object], *, only_new: bool = False) -> ProbeReport:
        """
        Add a link, or replace the settings of an existing one; a grant for another address or consumer is forgotten.

        Args:
            name: the link's name.
            fields: a link's settings; without `consumer_key` the link keeps its own, or is given one.
            only_new: refuse when the link exists.

        Raises:
            LinkExistsError: *only_new*, and it exists.
            BadFieldsError, BadUrlError, ConfigBrokenError, ConfigUnwritableError: nothing was changed.
        """
        with self._changing:  # of two that add one name at once, with only_new, one is told
            settings = self._config.settings()
            before = settings.links.by_name.get(name)
            if before is None and settings.problem_of_link(name) is not None:
                self._raise_config_problem(settings, name)  # what stands there may be worth more than what is put in its place
            if only_new and before is not None:
                raise LinkExistsError(f"link {name} exists already", f"atl-sign link show {name}; to change it: --replace")
            given = {setting: value for setting, value in fields.items() if value is not None}
            scheme = given.get("scheme", before.scheme if before else SCHEME_DEFAULT)
            if scheme == "oauth1" and (before is None or before.scheme != scheme):
                given.setdefault("consumer_key", default_consumer_key())
            try:
                link = link_from_fields(name, given, self._config.schemes, before)
            except BadUrlError as exc:
                raise _suggest_base_url(exc, name, given["url"]) from None
            if "default" not in given and before is not None and before.url == link.url:
                link = replace(link, default=before.default)
            self._config.put_link(link)
        warnings = []
        if before is not None and (before.url, before.scheme, before.consumer_key) != (link.url, link.scheme, link.consumer_key):
            self._dances.cancel_all(name)
            try:
                _, left = self._git_tokens.revoke(before)
                if left:
                    warnings.append(f"at the old address a token for git is still good, revoke it there: {', '.join(left)}")
                self._vault.forget_token(name)
            except DaemonError as exc:  # harmless: the vault gives the old grant to no other address
                warnings.append(f"the token of the old address is still in the store: {exc.message}")
        manifest: Manifest | None = None
        hint = None
        try:
            manifest = self.fetch_manifest(link)
            warnings += _warn_of_manifest(link, manifest)
        except DaemonError as exc:
            found = self._find_base_url(link) if isinstance(exc, ProviderRefusedError) else None
            guess = guess_base_path(link.url.path)
            warnings.append(exc.message)
            hint = exc.hint
            if found is not None:
                warnings.append(f"the product is at {found}")
                hint = format_link_command(link, url=found)
            elif guess != link.url.path:
                warnings.append(f"{link.url.path} is the path of a page; the base URL ends before it")
                hint = format_link_command(link, url=replace(link.url, path=guess))
        return ProbeReport(self.report_link(link), before is None, manifest, tuple(warnings), hint)

    def make_default(self, name: str) -> LinkReport:
        """Make the link called *name* the default among those with its base URL; raises as `get_link`, and as the file does."""
        with self._changing:
            link = self.get_link(name)
            others = [each for each in self._config.settings().links.at_origin(link.url) if each.url == link.url and each != link]
            # The others first: with two defaults, and with none, a request for one is refused rather than signed as another user.
            for other in others:
                if other.default:
                    self._config.put_link(replace(other, default=False))
            self._config.put_link(replace(link, default=True))
        return self.show_link(name)

    def remove_link(self, name: str) -> tuple[str, ...]:
        """
        Remove a link and forget its tokens; raises as `get_link`, and as the store and the file do.

        Returns:
            The names of tokens for git that could not be removed at the provider.
        """
        link = self.get_link(name)
        self._dances.cancel_all(name)
        try:
            _, left = self._git_tokens.revoke(link)
        finally:  # with a store that says nothing, too: it is out of memory, and the answer says that the store has it
            self._vault.forget_token(name)
        self._config.remove_link(name)
        return left

    def log_out(self, name: str, *, keep_git_token: bool = False) -> LogoutReport:
        """Forget the link's token and, unless *keep_git_token*, the one for git, which goes at the provider too."""
        link = self.get_link(name)
        self._dances.cancel_all(name)
        fate: GitFate = "none"
        left: tuple[str, ...] = ()
        try:
            if not keep_git_token:
                fate, left = self._git_tokens.revoke(link)
            elif self._vault.git_record(link) is not None:
                fate = "kept"
        finally:
            self._vault.forget_token(name)
        return LogoutReport(f"{link.url}{REVOKE_PATH}", fate, left)

    def report_link(self, link: Link) -> LinkReport:
        """Return what is known of the token of *link*; a store that does not answer is a state, not a failure."""
        try:
            token = self._vault.token(link)
        except DaemonError:
            return LinkReport(link, "unknown", None)
        if token is None:
            return LinkReport(link, "none", None)
        now = datetime.fromtimestamp(self._clock(), UTC)
        is_over = token.is_expired(now) and not token.may_renew(now)
        return LinkReport(link, "expired" if is_over else "active", token)

    def find_product(self, link: Link) -> Product | None:
        """Return the link's product when its manifest is known or can be had."""
        if str(link.url) not in self._manifests:
            try:
                self.fetch_manifest(link)
            except DaemonError:
                return None
        return find_product(self._manifests[str(link.url)].type_id)

    def knows_product(self, link: Link) -> bool:
        """Tell whether the link's product is known without asking it."""
        return str(link.url) in self._manifests

    def fetch_manifest(self, link: Link) -> "Manifest":
        """Ask the product of *link* who it is, and remember the answer; raises as `provider.fetch_manifest`."""
        from atl_sign.schemes.oauth1.legs import fetch_manifest

        manifest = fetch_manifest(link)
        self._manifests[str(link.url)] = manifest
        return manifest

    def _find_base_url(self, link: Link) -> Url | None:
        """Return the address above that of *link* where a product says who it is; None when there is none."""
        for path in possible_base_paths(link.url.path):
            url = replace(link.url, path=path)
            try:
                self.fetch_manifest(replace(link, url=url))
            except ProviderRefusedError:
                continue
            except DaemonError:  # the host itself is gone
                return None
            return url
        return None

    def _raise_config_problem(self, settings: Settings, name: str | None) -> None:
        """Say that the link is in a broken part of the file, rather than that there is none."""
        if name is not None and name in settings.links.by_name:
            return
        problem = settings.problem_of_link(name) if name is not None else None
        for found in (problem, *settings.problems):
            if found is not None and (found is problem or found.part == "file" or found.part.startswith("links")):
                raise ConfigBrokenError(str(found), f"fix {self._config.path}") from None


def _suggest_base_url(error: BadUrlError, name: str, url: object) -> BadUrlError:
    """Return *error*, with the whole command as its hint where *url* is a page's address with a base URL before it."""
    try:
        page = parse_base_url(re.split("[?#]", str(url), maxsplit=1)[0])
    except BadUrlError:
        return error
    base = replace(page, path=guess_base_path(page.path))
    return BadUrlError(error.message, f"atl-sign link add {name} {quote(str(base))}")


def default_consumer_key() -> str:
    """Return a consumer key that no colleague's atl-sign at the same provider has: the key must be unique there (facts 1.3)."""
    return f"atl-sign-{owner_name()}"[:255]


def owner_name() -> str:
    """Return user and machine in one word of ASCII letters, digits, "-", "." and "_", for names that are unique at a provider."""
    words = f"{user_name()}-{socket.gethostname().partition('.')[0]}"
    return "".join(char if char.isascii() and (char.isalnum() or char in "-._") else "-" for char in words)


def user_name() -> str:
    """Return the user's name, or `user` where the uid has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return "user"


def _warn_of_manifest(link: Link, manifest: "Manifest") -> list[str]:
    warnings = []
    if find_product(manifest.type_id) is None:
        warnings.append(f"the product there calls itself {manifest.type_id}, which atl-sign does not know")
    seen = link.signing_url or link.url
    if manifest.url and not manifest.is_at(seen):
        warnings.append(
            f"the product's configured base URL is {manifest.url}, the link has {seen}: "
            "signatures fail if the product sees itself under its own (then use that one, or set signing_url)"
        )
    return warnings
