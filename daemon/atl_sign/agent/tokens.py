"""Tokens that are replaced before they end."""

from dataclasses import dataclass
from datetime import datetime

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.lookup import Lookup
from atl_sign.base.credentials import Credentials, Grant
from atl_sign.base.errors import BadRequestError, DaemonError, DanceNeededError, ProviderRefusedError
from atl_sign.config.links import Link
from atl_sign.grants.live import Grants
from atl_sign.providers.personal_tokens import PersonalTokens, tokens_of, tokens_page
from atl_sign.providers.products import find_product


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of a rotation."""

    link: Link
    user: str | None
    expires_at: datetime | None  # aware, UTC
    left: str | None  # why the old token may still be good at the product; None when it is not
    page: str  # where the user revokes it


class Tokens:
    """Rotates tokens."""

    def __init__(self, lookup: Lookup, grants: Grants, records: Records) -> None:
        """Replace the tokens in the vault of *grants*."""
        self._lookup = lookup
        self._grants = grants
        self._records = records

    def rotate(self, caller: Caller, name: str, days: int) -> Rotation:
        """
        Replace the token of the link called *name* by one that the product makes for it, good for *days*.

        The new one is made, stored and proved, in this order, and only then the old one is removed: a crash at any moment leaves
        a good token in the store. What it leaves at the product goes with the next rotation.

        Raises:
            BadRequestError: the link's scheme is not bearer.
            ProviderRefusedError: the product makes no token for a token.
            DanceNeededError: there is no token, or another one came meanwhile.
            DaemonError: as the store and the provider do; the old token is in the store then.
        """
        with self._records.entry("rotate", caller, name):
            link = self._lookup.get(name)
            if link.scheme != "bearer":
                raise BadRequestError(
                    f"a token of the scheme {link.scheme} cannot be rotated", f"atl-sign dance {name}", link=name
                )
            old = self._grants.load(link).grant
            assert old is not None  # noqa: S101 - `load` gives one
            tokens = self._find_tokens(link)
            return self._replace(link, tokens, old, days)

    def _replace(self, link: Link, tokens: PersonalTokens, old: Grant, days: int) -> Rotation:
        from atl_sign.schemes.rotation import discard, make_successor

        live = self._grants.of(link)
        new = make_successor(link, tokens, live.open_session(Credentials(None, old)).send, old, days)
        now = self._grants.vault.token(link)
        if now is None or not now.is_same_as(old):
            raise DanceNeededError("the token was replaced or forgotten meanwhile", f"atl-sign check {link.name}", link=link.name)
        live.keep(new)
        session = live.open_session(Credentials(None, new))
        try:
            answer = session.send("GET", self._who_am_i(link), None)
        except DaemonError:
            live.keep(old)
            raise
        if answer.status != 200:
            live.keep(old)
            raise ProviderRefusedError(
                f"the product does not accept the token that it made (status {answer.status})", f"atl-sign check {link.name}",
                link=link.name,
            )  # fmt: skip
        left = discard(link, tokens, session.send, new, old)
        return Rotation(link, new.user, new.expires_at, left, tokens_page(link, tokens))

    def _find_tokens(self, link: Link) -> PersonalTokens:
        tokens = tokens_of(self._grants.manifests.fetch(link))
        if tokens is None:
            raise ProviderRefusedError(
                "this product has no personal access tokens", f"atl-sign check {link.name}", link=link.name
            )
        return tokens

    def _who_am_i(self, link: Link) -> str:
        product = find_product(self._grants.manifests.fetch(link).type_id)
        assert product is not None  # noqa: S101 - it has tokens
        return product.who_am_i
