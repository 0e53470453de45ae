"""The user's links: added, changed, shown and removed, each with its token's state and what its product says of itself."""

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.forgetting import Forgetting
from atl_sign.agent.git_tokens import GitTokens
from atl_sign.agent.lookup import LinkReport, Lookup
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import (
    AdministratorsLinkError,
    BadRequestError,
    BadUrlError,
    DaemonError,
    LinkExistsError,
    ProviderRefusedError,
)
from atl_sign.base.urls import Url
from atl_sign.config.base_path import guess_base_path
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_command import format_link_command
from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.links import SCHEME_DEFAULT, Link, parse_base_url
from atl_sign.config.placeholders import DEFAULT_CONSUMER_KEY, expand_text, own_names
from atl_sign.config.settings import USERS_FILE, ConfigProblem
from atl_sign.grants.dances import Dances
from atl_sign.grants.live import Grants
from atl_sign.providers.manifest import Manifest, find_above
from atl_sign.providers.products import Product
from atl_sign.schemes.oauth2.flavours import find_flavour
from atl_sign.schemes.oauth2.scheme import OAuth2
from atl_sign.schemes.oauth2.settings import GENERIC

if TYPE_CHECKING:  # two of its lines in three are words: when an administrator asks
    from atl_sign.schemes.setup import SetupForm

GitFate = Literal["none", "revoked", "kept", "left"]

_log = logging.getLogger("atl_sign")

_SECRET = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The manifest's answer when the link was put."""

    report: LinkReport
    is_new: bool
    manifest: Manifest | None
    warnings: tuple[str, ...]
    found: str | None = None  # what was found out for a new link, and why
    hint: str | None = None  # what to do when no product answered: the command with the right base URL, where that is known


@dataclass(frozen=True, slots=True)
class LogoutReport:
    """The outcome for a link's tokens."""

    revoke_url: str  # the page where the user revokes the access token at the provider
    git_fate: GitFate  # of the token for git
    git_left: tuple[str, ...]  # the names of tokens for git that are at the provider still
    is_revoked: bool = False  # the provider says that it has revoked the access token
    others: tuple[str, ...] = ()  # links that shared the grant, and are logged out too


@dataclass(frozen=True, slots=True)
class RemovalReport:
    """The outcome of a removal."""

    git_left: tuple[str, ...]  # the names of tokens for git that could not be removed at the provider
    beneath: Path | None  # the administrator's file, whose link of this name applies again


