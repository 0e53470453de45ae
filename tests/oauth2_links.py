"""Links of OAuth 2.0 for tests of a module, which need no daemon."""

from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.links import Link
from atl_sign.schemes.registry import SCHEME_SETTINGS


def make_link(flavour: str = "generic", name: str = "app", /, **settings: object) -> Link:
    """Return a link as its settings in the file make it."""
    fields = {"url": "https://app.example.com", "scheme": "oauth2", "flavour": flavour, **settings}
    return link_from_fields(name, fields, SCHEME_SETTINGS)
