"""The common parts of the products' calls for personal access tokens: one's own tokens, made from checked fields."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atl_sign.sandbox.call import Call, RefusalError, text_field
from atl_sign.sandbox.tokens import DAY_S, PersonalToken
from atl_sign.sandbox.wire import Answer


def own_tokens(call: Call) -> list[PersonalToken]:
    """Return the caller's tokens; raises RefusalError (401) when the call is anonymous."""
    return call.state.tokens.of_user(call.require_user().name)


def find_own_token(call: Call) -> PersonalToken:
    """Return the caller's token with the id of the address; raises RefusalError (401 or 404)."""
    for token in own_tokens(call):
        if token.id == call.groups["id"]:
            return token
    raise RefusalError(404, f"No access token exists with id {call.groups['id']}")


def create_token(call: Call, fields: Mapping[str, Any], days_field: str) -> PersonalToken:
    """
    Make a token of the caller.

    Args:
        call: by its owner.
        fields: `name`, `permissions` where the product's tokens have some, and *days_field*.
        days_field: holds the token's life in days; without it the token does not end.

    Raises:
        RefusalError: 401, 403 or 400.
    """
    user, now = call.require_user(), call.state.clock()
    if call.verdict == "signed" and call.state.tokens.refuses_signed:
        raise RefusalError(403, "An OAuth request cannot create access tokens.")
    if fields.get(days_field) is not None and not call.site.product.has_expiring_tokens:
        raise RefusalError(400, f"{days_field} is not a field of an access token.")
    days = _read_days(fields, days_field, call.state.tokens.days_max)
    if days is None and call.state.tokens.must_expire:
        raise RefusalError(400, f"{days_field} must be a number from 1 to {call.state.tokens.days_max}.")
    expires_at = now + days * DAY_S if days is not None else None
    name, permissions = text_field(fields, "name"), read_permissions(call, fields)
    return call.state.tokens.add(user.name, name, permissions, now, expires_at)


def delete_token(call: Call) -> Answer:
    """Delete one token."""
    call.state.tokens.remove(find_own_token(call))
    return Answer(204)


def read_permissions(call: Call, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the permissions that *fields* name; raises RefusalError (400) for none and for unknown ones."""
    known = call.site.product.tokens.permissions
    permissions = fields.get("permissions")
    if not known or (not permissions and not call.site.product.tokens.needs_permissions):
        return ()
    if (
        not isinstance(permissions, list)
        or not permissions
        or not all(isinstance(name, str) and name in known for name in permissions)
    ):
        raise RefusalError(400, f"permissions must name some of {', '.join(sorted(known))}.")
    return tuple(permissions)


def format_time(seconds: float | None) -> str | None:
    """Return *seconds* since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds is not None else None


def _read_days(fields: Mapping[str, Any], name: str, days_max: int) -> int | None:
    days = fields.get(name)
    if days is None:
        return None
    if type(days) is not int or not 0 < days <= days_max:
        raise RefusalError(400, f"{name} must be a number from 1 to {days_max}.")
    return days
