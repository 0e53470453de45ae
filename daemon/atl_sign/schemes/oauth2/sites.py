"""The sites of Atlassian Cloud that a consent includes (facts oauth2.md section 3)."""

import json
import re
from typing import Any

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadUrlError, ProviderRefusedError
from atl_sign.base.urls import parse_url
from atl_sign.config.links import Link
from atl_sign.providers.unexpected import unexpected_answer
from atl_sign.schemes.oauth2.exchange import ask_as
from atl_sign.schemes.oauth2.server import address

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SHOWN_MAX = 20


def find_sites(link: Link, access_token: Secret) -> dict[str, str]:
    """
    Return the ids of the sites that *access_token* is good for, by their addresses.

    Raises:
        ProviderRefusedError: the link's site is not among them. None is guessed: with one of several, a program would read and
            write in the wrong place.
        ProviderUnreachableError: no answer in time.
    """
    answer = ask_as(link, address(link, "{api}/oauth/token/accessible-resources"), access_token)
    sites = _read(answer.text) if answer.status == 200 else None
    if sites is None:
        raise unexpected_answer(link, answer, "the provider does not list the sites of this consent")
    if link.url.origin not in sites:
        there = ", ".join(list(sites)[:_SHOWN_MAX]) or "none, or the app has no product's permissions"
        if len(sites) > _SHOWN_MAX:
            there += f", and {len(sites) - _SHOWN_MAX} more"
        raise ProviderRefusedError(
            f"the consent is not for {link.url.origin}; its sites are: {there}",
            f"choose the site on the consent page: atl-sign dance {link.name}; or give the link one of these addresses",
            link=link.name,
        )
    return sites


def _read(text: str) -> dict[str, str] | None:
    try:
        listed: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return dict(filter(None, map(_read_site, listed))) if isinstance(listed, list) else None


def _read_site(entry: object) -> tuple[str, str] | None:
    """Return address and id in *entry*; None for what cannot be read, which must not hide the other sites."""
    url, site = (entry.get("url"), entry.get("id")) if isinstance(entry, dict) else (None, None)
    if not isinstance(url, str) or not isinstance(site, str) or not _ID.fullmatch(site):
        return None
    try:
        return parse_url(url).origin, site  # in lower case, and without the slash that some have at their end
    except BadUrlError:
        return None
