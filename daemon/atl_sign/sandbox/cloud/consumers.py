"""OAuth consumers of Bitbucket Cloud, on its old and its new back end (facts oauth2 section 4)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from atl_sign.sandbox.call import Product
from atl_sign.sandbox.cloud.bitbucket_access import make_error
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

BackEnd = Literal["old", "new"]
LOGIN_PATH = "/account/signin/"
_IMPLIED: Mapping[str, tuple[str, ...]] = {
    "account": ("email",),
    "account:write": ("account",),
    "email": (),
    "repository": (),
    "repository:write": ("repository",),
    "repository:admin": (),
    "repository:delete": (),
    "pullrequest": ("repository",),
    "pullrequest:write": ("pullrequest", "repository:write"),
    "issue": (),
    "issue:write": ("issue",),
    "wiki": (),
    "snippet": (),
    "snippet:write": ("snippet",),
    "webhook": (),
    "pipeline": (),
    "pipeline:write": ("pipeline",),
    "pipeline:variable": ("pipeline:write",),
    "runner": (),
    "runner:write": ("runner",),
    "project": (),
    "project:admin": ("project",),
}
_CLIENT = TokenError(400, "unauthorized_client", "Requests must be authenticated using OAuth client credentials")
_NO_GRANT_TYPE = TokenError(400, "invalid_grant", "Unsupported grant type: None")
_CODE = TokenError(400, "invalid_grant", "The specified code is not valid.")
_ERRORS: Mapping[str, TokenError] = {
    **RFC_ERRORS,
    **dict.fromkeys(("missing client", "unknown client", "wrong secret"), _CLIENT),
    **dict.fromkeys(("bad body", "missing parameter", "unsupported grant type"), _NO_GRANT_TYPE),
    **dict.fromkeys(("unknown code", "expired code", "used code", "foreign code"), _CODE),
    "dead refresh token": TokenError(400, "invalid_grant", "Invalid refresh_token"),
}

_NEW = Flavour(
    name="Bitbucket Cloud",
    endpoints=Endpoints(authorize="/site/oauth2/authorize", token="/site/oauth2/access_token"),  # noqa: S106 - an address
    scopes=ScopeRule(_IMPLIED),
    kinds={"consumer": TokenRule(TokenShape(is_jwt=True, length=2_600), TokenShape(is_jwt=True, length=2_600))},
    redirects="prefix",
    errors=_ERRORS,
    answer=AnswerRule(extra=("state",)),
    client_auth=("basic", "body"),
    access_token_life_s=7_200.0,
    refresh_token_life_s=90 * DAY_S,
    leeway_s=600.0,
    redirect_is_optional=True,
    pkce_methods=(),
)
_OLD = replace(
    _NEW,
    kinds={"consumer": TokenRule(TokenShape(length=84), TokenShape(length=18))},
    errors={**_ERRORS, "dead refresh token": TokenError(400, "invalid_request", "Invalid refresh_token")},
    answer=AnswerRule(scope_field="scopes", extra=("state",)),
    refresh_token_life_s=None,
    leeway_s=0.0,
    rotates=False,
)
_FLAVOURS: Mapping[BackEnd, Flavour] = {"old": _OLD, "new": _NEW}


def make_bitbucket_pages(back_end: BackEnd) -> Product:
    """Return the pages of bitbucket.org with the OAuth 2.0 server of *back_end*; raises ValueError for another word."""
    if back_end not in _FLAVOURS:
        raise ValueError("back ends of Bitbucket Cloud are old and new")
    return make_pages("bitbucket", "Bitbucket Cloud", LOGIN_PATH, _FLAVOURS[back_end], make_error)
