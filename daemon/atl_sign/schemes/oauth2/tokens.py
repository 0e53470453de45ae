"""The material of a grant of OAuth 2.0: its tokens, and what came with them."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from atl_sign.base.clock import from_seconds, to_seconds
from atl_sign.base.credentials import Credentials, Grant, Material, Secret
from atl_sign.schemes.fields import Fields, dump_known, load_known

RENEW_BEFORE = timedelta(seconds=60)
RENEW_AFTER = timedelta(minutes=30)  # when nobody says how long a token lives; few live for less than an hour

_NO_SITES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OAuth2Tokens:
    """An access token (RFC 6749 §1.4) and the refresh token beside it (§1.5)."""

    access: Secret
    refresh: Secret | None = None
    before: Secret | None = None  # the refresh token that `refresh` was given for
    scopes: tuple[str, ...] | None = None  # sorted; None when the provider did not say
    redirect_uri: str | None = None  # of the dance
    sites: Mapping[str, str] = field(default_factory=lambda: _NO_SITES)  # Atlassian Cloud: ids of sites by their addresses

    def is_same_as(self, other: Material) -> bool:
        """See `Material.is_same_as`."""
        ours = self.access.reveal().encode()
        return isinstance(other, OAuth2Tokens) and hmac.compare_digest(ours, other.access.reveal().encode())

    def may_renew(self, now: datetime) -> bool:  # noqa: ARG002 - a protocol's
        """Tell whether there is a refresh token: how long it lives, the provider knows."""
        return self.refresh is not None


def tokens_of(credentials: Credentials) -> OAuth2Tokens:
    """Return the tokens in *credentials*, which are of this scheme and have a grant."""
    material = credentials.grant.material if credentials.grant is not None else None
    assert isinstance(material, OAuth2Tokens)  # noqa: S101 - the store's items say of which scheme they are
    return material


def make_grant(tokens: OAuth2Tokens, lifetime_s: float | None, begun_at: datetime, user: str | None = None) -> Grant:
    """
    Return a grant that is renewed ahead of its end by a tenth of its life, and a minute at least (facts oauth2.md section 12).

    Args:
        tokens: the material.
        lifetime_s: of the access token; None when the provider did not say: then it is renewed every now and then, if it can be.
        begun_at: when the tokens were asked for (aware): their life began after that.
        user: who consented, if that is known.
    """
    if lifetime_s is None:
        return Grant(tokens, user=user, renew_at=None if tokens.refresh is None else begun_at + RENEW_AFTER)
    life = timedelta(seconds=lifetime_s)
    ahead = min(max(RENEW_BEFORE, life / 10), life / 2)  # a life of a minute is not renewed all the time
    return Grant(tokens, user=user, expires_at=begun_at + life, renew_at=begun_at + life - ahead, given_at=begun_at)


def dump_grant(grant: Grant) -> Fields:
    """Return everything in *grant*, its secrets as text, for the store."""
    tokens = tokens_of(Credentials(None, grant))
    return {
        "access_token": tokens.access.reveal(),
        "refresh_token": None if tokens.refresh is None else tokens.refresh.reveal(),
        "refresh_token_before": None if tokens.before is None else tokens.before.reveal(),
        "scopes": None if tokens.scopes is None else " ".join(tokens.scopes),
        "redirect_uri": tokens.redirect_uri,
        "sites": json.dumps(dict(tokens.sites)),
        "given_at": to_seconds(grant.given_at),
        **dump_known(grant),
    }


def load_grant(fields: Mapping[str, Any]) -> Grant:
    """Return what `dump_grant` gave *fields* for; raises as `Scheme.load`."""
    sites = json.loads(fields["sites"])
    if not isinstance(sites, dict):
        raise TypeError("sites is not an object")
    scopes, redirect_uri = fields["scopes"], fields["redirect_uri"]
    tokens = OAuth2Tokens(
        Secret(str(fields["access_token"])),
        _load_secret(fields["refresh_token"]),
        _load_secret(fields["refresh_token_before"]),
        None if scopes is None else tuple(str(scopes).split()),
        None if redirect_uri is None else str(redirect_uri),
        MappingProxyType({str(url): str(site) for url, site in sites.items()}),
    )
    return replace(load_known(tokens, fields), given_at=from_seconds(fields["given_at"]))


def _load_secret(value: object) -> Secret | None:
    return None if value is None else Secret(str(value))
