"""Personal access tokens of Jira and Confluence, the same calls in both (facts section 9, and oauth2 section 7)."""

from typing import Any

from atl_sign.sandbox.call import Call, TokenKind, make_routes
from atl_sign.sandbox.token_calls import create_token, delete_token, format_time, own_tokens
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.sandbox.wire import Answer, make_json


def list_pats(call: Call) -> Answer:
    """Answer the user's tokens, without their secrets."""
    return make_json([_describe(token) for token in own_tokens(call)])


def create_pat(call: Call) -> Answer:
    """Make a token; its secret is shown this once. A token may make tokens."""
    token = create_token(call, call.read_json(), "expirationDuration")
    return make_json({**_describe(token), "rawToken": token.secret}, 201)


def make_pat_kind(since: tuple[int, ...], page_path: str) -> TokenKind:
    """Return the tokens of a product that has them from *since* on, with their page at *page_path*."""
    return TokenKind(
        since=since,
        page_path=page_path,
        routes=make_routes(
            ("GET", "/rest/pat/{version}/tokens", list_pats),
            ("POST", "/rest/pat/{version}/tokens", create_pat),
            ("DELETE", "/rest/pat/{version}/tokens/{id}", delete_token),
        ),
    )


def _describe(token: PersonalToken) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": int(token.id), "name": token.name, "createdAt": format_time(token.created_at)}
    if token.used_at is not None:
        fields["lastAccessedAt"] = format_time(token.used_at)
    return {**fields, "expiringAt": format_time(token.expires_at)}
