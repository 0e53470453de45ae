"""The redirect address of a link on this machine: where the listener is, and what is registered at the provider."""

from atl_sign.config.links import Link
from atl_sign.schemes.base import RedirectPlace
from atl_sign.schemes.oauth2.server import address, flavour_of

REDIRECT_PORT_DEFAULT = 47_813


def find_redirect_place(link: Link) -> RedirectPlace:
    """Return where the browser is sent: each server has its own path, so that none can hand us another one's code (RFC 9700)."""
    flavour, port = flavour_of(link), link.own.get("redirect_port")
    host = "127.0.0.1" if flavour is None else flavour.redirect_host
    if port is None:
        port = 0 if flavour is not None and flavour.redirects == "any_port" else REDIRECT_PORT_DEFAULT
    if flavour is not None:
        there = address(link, "{server}")
    else:
        there = link.own.get("issuer") or link.own.get("authorize_url") or str(link.url)
    return RedirectPlace(host, port, f"/callback/{there.partition('://')[2].partition('/')[0].replace(':', '-')}")


def registered_redirect(link: Link) -> str:
    """Return the redirect address that is registered for *link*; where any port will do, the default one stands for all."""
    place = find_redirect_place(link)
    return f"http://{place.host}:{place.port or REDIRECT_PORT_DEFAULT}{place.path}"
