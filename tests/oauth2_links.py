"""Links of OAuth 2.0 for tests of a module, which need no daemon."""

from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.links import Link
from atl_sign.schemes.registry import SCHEME_SETTINGS


def make_link(flavour: str = "generic", name: str = "app", url: str = "https://app.example.com", **settings: object) -> Link:
    """Return a link as its settings in the file make it."""
    return link_from_fields(name, {"url": url, "scheme": "oauth2", "flavour": flavour, **settings}, SCHEME_SETTINGS)
