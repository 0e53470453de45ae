"""Tokens of a link that now has another address, consumer or user: they are forgotten, for they were not given for that."""

from contextlib import suppress

from atl_sign.agent.git_tokens import GitTokens
from atl_sign.base.errors import DaemonError
from atl_sign.config.file import ConfigFile
from atl_sign.config.links import Link
from atl_sign.custody.items import owner_of, place_of
from atl_sign.grants.dances import Dances
from atl_sign.grants.live import Grants


class Forgetting:
    """Takes out of the safe what a changed or removed link may not keep."""

    def __init__(self, config: ConfigFile, grants: Grants, dances: Dances, git_tokens: GitTokens) -> None:
        """Forget in the safe of *grants*; the arguments are as `LinkBook` has them."""
        self._config = config
        self._grants = grants
        self._dances = dances
        self._git_tokens = git_tokens

    def forget_other(self, before: Link, link: Link) -> list[str]:
        """Forget what belongs to another address, consumer or user than that of *link*, and return what to warn of."""
        warnings: list[str] = []
        is_elsewhere = before.url != link.url or owner_of(before) != owner_of(link) or place_of(before) != place_of(link)
        if is_elsewhere or self._is_another_users(link):
            self._dances.cancel_all(link.name)
            try:
                _, left = self._git_tokens.revoke(before)
                if left:
                    warnings.append(f"at the old address a token for git is still good, revoke it there: {', '.join(left)}")
                if is_elsewhere:
                    self.forget_grant(before)
                else:
                    self._grants.safe.forget_token(link)
            except DaemonError as exc:  # harmless: the safe gives the old grant to no other address
                warnings.append(f"the token of the old address is still in the store: {exc.message}")
        return warnings

    def forget_grant(self, link: Link) -> None:
        """Forget the grant of *link*, and its app's secret, unless another link shares them; raises as the store does."""
        place = place_of(link)
        if not any(each.name != link.name and place_of(each) == place for each in self._config.settings().links.links):
            self._grants.safe.forget_token(link)
            if self._grants.scheme(link).needs_app:
                self._grants.safe.forget_app(link)

    def _is_another_users(self, link: Link) -> bool:
        """Tell whether the grant of *link* was not given by the account that the link is for."""
        account, grant = link.own.get("account"), None
        if account is not None:
            with suppress(DaemonError):
                grant = self._grants.safe.token(link)
        return grant is not None and (grant.user or "").casefold() != account.casefold()
