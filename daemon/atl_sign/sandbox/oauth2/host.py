"""A host of pages and OAuth 2.0 endpoints, for providers that are not one of the four products."""

import sys
import traceback
from collections.abc import Callable, Sequence

from atl_sign.sandbox import people
from atl_sign.sandbox.access import take_session
from atl_sign.sandbox.call import Call, Product, RefusalError, Route, TokenKind, find_route, make_routes
from atl_sign.sandbox.oauth2.data_center import ProductOAuth2
from atl_sign.sandbox.oauth2.flavour import Flavour
from atl_sign.sandbox.oauth2.routes import make_oauth2_routes
from atl_sign.sandbox.wire import Answer, make_text


def make_pages(type_id: str, title: str, login_path: str, flavour: Flavour, make_error: Callable[[int, str], Answer]) -> Product:
    """Return the pages of a provider that has only a login and OAuth 2.0."""
    return Product(
        type_id=type_id,
        title=title,
        version="1.0",
        build_number="1",
        login_path=login_path,
        routes=(),
        make_data=lambda: None,
        make_error=make_error,
        tokens=TokenKind(since=(9,), page_path="", routes=()),  # so this version has none
        has_oauth=False,
        oauth2=ProductOAuth2((), flavour, ()),
    )


def make_host_routes(product: Product) -> tuple[Route, ...]:
    """Return the routes of *product*'s pages and of its OAuth 2.0 server."""
    own = make_routes(
        ("GET", "/", people.show_front_page),
        ("POST", "/logout", people.log_out),
        ("GET", product.login_path, people.show_login),
        ("POST", product.login_path, people.log_in),
    )
    return own + (make_oauth2_routes(product.oauth2.flavour.endpoints) if product.oauth2 is not None else ())


def answer_host(call: Call, routes: Sequence[Route], identify: Callable[[Call], Answer | None] | None = None) -> Answer:
    """
    Answer *call* by *routes*.

    Args:
        call: by anybody.
        routes: all that the host has.
        identify: sets the call's user, or returns a refusal; without it a session decides who calls, and nothing else.
    """
    try:
        refusal = identify(call) if identify is not None else None
        if identify is None:
            take_session(call)
        return refusal or find_route(call, routes).handler(call)
    except RefusalError as exc:
        return call.site.product.make_error(exc.status, exc.message).with_headers(*exc.headers)
    except Exception:  # the outermost handler: a fault of the sandbox must not look like an answer of the provider
        traceback.print_exc(file=sys.stderr)
        call.verdict = "sandbox fault"
        return make_text("The sandbox is at fault here; see its standard error.", 500)
