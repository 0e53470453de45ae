"""The endpoints at the addresses of a flavour."""

from atl_sign.sandbox.call import Route, make_routes
from atl_sign.sandbox.oauth2 import device, metadata, pages, revoke, tokens
from atl_sign.sandbox.oauth2.flavour import Endpoints


def make_oauth2_routes(endpoints: Endpoints) -> tuple[Route, ...]:
    """Return the routes of a server with *endpoints*."""
    consent = endpoints.consent or endpoints.authorize
    routes = make_routes(
        ("GET", endpoints.authorize, pages.show_authorize),
        ("POST", consent, pages.decide),
        ("POST", endpoints.token, tokens.answer_token),
        *(("GET", path, metadata.show_metadata) for path in endpoints.metadata),
    )
    if endpoints.consent is not None:
        routes += make_routes(("GET", endpoints.consent, pages.show_consent))
    if endpoints.revoke is not None:
        routes += make_routes(("POST", endpoints.revoke, revoke.answer_revoke))
    if endpoints.device is not None and endpoints.device_page is not None:
        routes += make_routes(
            ("POST", endpoints.device, device.answer_device),
            ("GET", endpoints.device_page, device.show_device),
            ("POST", endpoints.device_page, device.decide_device),
        )
    return routes
