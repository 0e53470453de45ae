"""One link's live credentials: what its requests, its dance and its renewal are authorized with."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from atl_sign.base.credentials import App, Client, Consumer, Credentials, Grant, Secret
from atl_sign.base.errors import AppMissingError, BadRequestError, DaemonError, DanceNeededError, ProviderRefusedError
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link
from atl_sign.custody.claims import EXCHANGE_S_MAX
from atl_sign.custody.items import place_of
from atl_sign.custody.safe import Safe
from atl_sign.grants.renewal import Renewals
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifests
from atl_sign.schemes.base import Consent, RedirectPlace, Scheme

if TYPE_CHECKING:  # requests and all that takes 150 ms to load: when the first provider is asked
    from atl_sign.providers.who_am_i import CheckResult
    from atl_sign.schemes.session import Session


class Grants:
    """Every link's live credentials."""

    def __init__(
        self,
        safe: Safe,
        schemes: Mapping[str, Scheme],
        clocks: Clocks,
        manifests: Manifests,
        *,
        on_renewal: Callable[[Link, str], None],
        list_links: Callable[[], Iterable[Link]] = tuple,
    ) -> None:
        """
        Keep grants alive.

        Args:
            safe: where they are.
            schemes: by the name that a link's `scheme` has.
            clocks: the providers' clocks.
            manifests: what the products are.
            on_renewal: called after each attempt at a renewal: the link, and "ok" or an error's code.
            list_links: returns every link that there is.
        """
        self.safe = safe
        self.clocks = clocks
        self.manifests = manifests
        self.renewals = Renewals(safe, on_renewal, clocks)
        self._schemes = schemes
        self._list_links = list_links

    def scheme(self, link: Link) -> Scheme:
        """Return the scheme of *link*."""
        return self._schemes[link.scheme]

    def needs_key(self, scheme: str) -> bool:
        """Tell whether there is a scheme of this name, and its links have a consumer key."""
        return scheme in self._schemes and self._schemes[scheme].needs_key

    def needs_app(self, scheme: str) -> bool:
        """Tell whether there is a scheme of this name, and its links have an app."""
        return scheme in self._schemes and self._schemes[scheme].needs_app

    def of(self, link: Link) -> "LiveLink":
        """Return *link* with its live credentials."""
        return LiveLink(link, self)

    def peek(self, link: Link) -> Credentials | None:
        """Return what a request of *link* is authorized with, if memory has it and no renewal comes first; waits for nothing."""
        self.safe.notice_changes()
        grant = self.safe.peek_token(link)
        if grant is None or (self.safe.is_shared and not self.safe.is_fresh(link, self.renewals.age_s(grant))):
            return None
        if self.renewals.ask(self.of(link), grant) is not None or grant.is_expired(self.clocks.now_utc()):
            return None
        if not self.scheme(link).needs_key:
            return Credentials(None, grant)
        key = self.safe.peek_key()
        return None if key is None else Credentials(Consumer(link.consumer_key, key), grant)

    def refuse(self, link: Link, grant: Grant) -> None:
        """Note that the provider took *grant* no more: the next who wants it waits for another one in its place."""
        self.safe.distrust(link)  # another machine may have renewed it
        self.renewals.refuse(link, grant)

    def find_renewal(self, link: Link) -> "Future[None] | None":
        """Return the renewal that stands before a request of *link*, as far as memory knows; waits for nothing."""
        grant = self.safe.peek_token(link)
        return None if grant is None else self.renewals.ask(self.of(link), grant)

    def load(self, link: Link, least: timedelta | None = None) -> Credentials:
        """
        Return what a request of *link* is authorized with; waits for the store, and for a renewal.

        Args:
            link: whose.
            least: how long the grant should be good for; one that ends sooner is renewed first, if it can be.

        Raises:
            KeyMissingError, DanceNeededError: there is nothing to authorize it with.
            ProviderRefusedError, ProviderUnreachableError: the grant has expired and was not renewed.
            StoreLockedError, StoreUnavailableError: the store does not give it.
        """
        scheme = self.scheme(link)
        client = self.client(link) if scheme.needs_key else None
        known = self.safe.peek_token(link)
        grant = self.safe.token(link, None if known is None else self.renewals.age_s(known))
        is_short = grant is not None and least is not None and grant.ends_within(least, self.clocks.now_utc())
        renewal = self.renewals.ask(self.of(link), grant, is_short=is_short) if grant is not None else None
        if renewal is not None:
            renewal.result()  # each step of it has a deadline
            grant = self.safe.token(link)
        hint = f"atl-sign dance {link.name}"
        if grant is None:
            raise DanceNeededError(f"no access token for link {link.name}", hint)
        if grant.is_expired(self.clocks.now_utc()):
            raise DanceNeededError(f"the access token of link {link.name} has expired", hint)
        return Credentials(client, grant)

    def client(self, link: Link) -> Client | None:
        """
        Return the client of *link*, None when its scheme has none.

        Raises:
            KeyMissingError, AppMissingError: it is not whole.
            StoreLockedError, StoreUnavailableError: the store does not give its secret.
        """
        scheme = self.scheme(link)
        if scheme.needs_key:
            return Consumer(link.consumer_key, self.safe.need_key())
        if not scheme.needs_app:
            return None
        client_id = link.own.get("client_id")
        if client_id is None:
            hint = f"register one: atl-sign link setup {link.name}"
            raise AppMissingError("the id of its app is missing", hint, link=link.name)
        return App(client_id, self.safe.app_secret(link))

    def sharing(self, link: Link) -> list[Link]:
        """Return the links that share the grant of *link*, and itself."""
        place = place_of(link)
        return [link, *(each for each in self._list_links() if each.name != link.name and place_of(each) == place)]


