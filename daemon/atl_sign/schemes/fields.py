"""The fields of a grant that every scheme keeps, as the fields of a store's item, and back."""

from collections.abc import Mapping
from typing import Any

from atl_sign.base.clock import from_seconds, to_seconds
from atl_sign.base.credentials import Grant, Material
from atl_sign.providers.products import is_user_name

Fields = dict[str, str | int | None]


def dump_known(grant: Grant) -> Fields:
    """Return what is known of *grant* beside its material."""
    return {
        "user": grant.user,
        "expires_at": to_seconds(grant.expires_at),
        "renew_at": to_seconds(grant.renew_at),
        "is_in_doubt": grant.is_in_doubt,
    }


def load_known(material: Material, fields: Mapping[str, Any]) -> Grant:
    """Return the grant of *material* that `dump_known` gave *fields* for; raises as `Scheme.load`."""
    user = fields["user"]
    return Grant(
        material,
        user=user if isinstance(user, str) and is_user_name(user) else None,
        expires_at=from_seconds(fields["expires_at"]),
        renew_at=from_seconds(fields.get("renew_at")),
        is_in_doubt=fields.get("is_in_doubt") is True,
    )
