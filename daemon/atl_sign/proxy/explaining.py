"""What an answer means, for the note of the curl that gets it: a refusal in words, and where a redirect leads."""

from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin

from atl_sign.access.caller import Caller
from atl_sign.access.policy import warn_of
from atl_sign.agent.build import Agent
from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import Pairs, Url, parse_url
from atl_sign.config.links import Link
from atl_sign.proxy.notes import Note
from atl_sign.proxy.upstream import Incoming

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Of what is signed: a refusal repeats it in one header, in which an escape of three becomes seven, and a Tomcat that cannot fit
# it into its 8 KiB sends nothing at all. About 1 KiB of that is the rest.
_REFUSAL_CHARS_MAX = 7_000


@dataclass(frozen=True, slots=True)
class Answered:
    """A request and its answer."""

    url: Url  # as the program means it
    signed: str  # the URL, and the form
    form: Pairs | None
    incoming: Incoming


def explain_answer(note: Note, agent: Agent, caller: Caller, link: Link, answered: Answered) -> None:
    """Write to *note* what the answer to a request of *link* means, if that says more than the answer itself."""
    warning = warn_of(str(answered.url), answered.form)
    if warning is not None:
        note.tell(f"warning: {warning}", None)
    incoming, check = answered.incoming, f"atl-sign check {link.name}"
    values = {name.lower(): value.decode("latin-1") for name, value in reversed(incoming.headers)}
    for name, value in incoming.headers:
        if incoming.status == 401 and name.lower() == b"www-authenticate":
            explained = agent.checks.explain_problem(caller, link.name, value.decode("latin-1"))
            if explained is not None:
                note.tell(*explained[1:])
    if incoming.status == 500 and values.get(b"content-length") == "0":
        text = answered.signed
        if len(text) + 4 * sum(text.count(char) for char in "%&=") > _REFUSAL_CHARS_MAX:
            note.tell(
                "the product answered 500 with an empty body: it may have refused the signature, and a refusal of a request as "
                "long as this does not fit into its headers",
                f"{check}; if that succeeds, send fewer or shorter parameters",
            )
    elif values.get(b"x-ausername", "").lower() == "anonymous":
        note.tell("the product took this signed request for anonymous", check)
    place = values.get(b"location")
    if incoming.status in REDIRECTS and place is not None:
        with suppress(ValueError, BadUrlError):
            there = parse_url(urljoin(str(answered.url), place).partition("#")[0])
            note.allow(there.host, there.port)
