"""A provider that needs not be asked what it is, since the link's flavour says so."""

from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import Product, json_user
from atl_sign.schemes.oauth2.server import address, flavour_of
from atl_sign.schemes.oauth2.settings import GENERIC


def describe(link: Link) -> Manifest | None:
    """Return what the provider of *link* is; None for Atlassian's products, which say it themselves."""
    flavour = flavour_of(link)
    if flavour is None:
        who = link.own.get("who_url")
        field = link.own.get("who_field") or "sub"
        product = Product(GENERIC, "OAuth 2.0", "", who or "", lambda text: json_user(text, field), "")
        return Manifest(GENERIC, "", str(link.url), own_product=product)
    if flavour.who is None or flavour.shares_grant:
        return None
    if flavour.translates:  # Bitbucket Cloud, whose product is known
        return Manifest(flavour.name, "Cloud", str(link.url), api=parse_base_url(address(link, "{api}")))
    product = Product(
        flavour.name,
        flavour.title,
        "",
        address(link, flavour.who),
        lambda text: json_user(text, flavour.who_field),
        "",
        has_git=True,
    )
    return Manifest(flavour.name, "", str(link.url), own_product=product)
