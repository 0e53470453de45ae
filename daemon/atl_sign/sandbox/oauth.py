"""The signed ends of the dance: request token, access token, renewal; and the product's own consumer (facts 1.1, 1.4, 2)."""

from functools import cache
from html import escape
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from atl_sign.sandbox.access import check_signature, make_message
from atl_sign.sandbox.call import Call
from atl_sign.sandbox.keys import format_public_key
from atl_sign.sandbox.problems import OAuthProblemError
from atl_sign.sandbox.problems import escape as percent_encode
from atl_sign.sandbox.state import AccessToken, RequestToken
from atl_sign.sandbox.verify import OAuthMessage
from atl_sign.sandbox.wire import Answer, make_text


def issue_request_token(call: Call) -> Answer:
    """Begin a dance: answer a request token for the consumer that signed."""
    message = make_message(call)
    check_signature(call, message)
    (consumer_key,) = message.require("oauth_consumer_key")
    callback = message.get("oauth_callback")
    if callback is not None and not is_valid_callback(callback):
        raise OAuthProblemError(
            "parameter_rejected",
            oauth_parameters_rejected="oauth_callback",
            oauth_problem_advice="the callback must be oob or an absolute http or https address",
        )
    token = call.state.add_request_token(consumer_key, callback)
    fields = {"oauth_token": token.key, "oauth_token_secret": token.secret}
    if callback is not None:
        fields["oauth_callback_confirmed"] = "true"
    return _make_token_answer(fields)


def swap_token(call: Call) -> Answer:
    """Give an access token for an approved request token, or for an access token and its session handle."""
    message = make_message(call)
    (key,) = message.require("oauth_token")
    request_token, access_token = call.state.request_tokens.get(key), call.state.access_tokens.get(key)
    # The token is looked at before the signature: asking too early uses up no nonce.
    if request_token is not None:
        _check_request_token(call, message, request_token)
        check_signature(call, message)
        new_token = call.state.swap_request_token(request_token)
    elif access_token is not None:
        _check_renewal(call, message, access_token)
        check_signature(call, message)
        new_token = call.state.renew(access_token)
        call.state.renewals += 1
    else:
        call.state.spent_renewals += message.get("oauth_session_handle") is not None
        raise OAuthProblemError("token_rejected")
    now = call.state.clock()
    return _make_token_answer(
        {
            "oauth_token": new_token.key,
            "oauth_token_secret": new_token.secret,
            "oauth_expires_in": str(round(new_token.expires_at - now)),
            "oauth_session_handle": new_token.session_handle,
            "oauth_authorization_expires_in": str(round(new_token.session_expires_at - now)),
        }
    )


def show_consumer_info(call: Call) -> Answer:
    """Show the consumer that the product itself would be elsewhere, as XML, to anybody."""
    product = call.site.product
    fields = {
        "key": f"{product.title}:{call.site.base_url}",
        "name": product.title,
        "publicKey": _own_public_key(product.type_id),
        "description": f"{product.title} at {call.site.base_url}",
    }
    items = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return make_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<consumer>{items}</consumer>\n', media_type="application/xml")


def is_valid_callback(callback: str) -> bool:
    """Tell whether *callback* is "oob" or an absolute http or https address; every host is fine."""
    try:
        parts = urlsplit(callback)
    except ValueError:
        return False
    return callback == "oob" or (parts.scheme in ("http", "https") and bool(parts.hostname) and callback.isprintable())


def _check_request_token(call: Call, message: OAuthMessage, token: RequestToken) -> None:
    if token.expires_at <= call.state.clock():
        raise OAuthProblemError("token_expired")
    if token.decision is None:
        raise OAuthProblemError("permission_unknown")
    if token.decision == "denied":
        raise OAuthProblemError("permission_denied")
    if token.consumer_key != message.get("oauth_consumer_key"):
        raise OAuthProblemError("token_rejected")
    if token.callback is not None:
        (verifier,) = message.require("oauth_verifier")
        if verifier != token.verifier:
            raise OAuthProblemError("token_rejected")


def _check_renewal(call: Call, message: OAuthMessage, token: AccessToken) -> None:
    (handle,) = message.require("oauth_session_handle")
    if handle != token.session_handle or token.consumer_key != message.get("oauth_consumer_key"):
        raise OAuthProblemError("token_rejected")
    if token.session_expires_at <= call.state.clock():
        raise OAuthProblemError("permission_denied")


def _make_token_answer(fields: dict[str, str]) -> Answer:
    return make_text("&".join(f"{name}={percent_encode(value)}" for name, value in fields.items()))


@cache
def _own_public_key(type_id: str) -> str:
    """Make the product's own key when somebody first asks for it; it signs nothing."""
    del type_id  # one key for each
    return format_public_key(rsa.generate_private_key(public_exponent=65_537, key_size=2_048).public_key())
