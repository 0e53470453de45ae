"""The authorization server auth.atlassian.com for apps of Jira and Confluence (OAuth 2.0 (3LO), facts oauth2 section 3)."""

from collections.abc import Mapping

from atl_sign.sandbox.cloud.gate import make_site_error
from atl_sign.sandbox.oauth2.flavour import (
    DAY_S,
    RFC_ERRORS,
    AnswerRule,
    Endpoints,
    Flavour,
    ScopeRule,
    TokenError,
    TokenRule,
    TokenShape,
)
from atl_sign.sandbox.oauth2.host import make_pages

OFFLINE = "offline_access"
_CLASSIC = """
read:jira-work read:jira-user write:jira-work manage:jira-project manage:jira-configuration manage:jira-webhook
manage:jira-data-provider read:servicedesk-request write:servicedesk-request
read:confluence-content.all read:confluence-content.summary read:confluence-space.summary read:confluence-user
search:confluence write:confluence-content write:confluence-space write:confluence-file
readonly:content.attachment:confluence manage:confluence-configuration
"""
_GRANULAR = """
read:issue:jira write:issue:jira read:project:jira read:issue-details:jira read:board-scope:jira-software
read:sprint:jira-software read:page:confluence write:page:confluence read:space:confluence
"""
_OTHERS = f"read:me read:account {OFFLINE}"
SCOPES_3LO = tuple(f"{_CLASSIC} {_GRANULAR} {_OTHERS}".split())

UNAUTHORIZED = TokenError(401, "access_denied", "Unauthorized")
# Two answers to a refresh token that is expired, rotated away or unknown have been seen; a test chooses.
DEAD_REFRESH_TOKEN = TokenError(403, "invalid_grant", "Unknown or invalid refresh token.")
DEAD_REFRESH_TOKEN_OTHERWISE = TokenError(403, "unauthorized_client", "refresh_token is invalid")
_CODE = TokenError(403, "invalid_grant", "Invalid authorization code")
_ERRORS: Mapping[str, TokenError] = {
    **RFC_ERRORS,
    **dict.fromkeys(("missing client", "unknown client", "wrong secret"), UNAUTHORIZED),
    **dict.fromkeys(("unknown code", "expired code", "used code", "foreign code"), _CODE),
    "wrong verifier": TokenError(403, "invalid_grant", "Failed to verify code verifier"),
    "dead refresh token": DEAD_REFRESH_TOKEN,
}

FLAVOUR = Flavour(
    name="Atlassian Cloud",
    endpoints=Endpoints(
        authorize="/authorize",
        token="/oauth/token",  # noqa: S106 - an address
        revoke="/oauth/revoke",
        metadata=("/.well-known/oauth-authorization-server",),
    ),
    scopes=ScopeRule(dict.fromkeys(SCOPES_3LO, ()), is_needed=True, offline=OFFLINE),
    kinds={"3LO": TokenRule(TokenShape(is_jwt=True, length=1_800), TokenShape(is_jwt=True, length=700))},
    redirects="exact",
    errors=_ERRORS,
    answer=AnswerRule(token_type="Bearer"),  # noqa: S106 - a word
    client_auth=("body", "basic"),
    bodies=("form", "json"),
    refresh_token_life_s=90 * DAY_S,
    grant_life_s=365 * DAY_S,
    leeway_s=600.0,
    shares_grant=True,
    authorize_needs={"audience": "api.atlassian.com", "prompt": "consent"},
    pkce_methods=("S256",),
    refuses_lone_verifier=True,
)
AUTH = make_pages("auth", "Atlassian authorization", "/login", FLAVOUR, make_site_error)
