"""GitHub and GitHub Enterprise: OAuth apps and GitHub Apps (facts oauth2 section 8)."""

from collections.abc import Mapping
from dataclasses import replace

from atl_sign.sandbox.forge.github_api import API_ROUTES, REVOKE_ROUTES, finish, identify, make_error
from atl_sign.sandbox.forge.kind import ForgeKind, GitRule
from atl_sign.sandbox.oauth2.flavour import (
    DAY_S,
    RFC_ERRORS,
    AnswerRule,
    DeviceRule,
    Endpoints,
    Flavour,
    ScopeRule,
    TokenError,
    TokenRule,
    TokenShape,
)
from atl_sign.sandbox.oauth2.host import make_pages

_HELP = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#"
_SCOPES: Mapping[str, tuple[str, ...]] = {
    "repo": ("repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"),
    "repo:status": (),
    "repo_deployment": (),
    "public_repo": (),
    "repo:invite": (),
    "security_events": (),
    "workflow": (),
    "gist": (),
    "notifications": (),
    "user": ("read:user", "user:email", "user:follow"),
    "read:user": (),
    "user:email": (),
    "user:follow": (),
    "admin:org": ("write:org",),
    "write:org": ("read:org",),
    "read:org": (),
    "admin:public_key": ("write:public_key",),
    "write:public_key": ("read:public_key",),
    "read:public_key": (),
    "admin:repo_hook": ("write:repo_hook",),
    "write:repo_hook": ("read:repo_hook",),
    "read:repo_hook": (),
    "project": ("read:project",),
    "read:project": (),
    "delete_repo": (),
}


def _error(name: str, description: str) -> TokenError:
    """Errors come with HTTP 200."""
    return TokenError(200, name, description, _HELP + name.replace("_", "-"))


_CLIENT = _error("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
_CODE = _error("bad_verification_code", "The code passed is incorrect or expired.")
_REDIRECT = _error("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application.")
_ERRORS: Mapping[str, TokenError] = {
    **RFC_ERRORS,
    **dict.fromkeys(("missing client", "unknown client", "wrong secret"), _CLIENT),
    **dict.fromkeys(
        ("unknown code", "expired code", "used code", "foreign code", "wrong verifier", "bad body", "missing parameter"), _CODE
    ),
    **dict.fromkeys(("wrong redirect", "unregistered redirect"), _REDIRECT),
    "unsupported grant type": _error("unsupported_grant_type", "The grant_type is not supported."),
    "dead refresh token": _error("bad_refresh_token", "The refresh token passed is incorrect or expired."),
    "authorization pending": _error("authorization_pending", "The authorization request is still pending."),
    "slow down": _error("slow_down", "Too many requests have been made in the same timeframe."),
    "expired device code": _error("expired_token", "The device_code has expired."),
    "denied device code": _error("access_denied", "The authorization request was denied."),
    "unknown device code": _error("incorrect_device_code", "The device_code provided is not valid."),
    "device flow disabled": _error("device_flow_disabled", "Device Flow must be explicitly enabled for this App"),
}

_GITHUB = Flavour(
    name="GitHub",
    endpoints=Endpoints(
        authorize="/login/oauth/authorize",
        token="/login/oauth/access_token",  # noqa: S106 - an address
        device="/login/device/code",
        device_page="/login/device",
    ),
    scopes=ScopeRule(_SCOPES, separators=" ,", default="none", ignores_unknown=True, normalizes=True),
    kinds={
        "oauth": TokenRule(TokenShape("gho_"), None, expires=False),
        "github-app": TokenRule(
            TokenShape("ghu_"), TokenShape("ghr_", length=80), has_scopes=False, redirects="any loopback port"
        ),
    },
    redirects="below",
    errors=_ERRORS,
    answer=AnswerRule(scope_separator=",", is_form=True, extra=("refresh_token_expires_in",)),
    bodies=("form", "query"),
    usual_grant_type="authorization_code",
    access_token_life_s=28_800.0,
    refresh_token_life_s=15_897_600.0,
    unused_life_s=365 * DAY_S,
    rotation_ends_access=True,
    shares_grant=True,
    remembers_consent=True,
    redirect_is_optional=True,
    wrong_redirect_goes_back=True,
    denied_description="The user has denied your application access.",
    pkce_methods=("S256",),
    device=DeviceRule(has_complete_uri=False, tells_interval=True),
    device_needs_no_secret=True,
    tokens_max=10,
)
_ENTERPRISE = replace(_GITHUB, name="GitHub Enterprise", pkce_methods=())
_GIT = GitRule('Basic realm="GitHub"', ("repo",), ("repo", "public_repo"), 404)

GITHUB = ForgeKind(
    make_pages("github", "GitHub", "/session", _GITHUB, make_error),
    _GITHUB,
    API_ROUTES + REVOKE_ROUTES,
    identify,
    finish,
    has_api_host=True,
    git=_GIT,
)
GITHUB_ENTERPRISE = ForgeKind(
    make_pages("github-enterprise", "GitHub Enterprise", "/session", _ENTERPRISE, make_error),
    _ENTERPRISE,
    API_ROUTES,
    identify,
    finish,
    api_path="/api/v3",
    strips_api_path=True,
    git=_GIT,
)
