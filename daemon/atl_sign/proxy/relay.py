"""One request: signed, sent to its link's provider, and the answer streamed back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from urllib.parse import urljoin

from atl_sign.access.caller import Caller
from atl_sign.access.policy import FORM_BYTES_MAX, check_form_length
from atl_sign.agent.build import Agent
from atl_sign.agent.sign import Asked, Signed, Signing
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadRequestError, BadUrlError, DaemonError, ProviderUnreachableError
from atl_sign.base.text import format_lines
from atl_sign.base.urls import Pairs, Url, parse_pairs, parse_url
from atl_sign.config.links import Link
from atl_sign.proxy import translation
from atl_sign.proxy.answers import MisframedError
from atl_sign.proxy.explaining import REDIRECTS, Answered, explain_answer, is_refusal, peek_bytes
from atl_sign.proxy.heads import (
    FORM_TYPE,
    Framing,
    Header,
    check_form_type,
    make_answer_headers,
    make_request_headers,
    says_close,
)
from atl_sign.proxy.inbound import Inbound
from atl_sign.proxy.notes import Note
from atl_sign.proxy.refusals import MalformedError, ProxyBusyError
from atl_sign.proxy.routes import Wanted
from atl_sign.proxy.transfers import Transfers
from atl_sign.proxy.upstream import Incoming, Outgoing, StaleConnectionError, UnsendableError, Upstreams

REQUESTS_MAX = 64
WAIT_S = 10.0  # for one of their places
REDIRECTS_MAX = 5

_FOLLOWED = frozenset({"GET", "HEAD"})  # requests whose redirects we may follow
_MAY_PASS = frozenset({"timestamp_refused", "nonce_used"})  # the same request, signed afresh, is taken


class AnswerBrokenError(Exception):
    """The provider's answer ended too early or cannot be passed on; the client's connection must not end as if it were whole."""


@dataclass(frozen=True, slots=True)
class Held:
    """A request's body as it goes out."""

    content: bytes | AsyncIterator[bytes] | None
    framing: Framing
    form: Pairs | None = None  # decoded, when the signature or a rule covers it

    @property
    def can_be_sent_again(self) -> bool:
        """Whether we have it whole."""
        return self.content is None or isinstance(self.content, bytes)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that was sent."""

    url: Url  # as the program means it
    signed: Signed
    incoming: Incoming


class Relay:
    """Relays requests."""

    def __init__(self, agent: Agent, upstreams: Upstreams) -> None:
        """Let *agent* sign, and send by *upstreams*."""
        self._agent = agent
        self._upstreams = upstreams
        self.transfers = Transfers()
        self._places = asyncio.Semaphore(REQUESTS_MAX)

    @property
    def signing(self) -> Signing:
        """Authorizes requests."""
        return self._agent.signing

    async def relay(self, inbound: Inbound, caller: Caller, wanted: Wanted, note: Note | None = None) -> None:
        """
        Send a request, and its answer back; *note* gets the meaning of the answer.

        Raises:
            DaemonError: it is refused, or the provider does not answer; the answer has not begun.
            AnswerBrokenError: the answer has begun, and cannot end well.
            OSError, TimeoutError: the client is gone, or does not read.
        """
        lease = caller.lease
        with nullcontext() if lease is None else lease.enter():
            await self._take_place()
            try:
                asked = Asked(inbound.head.method, wanted.text, link=wanted.link)
                if wanted.here:
                    inbound.head = translation.ask_plainly(inbound.head)
                body = await self._hold(inbound, caller, asked, wanted.here)
                try:
                    sent = await self._follow(inbound, caller, asked, body, wanted)
                    if note is not None or is_refusal(sent.incoming):
                        text = f"{sent.url}{'' if body.form is None else body.content!r}"
                        begins = await self._peek(inbound, sent)
                        answered = Answered(asked.method, sent.url, text, body.form, sent.incoming, sent.signed.url, begins)
                        explain_answer(note, self._agent, caller, sent.signed.link, answered)
                except DaemonError as exc:
                    # A body that broke off is the cause of whatever came of it.
                    raise inbound.failure or exc from None
                await self._pass_back(inbound, sent, wanted.here, has_cookies=lease is None)
            finally:
                self.transfers.end()
                self._places.release()

    async def pass_on(self, inbound: Inbound, wanted: Wanted, links: Sequence[Link]) -> None:
        """
        Send a request unsigned that a redirect of a link has led off it, and its answer back; raises as `relay`.

        Args:
            inbound: the owner's request.
            wanted: an address at the host of one of *links*, and below none of them.
            links: the owner's.
        """
        url = parse_url(wanted.text)
        link = next(link for link in links if any(place.origin == url.origin for place in self.signing.urls_of(link)))
        await self._take_place()
        try:
            headers = make_request_headers(inbound.head, url, inbound.framing, None, has_cookies=True)
            target = url.path if url.query is None else f"{url.path}?{url.query}"
            body = inbound.read() if inbound.framing.has_body else None
            outgoing = Outgoing(link, url, inbound.head.method, target.encode(), headers, body)
            incoming = await inbound.unless_gone(self._upstreams.send(outgoing))
            await self._pass_back(inbound, Sent(url, Signed(link, Secret(""), "one", None, None), incoming), (), has_cookies=True)
        finally:
            self._places.release()

    async def show(self, inbound: Inbound, caller: Caller, wanted: Wanted, note: Note | None = None) -> None:
        """Answer with what would be signed, or write it to *note* and answer nothing; nothing is sent. Raises as `relay`."""
        asked = Asked(inbound.head.method, wanted.text, link=wanted.link)
        body = await self._hold(inbound, caller, asked)
        asked = Asked(asked.method, asked.url, body.form, asked.link)
        base_string, link = await asyncio.to_thread(self._agent.signing.show_base_string, caller, asked)
        shown = {
            "method": asked.method,
            "url": asked.url,
            "form": None if body.form is None or not isinstance(body.content, bytes) else body.content.decode(),
            "link": link.name,
            "base_url": str(link.url),
            "base_string": base_string,
        }
        if note is not None:
            note.show(format_lines(shown))
            inbound.make_last()
            return
        text = "".join(f"{line}\n" for line in format_lines(shown)).encode()
        headers = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(text)),
            (b"X-Atl-Sign", b"dry_run"),
        ]
        await inbound.answer(200, headers, text)

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            raise ProxyBusyError(f"{REQUESTS_MAX} requests are under way", "wait until some of them have ended") from None

    async def _hold(self, inbound: Inbound, caller: Caller, asked: Asked, here: Sequence[str] = ()) -> Held:
        """
        Return the body as it goes out: a form that the signature or a rule covers in one piece, all else as it comes.

        Only in JSON the addresses *here* of the entry become the product's.
        Whether the request is allowed is decided on its head: a client that waits to be asked for the form is asked only then.
        """
        head = inbound.head
        if len(head.find_all(b"content-type")) > 1:
            raise MalformedError("the request has two Content-Type headers", "send one")
        if not inbound.framing.has_body:
            return Held(None, inbound.framing)
        if here and translation.has_json(head):
            link = await self._agent.signing.admit(caller, asked)
            return Held(*await translation.hold_json(inbound, translation.address_product(here, link)))
        if head.method != "POST" or head.media_type != FORM_TYPE:
            return Held(inbound.read(), inbound.framing)
        link = await self._agent.signing.admit(caller, asked)
        if caller.lease is None and not self._agent.signing.scheme_of(link).covers_form:
            return Held(inbound.read(), inbound.framing)
        if head.list_words(b"content-encoding") - {b"identity"}:
            raise BadRequestError("a compressed form cannot be signed", "send it without Content-Encoding")
        check_form_type(head)
        _check_length(inbound.framing.length or 0)
        content = bytearray()
        async for data in inbound.read():
            content += data
            _check_length(len(content))
        return Held(bytes(content), Framing(len(content)), await _read_form(bytes(content)))

    async def _follow(self, inbound: Inbound, caller: Caller, asked: Asked, body: Held, wanted: Wanted) -> Sent:
        """Send a request; a program that knows only our address gets what the redirects of its link lead to."""
        sent = await self._send(inbound, caller, Asked(asked.method, asked.url, body.form, asked.link), body)
        if not wanted.is_below_link or asked.method not in _FOLLOWED or body.content is not None:
            return sent
        for _ in range(REDIRECTS_MAX):
            url = find_next(sent)
            if url is None:
                break
            await sent.incoming.aclose()
            sent = await self._send(inbound, caller, Asked(asked.method, url, None, asked.link), body)
        return sent

    async def _send(self, inbound: Inbound, caller: Caller, asked: Asked, body: Held) -> Sent:
        """Sign and send a request; once more, signed afresh, when it was not looked at and can be sent again."""
        try:
            sent = await self._send_once(inbound, caller, asked, body)
            if not await self._may_pass_now(caller, sent, body):
                return sent
            await sent.incoming.aclose()
        except StaleConnectionError:
            if not body.can_be_sent_again:
                raise
        if caller.lease is not None:  # both are one request, and the provider has not carried out the first
            caller.lease.give_back()
        return await self._send_once(inbound, caller, asked, body)

    async def _send_once(self, inbound: Inbound, caller: Caller, asked: Asked, body: Held) -> Sent:
        signed = await self._agent.signing.sign(caller, asked, is_sent_here=True)
        self.transfers.begin()
        url = parse_url(asked.url)
        there = url if signed.url is None else parse_url(signed.url)
        is_owners = caller.lease is None
        headers = make_request_headers(inbound.head, there, body.framing, signed.authorization.reveal(), has_cookies=is_owners)
        target = there.path if there.query is None else f"{there.path}?{there.query}"
        outgoing = Outgoing(signed.link, there, asked.method, target.encode(), headers, body.content)
        try:
            return Sent(url, signed, await inbound.unless_gone(self._upstreams.send(outgoing)))
        except (ProviderUnreachableError, UnsendableError) as exc:
            if caller.lease is not None and exc.nothing_sent:
                caller.lease.give_back()
            exc.link = exc.link or signed.link.name
            raise

    async def _peek(self, inbound: Inbound, sent: Sent) -> bytes:
        """Return the beginning of a body that may say which scope the token lacks."""
        bytes_max = peek_bytes(sent.incoming) if sent.signed.uses == "many" and inbound.head.method != "HEAD" else 0
        if not bytes_max:
            return b""
        try:
            return await inbound.unless_gone(sent.incoming.peek(bytes_max))
        except BaseException:
            await sent.incoming.aclose()
            raise

    async def _may_pass_now(self, caller: Caller, sent: Sent, body: Held) -> bool:
        """Tell whether the provider refused only time or nonce; its clock is learned, for this request or the next one."""
        if sent.incoming.status != 401 or sent.signed.uses != "one":
            return False
        words = []
        for name, value in sent.incoming.headers:
            if name.lower() == b"www-authenticate":
                text = value.decode("latin-1")
                with suppress(DaemonError):  # the link may have been removed meanwhile
                    problem = self._agent.checks.explain_problem(caller, sent.signed.link.name, text)
                    words.append(None if problem is None else problem[0])
        return body.can_be_sent_again and any(word in _MAY_PASS for word in words)

    async def _pass_back(self, inbound: Inbound, sent: Sent, here: Sequence[str], *, has_cookies: bool) -> None:
        """Stream the answer to the client; the provider is not read while the client does not read."""
        rewriter = None
        incoming = sent.incoming
        try:
            if says_close(incoming.headers):  # a client may wait for this end, as curl -X HEAD does
                inbound.make_last()
            headers: list[Header] = make_answer_headers(incoming.headers, incoming.status, has_cookies=has_cookies)
            if sent.signed.url is not None:
                headers = translation.move_location(headers, sent.url, sent.signed.url)
            if here:
                own_url = self._agent.signing.own_url_of(sent.signed.link)
                addresses = translation.address_tool(here, sent.signed, sent.url, own_url)
                rewriter = translation.find_rewriter(incoming.status, headers, addresses)
                headers = translation.change_headers(
                    headers, addresses, is_rewritten=rewriter is not None, has_moved=inbound.head.method not in _FOLLOWED
                )
            try:
                await inbound.begin(incoming.status, incoming.reason, headers)
            except MisframedError:
                raise ProviderUnreachableError(
                    "the provider's answer is not HTTP", "check the link's base URL", link=sent.signed.link.name
                ) from None
            try:
                if inbound.head.method != "HEAD" and incoming.status not in (204, 304):
                    async for data in incoming.stream():
                        await inbound.send(data if rewriter is None else rewriter.feed(data))
                    if rewriter is not None:
                        await inbound.send(rewriter.end())
                await inbound.end()
            except (DaemonError, MisframedError) as exc:
                raise AnswerBrokenError from exc
            finally:
                await inbound.send(b"")  # without a byte of the answer, curl would send a request again
        finally:
            await incoming.aclose()


def find_next(sent: Sent) -> str | None:
    """Return the URL that an answer redirects to, as the program means it, when it is one of the same link; None otherwise."""
    url, link, incoming = sent.url, sent.signed.link, sent.incoming
    headers = (
        list(incoming.headers) if sent.signed.url is None else translation.move_location(incoming.headers, url, sent.signed.url)
    )
    places = [value for name, value in headers if name.lower() == b"location"]
    if incoming.status not in REDIRECTS or len(places) != 1:
        return None
    try:
        text = urljoin(str(url), places[0].decode("utf-8")).partition("#")[0]
        there = parse_url(text)
    except (ValueError, BadUrlError):
        return None
    is_of_link = there.origin == link.url.origin and f"{there.path}/".startswith(f"{link.url.path}/")
    return text if is_of_link else None


def _check_length(count: int) -> None:
    if count > FORM_BYTES_MAX:
        check_form_length("x" * (FORM_BYTES_MAX + 1))  # for its words


async def _read_form(content: bytes) -> Pairs:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BadUrlError("the form is not valid UTF-8", "encode the text as UTF-8 first") from None
    return await asyncio.to_thread(parse_pairs, text, "form") if len(text) > 1 << 15 else parse_pairs(text, "form")
