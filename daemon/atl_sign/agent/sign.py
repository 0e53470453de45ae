"""`POST /sign`: the whole way of a request, from the caller's question to the header."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from atl_sign.access.audit import Decision
from atl_sign.access.caller import Caller
from atl_sign.access.lease import Lease
from atl_sign.access.policy import check_method, check_request
from atl_sign.access.recording import Records
from atl_sign.agent.lookup import Covering, Lookup
from atl_sign.base.credentials import Credentials, Secret
from atl_sign.base.errors import AmbiguousLinkError, BadRequestError, ConfigBrokenError, KeyUnavailableError, UnknownLinkError
from atl_sign.base.request import Request
from atl_sign.base.urls import Pairs, Url, parse_url
from atl_sign.config.links import Link
from atl_sign.grants.live import Grants
from atl_sign.schemes.base import HasBaseString, Scheme, Uses

ELSEWHERE_MAX = 16  # signatures under way in a token or a vault, in threads beside those that everything else shares
LOOP_CHARS_MAX = 1 << 15  # of URL and form: more is taken apart in a thread, so that the loop goes on for others

_T = TypeVar("_T")
_Choose = Callable[[Url, str | None, Collection[str]], Covering]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that a caller wants to send."""

    method: str
    url: str  # exactly as it will be sent
    form: Pairs | None = None  # decoded names and values when the body is `application/x-www-form-urlencoded`
    link: str | None = None  # the name of the link to take; None for the one that covers the URL

    def is_long(self) -> bool:
        """Tell whether taking this apart would hold up the event loop."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.form or ()) > LOOP_CHARS_MAX


@dataclass(frozen=True, slots=True)
class Signed:
    """The authorization of one request."""

    link: Link
    authorization: Secret  # the header's value
    uses: Uses  # how many requests it is good for
    url: str | None  # where to send the request, when that is not the URL that was asked for
    expires_at: datetime | None  # aware, UTC: when a header for many requests ends; None when it is for one, or nobody knows


class Signing:
    """Authorizes requests."""

    def __init__(self, lookup: Lookup, grants: Grants, records: Records) -> None:
        """Find links by *lookup*, take their credentials from *grants*, and record each decision in *records*."""
        self._lookup = lookup
        self._grants = grants
        self._records = records
        self._elsewhere = CapacityLimiter(ELSEWHERE_MAX)
        self.count = 0  # since the start

    def links_for(self, caller: Caller) -> tuple[Link, ...]:
        """Return the links that *caller* may use, as far as rules allow."""
        return self._lookup.list_links(None if caller.lease is None else caller.lease.terms.links)

    def scheme_of(self, link: Link) -> Scheme:
        """Return the scheme of *link*."""
        return self._grants.scheme(link)

    def urls_of(self, link: Link) -> tuple[Url, ...]:
        """Return where requests of *link* may go: its base URL, and that of its gateway if it has one."""
        gateway = self.scheme_of(link).gateway(link)
        return (link.url,) if gateway is None else (link.url, gateway)

    def own_url_of(self, link: Link) -> str | None:
        """Return the base URL that the product of *link* is configured with, if it has been asked for that already."""
        manifest = self._grants.manifests.find(link) if self._grants.manifests.knows(link) else None
        return None if manifest is None else manifest.url

    async def admit(self, caller: Caller, asked: Asked) -> Link:
        """
        Return the link of a request that may be signed; counts and signs nothing, and records only a refusal.

        Raises as `sign`, as far as that concerns link and lease.
        """
        with self._records.entry("sign", caller, asked.link, is_kept=False) as entry:
            _, link = await self._find(caller, asked, entry)
        return link

    async def sign(self, caller: Caller, asked: Asked, *, is_sent_here: bool = False) -> Signed:
        """
        Return the Authorization header value for one request, and the link that it is signed for.

        Args:
            caller: gets the header, unless it is sent here.
            asked: the request.
            is_sent_here: the daemon itself sends the request; then a lease may also be for links whose header is a token.

        Raises:
            BadRequestError, BadUrlError: nobody could sign this exactly.
            UnknownLinkError, AmbiguousLinkError, ConfigBrokenError: no link, or no single one.
            KeyMissingError, DanceNeededError: there is nothing to sign with.
            ProviderRefusedError, ProviderUnreachableError: the grant has expired and was not renewed.
            StoreLockedError, StoreUnavailableError: the store does not give it.
            KeyLockedError, KeyUnavailableError: the consumer's key is elsewhere, and does not sign.
            AuditUnavailableError: the signature cannot be recorded, and must be.
            LeaseDeniedError, and the others of `Lease.decide`: the caller's lease does not allow it.
        """
        with _uses_of(caller) as take_use, self._records.entry("sign", caller, asked.link) as entry:
            request, link = await self._find(caller, asked, entry)
            lease = caller.lease
            if lease is not None and not (is_sent_here or lease.terms.may_reuse) and self._grants.scheme(link).uses == "many":
                raise lease.deny_reusable()  # the link has changed since the lease was opened
            take_use()
            credentials = self._grants.peek(link)  # memory, else the store or a renewal
            if credentials is None:
                await self._wait_for_renewal(link)
                credentials = await run_sync(self._grants.load, link)
            scheme, moment = self._grants.scheme(link), self._grants.clocks.moment(link)
            if credentials.is_instant:
                run = run_sync if asked.is_long() else _run_here
                authorization = await run(scheme.authorize, request, credentials, moment)
            else:
                authorization = await self._authorize_elsewhere(scheme, request, credentials, moment)
            target = scheme.send_to(link, credentials, request.url)
        self._grants.renewals.note_signature(link)
        self.count += 1
        grant = credentials.grant
        expires_at = grant.expires_at if grant is not None and scheme.uses == "many" else None
        return Signed(link, authorization, scheme.uses, None if target is request.url else str(target), expires_at)

    def show_base_string(self, caller: Caller, asked: Asked) -> tuple[str, Link]:
        """
        Return the signature base string for one request, with token and nonce struck out, and the link; signs nothing.

        A link that has no token yet is fine. Raises as `sign` otherwise.
        """
        with _no_other_link(caller.lease):
            request, link = self._resolve(caller, asked, Decision("sign", ""), self._lookup.choose)
        scheme = self._grants.scheme(link)
        if not isinstance(scheme, HasBaseString):
            raise BadRequestError(
                f"a request of the scheme {scheme.name} is not signed, so there is no base string",
                f"atl-sign link show {link.name}",
                link=link.name,
            )
        return scheme.base_string(request, self._grants.client(link), self._grants.clocks.moment(link)), link

    async def _find(self, caller: Caller, asked: Asked, entry: Decision) -> tuple[Request, Link]:
        """Return a request as it is signed, and its link; raises as `sign`."""
        # The loop itself signs: a hop to a thread takes longer than the signature.
        lease = caller.lease
        is_slow = asked.is_long() or (lease is not None and lease.is_slow(asked.url, asked.form))
        with _no_other_link(lease):
            try:
                return await (run_sync if is_slow else _run_here)(self._resolve, caller, asked, entry, self._lookup.choose)
            except UnknownLinkError:
                return await run_sync(self._resolve, caller, asked, entry, self._lookup.choose_by_gateway)

    def _resolve(self, caller: Caller, asked: Asked, entry: Decision, choose: _Choose) -> tuple[Request, Link]:
        check_method(asked.method)
        entry.method = asked.method  # by now it is one
        target = parse_url(asked.url)
        entry.host, entry.path = target.origin.partition("://")[2], target.path
        lease = caller.lease
        if lease is None:
            found = choose(target, asked.link, ())
        else:
            from atl_sign.access.readings import split_path

            split_path(target.path)  # before a link is chosen, which a dot segment might lead out of
            found = choose(target, asked.link, lease.terms.links)
        link = found.link
        if lease is not None and link.name not in lease.terms.links:  # before anything is said that depends on that link
            raise lease.deny_address()
        entry.link = link.name
        request = Request(asked.method, link.as_signed(target), asked.form)
        check_request(request)
        if lease is not None:
            ruling = lease.decide(link.name, asked.method, target, found.base_path, asked.form)
            entry.rule = None if ruling.rule is None else ruling.rule.text
        return request, link

    async def _authorize_elsewhere(self, scheme: Scheme, request: Request, credentials: Credentials, moment: int) -> Secret:
        """Return the header that a device or another machine signs, in a thread of its own kind, for it may not answer."""
        if self._elsewhere.statistics().borrowed_tokens >= ELSEWHERE_MAX:
            raise KeyUnavailableError(
                f"{ELSEWHERE_MAX} requests wait for the consumer's key already", "try again in a moment; atl-sign doctor"
            )
        return await run_sync(scheme.authorize, request, credentials, moment, limiter=self._elsewhere)

    async def _wait_for_renewal(self, link: Link) -> None:
        """Wait here, for any number may wait for one renewal, and threads are few; raises what stands in the way of a header."""
        renewal = self._grants.find_renewal(link)
        if renewal is not None:
            await asyncio.shield(asyncio.wrap_future(renewal))


def _uses_of(caller: Caller) -> AbstractContextManager[Callable[[], None]]:
    """Return, for a `with`, what counts one use of the caller's lease, if there is one."""
    return nullcontext(lambda: None) if caller.lease is None else caller.lease.uses(caller.peer)


@contextmanager
def _no_other_link(lease: Lease | None) -> Iterator[None]:
    """Put a denial in the place of errors whose words name links, and how to add one, for the holder of *lease*."""
    try:
        yield
    except (UnknownLinkError, AmbiguousLinkError, ConfigBrokenError):
        if lease is None:
            raise
        raise lease.deny_address() from None


async def _run_here(call: Callable[..., _T], *arguments: object) -> _T:
    return call(*arguments)
