"""The token endpoint: codes, refresh tokens and device codes against tokens (RFC 6749 §4.1.3, §6; RFC 8628 §3.4)."""

from collections.abc import Callable, Mapping

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth2.answers import format_issued, format_refusal, make_fault
from atl_sign.sandbox.oauth2.client_request import ClientRefusalError, ClientRequest, authenticate, read_client_request
from atl_sign.sandbox.oauth2.device import exchange_device_code
from atl_sign.sandbox.oauth2.pages import find_server
from atl_sign.sandbox.oauth2.pkce import is_right_verifier
from atl_sign.sandbox.oauth2.records import Code, Issued
from atl_sign.sandbox.oauth2.redirects import is_match
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.wire import Answer


def answer_token(call: Call) -> Answer:
    """Answer the token endpoint, or misbehave."""
    server = find_server(call)
    fault = server.faults.take()
    if fault is not None and fault != "lost answer":
        call.verdict = f"fault: {fault}"
        return _delay(server, make_fault(server, fault))
    found = _answer(call, server)
    return _delay(server, Answer(found.status, is_lost=True) if fault == "lost answer" else found)


def _answer(call: Call, server: OAuth2Server) -> Answer:
    try:
        request = read_client_request(server.flavour, call.request)
        grant_type = request.fields.get("grant_type") or server.flavour.usual_grant_type or request.require("grant_type")
        grant = _GRANTS.get(grant_type)
        if grant is None or (grant is exchange_device_code and server.flavour.device is None):
            raise ClientRefusalError("unsupported grant type")
        issued = grant(server, request)
    except ClientRefusalError as exc:
        call.verdict = exc.case
        return format_refusal(server, exc.case, call.request, **exc.fields)
    call.verdict = {"authorization_code": "code exchanged", "refresh_token": "refreshed"}.get(grant_type, "device approved")
    call.user = call.state.find_user(issued.access.grant.user)
    return format_issued(server, issued, call.request)


def _exchange_code(server: OAuth2Server, request: ClientRequest) -> Issued:
    flavour = server.flavour
    if not flavour.checks_grant_first or request.client_id is None:
        authenticate(server, request)
    code = server.codes.get(request.require("code"))
    if code is None:
        raise ClientRefusalError("unknown code")
    _check_code(server, request, code)
    app = authenticate(server, request)
    if code.redirect_uri is not None and not any(
        is_match(server.redirect_rule(app), uri, code.redirect_uri) for uri in app.redirect_uris
    ):
        raise ClientRefusalError("unregistered redirect")
    code.is_used = True
    return server.issue(code.grant, code.scopes, redirect_uri=code.redirect_uri)


def _check_code(server: OAuth2Server, request: ClientRequest, code: Code) -> None:
    """Return if the request may use *code*; a used one may take down everything that came of it."""
    if code.grant.app.client_id != request.client_id:
        raise ClientRefusalError("foreign code")
    if code.is_used:
        if server.flavour.code_reuse_ends_grant:
            code.grant.has_ended = True
        raise ClientRefusalError("used code")
    if code.expires_at <= server.clock():
        raise ClientRefusalError("expired code")
    if code.grant.has_ended:
        raise ClientRefusalError("unknown code")
    if (
        request.fields.get("redirect_uri", code.redirect_uri if server.flavour.redirect_is_optional else None)
        != code.redirect_uri
    ):
        raise ClientRefusalError("wrong redirect")
    verifier = request.fields.get("code_verifier")
    if code.challenge is not None:
        if not is_right_verifier(code.challenge, code.method, verifier or ""):
            raise ClientRefusalError("wrong verifier")
    elif verifier is not None and server.flavour.refuses_lone_verifier:
        raise ClientRefusalError("wrong verifier")


def _refresh(server: OAuth2Server, request: ClientRequest) -> Issued:
    flavour = server.flavour
    token = server.refresh_tokens.get(request.require("refresh_token"))
    is_secret_optional = token is not None and token.is_from_device and flavour.device_needs_no_secret
    if not flavour.checks_grant_first or request.client_id is None:
        authenticate(server, request, is_secret_optional=is_secret_optional)
    if token is None or token.grant.app.client_id != request.client_id:
        raise ClientRefusalError("dead refresh token")
    if not server.can_refresh(token):
        if token.spent_at is not None:
            server.spent_refreshes += 1
            token.grant.has_ended = token.grant.has_ended or flavour.reuse_ends_grant
        raise ClientRefusalError("dead refresh token")
    if flavour.refresh_needs_redirect and token.redirect_uri not in (None, request.fields.get("redirect_uri")):
        raise ClientRefusalError("wrong redirect")
    authenticate(server, request, is_secret_optional=is_secret_optional)
    return server.refresh(token)


def _delay(server: OAuth2Server, found: Answer) -> Answer:
    return Answer(found.status, found.body, found.headers, server.faults.delay_s, found.is_lost)


_GRANTS: Mapping[str, Callable[[OAuth2Server, ClientRequest], Issued]] = {
    "authorization_code": _exchange_code,
    "refresh_token": _refresh,
    "urn:ietf:params:oauth:grant-type:device_code": exchange_device_code,
}