class LinkBook:
    """Every link of the configuration, with its token in the safe."""

    def __init__(
        self,
        *,
        config: ConfigFile,
        lookup: Lookup,
        grants: Grants,
        dances: Dances,
        git_tokens: GitTokens,
        forgetting: Forgetting,
        records: Records,
    ) -> None:
        """
        Keep links in *config* and forget their tokens in the safe of *grants*.

        Args:
            config: the file.
            lookup: finds links in it.
            grants: their credentials, and what their products are.
            dances: those that wait; a link's end with it.
            git_tokens: those for git; revoked before the access token that it takes is forgotten.
            forgetting: forgets what a changed link may not keep.
            records: the audit log.
        """
        self._config = config
        self._lookup = lookup
        self._grants = grants
        self._safe = grants.safe
        self._manifests = grants.manifests
        self._dances = dances
        self._git_tokens = git_tokens
        self._forgetting = forgetting
        self._records = records
        self._changing = threading.Lock()

    def list_all(self, caller: Caller) -> tuple[Sequence[LinkReport], Sequence[ConfigProblem]]:
        """Return every link that can be read, with its token's state, and what cannot be read."""
        del caller
        return self._lookup.report_all(), self._config.settings().problems

    def show(self, caller: Caller, name: str) -> LinkReport:
        """Return one link with its token's state; raises as `Lookup.get`."""
        del caller
        return self._lookup.report(self._lookup.get(name))

    def show_product(self, caller: Caller, name: str) -> Product | None:
        """Return the product of the link; None when it does not say. Raises as `Lookup.get`."""
        del caller
        return self._manifests.find_product(self._lookup.get(name))

    def show_setup(self, caller: Caller, name: str) -> "tuple[Link, Product | None, SetupForm]":
        """
        Return what somebody enters at the provider for the link.

        Raises as `Lookup.get` and `Scheme.check_product`, BadRequestError for a scheme that has nothing to enter, and
        KeyMissingError.
        """
        from atl_sign.agent.own_applink import make_own_applink
        from atl_sign.schemes.oauth1.setup import make_form as make_applink_form
        from atl_sign.schemes.oauth2.setup import make_form as make_app_form

        del caller
        link = self._lookup.get(name)
        scheme = self._grants.scheme(link)
        if scheme.needs_app:
            manifest = self._manifests.find(link)
            product = scheme.check_product(link, manifest) if manifest is not None else None
            return link, product, make_app_form(link, product, self._grants.sharing(link))
        if not scheme.needs_key:
            raise BadRequestError(
                f"for the scheme {link.scheme} an administrator enters nothing", f"atl-sign dance {name}", link=name
            )
        key = self._safe.need_key()
        manifest = self._manifests.find(link)
        product = scheme.check_product(link, manifest) if manifest is not None else None
        return link, product, make_applink_form(link, product, make_own_applink(link, key.public))

    def put(self, caller: Caller, name: str, fields: Mapping[str, object], *, only_new: bool = False) -> ProbeReport:
        """
        Add a link, or replace the settings of an existing one; a grant for another address or consumer is forgotten.

        Args:
            caller: who wants it.
            name: the link's name.
            fields: a link's settings; without `consumer_key` the link keeps its own, or is given one.
            only_new: refuse when the link exists.

        Raises:
            LinkExistsError: *only_new*, and it exists.
            BadFieldsError, BadUrlError, ConfigBrokenError, ConfigUnwritableError: nothing was changed.
        """
        with self._records.entry("link", caller, name):
            link, before, found = self._write(name, fields, only_new=only_new)
            warnings = self._forgetting.forget_other(before, link) if before is not None else []
            self._grants.renewals.forget_ended()  # what failed may have been a setting: it is tried again at once
            return replace(self._probe(link, before is None, warnings), found=found or None)

    def put_secret(self, caller: Caller, name: str, secret: Secret) -> None:
        """
        Keep the secret of the link's app in the store; raises as `Lookup.get` and as the store does.

        Raises:
            BadRequestError: a link of its scheme has no app, or this cannot be a secret.
            AppMissingError: the link has no app yet.
        """
        with self._records.entry("link", caller, name):
            link = self._lookup.get(name)
            if not self._grants.scheme(link).needs_app:
                raise BadRequestError(f"a link of the scheme {link.scheme} has no app", f"atl-sign dance {name}", link=name)
            if not _SECRET.fullmatch(secret.reveal()):
                raise BadRequestError(
                    "this is not a secret: it has 1 to 4096 printable ASCII characters, without blanks",
                    "copy it again",
                    link=name,
                )
            self._grants.client(link)  # else the secret would belong to no app
            self._safe.put_app_secret(link, secret)
            self._grants.renewals.forget_ended()  # one that failed with the secret before is tried again at once

    def _write(self, name: str, fields: Mapping[str, object], *, only_new: bool) -> tuple[Link, Link | None, str]:
        """Write the link, and return it with the one before, and what was found out for it."""
        with self._changing:  # of two that add one name at once, with only_new, one is refused
            settings = self._config.settings()
            before = settings.links.by_name.get(name)
            problem = settings.problem_of_link(name)
            if before is None and problem is not None and problem.file == USERS_FILE:
                self._lookup.raise_problem(settings, name)  # what stands there may be worth more than what is put in its place
            if only_new and before is not None:
                raise LinkExistsError(f"link {name} exists already", f"atl-sign link show {name}; to change it: --replace")
            given = {setting: value for setting, value in fields.items() if value is not None}
            scheme = given.setdefault("scheme", before.scheme if before else self._guess_scheme(given))
            try:
                found = ""
                if before is None or before.scheme != scheme:
                    found = self._complete(name, given)
                link = link_from_fields(name, given, self._config.schemes, before)
            except BadUrlError as exc:
                raise _suggest_base_url(exc, name, given["url"]) from None
            if "default" not in given and before is not None and before.url == link.url:
                link = replace(link, default=before.default)
            self._config.put_link(link)
        return link, before, found

    def _guess_scheme(self, given: Mapping[str, object]) -> str:
        """Return the scheme of a new link: one that has all the settings that are *given*, or that its address tells."""
        schemes = self._config.schemes
        own = {row.name for rows in schemes.values() for row in rows}
        fitting = [name for name, rows in schemes.items() if own & given.keys() <= {row.name for row in rows}]
        with suppress(BadUrlError):  # which is said later
            if find_flavour(parse_base_url(str(given.get("url")))) is not None and OAuth2.name in fitting:
                return OAuth2.name
        return fitting[0] if fitting else SCHEME_DEFAULT

    def _complete(self, name: str, given: dict[str, object]) -> str:
        """Add to *given* what a new link of its scheme gets if nobody names it, and return why, for people."""
        scheme = str(given["scheme"])
        if self._grants.needs_key(scheme):
            given.setdefault("consumer_key", default_consumer_key())
        elif self._grants.needs_app(scheme) and "flavour" not in given:
            from atl_sign.schemes.oauth2.finding import find_for

            added, why = find_for(link_from_fields(name, {**given, "flavour": GENERIC}, self._config.schemes))
            given.update(added)
            return f"flavour {added['flavour']}: {why}"
        return ""

    def _probe(self, link: Link, is_new: bool, warnings: list[str]) -> ProbeReport:
        """Return what the product of *link* says of itself."""
        manifest: Manifest | None = None
        hint = None
        try:
            manifest = self._manifests.fetch(link)
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
        else:
            try:
                self._grants.scheme(link).check_product(link, manifest)
                warnings += _warn_of_manifest(link, manifest)
            except ProviderRefusedError as exc:
                warnings.append(exc.message)
                hint = exc.hint
        return ProbeReport(self._lookup.report(link), is_new, manifest, tuple(warnings), hint=hint)

    def make_default(self, caller: Caller, name: str) -> LinkReport:
        """Make the link called *name* the default among those with its base URL; raises as `Lookup.get`, and as the file does."""
        with self._records.entry("link", caller, name), self._changing:
            link = self._lookup.get(name)
            others = [each for each in self._config.settings().links.at_origin(link.url) if each.url == link.url and each != link]
            # The others first: with two defaults, and with none, a request for one is refused rather than signed as another user.
            for other in others:
                if other.default:
                    self._config.put_link(replace(other, default=False))
            self._config.put_link(replace(link, default=True))
            return self.show(caller, name)

    def remove(self, caller: Caller, name: str) -> RemovalReport:
        """
        Remove a link and forget its tokens; raises as `Lookup.get`, and as the store and the file do.

        Raises:
            AdministratorsLinkError: it is not the user's to remove.
        """
        with self._records.entry("link", caller, name):
            link = self._lookup.get(name)
            file = self._config.file_of(name)
            if file != self._config.path:
                words = f"link {name} is in {file}, which only the administrator changes"
                raise AdministratorsLinkError(words, f"to forget its token: atl-sign logout {name}")
            self._dances.cancel_all(name)
            try:
                _, left = self._git_tokens.revoke(link)
            finally:  # even if the store does not answer: it is out of memory, and the answer says that the store has it
                self._forgetting.forget_grant(link)
            self._config.remove_link(name)
            is_beneath = name in self._config.settings().links.by_name
            return RemovalReport(left, self._config.file_of(name) if is_beneath else None)

    def log_out(self, caller: Caller, name: str, *, keep_git_token: bool = False, keep_grant: bool = False) -> LogoutReport:
        """
        Forget the link's token and, unless *keep_git_token*, the one for git, which goes at the provider too.

        Unless *keep_grant*, the provider is asked to revoke the token. Of links that share a grant all are logged out.
        """
        with self._records.entry("logout", caller, name):
            link = self._lookup.get(name)
            self._dances.cancel_all(name)
            fate: GitFate = "none"
            left: tuple[str, ...] = ()
            try:
                if not keep_git_token:
                    fate, left = self._git_tokens.revoke(link)
                elif self._safe.git_record(link) is not None:
                    fate = "kept"
                is_revoked = False if keep_grant else self._revoke(link)
            finally:
                self._safe.forget_token(link)
            others = tuple(each.name for each in self._grants.sharing(link) if each.name != name)
            return LogoutReport(self._revoke_page(link), fate, left, is_revoked=is_revoked, others=others)

    def _revoke(self, link: Link) -> bool:
        """Have the provider revoke the grant of *link*, and tell whether it has; one that cannot be asked keeps nothing here."""
        try:
            grant = self._safe.token(link)
            if grant is None:
                return False
            return self._grants.scheme(link).revoke(link, self._grants.client(link), grant)
        except DaemonError as exc:
            _log.warning("link %s: the provider did not revoke the token: %s", link.name, exc.message)
            return False

    def _revoke_page(self, link: Link) -> str:
        """Return the page where the user revokes the token at the provider; asks nobody."""
        product = self._manifests.find_product(link) if self._manifests.knows(link) else None
        return self._grants.scheme(link).revoke_page(link, product)

    def _find_base_url(self, link: Link) -> Url | None:
        """Return the address above that of *link* where a product says who it is; None when there is none, or no host."""
        try:
            found = find_above(link, self._manifests.fetch)
        except DaemonError:
            return None
        return found and found[0]


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
    return expand_text(DEFAULT_CONSUMER_KEY, own_names())[:255]


def _warn_of_manifest(link: Link, manifest: Manifest) -> list[str]:
    warnings = []
    if manifest.product is None:
        warnings.append(f"the product there calls itself {manifest.type_id}, which atl-sign does not know")
    seen = link.signing_url or link.url
    if manifest.url and not manifest.is_at(seen):
        warnings.append(
            f"the product's configured base URL is {manifest.url}, the link has {seen}: "
            "signatures fail if the product sees itself under its own (then use that one, or set signing_url)"
        )
    return warnings
