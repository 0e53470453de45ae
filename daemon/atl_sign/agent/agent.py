"""The daemon's work, one method a call: find the link, ask policy, fetch credentials, sign, record."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atl_sign.access.audit import HELD_BACK, Action, AuditLog, Decision
from atl_sign.access.policy import check_method, check_request
from atl_sign.agent.git import GitTokens
from atl_sign.agent.git_request import GitRequest
from atl_sign.agent.links import LinkBook, LinkReport, owner_name, user_name
from atl_sign.agent.store import StoreKeeper
from atl_sign.base.clock import now_s
from atl_sign.base.credentials import AccessToken, Consumer, GitToken, Secret, StoreState
from atl_sign.base.errors import (
    AmbiguousLinkError,
    AuditUnavailableError,
    DaemonError,
    DanceNeededError,
    KeyExistsError,
    KeyMissingError,
)
from atl_sign.base.findings import Finding
from atl_sign.base.peer import Peer
from atl_sign.base.urls import Pairs, Url, parse_url
from atl_sign.base.user_namespace import OPEN_MEMORY, is_owned_by_us
from atl_sign.config.file import ConfigFile
from atl_sign.config.links import Link
from atl_sign.config.settings import Settings
from atl_sign.config.table import prefer_default
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.software import RsaPrivateKey, make_private_key
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.opening import open_store
from atl_sign.custody.vault import NotInMemoryError, Vault
from atl_sign.grants.dance import CallbackKind, Dance, Dances
from atl_sign.grants.renewal import Renewals
from atl_sign.grants.states import DanceState
from atl_sign.providers.products import PRODUCTS, Product
from atl_sign.schemes.oauth1.problems import explain_problem, parse_clock_offset, parse_problem
from atl_sign.schemes.oauth1.setup import ApplinkForm, make_form
from atl_sign.schemes.oauth1.signature import UnsignedRequest, sign, signature_base_string

if TYPE_CHECKING:  # requests and all that takes 150 ms to load: when the first call needs it
    from atl_sign.providers.who_am_i import CheckResult
    from atl_sign.schemes.oauth1.legs import Provider


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon's state, for `GET /status`."""

    started_at: datetime
    uptime_s: float
    store: str
    store_state: StoreState
    audit: str  # "journal", "off", or the file's path
    links: tuple[LinkReport, ...]
    dances: int
    signatures: int
    warnings: tuple[str, ...]


