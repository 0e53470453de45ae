"""`POST /sign`: the whole way of a request, from the caller's question to the header."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from anyio.to_thread import run_sync

from atl_sign.access.audit import Decision
from atl_sign.access.caller import Caller
from atl_sign.access.policy import check_method, check_request
from atl_sign.access.recording import Records
from atl_sign.agent.lookup import Lookup
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadRequestError, UnknownLinkError
from atl_sign.base.request import Request
from atl_sign.base.urls import Pairs, Url, parse_url
from atl_sign.config.links import Link
from atl_sign.grants.live import Grants
from atl_sign.schemes.base import HasBaseString, Uses

LOOP_CHARS_MAX = 1 << 15  # of URL and form: more is taken apart in a thread, so that the loop goes on for others

_T = TypeVar("_T")


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
        self.count = 0  # since the start

    async def sign(self, caller: Caller, asked: Asked) -> Signed:
        """
        Return the Authorization header value for one request, and the link that it is signed for.

        Raises:
            BadRequestError, BadUrlError: nobody could sign this exactly.
            UnknownLinkError, AmbiguousLinkError, ConfigBrokenError: no link, or no single one.
            KeyMissingError, DanceNeededError: there is nothing to sign with.
            ProviderRefusedError, ProviderUnreachableError: the grant has expired and was not renewed.
            StoreLockedError, StoreUnavailableError: the store does not give it.
            AuditUnavailableError: the signature cannot be recorded, and must be.
        """
        # The loop itself signs: a hop to a thread takes longer than the signature.
        run = run_sync if asked.is_long() else _run_here
        with self._records.entry("sign", caller, asked.link) as entry:
            try:
                request, link = await run(self._resolve, asked, entry, self._lookup.choose)
            except UnknownLinkError:
                request, link = await run_sync(self._resolve, asked, entry, self._lookup.choose_by_gateway)
            credentials = self._grants.peek(link)  # memory, else the store or a renewal
            if credentials is None:
                await self._wait_for_renewal(link)
                credentials = await run_sync(self._grants.load, link)
            scheme, moment = self._grants.scheme(link), self._grants.clocks.moment(link)
            authorization = await run(scheme.authorize, request, credentials, moment)
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
        del caller
        request, link = self._resolve(asked, Decision("sign", ""), self._lookup.choose)
        scheme = self._grants.scheme(link)
        if not isinstance(scheme, HasBaseString):
            raise BadRequestError(
                f"a request of the scheme {scheme.name} is not signed, so there is no base string",
                f"atl-sign link show {link.name}",
                link=link.name,
            )
        return scheme.base_string(request, self._grants.client(link), self._grants.clocks.moment(link)), link

    def _resolve(self, asked: Asked, entry: Decision, choose: Callable[[Url, str | None], Link]) -> tuple[Request, Link]:
        check_method(asked.method)
        entry.method = asked.method  # by now it is one
        target = parse_url(asked.url)
        entry.host, entry.path = target.origin.partition("://")[2], target.path
        link = choose(target, asked.link)
        entry.link = link.name
        request = Request(asked.method, link.as_signed(target), asked.form)
        check_request(request)
        return request, link

    async def _wait_for_renewal(self, link: Link) -> None:
        """Wait here, for any number may wait for one renewal, and threads are few; raises what stands in the way of a header."""
        renewal = self._grants.find_renewal(link)
        if renewal is not None:
            await asyncio.shield(asyncio.wrap_future(renewal))


async def _run_here(call: Callable[..., _T], *arguments: object) -> _T:
    return call(*arguments)
