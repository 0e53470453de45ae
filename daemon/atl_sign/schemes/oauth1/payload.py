"""An access token as the fields of a store's item, and back."""

from collections.abc import Mapping
from typing import Any

from atl_sign.base.clock import from_seconds, to_seconds
from atl_sign.base.credentials import AccessToken, Secret
from atl_sign.providers.products import is_user_name


def dump(grant: AccessToken) -> dict[str, str | int | None]:
    """Return everything in *grant*, its secrets as text."""
    return {
        "oauth_token": grant.key.reveal(),
        "oauth_token_secret": grant.secret.reveal(),
        "expires_at": to_seconds(grant.expires_at),
        "session_handle": grant.session_handle.reveal() if grant.session_handle else None,
        "session_expires_at": to_seconds(grant.session_expires_at),
        "user": grant.user,
        "renew_at": to_seconds(grant.renew_at),
        "is_in_doubt": grant.is_in_doubt,
    }


def load(fields: Mapping[str, Any]) -> AccessToken:
    """Return what `dump` gave *fields* for; raises KeyError, TypeError, ValueError, OverflowError or OSError for others."""
    handle, user = fields["session_handle"], fields["user"]
    return AccessToken(
        Secret(str(fields["oauth_token"])),
        Secret(str(fields["oauth_token_secret"])),
        expires_at=from_seconds(fields["expires_at"]),
        session_handle=None if handle is None else Secret(str(handle)),
        session_expires_at=from_seconds(fields["session_expires_at"]),
        user=user if isinstance(user, str) and is_user_name(user) else None,
        renew_at=from_seconds(fields.get("renew_at")),
        is_in_doubt=fields.get("is_in_doubt") is True,
    )
