"""Bamboo's personal access tokens, by a REST call of its own (facts section 9)."""

from typing import Any

from atl_sign.sandbox.call import Call, RefusalError, TokenKind, cut_page, make_routes
from atl_sign.sandbox.token_calls import create_token, own_tokens
from atl_sign.sandbox.tokens import DAY_S, PersonalToken
from atl_sign.sandbox.wire import Answer, make_json


def list_tokens(call: Call) -> Answer:
    """Answer a page of the user's tokens, without their secrets."""
    start, limit = call.read_page("start", "limit")
    tokens = own_tokens(call)
    values = [_describe(token) for token in cut_page(tokens, start, limit)]
    is_last = start + limit >= len(tokens)
    return make_json({"size": len(values), "start": start, "limit": limit, "isLastPage": is_last, "values": values})


def create(call: Call) -> Answer:
    """Make a token; its secret is shown this once."""
    fields = {"permissions": ["READ"], **call.read_json()}
    if any(token.name == fields.get("name") for token in own_tokens(call)):
        raise RefusalError(400, f"An access token with the name {fields.get('name')} already exists.")
    token = create_token(call, fields, "daysUntilExpiry")
    return make_json({**_describe(token), "rawToken": token.secret})


def revoke(call: Call) -> Answer:
    """Delete one token; 400 for one that the user does not have."""
    for token in own_tokens(call):
        if token.id == call.groups["id"]:
            call.state.tokens.remove(token)
            return Answer(204)
    raise RefusalError(400, f"You have no access token with the id {call.groups['id']}.")


def _describe(token: PersonalToken) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": token.id,
        "name": token.name,
        "permissions": list(token.permissions),
        "creationDate": round(token.created_at * 1_000),
    }
    if token.expires_at is not None:
        fields["daysUntilExpiry"] = round((token.expires_at - token.created_at) / DAY_S)  # since its creation
    return fields


BAMBOO_TOKENS = TokenKind(
    since=(6, 10),
    page_path="/profile/userAccessTokens.action",
    routes=make_routes(
        ("GET", "/rest/api/{version}/access-token", list_tokens),
        ("POST", "/rest/api/{version}/access-token", create),
        ("DELETE", "/rest/api/{version}/access-token/{id}", revoke),
    ),
    permissions=("READ", "TRIGGER", "USER"),
    can_expire_since=(9, 4),
)
