"""Apps at the gateway: the sites that they may reach, and who they act for (facts oauth2 section 3)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from atl_sign.sandbox.call import Call, RefusalError
from atl_sign.sandbox.cloud.gate import account_id, make_unauthorized
from atl_sign.sandbox.cloud.site_data import SiteData
from atl_sign.sandbox.oauth2.bearers import take_bearer
from atl_sign.sandbox.wire import Answer, make_json

RESOURCES_PATH = "/oauth/token/accessible-resources"
ME_PATH = "/me"


@dataclass(slots=True)
class CloudSite:
    """One site of the accounts, as apps see it."""

    id: str
    name: str
    url: str  # "" for the sandbox's own site
    data: SiteData = field(default_factory=SiteData)


def answer_about_token(call: Call, sites: Mapping[str, CloudSite]) -> Answer:
    """Answer the gateway's own calls, about the token and its user."""
    if not take_bearer(call) or call.user is None or call.grant is None:
        return make_unauthorized()
    if call.request.method not in ("GET", "HEAD"):
        raise RefusalError(405, "Method Not Allowed")
    if call.path == ME_PATH:
        return _show_me(call)
    return make_json(
        [
            {
                "id": site.id,
                "url": site.url or call.site.base_url,
                "name": site.name,
                "scopes": scopes,
                "avatarUrl": f"{site.url or call.site.base_url}/avatar.png",
            }
            for site in sites.values()
            for scopes in _split_by_product(call.grant.scopes)
        ]
    )


def _show_me(call: Call) -> Answer:
    assert call.user is not None  # noqa: S101 - checked before
    assert call.grant is not None  # noqa: S101
    if "read:me" not in call.grant.scopes:
        call.verdict = "scope missing"
        return make_unauthorized("Unauthorized; scope does not match")
    return make_json(
        {
            "account_type": "atlassian",
            "account_id": account_id(call, call.user),
            "email": call.user.email,
            "name": call.user.full_name,
            "nickname": call.user.full_name,
            "account_status": "active",
        }
    )


def _split_by_product(scopes: tuple[str, ...]) -> list[list[str]]:
    """Return Jira's scopes and Confluence's, a list each: a site with both products is there twice."""
    jira = [scope for scope in scopes if "jira" in scope or "servicedesk" in scope]
    confluence = [scope for scope in scopes if "confluence" in scope]
    return [found for found in (jira, confluence) if found]
