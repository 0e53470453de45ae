"""Atlassian Cloud: a site, its id, and the gateway that takes what the site does not (facts oauth2.md sections 3.1 and 6)."""

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import Url
from atl_sign.config.links import Link

if TYPE_CHECKING:  # requests takes 150 ms to load: when the first provider is asked
    from atl_sign.providers.answer import Answer

GATEWAY = "https://api.atlassian.com"
TOKENS_PAGE = "https://id.atlassian.com/manage-profile/security/api-tokens"
CONFLUENCE_PATH = "/wiki"

_CLOUD_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def fetch_cloud_id(link: Link) -> str | None:
    """Return the id of the Cloud site that *link* leads to, None when it is no such site; raises ProviderUnreachableError."""
    from atl_sign.providers.exchange import fetch, within_deadline

    root = replace(link, url=replace(link.url, path=""))
    answer: Answer = within_deadline(root, lambda: fetch(root, "/_edge/tenant_info", {"Accept": "application/json"}, _no_clock))
    try:
        cloud_id = json.loads(answer.text).get("cloudId")
    except (ValueError, AttributeError, RecursionError):
        return None
    return cloud_id if answer.status == 200 and isinstance(cloud_id, str) and _CLOUD_ID.fullmatch(cloud_id) else None


def is_confluence(link: Link) -> bool:
    """Tell whether *link* leads to a site's Confluence, rather than to its Jira."""
    return link.url.path == CONFLUENCE_PATH or link.url.path.startswith(f"{CONFLUENCE_PATH}/")


def gateway_base(link: Link, gateway: str, cloud_id: str) -> str:
    """Return the address at *gateway* in place of the base URL of *link*, whose site has *cloud_id*."""
    product = "confluence" if is_confluence(link) else "jira"
    return f"{gateway}/ex/{product}/{quote(cloud_id, safe='')}{link.url.path}"


def check_gateway_path(link: Link, url: Url) -> None:
    """Raise BadUrlError when the gateway has nothing at *url*, which *link* covers: it has REST calls and no pages."""
    below = url.path[len(link.url.path) :]
    allowed = ("/rest/", "/api/") if is_confluence(link) else ("/rest/",)
    if not below.startswith(allowed):
        raise BadUrlError(
            f"Atlassian's gateway, where this token is good, has no {below or '/'}",
            f"call the REST API below {link.url}{allowed[0]}",
            link=link.name,
        )


def _no_clock() -> float:
    return 0.0
