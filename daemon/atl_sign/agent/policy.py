"""`POST /policy/check`: whether rules would allow a request; nothing is signed or sent, and no secret is needed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atl_sign.access.caller import Caller
from atl_sign.access.policy import check_method, check_request
from atl_sign.agent.lookup import Lookup
from atl_sign.agent.sign import Asked
from atl_sign.base.errors import UnknownLinkError
from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.config.links import Link

if TYPE_CHECKING:  # with the first request that has rules
    from atl_sign.access.decision import Ruling


class PolicyChecks:
    """Compares requests with rules."""

    def __init__(self, lookup: Lookup) -> None:
        """Find links by *lookup*."""
        self._lookup = lookup

    def show_decision(self, caller: Caller, asked: Asked, allow: Iterable[str], deny: Iterable[str]) -> tuple[Link, "Ruling"]:
        """
        Return the link of a request, and whether the rules *allow* and *deny* allow it.

        Raises:
            BadRuleError: one of the rules cannot be read.
            BadRequestError, BadUrlError: the request could not be signed.
            PathAmbiguousError: two servers could read its address differently.
            UnknownLinkError, AmbiguousLinkError, ConfigBrokenError: no link, or no single one.
            StoreLockedError, StoreUnavailableError: the address may be a gateway's, which is known by a link's token.
        """
        from atl_sign.access.decision import Rules, decide
        from atl_sign.access.presets.loading import parse_rules
        from atl_sign.access.readings import read_request, split_path

        del caller
        rules = Rules(parse_rules(allow), parse_rules(deny))
        check_method(asked.method)
        url = parse_url(asked.url)
        split_path(url.path)  # before a link is chosen, which a dot segment might lead out of
        try:
            found = self._lookup.choose(url, asked.link)
        except UnknownLinkError:
            found = self._lookup.choose_by_gateway(url, asked.link)
        check_request(Request(asked.method, url, asked.form))
        return found.link, decide(rules, asked.method, read_request(url, found.base_path, asked.form))
