"""Answers that are neither the expected one nor an OAuth problem: what they are, where they come from, and when to try again."""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from atl_sign.base.errors import BadUrlError, DaemonError, ProviderBusyError, ProviderRefusedError
from atl_sign.base.text import shorten
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.answer import Answer
from atl_sign.providers.causes import cannot_be_reached, name_proxy
from atl_sign.providers.challenge import has_oauth_challenge
from atl_sign.providers.exchange import find_proxy

RETRY_AFTER_S_MAX = 86_400  # a day; what says more does not know
_SOON_S = 120  # up to here a wait is given in seconds, beyond as the time of day

# Names that the products' own answers carry, and nothing before them makes up.
_PRODUCT_HEADERS = (
    "X-AUSERNAME",
    "X-AREQUESTID",
    "X-ASESSIONID",
    "X-ANODEID",
    "X-Seraph-LoginReason",
    "X-Confluence-Request-Time",
)
_SERVER_NAME = re.compile(r"([A-Za-z][A-Za-z-]{1,19})(?:/.*)?")  # no longer: a token of ours must not come back as a name
_MOVED = re.compile(r"(https?://[^?#;]+?)/(?:plugins/servlet|rest)/")


def explain_bystander(link: Link, answer: Answer) -> DaemonError | None:
    """
    Return the error for an *answer* that asks to try again later, or that something before the product gave in its place.

    None when it may be the product's own word. The error's `retry_after_s` is set when the answer names a time.
    """
    retry_after_s = _parse_retry_after(answer)
    status = answer.status
    if status in (429, 503) or (status >= 500 and retry_after_s is not None):
        return _busy(link, status, retry_after_s)
    if status == 407:
        proxy = name_proxy(link)
        return cannot_be_reached(
            link, "the proxy requires a user name and a password (status 407)", f"check the user name and the password of {proxy}"
        )
    if status in (502, 504) or 520 <= status <= 530:  # the last ones are a large content network's own
        return cannot_be_reached(
            link,
            f"a gateway in front of it answered, and cannot reach it (status {status})",
            "try again in a moment; then ask the administrator whether the product is running",
        )
    if status == 511:
        cause = "this network requires a login first (status 511)"
        return cannot_be_reached(link, cause, "log in to the network in a browser, then try again")
    if status in (401, 403) and not _is_of_product(answer):
        return _explain_gatekeeper(link, answer)
    return None


def unexpected_answer(link: Link, answer: Answer, words: str) -> DaemonError:
    """Return the error for an *answer* that is neither what was asked for nor an OAuth problem; *words* say what is missing."""
    bystander = explain_bystander(link, answer)
    if bystander is not None:
        return bystander
    if 300 <= answer.status < 400:
        message, hint = _explain_redirect(link, answer)
    elif answer.is_html and answer.status < 400:
        message = "a page for people answers, not the product's API"
        hint = f"a login page, a proxy or a captive portal is in front of the product: open {link.url} in a browser to see which"
    elif answer.status == 404:
        message, hint = f"nothing is at this address (404): {words}", "check the base URL and its context path"
    elif answer.status >= 500:
        message = f"the provider failed (status {answer.status})"
        hint = "try again; if that does not help, the provider's log says why"
    else:
        message = f"the provider answered with status {answer.status}: {words}"
        hint = "open the base URL in a browser and see what is there"
    return ProviderRefusedError(message, hint, link=link.name, is_absent=answer.status == 404)


def _busy(link: Link, status: int, retry_after_s: int | None) -> ProviderBusyError:
    cause = {429: "the provider has received too many requests", 503: "the provider is not available at the moment"}
    message = f"{cause.get(status, 'the provider failed and names a time to try again')} (status {status})"
    return ProviderBusyError(message, _say_when(retry_after_s), link=link.name, retry_after_s=retry_after_s)


def _say_when(retry_after_s: int | None) -> str:
    if retry_after_s is None:
        return "try again in a moment"
    if retry_after_s <= _SOON_S:
        return f"try again in {retry_after_s} s"
    now = datetime.now(UTC)
    # The next whole minute, for this one's seconds are not shown.
    then = now + timedelta(seconds=retry_after_s + 59)
    return f"try again after {then:%H:%M} UTC" if then.date() == now.date() else f"try again after {then:%Y-%m-%d %H:%M} UTC"


def _parse_retry_after(answer: Answer) -> int | None:
    """Return the seconds of Retry-After, from 1 to `RETRY_AFTER_S_MAX`; None without one that can be read (RFC 9110 §10.2.3)."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        then = _parse_date(text)
        if then is None:
            return None
        # By the provider's clock, if the answer has a Date.
        seconds = then - (_parse_date(answer.headers.get("Date", "")) or time.time())
    return int(min(max(seconds, 1), RETRY_AFTER_S_MAX))


def _parse_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _is_of_product(answer: Answer) -> bool:
    """Tell whether a 401 or 403 bears a mark of the product: every 401 of one has an OAuth challenge (facts section 3)."""
    return has_oauth_challenge(answer.headers.get("WWW-Authenticate", "")) or any(
        name in answer.headers for name in _PRODUCT_HEADERS
    )


def _explain_gatekeeper(link: Link, answer: Answer) -> DaemonError | None:
    """Return the error for a 401 or 403 of a proxy, a gateway or a firewall; None if nothing shows that it is."""
    scheme = re.match(r"\s*([A-Za-z][\w-]*)", answer.headers.get("WWW-Authenticate", ""))
    server = _SERVER_NAME.fullmatch(answer.headers.get("Server", "").split(" ")[0])
    name = f", {server[1]}" if server else ""
    if scheme is not None:
        message = f"something in front of the product requires its own login (status {answer.status}, {scheme[1][:20]}{name})"
    elif answer.is_html or ("Via" in answer.headers and "json" not in answer.headers.get("Content-Type", "")):
        message = f"a proxy or firewall in front of the product refuses this (status {answer.status}{name})"
    else:
        return None
    hint = f"ask the administrator to let {_paths(link)} pass"
    if find_proxy(link) is not None:
        hint = f"check {name_proxy(link)}, or {hint}"
    return ProviderRefusedError(message, hint, link=link.name)


def _paths(link: Link) -> str:
    return f"{link.url}/plugins/servlet/oauth and {link.url}/rest"


def _explain_redirect(link: Link, answer: Answer) -> tuple[str, str]:
    # Without what follows the path: a login page's address carries where one came from, and session ids.
    where = re.split(r"[?#;]", answer.headers.get("Location", "elsewhere"))[0]
    where = shorten(where)
    hint = (
        "give the link the base URL that the product's own pages begin with; "
        f"if it is a login page, ask the administrator to let {_paths(link)} pass"
    )
    moved = _MOVED.match(where)
    if moved is not None:  # to the same call below another base URL
        with suppress(BadUrlError):  # a provider can write what it likes
            url = parse_base_url(moved[1])
            if url.host == link.url.host:  # another host is for the user to judge
                hint = format_link_command(link, url=url)
    return f"the address redirects to {where}", hint
