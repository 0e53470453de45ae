"""A provider's refusal read, and told in words: the cause, and what to do about it (facts section 3.1)."""

import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from atl_sign.base.errors import BadUrlError
from atl_sign.base.text import shorten
from atl_sign.base.urls import parse_pairs
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.challenge import OAUTH_CHALLENGE
from atl_sign.providers.clocks import OFFSET_MAX_S

_WORDS: dict[str, tuple[str, str]] = {
    "timestamp_refused": (
        "the clocks of this machine and the provider differ too much",
        "set this machine's clock (NTP), then try again",
    ),
    "nonce_used": ("the provider has seen this signed request before", "try again; a proxy that repeats requests does this too"),
    "signature_method_rejected": (
        "the provider does not take RSA-SHA1 on this link",
        "make the link anew as an OAuth 1.0a incoming link: atl-sign link setup NAME",
    ),
    "consumer_key_unknown": (
        "the provider knows no consumer of this key",
        "an administrator enters it: atl-sign link setup NAME; then check the address and the key for typing errors",
    ),
    "consumer_key_rejected": ("the provider does not take this consumer", "ask the administrator about the application link"),
    "consumer_key_refused": ("the provider does not take this consumer now", "ask the administrator about the application link"),
    "token_rejected": (
        "the provider does not know this token: revoked, used up, or of another consumer or server",
        "atl-sign dance NAME",
    ),
    "token_expired": ("the token's time is over", "atl-sign dance NAME"),
    "token_used": ("this request token was decided already", "atl-sign dance NAME"),
    "token_revoked": ("the user has revoked this token", "atl-sign dance NAME"),
    "permission_unknown": ("the user has not decided yet", "press Allow on the provider's page, then try again"),
    "permission_denied": (
        "the user or the administrator does not permit this",
        "dance again and press Allow; if that was done, the administrator has switched off three-legged OAuth on this link",
    ),
    "parameter_absent": (
        "the provider missed a part of the signed header",
        "a proxy in front may take the Authorization header away",
    ),
    "parameter_rejected": (
        "the provider does not take a part of the request",
        "take parameters that begin with oauth_ out of it",
    ),
    "version_rejected": ("the provider does not take OAuth 1.0", "ask the administrator about the application link"),
    "user_refused": ("the provider does not let this user in", "ask the administrator"),
    "additional_authorization_required": ("the provider wants more from the user first", "log in to the product in the browser"),
}

ENTER_KEY = "an administrator enters the key that `atl-sign key` prints"
KNOWN_PROBLEMS = frozenset({*_WORDS, "signature_invalid"})
# The problems of a refused access token: only a new dance helps.
TOKEN_IS_DEAD = frozenset({"token_rejected", "token_expired", "token_revoked", "token_used"})

_PROBLEM = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# The problems that are of use here. The same refusal comes twice, and a proxy in between can break either copy.
_READABLE = {
    "oauth_problem": _PROBLEM,
    "oauth_acceptable_timestamps": re.compile(r"\d{1,11}-\d{1,11}", re.A),
    "oauth_signature_base_string": re.compile(r"[^&]+&[^&]+&[^&]*"),
}
_PADDING = " \t\r\n\0\ufeff"  # around a value or a body: a line's end, a byte order mark


def parse_problem(www_authenticate: str, text: str = "") -> dict[str, str]:
    """
    Return what came with an `oauth_problem`; empty when there is none.

    Header and body say the same (facts section 3.1): each parameter is taken from where it can be read, first from the header.

    Args:
        www_authenticate: the value of the header, or "".
        text: the answer's body when it may hold the same as a form.
    """
    from requests.utils import parse_dict_header  # here: it takes 150 ms, and most starts see no refusal

    # A proxy may put a challenge of its own before the product's.
    challenge = OAUTH_CHALLENGE.search(www_authenticate)
    told: list[tuple[str, str]] = []
    if challenge is not None:
        items = parse_dict_header(challenge["parameters"]).items()  # type: ignore[no-untyped-call]
        # Two header lines of this scheme are joined by a comma: the first item of the second has the scheme's name before it.
        told += [(name.rpartition(" ")[2], unquote(value or "")) for name, value in items]
    if "oauth_problem=" in text:
        told += parse_qsl(text.strip(_PADDING))
    fields: dict[str, str] = {}
    for name, padded in told:
        value = padded.strip(_PADDING)
        if name not in fields or (not _is_readable(name, fields[name]) and _is_readable(name, value)):
            fields[name] = value
    if not fields.get("oauth_problem"):
        return {}
    if not _is_readable("oauth_problem", fields["oauth_problem"]):
        fields["oauth_problem"] = "unreadable"  # it could be our own header, sent back
    return fields