class LiveLink:
    """One link, and what is done with its live credentials."""

    __slots__ = ("_grants", "link")

    def __init__(self, link: Link, grants: Grants) -> None:
        """Stand for *link*."""
        self.link = link
        self._grants = grants

    @property
    def clocks(self) -> Clocks:
        """The providers' clocks."""
        return self._grants.clocks

    def open_session(self, credentials: Credentials | None = None) -> "Session":
        """Return what sends requests with *credentials*; None for those of the link. Raises as `Grants.load`."""
        from atl_sign.schemes.session import Session

        if credentials is not None:
            return Session(self.link, self._scheme, credentials, self.clocks)
        return Session(self.link, self._scheme, self._grants.load(self.link), self.clocks, self._find_renewed)

    def _find_renewed(self, refused: Credentials) -> Credentials | None:
        """Return the link's credentials if a daemon has replaced the *refused* ones by others of the same user, else None."""
        self._grants.safe.notice_changes()
        try:
            known = self._grants.load(self.link)
            assert known.grant is not None and refused.grant is not None  # noqa: S101, PT018 - `load` gives them
            if known.grant.is_same_as(refused.grant) and known.grant.may_renew(self.clocks.now_utc()):
                self._grants.refuse(self.link, known.grant)
                known = self._grants.load(self.link)
        except DaemonError:
            return None
        assert known.grant is not None and refused.grant is not None  # noqa: S101, PT018 - `load` gives them
        is_another_user = known.grant.user is not None and refused.grant.user not in (None, known.grant.user)
        return None if is_another_user or known.grant.is_same_as(refused.grant) else known

    def check(self, credentials: Credentials | None = None) -> "CheckResult":
        """
        Ask the provider who the user is.

        Raises as `open_session` and `check_link`, and BadRequestError when nobody knows where the provider names the user.
        """
        from atl_sign.providers.who_am_i import check_link

        send = self.open_session(credentials).send
        manifest = self._grants.manifests.fetch(self.link)
        if manifest.product is not None and not manifest.product.who_am_i:
            raise BadRequestError(
                "the link does not say where the provider names the user; requests are authorized all the same",
                f"{format_link_command(self.link)} --who-url URL",
                link=self.link.name,
            )
        return check_link(self.link, send, self.clocks, manifest, self._scheme.explain_anonymous(self.link))

    def begin(self, callback: str) -> Consent:
        """Begin a dance; raises as `Scheme.begin` and `Grants.client`, and as `Scheme.check_product` where that says more."""
        try:
            client, sharing = self._grants.client(self.link), self._grants.sharing(self.link)
            return self._scheme.begin(self.link, client, callback, self.clocks, sharing)
        except ProviderRefusedError as exc:
            manifest = self._grants.manifests.find(self.link) if exc.is_absent else None
            if manifest is not None:  # it may be a product that does not speak this scheme
                self._scheme.check_product(self.link, manifest)
            raise

    def redirect_place(self) -> RedirectPlace:
        """Return where the browser is sent after the consent."""
        return self._scheme.redirect_place(self.link)

    def read_redirect(self, consent: Consent, query: str) -> Secret:
        """Return the user's answer in *query*; raises as `Scheme.read_redirect`."""
        return self._scheme.read_redirect(self.link, consent, query)

    def redeem(self, consent: Consent, answer: Secret) -> Grant:
        """Return the grant that the user's *answer* stands for; raises as `Scheme.redeem` and `Grants.client`."""
        grant = self._scheme.redeem(self.link, self._grants.client(self.link), consent, answer, self.clocks)
        account = self.link.own.get("account")
        if account is not None:
            user = grant.user or self._ask_user(grant)
            if user is None or user.casefold() != account.casefold():
                with suppress(DaemonError):  # nobody will use it
                    self._scheme.revoke(self.link, self._grants.client(self.link), grant)
                raise ProviderRefusedError(
                    f"{user or 'nobody knows who'} consented, but the link is for {account}",
                    f"log out at the provider, then: atl-sign dance {self.link.name}",
                    link=self.link.name,
                )
            return grant.with_user(user)
        return grant

    def find_user(self) -> str | None:
        """Return the user of the grant that is in the store now, if it is known."""
        with suppress(DaemonError):
            grant = self._grants.safe.token(self.link)
            return None if grant is None else grant.user
        return None

    def keep(self, grant: Grant) -> None:
        """Store *grant* in place of the one before; raises as the store does."""
        self._grants.safe.put_token(self.link, grant)
        self._grants.renewals.forget_ended()  # one that failed was the last grant's, though the access token may be the same

    def learn_user(self, grant: Grant) -> str | None:
        """Return the name of the user of *grant*, which is kept, and keep the name; None when the provider does not say."""
        if grant.user is not None:
            return grant.user
        user = self._ask_user(grant)
        if user is not None:
            self._grants.safe.name_user(self.link, grant, user)
        return user

    def _ask_user(self, grant: Grant) -> str | None:
        from atl_sign.providers.who_am_i import learn_user

        session = self.open_session(Credentials(self._grants.client(self.link), grant))
        return learn_user(session.send, self._grants.manifests.find_product(self.link))

    @property
    def old_dies_at_once(self) -> bool:
        """Whether the provider voids what a renewal replaces as it answers."""
        return self._scheme.old_dies_at_once(self.link)

    def renew(self, grant: Grant) -> Grant:
        """Return another grant of the same user in place of *grant*; raises as `Scheme.renew` and `Grants.client`."""
        credentials = Credentials(self._grants.client(self.link), grant)
        link = self.link
        if self._grants.safe.is_shared:
            link = replace(link, timeout_s=min(link.timeout_s, EXCHANGE_S_MAX))
        return replace(self._scheme.renew(link, credentials, self.clocks), user=grant.user)

    @property
    def _scheme(self) -> Scheme:
        return self._grants.scheme(self.link)
