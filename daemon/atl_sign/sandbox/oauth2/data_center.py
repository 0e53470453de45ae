"""The OAuth 2.0 servers inside the Data Center products: since when, with which scopes, and what these are needed for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
from atl_sign.sandbox.oauth2.scopes import include

CONSENT_PATH = "/plugins/servlet/oauth2/consent"
SYSTEM_ADMIN = "SYSTEM_ADMIN"
_ENDPOINTS = Endpoints(
    authorize="/rest/oauth2/{version}/authorize",
    token="/rest/oauth2/{version}/token",  # noqa: S106 - an address
    consent=CONSENT_PATH,
    revoke="/rest/oauth2/{version}/revoke",
    metadata=("/rest/oauth2/{version}/.well-known/oauth-authorization-server",),
)
_FORM_ONLY = "The @FormParam is utilized when the content type of the request entity is not application/x-www-form-urlencoded"
_ERRORS: Mapping[str, TokenError] = {
    **RFC_ERRORS,
    "bad body": TokenError(500, "", fields={"errors": [_FORM_ONLY], "fieldErrors": {}}),
    "missing client": TokenError(400, "invalid_request", "client_id is missing."),
    "unknown client": TokenError(400, "invalid_client", "The client is not known."),
    "wrong secret": TokenError(400, "invalid_client", "The client is not authenticated."),
    "unknown code": TokenError(400, "invalid_request", "The code is not valid."),
    "expired code": TokenError(400, "invalid_request", "The code is not valid."),
    "unregistered redirect": TokenError(400, "invalid_client", "The redirect URI is not registered."),
}
_JWT = TokenShape(is_jwt=True, length=200)


@dataclass(frozen=True, slots=True)
class ScopeNeed:
    """A scope that some requests need."""

    methods: tuple[str, ...]  # empty: all
    path: re.Pattern[str]
    scope: str


@dataclass(frozen=True, slots=True, eq=False)
class ProductOAuth2:
    """The OAuth 2.0 server of a product."""

    since: tuple[int, ...]  # the first version that has it
    flavour: Flavour
    needs: tuple[ScopeNeed, ...]  # the first one that fits counts

    def find_missing_scope(self, method: str, path: str, scopes: tuple[str, ...]) -> str | None:
        """Return the scope that a request needs and *scopes* do not include, or None."""
        for need in self.needs:
            if (not need.methods or method in need.methods) and need.path.match(path):
                return None if need.scope in include(self.flavour.scopes, scopes) else need.scope
        return None


def _make_flavour(title: str, implied: Mapping[str, tuple[str, ...]], *, is_single: bool) -> Flavour:
    return Flavour(
        name=title,
        endpoints=_ENDPOINTS,
        scopes=ScopeRule(implied, is_single=is_single, is_needed=True),
        kinds={"external application": TokenRule(_JWT, _JWT)},
        redirects="exact",
        registration="https or localhost",
        errors=_ERRORS,
        answer=AnswerRule(),
        refresh_token_life_s=90 * DAY_S,
        code_life_s=10.0,
        rotation_ends_access=True,
        code_reuse_ends_grant=True,
        checks_grant_first=True,
        checks_before_login=True,
        checks_scope_first=True,
        malformed_redirect_status=412,
    )


def _need(scope: str, path: str = "/", *methods: str) -> ScopeNeed:
    return ScopeNeed(methods, re.compile(path), scope)


_READS = ("GET", "HEAD")
_JIRA_SCOPES = {"READ": (), "WRITE": ("READ",), "ADMIN": ("WRITE",), SYSTEM_ADMIN: ("ADMIN",)}
_JIRA_NEEDS = (
    _need("ADMIN", "/rest/applinks"),
    _need("READ", "/", *_READS),
    _need("WRITE"),
)
JIRA_OAUTH2 = ProductOAuth2((8, 22), _make_flavour("Jira", _JIRA_SCOPES, is_single=True), _JIRA_NEEDS)
CONFLUENCE_OAUTH2 = ProductOAuth2((7, 17), _make_flavour("Confluence", _JIRA_SCOPES, is_single=True), _JIRA_NEEDS)
BITBUCKET_OAUTH2 = ProductOAuth2(
    (7, 20),
    _make_flavour(
        "Bitbucket",
        {
            "PUBLIC_REPOS": (),
            "ACCOUNT_WRITE": (),
            "REPO_READ": ("PUBLIC_REPOS",),
            "REPO_WRITE": ("REPO_READ",),
            "REPO_ADMIN": ("REPO_WRITE",),
            "PROJECT_ADMIN": ("REPO_ADMIN",),
            "ADMIN_WRITE": ("PROJECT_ADMIN", "ACCOUNT_WRITE"),
            SYSTEM_ADMIN: ("ADMIN_WRITE",),
        },
        is_single=False,
    ),
    (
        _need("ADMIN_WRITE", "/rest/applinks"),
        _need("ACCOUNT_WRITE", "/rest/access-tokens/"),
        _need("REPO_WRITE", "/rest/api/", "POST", "PUT", "DELETE"),
    ),
)
BAMBOO_OAUTH2 = ProductOAuth2(
    (9, 1),
    _make_flavour("Bamboo", {"READ": (), "TRIGGER": ("READ",), "USER": ("TRIGGER",)}, is_single=False),
    (
        _need(SYSTEM_ADMIN, "/rest/applinks"),  # which no app can have there
        _need("READ", "/", *_READS),
        _need("TRIGGER", "/rest/api/[^/]+/queue/"),
        _need("USER"),
    ),
)
