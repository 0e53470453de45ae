"""The user's part: the consent page with Allow and Deny, and the way back to the app."""

from html import escape
from urllib.parse import urlencode

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth2.authorize import AuthorizationRequest, PageError, RedirectError, read_request
from atl_sign.sandbox.oauth2.redirects import add_parameters
from atl_sign.sandbox.oauth2.scopes import include
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.pages import make_button, make_form
from atl_sign.sandbox.parameters import Pairs
from atl_sign.sandbox.people import check_xsrf_token, frame, refuse_form, send_to_login, user_name, xsrf_fields
from atl_sign.sandbox.wire import Answer, make_redirect

_PARAMETERS = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "audience",
    "prompt",
)


def find_server(call: Call) -> OAuth2Server:
    """Return the OAuth 2.0 server that the call's site has."""
    server = call.site.oauth2
    assert server is not None  # noqa: S101 - only such sites have these routes
    return server


def show_authorize(call: Call) -> Answer:
    """Take the browser that an app has sent: check the request, and go on to the consent page where that is another one."""
    consent = find_server(call).flavour.endpoints.consent
    if consent is None:
        return show_consent(call)
    request = _read(call)
    return request if isinstance(request, Answer) else make_redirect(f"{call.local(consent)}?{urlencode(call.request.query)}")


def show_consent(call: Call) -> Answer:
    """Ask the user whether the app may act for him, after a login."""
    flavour = find_server(call).flavour
    request = _read(call) if call.session is not None or flavour.checks_before_login else None
    if isinstance(request, Answer):
        return request
    if request is None or call.session is None or call.user is None:
        return send_to_login(call)
    grant = find_server(call).find_grant(request.app, call.user.name) if flavour.remembers_consent else None
    if grant is not None and set(request.scopes) <= include(flavour.scopes, grant.scopes):
        return _lead_back_with_code(call, request, call.user.name)
    return _consent_page(call, request)


def decide(call: Call) -> Answer:
    """Take Allow or Deny, and lead the browser back to the app."""
    if call.session is None or call.user is None:
        return send_to_login(call)
    if not check_xsrf_token(call):
        return refuse_form(call)
    request = _read(call)
    if isinstance(request, Answer):
        return request
    if call.request.parameter("approve") is not None:
        return _lead_back_with_code(call, request, call.user.name)
    call.verdict = "denied"
    fields = (("error", "access_denied"), ("error_description", find_server(call).flavour.denied_description))
    return _lead_back(call, request.redirect_uri, fields, request.state)


def show_decided(call: Call, title: str, text: str) -> Answer:
    """Return a page that ends the user's part."""
    return frame(call).make(title, f"<p>{escape(text)}</p>", user=user_name(call))


def describe_scopes(scopes: tuple[str, ...]) -> str:
    """Return HTML that lists *scopes*."""
    items = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
    return f"<ul>{items}</ul>" if items else "<p>It asks for no scope.</p>"


def _consent_page(call: Call, request: AuthorizationRequest) -> Answer:
    who = escape(user_name(call) or "")
    content = (
        f"<p><strong>{escape(request.app.name)}</strong> asks for access to {escape(call.site.product.title)} "
        f"as you, <strong>{who}</strong>:</p>{describe_scopes(request.scopes)}"
        f"<p>Client ID: <code>{escape(request.app.client_id)}</code><br>"
        f"Afterwards your browser opens <code>{escape(request.redirect_uri)}</code>.</p>"
    )
    sent = {name: call.request.parameter(name) for name in _PARAMETERS}
    hidden = {name: value for name, value in sent.items() if value is not None}
    buttons = make_button("Allow", "approve", is_main=True, has_focus=True) + make_button("Deny", "deny")
    endpoints = find_server(call).flavour.endpoints
    form = make_form(call.local(endpoints.consent or endpoints.authorize), "", buttons, {**hidden, **xsrf_fields(call)})
    return frame(call).make(f"Allow {request.app.name}?", content + form, user=user_name(call))


def _read(call: Call) -> AuthorizationRequest | Answer:
    """Return the call's request, or the answer that refuses it."""
    try:
        return read_request(find_server(call), call.request.parameter)
    except PageError as exc:
        call.verdict = exc.case
        content = f"<p>{escape(exc.message)}</p><p>Go back to the application that sent you here.</p>"
        return frame(call).make("This request cannot be allowed", content, user=user_name(call), status=exc.status)
    except RedirectError as exc:
        call.verdict = exc.error
        fields = (("error", exc.error), ("error_description", exc.description))
        return _lead_back(call, exc.redirect_uri, fields, exc.state)


def _lead_back_with_code(call: Call, request: AuthorizationRequest, user: str) -> Answer:
    server = find_server(call)
    grant = server.consent(request.app, user, request.scopes)
    code = server.add_code(grant, request.scopes, request.given_redirect_uri, request.challenge, request.method)
    call.verdict = "approved"
    return _lead_back(call, request.redirect_uri, (("code", code.value),), request.state)


def _lead_back(call: Call, redirect_uri: str, fields: Pairs, state: str | None) -> Answer:
    server = find_server(call)
    faults = server.faults
    if faults.is_silent:
        return show_decided(call, "Something went wrong", "This page does not lead back to the application.")
    if state is not None and not faults.omits_state:
        fields += (("state", state),)
        if faults.doubles_state:
            fields += (("state", f"{state}2"),)
    iss = faults.iss if faults.iss is not None else call.site.base_url if server.flavour.sends_iss else None
    if iss is not None:
        fields += (("iss", iss),)
    return make_redirect(add_parameters(redirect_uri, fields + faults.extra))
