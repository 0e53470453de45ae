"""The revocation endpoint (RFC 7009)."""

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth2.answers import format_refusal
from atl_sign.sandbox.oauth2.client_request import ClientRefusalError, authenticate, read_client_request
from atl_sign.sandbox.oauth2.pages import find_server
from atl_sign.sandbox.wire import Answer, make_json


def answer_revoke(call: Call) -> Answer:
    """Let a token of the calling app die; an unknown one is fine, and so is another app's, which lives on."""
    server = find_server(call)
    try:
        request = read_client_request(server.flavour, call.request)
        app = authenticate(server, request)
        value = request.require("token")
    except ClientRefusalError as exc:
        call.verdict = exc.case
        return format_refusal(server, exc.case, call.request)
    access, refresh = server.find_access(value), server.refresh_tokens.get(value)
    token = access or refresh
    call.verdict = "unknown token"
    if token is not None and token.grant.app is app:
        server.end_token(value)
        call.verdict = "revoked"
    return make_json({})
