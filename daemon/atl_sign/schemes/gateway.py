"""A link's second host: where REST calls go whose token is not good at the link's own address (facts oauth2.md section 3.1)."""

from dataclasses import replace

from atl_sign.base.urls import Url
from atl_sign.config.links import Link, parse_base_url
from atl_sign.config.setting import Setting, Text
from atl_sign.providers.cloud import check_gateway_path

GATEWAY = Setting(
    "gateway",
    Text(r"https?://[^/?#@\s]+", "is not of the form https://host"),
    option="--gateway URL",
    help="the host of REST calls at Atlassian Cloud: for scoped tokens (default: https://api.atlassian.com), or Bitbucket's",
    asked="Atlassian Cloud's gateway for scoped tokens, or Bitbucket Cloud's REST host; Atlassian's own when left out",
    docs="Atlassian Cloud's gateway, `https://host`, where scoped API tokens are valid; for Bitbucket Cloud the host of its REST "
    "interface. `https://api.atlassian.com` and `https://api.bitbucket.org` by default",
)


def send_by_gateway(link: Link, base_url: str | None, url: Url) -> Url:
    """
    Return where a request for *url* is to be sent; raises BadUrlError for what the gateway does not have.

    Args:
        link: whose request it is.
        base_url: the address at the gateway in place of the link's base URL; None when the grant is good there.
        url: below the link's base URL, or already at the gateway.
    """
    if base_url is None or url.origin != link.url.origin:
        return url
    base = parse_base_url(base_url)
    check_gateway_path(link, base, url)
    return replace(base, path=base.path + url.path[len(link.url.path) :], query=url.query)
