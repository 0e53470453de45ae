"""Atlassian Cloud: sites and Bitbucket, and the gateways that take what these do not (facts oauth2.md sections 3.1, 5 and 6)."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import Url
from atl_sign.config.links import Link, parse_base_url

if TYPE_CHECKING:  # requests takes 150 ms to load: when the first provider is asked
    from atl_sign.providers.answer import Answer

TOKENS_PAGE = "https://id.atlassian.com/manage-profile/security/api-tokens"
CONFLUENCE_PATH = "/wiki"

_GATEWAY = "https://api.atlassian.com"
_BITBUCKET_HOST = "bitbucket.org"
_BITBUCKET_GATEWAY = "https://api.bitbucket.org"
_CLOUD_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def gateway_of(link: Link) -> Url:
    """Return the address of the host that has the REST calls of *link*: of a site those for scoped tokens, of Bitbucket all."""
    default = _BITBUCKET_GATEWAY if link.url.host == _BITBUCKET_HOST else _GATEWAY
    return parse_base_url(link.own.get("gateway") or default)


def fetch_cloud_id(link: Link) -> str | None:
    """Return the id of the Cloud site that *link* leads to, None when it is not such a site; raises ProviderUnreachableError."""
    status, answer = _fetch_json(link, replace(link.url, path=""), "/_edge/tenant_info")
    cloud_id = answer.get("cloudId")
    return cloud_id if status == 200 and isinstance(cloud_id, str) and _CLOUD_ID.fullmatch(cloud_id) else None


def find_bitbucket_api(link: Link) -> Url | None:
    """
    Return the address of the REST interface of the Bitbucket Cloud that *link* leads to; None when it is another product.

    It is the link's own, or the gateway's where the link says so or is at bitbucket.org. Raises ProviderUnreachableError.
    """
    asked = [link.url]
    if link.own.get("gateway") or link.url.host == _BITBUCKET_HOST:
        asked.append(gateway_of(link))
    for url in asked:
        status, answer = _fetch_json(link, url, "/2.0/user")
        if status in (401, 403) and answer.get("type") == "error":
            return url
    return None


def is_confluence(link: Link) -> bool:
    """Tell whether *link* leads to a site's Confluence, rather than to its Jira."""
    return link.url.path == CONFLUENCE_PATH or link.url.path.startswith(f"{CONFLUENCE_PATH}/")


def gateway_base(link: Link, cloud_id: str) -> str:
    """Return the address at the gateway in place of the base URL of *link*, whose site has *cloud_id*."""
    product = "confluence" if is_confluence(link) else "jira"
    return f"{gateway_of(link).origin}/ex/{product}/{quote(cloud_id, safe='')}{link.url.path}"


def check_gateway_path(link: Link, base: Url, url: Url) -> None:
    """Raise BadUrlError when there is nothing at *base* for *url*, which *link* covers: it has REST calls and no pages."""
    below = url.path[len(link.url.path) :]
    allowed: tuple[str, ...] = ("/2.0/",)
    if base.path:
        allowed = ("/rest/", "/api/") if is_confluence(link) else ("/rest/",)
    if not below.startswith(allowed):
        raise BadUrlError(
            f"the gateway {base.origin}, where this token is good, has no {below or '/'}",
            f"call the REST API below {link.url}{allowed[0]}",
            link=link.name,
        )


def _fetch_json(link: Link, url: Url, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and JSON object of the answer at *path* below *url*, asked as nobody; an empty one for other answers."""
    from atl_sign.providers.exchange import fetch, within_deadline

    place = replace(link, url=url)
    answer: Answer = within_deadline(place, lambda: fetch(place, path, {"Accept": "application/json"}, _no_clock))
    return answer.status, answer.json_object or {}


def _no_clock() -> float:
    return 0.0