class Agent:
    """Where link, policy, store, signing and audit meet."""

    def __init__(
        self,
        config: ConfigFile,
        vault: Vault,
        dances: Dances,
        audit: AuditLog,
        clock: Callable[[], float] = time.time,
        *,
        open_store: Callable[[str], Store] = open_store,
        store_pinned_by: str | None = None,
    ) -> None:
        """
        Serve with these edges.

        Args:
            config: the links and every other setting.
            vault: the credentials.
            dances: those that wait.
            audit: where decisions are recorded.
            clock: seconds since 1970-01-01 UTC.
            open_store: returns the store of a name, to move to.
            store_pinned_by: what has named the store in place of *config*; None when nothing has.
        """
        self.dances = dances
        self._config = config
        self._git_tokens = GitTokens(vault, clock, self._live_token, self._provider)
        self.links = LinkBook(config, vault, dances, self._git_tokens, clock)
        self._audit = audit
        self._renewals = Renewals(vault, self._record_renewal, clock)
        self.store = StoreKeeper(config, vault, dances, self._renewals, open_store=open_store, pinned_by=store_pinned_by)
        self._vault = vault
        self._clock = clock
        self._clock_offsets: dict[Url, float] = {}  # by base URL: the provider's clock less ours, once it was learned
        self._making_key = threading.Lock()
        self._signatures = 0
        self._started_s = now_s()
        self._started_at = datetime.now(UTC)

    @property
    def backend(self) -> str:
        """The store's name."""
        return self._vault.backend

    def read_settings(self) -> Settings:
        """Return what the configuration says now."""
        return self._config.settings()

    def forget_settings(self) -> None:
        """Read the configuration anew at the next look at it, changed or not."""
        self._config.forget()

    def sign(
        self, method: str, url: str, form: Pairs | None, name: str | None, peer: Peer, *, from_memory: bool = False
    ) -> tuple[str, Link]:
        """
        Return the Authorization header value for one request, and the link that it is signed for.

        Args:
            method: the request's method.
            url: exactly as it will be sent.
            form: decoded names and values when the body is `application/x-www-form-urlencoded`, else None.
            name: the link to take; None for the one that covers the URL.
            peer: who asks.
            from_memory: raise NotInMemoryError instead of waiting for the store or for a renewal.

        Raises:
            BadRequestError, BadUrlError: nobody could sign this exactly.
            UnknownLinkError, AmbiguousLinkError, ConfigBrokenError: no link, or no single one.
            KeyMissingError, DanceNeededError: there is nothing to sign with.
            ProviderRefusedError, ProviderUnreachableError: the token has expired and was not renewed.
            StoreLockedError, StoreUnavailableError: the store does not give it.
            AuditUnavailableError: the signature cannot be recorded, and must be.
        """
        with self.recording("sign", peer, name) as decision:
            request, link = self._make_request(method, url, form, name, decision)
            consumer = self._consumer(link, from_memory=from_memory)
            token = self._live_token(link, from_memory=from_memory)
            header = sign(request, consumer, token, nonce=secrets.token_hex(16), timestamp=self._timestamp(link))
        self._renewals.note_signature(link)
        self._signatures += 1
        return header, link

    @contextmanager
    def recording(self, action: Action, peer: Peer | None, link: str | None = None) -> Iterator[Decision]:
        """
        Record what comes of a `with`, before it is over: "ok", or the code of the error that left it.

        Args:
            action: what is wanted.
            peer: who wants it; None for the daemon itself.
            link: the link's name, as far as it is known.

        Raises:
            AuditUnavailableError: it went well, would give something away, and cannot be recorded, and must be.
        """
        decision = Decision(action, "ok", link)
        if peer is not None:
            decision.pid, decision.uid, decision.program = peer.pid, peer.uid, peer.program
        try:
            yield decision
        except NotInMemoryError:  # the same call comes again
            raise
        except BaseException as exc:
            decision.outcome = exc.code if isinstance(exc, DaemonError) else "internal"
            with suppress(AuditUnavailableError):  # nothing is given away, and the first error says more
                self._record(decision)
            raise
        try:
            self._record(decision)
        except AuditUnavailableError:
            if action in HELD_BACK:
                raise

    def _record(self, decision: Decision) -> None:
        self._audit.record(decision, self._config.settings().audit)

    def _record_renewal(self, link: Link, outcome: str) -> None:
        with suppress(AuditUnavailableError):
            self._record(Decision("renew", outcome, link.name))

    def sign_dry(self, method: str, url: str, form: Pairs | None, name: str | None) -> tuple[str, Link]:
        """
        Return the signature base string for one request, with token and nonce struck out, and the link; signs nothing.

        A link that has no token yet is fine. Raises as `sign` otherwise.
        """
        request, link = self._make_request(method, url, form, name, Decision("sign", ""))
        token = AccessToken(Secret("TOKEN"), Secret(""))
        return signature_base_string(request, self._consumer(link), token, nonce="NONCE", timestamp=self._timestamp(link)), link

    def explain_problem(self, name: str, www_authenticate: str) -> tuple[str, str, str] | None:
        """
        Return the `oauth_problem`, message and hint for what the link's provider answered to a peer; None when there is none.

        A clock that differs is learned, so that the next signature is right.
        """
        link = self.links.get_link(name)
        fields = parse_problem(www_authenticate)
        if not fields:
            return None
        offset = parse_clock_offset(fields, self._clock())
        if offset is not None:
            self._clock_offsets[link.url] = offset
        message, hint = explain_problem(fields["oauth_problem"], fields, link)
        return fields["oauth_problem"], f"link {link.name}: {message}", hint

    def get_git_token(self, asked: GitRequest, *, from_memory: bool = False) -> GitToken | None:
        """
        Return git's token for what it asks for; None when that is no Bitbucket of ours, or another user's matter.

        Args:
            asked: what git wants to authenticate to.
            from_memory: raise NotInMemoryError instead of waiting for store or provider.

        Raises:
            UnknownLinkError: no link has the name that the helper was given.
            AmbiguousLinkError: several links could be meant.
            DaemonError: as `GitTokens.get`, and as the product says who it is.
        """
        links = [link for link in self._find_git_links(asked) if self._is_bitbucket(link, from_memory=from_memory)]
        links = prefer_default(links)
        if len(links) > 1:
            names = ", ".join(link.name for link in links)
            raise AmbiguousLinkError(f"several links could be meant: {names}", f"atl-sign git setup {links[0].name}")
        return self._git_tokens.get(links[0], asked.user, from_memory=from_memory) if links else None

    def erase_git_token(self, asked: GitRequest, secret: str) -> bool:
        """Drop git's token when *secret* is that very one, and return whether it was; raises as the store does."""
        erased = [self._git_tokens.erase(link, secret) for link in self._find_git_links(asked)]
        return any(erased)

    def begin_dance(self, name: str, callback: CallbackKind, peer: Peer) -> Dance:
        """
        Begin a dance with the link called *name*, as *peer* wants it.

        Its beginning and its end are recorded. Raises as `Dances.begin`, and what the link and the key lack.
        """
        from atl_sign.providers.who_am_i import learn_user

        link = self.links.get_link(name)
        self._vault.check_store(link)  # a store that cannot keep the token is told of before the user consents
        provider = self._provider(link)

        def keep(token: AccessToken) -> None:
            self._vault.put_token(link, token)

        def name_user(token: AccessToken) -> str | None:
            self._clock_offsets[link.url] = provider.clock_offset_s
            user = learn_user(link, provider, token, self.links.find_product(link))
            if user is not None:
                self._vault.name_user(link, token, user)
            return user

        def record_end(state: DanceState) -> None:
            with suppress(AuditUnavailableError):  # it is too late to say no
                self._record(Decision("dance", state.word, link.name, pid=peer.pid, uid=peer.uid, program=peer.program))

        return self.dances.begin(link, provider, callback, keep=keep, learn_user=name_user, on_end=record_end)

    def make_setup(self, name: str) -> tuple[Link, Product | None, ApplinkForm]:
        """Return what an administrator enters for the link; raises KeyMissingError, and as `LinkBook.get_link`."""
        link = self.links.get_link(name)
        key = self.get_key()
        product = self.links.find_product(link)
        consumer_name = f"atl-sign of {user_name()} on {socket.gethostname()}"
        return link, product, make_form(link, product, key.public_pem(), consumer_name, owner_name())

    def check(self, name: str) -> "CheckResult":
        """Ask the link's provider who the user is, with a signed request; raises as `check_link` and what a signature lacks."""
        from atl_sign.providers.who_am_i import check_link

        link = self.links.get_link(name)
        provider = self._provider(link)
        token = self._live_token(link)
        result = check_link(link, provider, token, self.links.fetch_manifest(link))
        self._clock_offsets[link.url] = provider.clock_offset_s
        return result

    def diagnose(self, name: str) -> list[Finding]:
        """Find out how the link's provider takes consumer, signature and token; raises as `LinkBook.get_link` alone."""
        from atl_sign.agent.diagnosis import diagnose_link

        link = self.links.get_link(name)

        return diagnose_link(link, lambda: self._provider(link), lambda: self._live_token(link), lambda: self.check(name))

    def get_key(self) -> Signer:
        """Return the consumer's key; raises KeyMissingError."""
        key = self._vault.key()
        if key is None:
            raise _key_missing()
        return key

    def make_key(self, bits: int, *, replace: bool) -> RsaPrivateKey:
        """Make a consumer key of *bits* (2048, 3072 or 4096); raises KeyExistsError unless *replace*."""
        with self._making_key:  # of two that ask at once one gets the key, and the other is told
            if not replace and self._vault.key() is not None:
                hint = "atl-sign key prints it; with --replace every link needs the new one at its provider"
                raise KeyExistsError("there is a consumer key already", hint)
            key = make_private_key(bits)
            self._vault.put_key(key)
        return key

    def status(self, name: str | None = None) -> Status:
        """
        Return the daemon's state with every link, or with the one called *name*.

        A store that does not answer is a state, not a failure. Raises as `LinkBook.get_link` for a *name* that is none.
        """
        settings = self._config.settings()
        store_state = self._vault.state()
        warnings = [*(str(problem) for problem in settings.problems), *self.store.warnings()]
        if self._audit.failure is not None:
            warnings.append(self._audit.failure)
        if is_owned_by_us():
            warnings.append(OPEN_MEMORY)
        return Status(
            started_at=self._started_at,
            uptime_s=now_s() - self._started_s,
            store=self._vault.backend,
            store_state=store_state,
            audit="off" if settings.audit == "off" else self._audit.place,
            links=tuple(self.links.list_links() if name is None else [self.links.show_link(name)]),
            dances=self.dances.count_waiting(),
            signatures=self._signatures,
            warnings=tuple(warnings),
        )

    def lock_when_due(self) -> None:
        """Lock the store when its time is over, and record that."""
        if self.store.is_due():
            with self.recording("lock", None):
                self.store.lock()

    def is_settled(self) -> bool:
        """Tell whether nothing goes on by itself: no dance, no renewal, no token for git, none that waits to be stored."""
        is_quiet = self.dances.are_settled() and not self._renewals.are_under_way() and not self._git_tokens.are_under_way()
        return is_quiet and not self._vault.has_unsaved

    def may_be_replaced(self) -> bool:
        """Tell whether another daemon could go on where this one is; asks the store, which may take as long as one call."""
        return self.is_settled() and self.store.survives_restart()

    def close(self) -> None:
        """End every dance that waits."""
        self.dances.cancel_all()

    def _find_git_links(self, asked: GitRequest) -> list[Link]:
        if asked.link is not None:
            link = self.links.get_link(asked.link)
            return [link] if asked.is_below(link) else []
        return asked.choose(self._config.settings().links)

    def _is_bitbucket(self, link: Link, *, from_memory: bool) -> bool:
        if self._vault.git_record(link, from_memory=from_memory) is not None:
            return True
        if not self.links.knows_product(link):
            if from_memory:
                raise NotInMemoryError
            self.links.fetch_manifest(link)
        return self.links.find_product(link) is PRODUCTS["bitbucket"]

    def _make_request(
        self, method: str, url: str, form: Pairs | None, name: str | None, decision: Decision
    ) -> tuple[UnsignedRequest, Link]:
        check_method(method)
        decision.method = method  # by now it is one
        target = parse_url(url)
        decision.host, decision.path = target.origin.partition("://")[2], target.path
        link = self.links.choose_link(target, name)
        decision.link = link.name
        request = UnsignedRequest(method, link.as_signed(target), form)
        check_request(request)
        return request, link

    def _timestamp(self, link: Link) -> int:
        """Return the seconds since 1970, by the provider's clock as far as it is known."""
        return int(self._clock() + self._clock_offsets.get(link.url, 0.0))

    def _consumer(self, link: Link, *, from_memory: bool = False) -> Consumer:
        key = self._vault.key(from_memory=from_memory)
        if key is None:
            raise _key_missing()
        return Consumer(link.consumer_key, key)

    def _live_token(self, link: Link, *, from_memory: bool = False) -> AccessToken:
        token = self._vault.token(link, from_memory=from_memory)
        renewal = self._renewals.ask(link, token, lambda: self._provider(link)) if token is not None else None
        if renewal is not None:
            if from_memory:
                raise NotInMemoryError(renewal)
            renewal.result()  # each step of it has a deadline
            token = self._vault.token(link)
        hint = f"atl-sign dance {link.name}"
        if token is None:
            raise DanceNeededError(f"no access token for link {link.name}", hint)
        if token.is_expired(datetime.fromtimestamp(self._clock(), UTC)):
            raise DanceNeededError(f"the access token of link {link.name} has expired", hint)
        return token

    def _provider(self, link: Link) -> "Provider":
        from atl_sign.schemes.oauth1.legs import Provider

        return Provider(link, self._consumer(link), self._clock_offsets.get(link.url, 0.0), self._clock)


def _key_missing() -> KeyMissingError:
    return KeyMissingError("there is no consumer key yet", "atl-sign key new")
