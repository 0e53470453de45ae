"""The scopes: which are asked for, and which a refused call of Atlassian Cloud probably wants (facts oauth2.md section 3)."""

import re
from collections.abc import Sequence

from atl_sign.config.links import Link
from atl_sign.providers.cloud import is_confluence
from atl_sign.providers.products import Product
from atl_sign.schemes.oauth2.server import flavour_of

_CONFLUENCE = (
    "read:confluence-content.all",
    "read:confluence-space.summary",
    "read:confluence-user",
    "search:confluence",
    "write:confluence-content",
)
# Pattern of the path below the base URL, scope to read, scope to write; the first that matches counts.
_WANTED = (
    (r"/wiki/api/v2/pages", "read:page:confluence", "write:page:confluence"),
    (r"/wiki/api/v2/spaces", "read:space:confluence", "write:space:confluence"),
    (r"/wiki/api/v2/(\w+?)s\b.*", r"read:\1:confluence", r"write:\1:confluence"),
    (r"/wiki/rest/api/(content/)?search", "search:confluence", "search:confluence"),
    (r"/wiki/rest/api/user", "read:confluence-user", "read:confluence-user"),
    (r"/wiki/rest/api/space", "read:confluence-space.summary", "write:confluence-space"),
    (r"/wiki/rest/api/content/[^/]+/child/attachment", "readonly:content.attachment:confluence", "write:confluence-file"),
    (r"/wiki/rest/api/", "read:confluence-content.all", "write:confluence-content"),
    (
        r"/rest/agile/1\.0/sprint",
        "read:sprint:jira-software, read:project:jira, read:issue-details:jira",
        "write:sprint:jira-software",
    ),
    (
        r"/rest/agile/1\.0/",
        "read:board-scope:jira-software, read:project:jira, read:issue-details:jira",
        "write:board-scope:jira-software",
    ),
    (r"/rest/servicedeskapi/", "read:servicedesk-request", "write:servicedesk-request"),
    (r"/rest/api/[^/]+/(myself|user|group)", "read:jira-user", "manage:jira-configuration"),
    (r"/rest/webhooks/|/rest/api/[^/]+/webhook", "manage:jira-webhook", "manage:jira-webhook"),
    (r"/rest/api/[^/]+/(project|component|version)", "read:jira-work", "manage:jira-project"),
    (r"/rest/api/[^/]+/(field|workflow|permissionscheme|screens|role)", "read:jira-work", "manage:jira-configuration"),
    (r"/rest/", "read:jira-work", "write:jira-work"),
)
_READING = ("GET", "HEAD")
_AT_GATEWAY = re.compile(r"/ex/(jira|confluence)/[^/]+")


def scopes_to_ask(link: Link, sharing: Sequence[Link], product: Product | None) -> list[str]:
    """
    Return the scopes that a dance with *link* asks for.

    Args:
        link: whom with.
        sharing: the links that share its grant, and itself: a consent for fewer scopes would take the others' away.
        product: of *link*; None when nobody knows, or it makes no difference.
    """
    flavour = flavour_of(link)
    wanted = [scope for each in sharing for scope in _own_scopes(each, product)]
    return list(dict.fromkeys([*wanted, *(flavour.added_scopes if flavour is not None else ())]))


def _own_scopes(link: Link, product: Product | None) -> Sequence[str]:
    named, flavour = link.own.get("scopes"), flavour_of(link)
    if named is not None:
        return str(named).split()
    if flavour is None:
        return ()
    if flavour.shares_grant and is_confluence(link):
        return _CONFLUENCE
    by_product = None if product is None else flavour.scopes_by_product.get(product.type_id)
    return by_product or flavour.scopes


def wanted_scopes(method: str, path: str) -> str | None:
    """
    Return the scopes of Atlassian Cloud that a call probably wants, to be read by people; None when nobody knows.

    Args:
        method: in upper case.
        path: at the site, or at the gateway.
    """
    path = _AT_GATEWAY.sub("", path, count=1) if _AT_GATEWAY.match(path) else path
    for pattern, to_read, to_write in _WANTED:
        match = re.match(pattern, path)
        if match is not None:
            return match.expand(to_read if method in _READING else to_write)
    return None
