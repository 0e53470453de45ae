"""The meaning of an answer: a refusal in words, for `atl-sign why` and for the note of a curl, and where a redirect leads."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin

from atl_sign.access.caller import Caller
from atl_sign.access.policy import warn_of
from atl_sign.agent.build import Agent
from atl_sign.agent.refusals import Meaning, split_address
from atl_sign.base.errors import BadUrlError, DaemonError
from atl_sign.base.request import Request
from atl_sign.base.urls import Pairs, Url, parse_url
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer, Headers
from atl_sign.proxy.notes import Note
from atl_sign.proxy.translation import move_location
from atl_sign.proxy.upstream import Incoming

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Of what is signed: a refusal repeats it in one header, in which an escape of three becomes seven, and a Tomcat that cannot fit
# it into its 8 KiB sends nothing at all. About 1 KiB of that is the rest.
_REFUSAL_CHARS_MAX = 7_000
_PEEK_BYTES = 8_192
_PLAIN = frozenset({"unauthorized", "forbidden"})  # a curl's user sees as much in the answer


@dataclass(frozen=True, slots=True)
class Answered:
    """A request and its answer."""

    method: str
    url: Url  # as the program means it
    signed: str  # the URL, and the form
    form: Pairs | None
    incoming: Incoming
    sent_to: str | None = None  # where it went instead of *url*
    begins: bytes = b""  # the body, of a refusal of a token as far as it is looked at


def is_refusal(incoming: Incoming) -> bool:
    """Tell whether an answer may be a refusal: most are not, and cost no more than this look."""
    if incoming.status in (401, 403, 500):
        return True
    return any(name.lower() == b"x-ausername" and value.lower() == b"anonymous" for name, value in incoming.headers)


def peek_bytes(incoming: Incoming) -> int:
    """Return how much of a token's refusal is looked at: only a body in JSON says which scope is missing."""
    if incoming.status not in (401, 403):
        return 0
    types = [value for name, value in incoming.headers if name.lower() == b"content-type"]
    return _PEEK_BYTES if any(b"json" in value.lower() for value in types) else 0


def explain_answer(note: Note | None, agent: Agent, caller: Caller, link: Link, answered: Answered) -> None:
    """Keep what the answer to a request of *link* means; *note* gets it if it says more than the answer itself."""
    warning = None if note is None else warn_of(str(answered.url), answered.form)
    if note is not None and warning is not None:
        note.tell(f"warning: {warning}", None)
    incoming = answered.incoming
    values = {name.lower(): value.decode("latin-1") for name, value in reversed(incoming.headers)}
    for number, meaning in enumerate(_list_meanings(agent, caller, link, answered, values)):
        if number == 0:  # one answer is one refusal
            agent.refusals.add_meaning(caller, link.name, meaning, split_address(answered.method, str(answered.url)))
        if note is not None and meaning.code not in _PLAIN:
            note.tell(meaning.message, meaning.hint)
    place = values.get(b"location")
    if note is not None and incoming.status in REDIRECTS and place is not None:
        if answered.sent_to is not None:
            ((_, moved),) = move_location([(b"Location", place.encode("latin-1"))], answered.url, answered.sent_to)
            place = moved.decode("latin-1")
        with suppress(ValueError, BadUrlError):
            there = parse_url(urljoin(str(answered.url), place).partition("#")[0])
            note.allow(there.host, there.port)
            for other in agent.signing.links_for(caller):
                base, *gateways = agent.signing.urls_of(other)
                is_below = base.origin == there.origin and f"{there.path}/".startswith(f"{base.path}/")
                # A gateway serves many links; which of them has this part of it, only the store knows.
                if other.name != link.name and (is_below or there.origin in [each.origin for each in gateways]):
                    note.lead_to(other.name)


def _list_meanings(
    agent: Agent, caller: Caller, link: Link, answered: Answered, values: Mapping[bytes, str]
) -> Iterator[Meaning]:
    incoming, check = answered.incoming, f"atl-sign check {link.name}"
    lack = _find_lack(agent, link, answered)
    if lack is not None:
        yield lack
        return
    is_explained = False
    for name, value in incoming.headers:
        if incoming.status == 401 and name.lower() == b"www-authenticate":
            with suppress(DaemonError):  # the link may have been removed meanwhile
                explained = agent.checks.explain_problem(caller, link.name, value.decode("latin-1"))
                if explained is not None:
                    is_explained = True
                    yield Meaning(*explained)
    if incoming.status == 500 and values.get(b"content-length") == "0":
        text = answered.signed
        if len(text) + 4 * sum(text.count(char) for char in "%&=") > _REFUSAL_CHARS_MAX:
            yield Meaning(
                "refusal_too_long",
                "the product answered 500 with an empty body: it may have refused the signature, and a refusal of a request as "
                "long as this does not fit into its headers",
                f"{check}; if that succeeds, send fewer or shorter parameters",
            )
    elif values.get(b"x-ausername", "").lower() == "anonymous":
        yield Meaning("anonymous", "the product took this signed request for anonymous", check)
    elif incoming.status == 401 and not is_explained:
        yield Meaning("unauthorized", f"link {link.name}: the product refused the request with status 401", check)
    elif incoming.status == 403:
        words = f"link {link.name}: the product refused the request with status 403: the user may lack the permission"
        yield Meaning("forbidden", words, f"{check} prints the user; an administrator of the product grants permissions")


def _find_lack(agent: Agent, link: Link, answered: Answered) -> Meaning | None:
    incoming = answered.incoming
    if incoming.status not in (401, 403):
        return None
    headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in incoming.headers)
    answer = Answer(incoming.status, headers, _unpack(answered.begins, headers.get("Content-Encoding", "")), None)
    explained = agent.signing.scheme_of(link).explain_lack(link, Request(answered.method, answered.url), answer)
    return None if explained is None else Meaning(*explained)


def _unpack(begins: bytes, coding: str) -> str:
    """Return the text in the beginning of a body; nothing of one that is compressed in a way that the daemon does not know."""
    if coding.strip().lower() in ("gzip", "x-gzip", "deflate"):
        try:
            begins = zlib.decompressobj(wbits=47).decompress(begins, _PEEK_BYTES)  # with either head
        except zlib.error:
            return ""
    return begins.decode("utf-8", "replace")
