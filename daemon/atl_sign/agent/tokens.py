"""Tokens that the product makes for the daemon: by a signed request, or in place of one that ends."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.lookup import Lookup
from atl_sign.base.credentials import Credentials, Grant
from atl_sign.base.errors import BadRequestError, DaemonError, DanceNeededError, ProviderRefusedError
from atl_sign.config.links import Link
from atl_sign.grants.live import Grants
from atl_sign.providers.personal_tokens import PersonalTokens, tokens_of, tokens_page
from atl_sign.providers.products import Product
from atl_sign.schemes.static import StaticToken


@dataclass(frozen=True, slots=True)
class Rotation:
    """The token that is used from now on."""

    link: Link
    user: str | None
    expires_at: datetime | None  # aware, UTC
    left: str | None  # why the old token may still be good at the product; None when it is not
    page: str  # where the user revokes it


class Tokens:
    """Gets and rotates tokens."""

    def __init__(self, lookup: Lookup, grants: Grants, records: Records) -> None:
        """Replace the tokens in the safe of *grants*."""
        self._lookup = lookup
        self._grants = grants
        self._records = records

    def rotate(self, caller: Caller, name: str, days: int) -> Rotation:
        """
        Replace the token of the link called *name* by one that the product makes for it, good for *days*.

        The new one is made, stored and proved, in this order, and only then the old one is removed: a crash at any moment leaves
        a good token in the store. A token that it leaves at the product goes with the next rotation.

        Raises:
            BadRequestError: the link's scheme has no such tokens.
            ProviderRefusedError: the product makes no token for a token.
            DanceNeededError: there is no token, or another one came meanwhile.
            DaemonError: as the store and the provider do; the old token is in the store then.
        """
        with self._records.entry("rotate", caller, name):
            link = self._lookup.get(name)
            if not self._grants.scheme(link).can_rotate:
                raise BadRequestError(
                    f"a token of the scheme {link.scheme} cannot be rotated", f"atl-sign dance {name}", link=name
                )
            old = self._grants.load(link).grant
            assert old is not None  # noqa: S101 - `load` gives one
            tokens = self._find_tokens(link)
            return self._replace(link, tokens, old, days)

    def make(self, caller: Caller, name: str, source: str, days: int) -> Rotation:
        """
        Get a token for the link called *name* by requests that are signed for the link *source*; nobody pastes anything.

        Raises:
            BadRequestError: *name* is not of a scheme with such tokens, *source* has a pasted token itself, or their URLs differ.
            DaemonError: as `rotate`.
        """
        with self._records.entry("dance", caller, name):
            link, other = self._lookup.get(name), self._lookup.get(source)
            can_ask = not self._grants.scheme(other).is_pasted
            if not self._grants.scheme(link).can_rotate or not can_ask or link.url != other.url:
                words = f"{source} cannot get a token for it: that takes a link of oauth1, for one of bearer, at the same URL"
                raise BadRequestError(words, f"atl-sign link show {source}", link=name)
            tokens, old = self._find_tokens(link), self._grants.safe.token(link)
            return self._adopt(link, tokens, self._make_signed(link, other, tokens, days), old)

    def _make_signed(self, link: Link, other: Link, tokens: PersonalTokens, days: int) -> Grant:
        from atl_sign.providers.bitbucket_tokens import HttpTokens
        from atl_sign.providers.who_am_i import learn_user
        from atl_sign.schemes.rotation import make_token, name_prefix

        send = self._grants.of(other).open_session().send
        user = learn_user(send, self._product(other))
        if user is None:
            raise ProviderRefusedError("the provider does not say who this is", f"atl-sign check {other.name}", link=other.name)
        if tokens.make is not None:
            return make_token(link, tokens, send, days, user)
        name = f"{name_prefix(link)}{secrets.token_hex(4)}"
        made = HttpTokens(other, send, user).make(name, link.git_permission, days)
        life = timedelta(days=days) if made.life_s is None else timedelta(seconds=made.life_s)
        return Grant(StaticToken(made.secret, None, made.id, name), user=user, expires_at=self._grants.clocks.now_utc() + life)

    def _replace(self, link: Link, tokens: PersonalTokens, old: Grant, days: int) -> Rotation:
        from atl_sign.schemes.rotation import make_token

        send = self._grants.of(link).open_session(Credentials(None, old)).send
        return self._adopt(link, tokens, make_token(link, tokens, send, days, old.user), old)

    def _adopt(self, link: Link, tokens: PersonalTokens, new: Grant, old: Grant | None) -> Rotation:
        """Store *new*, prove it, and only then remove *old*, which stays when the proof fails."""
        from atl_sign.providers.who_am_i import read_user
        from atl_sign.schemes.rotation import discard

        live, now = self._grants.of(link), self._grants.safe.token(link)
        if (now is None) != (old is None) or (now is not None and old is not None and not now.is_same_as(old)):
            raise DanceNeededError("the token was replaced or forgotten meanwhile", f"atl-sign check {link.name}", link=link.name)
        live.keep(new)
        session = live.open_session(Credentials(None, new))
        try:
            if read_user(self._product(link), session.send("GET", self._product(link).who_am_i)) is None:
                words = "the product does not accept the token that it made"
                raise ProviderRefusedError(words, f"atl-sign check {link.name}", link=link.name)
        except DaemonError:
            if old is not None:
                live.keep(old)
            else:
                self._grants.safe.forget_token(link)
            raise
        left = None if old is None else discard(link, tokens, session.send, new, old)
        return Rotation(link, new.user, new.expires_at, left, tokens_page(link, tokens))

    def _find_tokens(self, link: Link) -> PersonalTokens:
        tokens = tokens_of(self._grants.manifests.fetch(link))
        if tokens is None:
            raise ProviderRefusedError(
                "this product has no personal access tokens", f"atl-sign check {link.name}", link=link.name
            )
        return tokens

    def _product(self, link: Link) -> Product:
        product = self._grants.manifests.find_product(link)
        if product is None:
            raise ProviderRefusedError("the product does not say what it is", f"atl-sign doctor {link.name}", link=link.name)
        return product