def _is_readable(name: str, value: str) -> bool:
    return (_READABLE[name].fullmatch(value) is not None) if name in _READABLE else value != ""


def explain_problem(problem: str, fields: Mapping[str, str], link: Link, base_string: str | None = None) -> tuple[str, str]:
    """
    Return message and hint for an `oauth_problem`; neither holds a value of the request.

    Args:
        problem: the provider's word.
        fields: everything that came with it.
        link: for the command in the hint.
        base_string: what we signed, for comparing it with the provider's own.
    """
    if problem == "signature_invalid":
        return _explain_signature(fields.get("oauth_signature_base_string"), base_string, link)
    message, hint = _WORDS.get(problem, ("the provider refused the request", "see the provider's log"))
    for field in ("oauth_parameters_absent", "oauth_parameters_rejected"):
        if fields.get(field):
            # Parts of the form name=value, joined by "&"; a value can be the token.
            names = {unquote(part.partition("=")[0]): None for part in fields[field].split("&")}
            message = f"{message}: {shorten(', '.join(names))}"
    return f"{message} ({shorten(problem)})", hint.replace("NAME", link.name)


def parse_clock_offset(fields: Mapping[str, str], now: float) -> float | None:
    """
    Return the provider's clock less ours, in seconds, as a refused timestamp tells it; None when it does not, or not credibly.

    Args:
        fields: what came with the problem; `oauth_acceptable_timestamps` is `MIN-MAX`, seconds since 1970, around its time.
        now: our clock's time.
    """
    if fields.get("oauth_problem") != "timestamp_refused":
        return None
    acceptable = fields.get("oauth_acceptable_timestamps", "")
    if not _is_readable("oauth_acceptable_timestamps", acceptable):
        return None
    first, _, last = acceptable.partition("-")
    offset = (int(first) + int(last)) // 2 - now
    # A server that answers in the provider's place must not get headers that become good in a year.
    return offset if abs(offset) <= OFFSET_MAX_S else None


def _explain_signature(theirs: str | None, ours: str | None, link: Link) -> tuple[str, str]:
    problem = "(signature_invalid)"
    if theirs is None or ours is None or theirs.count("&") < 2:
        hint = "the public key there may be another one (atl-sign key), or a proxy changes the address (signing_url)"
        if ours is None:  # somebody else's request
            hint += f": atl-sign doctor {link.name} tells which"
        return f"the provider computed another signature {problem}", hint
    if theirs == ours:
        return (
            f"the provider has another public key for this consumer {problem}",
            ENTER_KEY,
        )
    their_method, their_uri, their_parameters = theirs.split("&", 2)
    our_method, our_uri, our_parameters = ours.split("&", 2)
    if their_method != our_method:
        return (
            f"the provider got the method {shorten(their_method)}, signed was {our_method} {problem}",
            "a proxy in front changes the method",
        )
    if their_uri != our_uri:
        seen, signed = shorten(unquote(their_uri)), unquote(our_uri)
        return (
            f"the provider believes it was called at {seen}, signed was {signed}: {_different_part(seen, signed)} {problem}",
            f"a proxy hides its real address: {_sign_as_seen(link, unquote(their_uri), unquote(our_uri))}",
        )
    names = ", ".join(shorten(name) for name in _different_names(their_parameters, our_parameters))
    return (
        f"the provider read other parameters than were signed: {names or 'their order'} {problem}",
        "a proxy in front changes the query or the form",
    )


def _sign_as_seen(link: Link, theirs: str, ours: str) -> str:
    """Return the command that makes the link sign for the base URL behind *theirs*, or words where that is not known."""
    base = str(link.signing_url or link.url)
    rest = ours.removeprefix(base)
    if ours.startswith(base) and theirs.endswith(rest):
        try:
            return format_link_command(link, signing_url=parse_base_url(theirs.removesuffix(rest)))
        except BadUrlError:  # a provider can write what it likes
            pass
    return "set the link's signing_url to the base URL that the provider sees"


def _different_part(theirs: str, ours: str) -> str:
    """Return the words for the first part in which two addresses differ."""
    try:
        their_parts, our_parts = urlsplit(theirs), urlsplit(ours)
    except ValueError:
        return "another address"  # a provider can write what it likes
    if their_parts.scheme != our_parts.scheme:
        return "another scheme"
    return "another host or port" if their_parts.netloc != our_parts.netloc else "another path"


def _different_names(theirs: str, ours: str) -> list[str]:
    try:
        their_pairs, our_pairs = (Counter(parse_pairs(unquote(text), "query")) for text in (theirs, ours))
    except BadUrlError:
        return []  # a provider can write what it likes
    return sorted({name for name, _ in (their_pairs - our_pairs) + (our_pairs - their_pairs)})
