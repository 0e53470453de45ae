"""The products' own tokens: where a user makes one, since which version, and when it ends (facts oauth2.md section 7)."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from atl_sign.base.errors import DanceNeededError
from atl_sign.config.links import Link
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import find_product

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_END_MS_MAX = 253_402_300_800_000  # the year 10000: a token without an end, as some write it


@dataclass(frozen=True, slots=True)
class ListedToken:
    """One of a user's tokens, as the product lists it."""

    id: str  # fit for an address
    name: str
    expires_at: datetime | None  # aware, UTC; None when it has no end


@dataclass(frozen=True, slots=True)
class PersonalTokens:
    """Where one product's personal access tokens are."""

    since: tuple[int, int]  # the first version that has them
    page: str  # where a user makes one, below the base URL
    paths: str  # of the calls that list and make a user's; `{user}` stands for the user
    parse: Callable[[Mapping[str, Any]], ListedToken]
    # The body of a POST to that path that makes one, of a name and days; None where a token makes no token.
    make: Callable[[str, int], Mapping[str, Any]] | None = None


def calls_path(tokens: PersonalTokens, user: str | None) -> str:
    """Return the path of the calls that list and make the tokens of *user*, below the base URL."""
    return tokens.paths.format(user=quote((user or "").lower(), safe=""))


def _listed(each: Mapping[str, Any], expires_at: datetime | None) -> ListedToken:
    token_id, name = parse_id(each["id"]), each["name"]
    if token_id is None or not isinstance(name, str):
        raise ValueError
    return ListedToken(token_id, name, expires_at)


def _parse_pat(each: Mapping[str, Any]) -> ListedToken:
    end = each.get("expiringAt")
    return _listed(each, None if end is None else datetime.fromisoformat(end).astimezone(UTC))


def _parse_bitbucket(each: Mapping[str, Any]) -> ListedToken:
    end = each.get("expiryDate")
    return _listed(each, datetime.fromtimestamp(end / 1000, UTC) if type(end) is int and end < _END_MS_MAX else None)


def _parse_bamboo(each: Mapping[str, Any]) -> ListedToken:
    days = each.get("daysUntilExpiry")
    made = datetime.fromtimestamp(each["creationDate"] / 1000, UTC)
    return _listed(each, None if days is None else made + timedelta(days=days))


def _make_pat(name: str, days: int) -> dict[str, Any]:
    return {"name": name, "expirationDuration": days}


def _make_bamboo(name: str, days: int) -> dict[str, Any]:
    return {"name": name, "permissions": ["READ", "TRIGGER", "USER"], "daysUntilExpiry": days}


PERSONAL_TOKENS = {
    "jira": PersonalTokens((8, 14), "/secure/ViewPersonalAccessTokens.jspa", "/rest/pat/latest/tokens", _parse_pat, _make_pat),
    "confluence": PersonalTokens(
        (7, 9), "/plugins/personalaccesstokens/usertokens.action", "/rest/pat/latest/tokens", _parse_pat, _make_pat
    ),
    "bitbucket": PersonalTokens(
        (5, 5), "/plugins/servlet/access-tokens/manage", "/rest/access-tokens/latest/users/{user}", _parse_bitbucket
    ),
    "bamboo": PersonalTokens(
        (8, 0), "/profile/userAccessTokens.action", "/rest/api/latest/access-token", _parse_bamboo, _make_bamboo
    ),
}


def tokens_of(manifest: Manifest) -> PersonalTokens | None:
    """Return where the tokens of the product with *manifest* are; None when that version has none."""
    product = find_product(manifest.type_id)
    tokens = PERSONAL_TOKENS.get(product.type_id) if product is not None else None
    version = re.match(r"(\d+)\.(\d+)", manifest.version)
    if tokens is None or (version is not None and (int(version[1]), int(version[2])) < tokens.since):
        return None
    return tokens


def tokens_page(link: Link, tokens: PersonalTokens) -> str:
    """Return the address of the page where a user makes a token."""
    return f"{link.url}{tokens.page}"


def parse_id(value: object) -> str | None:
    """Return an id, which goes into addresses, as a text; None for anything else. Bitbucket has had numbers and texts."""
    return str(value) if type(value) in (int, str) and _ID.fullmatch(str(value)) else None


def parse_list(tokens: PersonalTokens, text: str) -> list[ListedToken]:
    """Return the tokens in the answer *text* of a listing call; what cannot be read is left out."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return []
    values = answer.get("values") if isinstance(answer, dict) else answer
    return list(parse_each(tokens, values))


def parse_each(tokens: PersonalTokens, values: object) -> Iterator[ListedToken]:
    """Yield the tokens in the list *values*; what cannot be read is left out."""
    for each in values if isinstance(values, list) else []:
        with suppress(KeyError, TypeError, ValueError, OverflowError, OSError, AttributeError):
            yield tokens.parse(each)


def parse_made(tokens: PersonalTokens, text: str) -> tuple[str, ListedToken] | None:
    """Return secret and description of the token in the answer *text* of a making call; None when it holds none."""
    try:
        made = json.loads(text)
        secret = made["rawToken"]
        return (secret, tokens.parse(made)) if isinstance(secret, str) and secret else None
    except (KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError):
        return None


def not_taken(link: Link) -> DanceNeededError:
    """Return the error for a token that the provider took once and takes no longer."""
    return DanceNeededError(
        "the provider no longer accepts the token: it has expired, was revoked, or belongs to another site",
        f"atl-sign dance {link.name}",
        link=link.name,
    )
