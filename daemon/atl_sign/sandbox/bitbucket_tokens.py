"""Bitbucket's HTTP access tokens: made for oneself with a password or a signed PUT (facts section 9)."""

import re
from typing import Any

from atl_sign.sandbox.call import Call, RefusalError, TokenKind, cut_page, make_routes, text_field
from atl_sign.sandbox.token_calls import create_token, find_own_token, own_tokens, read_permissions
from atl_sign.sandbox.token_calls import delete_token as delete_own_token
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.sandbox.wire import Answer, make_json


def list_tokens(call: Call) -> Answer:
    """Answer the user's tokens, without their secrets."""
    start, limit = call.read_page("start", "limit")
    _check_slug(call)
    tokens = own_tokens(call)
    values = [_describe(call, token) for token in cut_page(tokens, start, limit)]
    return make_json(
        {"size": len(values), "limit": limit, "isLastPage": start + limit >= len(tokens), "values": values, "start": start}
    )


def create(call: Call) -> Answer:
    """Make a token; its secret is shown this once. A token cannot make tokens."""
    _check_slug(call)
    if call.token is not None:
        raise RefusalError(403, "An access token cannot create access tokens.")
    token = create_token(call, call.read_json(), "expiryDays")
    return make_json({**_describe(call, token), "token": token.secret})


def show_token(call: Call) -> Answer:
    """Answer one token, without its secret."""
    _check_slug(call)
    return make_json(_describe(call, find_own_token(call)))


def change_token(call: Call) -> Answer:
    """Give a token another name or other permissions; its end cannot be changed."""
    _check_slug(call)
    token = find_own_token(call)
    fields = call.read_json()
    name = text_field({"name": token.name, **fields}, "name")
    permissions = read_permissions(call, {"permissions": list(token.permissions), **fields})
    token.name, token.permissions = name, permissions
    return make_json(_describe(call, token))


def delete_token(call: Call) -> Answer:
    """Delete one token."""
    _check_slug(call)
    return delete_own_token(call)


def make_slug(user: str) -> str:
    """Return the name of *user* as Bitbucket has it in addresses."""
    return re.sub(r"[^a-z0-9._-]", "_", user.lower())


def _check_slug(call: Call) -> None:
    if call.groups["slug"].lower() != make_slug(call.require_user().name):
        raise RefusalError(403, "You are not permitted to manage the access tokens of another user.")


def _describe(call: Call, token: PersonalToken) -> dict[str, Any]:
    user = call.state.users[token.user]
    fields: dict[str, Any] = {
        "id": token.id,
        "createdDate": round(token.created_at * 1_000),
        "name": token.name,
        "permissions": list(token.permissions),
        "user": {"name": user.name, "displayName": user.full_name, "slug": make_slug(user.name), "type": "NORMAL"},
    }
    if token.expires_at is not None:
        fields["expiryDate"] = round(token.expires_at * 1_000)
    return fields


BITBUCKET_TOKENS = TokenKind(
    title="HTTP access tokens",
    since=(5, 5),
    page_path="/plugins/servlet/access-tokens/manage",
    routes=make_routes(
        ("GET", "/rest/access-tokens/{version}/users/{slug}", list_tokens),
        ("PUT", "/rest/access-tokens/{version}/users/{slug}", create),
        ("GET", "/rest/access-tokens/{version}/users/{slug}/{id}", show_token),
        ("POST", "/rest/access-tokens/{version}/users/{slug}/{id}", change_token),
        ("DELETE", "/rest/access-tokens/{version}/users/{slug}/{id}", delete_token),
    ),
    permissions=("REPO_READ", "REPO_WRITE", "REPO_ADMIN", "PROJECT_READ", "PROJECT_WRITE", "PROJECT_ADMIN"),
    prefix="BBDC-",
    is_password=True,
    is_ignored_when_wrong=False,
    confined_since=((8, 9, 22), (8, 19, 12), (9, 3, 2)),
)
