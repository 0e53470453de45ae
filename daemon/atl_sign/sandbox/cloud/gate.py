"""Callers at Atlassian Cloud: an e-mail address and an API token, and what each host refuses (facts oauth2 sections 3, 5, 6)."""

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from atl_sign.sandbox.call import Call, RefusalError, Route, make_routes
from atl_sign.sandbox.state import User
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.sandbox.wire import Answer, make_json


def make_scoped_routes(*rows: tuple[str, str, Callable[[Call], Answer], tuple[str, ...]]) -> tuple[Route, ...]:
    """Return routes from rows of method, path, handler, and the scopes of which a scoped token needs one."""
    made = zip(make_routes(*(row[:3] for row in rows)), rows, strict=True)
    return tuple(Route(route.method, route.path, route.pattern, route.handler, row[3]) for route, row in made)


def read_basic(call: Call) -> tuple[str, str] | None:
    """Return the user name and password of the request; None when it has another scheme or cannot be read."""
    scheme, _, credentials = (call.request.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return None
    return name, password


def find_caller(call: Call, is_name: Callable[[str, User], bool]) -> PersonalToken | None:
    """
    Return the living token that the request brings as its password, and note in the call why when there is none.

    Args:
        call: its verdict becomes "bearer refused", "wrong token", "expired token" or "wrong user" in that case.
        is_name: tells whether a name in the request stands for the token's user.
    """
    if call.request.header("authorization") is None:
        return None
    basic = read_basic(call)
    if basic is None:
        call.verdict = "bearer refused"
        return None
    name, secret = basic
    now = call.state.clock()
    token = call.state.tokens.find(secret, now)
    user = call.state.find_user(token.user) if token is not None else None
    if token is None or user is None:
        call.verdict = "expired token" if call.state.tokens.is_expired(secret, now) else "wrong token"
        return None
    if not is_name(name, user):
        call.verdict = "wrong user"
        return None
    return token


def accept(call: Call, token: PersonalToken) -> None:
    """Let the call be that of *token*'s user."""
    call.user, call.token, call.verdict = call.state.find_user(token.user), token, "basic token"


def is_email(name: str, user: User) -> bool:
    """Tell whether *name* is the user's e-mail address, in any case."""
    return name.lower() == user.email.lower()


def has_scope(call: Call, route: Route) -> bool:
    """Tell whether the call's token may use *route*: it is a classic one, or has one of the scopes."""
    if call.grant is not None:
        return bool(set(route.scopes).intersection(call.grant.scopes))
    token = call.token
    return token is None or not token.permissions or bool(set(route.scopes).intersection(token.permissions))


def account_id(call: Call, user: User) -> str:
    """Return the Atlassian account id of *user*."""
    number = list(call.state.users).index(user.name) + 1
    return f"712020:00000000-0000-4000-8000-{number:012d}"


def require_user(call: Call) -> User:
    """Return the user; raises RefusalError (401) with the words of a Cloud site when the call is anonymous."""
    if call.user is None:
        raise RefusalError(401, "Client must be authenticated to access this resource.")
    return call.user


def make_unauthorized(message: str = "Unauthorized") -> Answer:
    """Return the gateway's 401."""
    return make_json({"code": 401, "message": message}, 401)


def make_site_error(status: int, message: str) -> Answer:
    """Return a site's refusal in Jira's shape; of a 401 the one of the login."""
    if status == 401:
        return make_json({"message": message, "status-code": 401}, 401)
    fields: dict[str, Any] = {"errorMessages": [message], "errors": {}}
    return make_json(fields, status)
