"""The tokens of OAuth 1.0a as values: what a request token and an access token hold (RFC 5849 §1.1)."""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from atl_sign.base.credentials import Credentials, Material, Secret

RENEW_BEFORE = timedelta(days=7)  # its end, or a tenth of its life when that is less


@dataclass(frozen=True, slots=True)
class RequestToken:
    """Temporary credentials (RFC 5849 §2.1): one dance that the user has not decided yet."""

    key: Secret
    secret: Secret


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Token credentials (RFC 5849 §2.3): the material of one user's grant on one application link."""

    key: Secret  # goes out as oauth_token
    secret: Secret  # takes no part in an RSA-SHA1 signature; kept because the provider issued it
    session_handle: Secret | None = None  # lets the daemon renew the token; a new one comes with each renewal
    session_expires_at: datetime | None = None  # aware, UTC; the end of the right to renew

    def is_same_as(self, other: Material) -> bool:
        """See `Material.is_same_as`."""
        return isinstance(other, AccessToken) and hmac.compare_digest(self.key.reveal().encode(), other.key.reveal().encode())

    def may_renew(self, now: datetime) -> bool:
        """Tell whether the provider would give another token for this one and its session handle at *now* (aware)."""
        return self.session_handle is not None and (self.session_expires_at is None or now < self.session_expires_at)


def access_token_of(credentials: Credentials) -> AccessToken | None:
    """Return the access token in *credentials*, which are of this scheme; None without a grant."""
    material = None if credentials.grant is None else credentials.grant.material
    assert material is None or isinstance(material, AccessToken)  # noqa: S101 - the store's items say of which scheme they are
    return material
