"""The site SITE.atlassian.net and its gateway api.atlassian.com: which caller and which token each of them takes."""

import re
from collections.abc import Mapping
from dataclasses import replace

from atl_sign.sandbox.call import Call, RefusalError, find_route
from atl_sign.sandbox.cloud.confluence import CONFLUENCE_ROUTES
from atl_sign.sandbox.cloud.gate import accept, find_caller, has_scope, is_email, make_site_error, make_unauthorized
from atl_sign.sandbox.cloud.jira import JIRA_ROUTES
from atl_sign.sandbox.cloud.three_legged import ME_PATH, RESOURCES_PATH, CloudSite, answer_about_token
from atl_sign.sandbox.oauth2.bearers import take_bearer
from atl_sign.sandbox.wire import Answer, make_json

TENANT_INFO = "/_edge/tenant_info"
SCOPE_MISSING = "Unauthorized; scope does not match"
REMOVED = "/wiki/rest/api/space"  # removed from the gateway (facts oauth2 section 3.1)

_GATEWAY_PATH = re.compile(r"/ex/(?P<product>jira|confluence)/(?P<cloud_id>[^/]+)(?P<rest>/.*)")


def answer_site(call: Call, cloud_id: str) -> Answer:
    """
    Answer at the site.

    A classic token counts, an app's token is refused. With a scoped one, a wrong one or another bearer the caller is nobody:
    refused where somebody is needed, and answered where anybody may read; the header X-Seraph-LoginReason is the only sign of
    it there.
    """
    if call.path == TENANT_INFO:
        return make_json({"cloudId": cloud_id})
    if take_bearer(call):
        call.user, call.grant, call.verdict = None, None, "app token at the site"
        return make_site_error(401, "Client must be authenticated to access this resource.")
    token = find_caller(call, is_email)
    if token is not None and token.permissions:
        call.verdict = "scoped token at the site"
    elif token is not None:
        accept(call, token)
    found = _answer(call)
    if call.user is None and call.verdict != "anonymous":
        found = found.with_headers(("X-Seraph-LoginReason", "AUTHENTICATED_FAILED"))
    return found


def _answer(call: Call) -> Answer:
    try:
        return find_route(call, JIRA_ROUTES + CONFLUENCE_ROUTES).handler(call)
    except RefusalError as exc:
        return make_site_error(exc.status, exc.message).with_headers(*exc.headers)


def answer_gateway(call: Call, sites: Mapping[str, CloudSite], *, takes_classic: bool) -> Answer:
    """
    Answer at the gateway.

    Args:
        call: below `/ex/PRODUCT/CLOUDID`, or about an app's token.
        sites: by their ids.
        takes_classic: whether a token without scopes works here too.
    """
    if call.path in (RESOURCES_PATH, ME_PATH):
        return answer_about_token(call, sites)
    match = _GATEWAY_PATH.fullmatch(call.path)
    site = sites.get(match["cloud_id"]) if match is not None else None
    if match is None or site is None:
        raise RefusalError(404, "There is nothing at this address.")
    call.site = replace(call.site, data=site.data, base_url=site.url or call.site.base_url)
    is_jira = match["product"] == "jira"
    call.path = match["rest"] if is_jira or match["rest"].startswith("/wiki/") else f"/wiki{match['rest']}"
    if not take_bearer(call) and not _take_token(call, takes_classic=takes_classic):
        return _refuse_at_gateway(call, is_jira=is_jira)
    if call.path == REMOVED and not is_jira:
        raise RefusalError(410, "This deprecated endpoint has been removed.")
    route = find_route(call, JIRA_ROUTES if is_jira else CONFLUENCE_ROUTES)
    if not has_scope(call, route):
        call.verdict = "scope missing"
        return make_unauthorized(SCOPE_MISSING)
    return route.handler(call)


def _take_token(call: Call, *, takes_classic: bool) -> bool:
    """Set the call's user if it brings an API token that counts here; returns whether it does."""
    if call.verdict != "anonymous":  # a bearer, which is refused already
        return False
    token = find_caller(call, is_email)
    if token is not None and not token.permissions and not takes_classic:
        call.verdict, token = "classic token at the gateway", None
    if token is not None:
        accept(call, token)
    return token is not None


def _refuse_at_gateway(call: Call, *, is_jira: bool) -> Answer:
    """Return the 401; Confluence's gateway answers an expired token otherwise (facts oauth2 section 3)."""
    server, brings_bearer = call.site.oauth2, (call.request.header("authorization") or "").lower().startswith("bearer ")
    is_hidden = not brings_bearer or (server is not None and server.faults.hides_expiry)
    if call.verdict == "expired token" and not is_jira and is_hidden:
        is_new = call.path.startswith("/wiki/api/v2/")
        return make_json({"code": 404, "message": "Not Found"}, 404) if is_new else make_json({"message": "Forbidden"}, 403)
    return make_unauthorized()
