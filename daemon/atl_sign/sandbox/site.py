"""One product answering one request: who calls, the XSRF filter, the route, and what every answer gets."""

import sys
import traceback
from functools import cache
from urllib.parse import quote, unquote

from atl_sign.sandbox import access, applinks, consent, oauth, people, token_page
from atl_sign.sandbox.call import Call, PluginRefusalError, Product, RefusalError, Route, Site, find_route, make_routes
from atl_sign.sandbox.oauth2.routes import make_oauth2_routes
from atl_sign.sandbox.parameters import ServerThrowsError
from atl_sign.sandbox.problems import OAuthProblemError, make_challenge, make_problem_answer
from atl_sign.sandbox.wire import ANSWER_HEAD_BYTES_MAX, Answer, Request, head_bytes, make_json, make_text


def show_user_name(call: Call) -> Answer:
    """Answer the caller's name in plain text; nothing to nobody."""
    return make_text(call.user.name if call.user is not None else "")


_OAUTH_ROUTES = make_routes(
    ("POST", "/plugins/servlet/oauth/request-token", oauth.issue_request_token),
    ("POST", "/plugins/servlet/oauth/access-token", oauth.swap_token),
    ("GET", "/plugins/servlet/oauth/consumer-info", oauth.show_consumer_info),
    ("GET", "/plugins/servlet/oauth/authorize", consent.show_consent),
    ("POST", "/plugins/servlet/oauth/authorize", consent.decide),
    ("GET", "/plugins/servlet/oauth/users/access-tokens", consent.show_grants),
    ("POST", "/plugins/servlet/oauth/users/access-tokens", consent.revoke_grant),
    ("GET", "/plugins/servlet/applinks/whoami", show_user_name),
    ("GET", applinks.PAGE_PATH, applinks.show_links),
    ("POST", applinks.PAGE_PATH, applinks.change_links),
    ("GET", "/rest/applinks/{version}/manifest", applinks.show_manifest),
    ("GET", "/rest/applinks/{version}/applicationlink", applinks.list_links),
    ("PUT", "/rest/applinks/{version}/applicationlink", applinks.create_link),
    ("GET", "/rest/applinks/{version}/applicationlink/{id}", applinks.show_link),
    ("DELETE", "/rest/applinks/{version}/applicationlink/{id}", applinks.delete_link),
    ("PUT", "/rest/applinks-oauth/{version}/applicationlink/{id}/authentication/consumer", applinks.put_consumer),
)


@cache
def list_routes(product: Product) -> tuple[Route, ...]:
    """Return every route of *product*, as its version has them."""
    login, page = product.login_path, product.tokens.page_path
    own = make_routes(
        ("GET", "/", people.show_front_page),
        ("POST", "/logout", people.log_out),
        ("GET", login, people.show_login),
        ("POST", login, people.log_in),
    )
    if product.has_oauth:
        own += _OAUTH_ROUTES
    if product.has_tokens:
        own += make_routes(("GET", page, token_page.show_tokens), ("POST", page, token_page.change_tokens))
        own += product.tokens.routes
    if product.oauth2 is not None and product.has_oauth2:
        own += make_oauth2_routes(product.oauth2.flavour.endpoints)
    return own + product.routes


def answer(site: Site, request: Request) -> tuple[Answer, Call]:
    """Return *site*'s answer to *request*, whose path lies below its context path, and what was found out on the way."""
    raw_path = request.path[len(site.context_path) :] or b"/"
    call = Call(site, request, decode_path(raw_path))
    try:
        found = _dispatch(call)
    except OAuthProblemError as exc:
        call.verdict = exc.problem
        found = make_problem_answer(exc, site.base_url, site.refusals)
    except PluginRefusalError as exc:
        found = make_json({"status-code": exc.status, "message": exc.message}, exc.status)
    except RefusalError as exc:
        found = site.product.make_error(exc.status, exc.message).with_headers(*exc.headers)
    except access.LoginNeededError:
        found = people.send_to_login(call)
    return _finish(call, found), call


def _dispatch(call: Call) -> Answer:
    try:
        access.identify(call)
        refusal = access.refuse_xsrf(call)
        if refusal is not None:
            call.verdict = "xsrf"
            return refusal
        route = find_route(call, list_routes(call.site.product))
        access.check_scope(call)
        return route.handler(call)
    except ServerThrowsError as exc:
        call.verdict = "thrown"
        return make_text(f"Internal Server Error: {exc}", 500).with_headers(
            ("WWW-Authenticate", make_challenge(call.site.base_url))
        )
    except (OAuthProblemError, RefusalError, access.LoginNeededError):
        raise
    except Exception:  # the outermost handler: a fault of the sandbox must not look like an answer of the product
        traceback.print_exc(file=sys.stderr)
        call.verdict = "sandbox fault"
        return make_text("The sandbox is at fault here; see its standard error.", 500)


def _finish(call: Call, found: Answer) -> Answer:
    if found.status == 401 and call.site.product.has_oauth and not found.has_header("WWW-Authenticate"):
        found = found.with_headers(("WWW-Authenticate", make_challenge(call.site.base_url)))
    product = call.site.product
    name = call.user.name if call.user is not None else product.anonymous_name
    if product.tells_user and name is not None:
        found = found.with_headers(("X-AUSERNAME", quote(name)))
    # Tomcat gives up an answer whose head has no room, and sends an empty one: that is what comes of a long signature_invalid.
    return found if head_bytes(found) <= ANSWER_HEAD_BYTES_MAX else Answer(500)


def decode_path(raw_path: bytes) -> str:
    """Return the path as it is routed: escapes decoded, and ";…" of each segment dropped."""
    segments = (segment.partition(b";")[0] for segment in raw_path.split(b"/"))
    return unquote(b"/".join(segments).decode("utf-8", "replace"))
