"""Bitbucket's HTTP access tokens, made for oneself by a signed PUT (facts section 9)."""

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from atl_sign.sandbox.call import Call, RefusalError, cut_page, text_field
from atl_sign.sandbox.wire import Answer, make_json

PERMISSIONS = frozenset({"PROJECT_ADMIN", "PROJECT_READ", "PROJECT_WRITE", "REPO_ADMIN", "REPO_READ", "REPO_WRITE"})
EXPIRY_DAYS_MAX = 365  # an administrator's setting
_DAY_S = 86_400


@dataclass(slots=True)
class HttpAccessToken:
    """One token of one user."""

    id: str
    user: str
    name: str
    permissions: tuple[str, ...]
    secret: str = field(repr=False)
    created_at: float
    expires_at: float | None


class TokenStore:
    """Every user's tokens."""

    def __init__(self) -> None:
        """Begin with none."""
        self.days_max = EXPIRY_DAYS_MAX
        self._tokens: dict[str, HttpAccessToken] = {}
        self._last_id = 100_000

    def add(self, user: str, name: str, permissions: tuple[str, ...], now: float, expires_at: float | None) -> HttpAccessToken:
        """Make a token."""
        self._last_id += 1
        secret = f"BBDC-{secrets.token_urlsafe(33)}"
        token = HttpAccessToken(str(self._last_id), user, name, permissions, secret, now, expires_at)
        self._tokens[token.id] = token
        return token

    def of_user(self, user: str) -> list[HttpAccessToken]:
        """Return the tokens of *user*."""
        return [token for token in self._tokens.values() if token.user == user]

    def remove(self, token: HttpAccessToken) -> None:
        """Forget *token*."""
        del self._tokens[token.id]

    def find_user(self, secret: str, now: float) -> str | None:
        """Return the user whose living token *secret* is, or None."""
        token = self.find(secret, now)
        return None if token is None else token.user

    def find(self, secret: str, now: float) -> HttpAccessToken | None:
        """Return the living token that *secret* is, or None."""
        for token in self._tokens.values():
            is_alive = token.expires_at is None or now < token.expires_at
            if is_alive and hmac.compare_digest(token.secret.encode(), secret.encode()):
                return token
        return None


def list_tokens(call: Call) -> Answer:
    """Answer the user's tokens, without their secrets."""
    start, limit = call.read_page("start", "limit")
    tokens = _store(call).of_user(_own_slug(call))
    values = [_describe(call, token) for token in cut_page(tokens, start, limit)]
    return make_json(
        {"size": len(values), "limit": limit, "isLastPage": start + limit >= len(tokens), "values": values, "start": start}
    )


def create_token(call: Call) -> Answer:
    """Make a token; its secret is shown this once. A token cannot make tokens."""
    slug = _own_slug(call)
    if call.verdict == "bearer":
        raise RefusalError(403, "An access token cannot create access tokens.")
    fields = call.read_json()
    now, days = call.state.clock(), _read_days(fields, _store(call).days_max)
    token = _store(call).add(
        slug, text_field(fields, "name"), _read_permissions(fields), now, now + days * _DAY_S if days is not None else None
    )
    return make_json({**_describe(call, token), "token": token.secret})


def show_token(call: Call) -> Answer:
    """Answer one token, without its secret."""
    return make_json(_describe(call, _find_token(call)))


def change_token(call: Call) -> Answer:
    """Give a token another name or other permissions."""
    token = _find_token(call)
    fields = call.read_json()
    name = text_field({"name": token.name, **fields}, "name")
    permissions = _read_permissions({"permissions": list(token.permissions), **fields})
    token.name, token.permissions = name, permissions
    return make_json(_describe(call, token))


def delete_token(call: Call) -> Answer:
    """Delete one token."""
    _store(call).remove(_find_token(call))
    return Answer(204)


def make_slug(user: str) -> str:
    """Return the name of *user* as Bitbucket has it in addresses."""
    return re.sub(r"[^a-z0-9._-]", "_", user.lower())


def _store(call: Call) -> TokenStore:
    return cast(TokenStore, call.site.data.tokens)


def _own_slug(call: Call) -> str:
    user = call.require_user()
    if call.groups["slug"].lower() != make_slug(user.name):
        raise RefusalError(403, "You are not permitted to manage the access tokens of another user.")
    return user.name


def _find_token(call: Call) -> HttpAccessToken:
    for token in _store(call).of_user(_own_slug(call)):
        if token.id == call.groups["id"]:
            return token
    raise RefusalError(404, f"No access token exists with id {call.groups['id']}")


def _read_permissions(fields: Mapping[str, Any]) -> tuple[str, ...]:
    permissions = fields.get("permissions")
    if (
        not isinstance(permissions, list)
        or not permissions
        or not all(isinstance(name, str) and name in PERMISSIONS for name in permissions)
    ):
        raise RefusalError(400, f"permissions must name some of {', '.join(sorted(PERMISSIONS))}.")
    return tuple(permissions)


def _read_days(fields: Mapping[str, Any], days_max: int) -> int | None:
    days = fields.get("expiryDays")
    if days is None:
        return None
    if type(days) is not int or not 0 < days <= days_max:
        raise RefusalError(400, f"expiryDays must be a number from 1 to {days_max}.")
    return days


def _describe(call: Call, token: HttpAccessToken) -> dict[str, Any]:
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
