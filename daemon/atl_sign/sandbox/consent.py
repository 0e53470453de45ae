"""The user's part of the dance: the page with Allow and Deny, the code to copy, and the list of grants (facts 1.4, 5)."""

from datetime import UTC, datetime
from html import escape

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth import is_valid_callback
from atl_sign.sandbox.pages import make_button, make_card, make_copy, make_form, make_link, make_status
from atl_sign.sandbox.people import check_xsrf_token, frame, refuse_form, send_to_login, user_name, xsrf_fields
from atl_sign.sandbox.problems import OAuthProblemError
from atl_sign.sandbox.problems import escape as percent_encode
from atl_sign.sandbox.state import AccessToken, RequestToken, make_random
from atl_sign.sandbox.wire import Answer, make_redirect

_WORDS = {
    "token_rejected": "This request token is unknown.",
    "token_used": "This request has already been allowed or denied.",
    "token_expired": "This request has expired.",
}
_GRANTS_PATH = "/plugins/servlet/oauth/users/access-tokens"
_GO_BACK = "Go back to the application that asked, for example in your terminal."
_UNDECIDED = "<p>The form was sent without a decision. Go back to the page before and press Allow or Deny.</p>"


def show_consent(call: Call) -> Answer:
    """Ask the user whether the consumer may act for him."""
    if call.session is None:
        return send_to_login(call)
    try:
        token = _find_open_token(call)
    except OAuthProblemError as exc:
        return _problem_page(call, exc)
    consumer = call.state.find_consumer(token.consumer_key)
    assert consumer is not None  # noqa: S101 - a consumer's request tokens die with it
    product = call.site.product.title
    who = escape(user_name(call) or "")
    content = (
        f"<p><strong>{escape(consumer.name)}</strong> asks for access to {product} as you, <strong>{who}</strong>. "
        "If you allow it, it can read and change everything in this product that you can.</p>"
        f"<p>Consumer key: <code>{escape(consumer.key)}</code><br>Afterwards {_describe_way_back(token)}.</p>"
    )
    hidden = {"oauth_token": token.key, **xsrf_fields(call)}
    if token.callback is None and call.request.parameter("oauth_callback") is not None:
        hidden["oauth_callback"] = call.request.parameter("oauth_callback") or ""
    buttons = make_button("Allow", "approve", is_main=True, has_focus=True) + make_button("Deny", "deny")
    form = make_form(call.local("/plugins/servlet/oauth/authorize"), "", buttons, hidden)
    return frame(call).make(f"Allow {consumer.name}?", content + form, user=user_name(call))


def decide(call: Call) -> Answer:
    """Take Allow or Deny, and lead the user back."""
    if call.session is None or call.user is None:
        return send_to_login(call)
    if not check_xsrf_token(call):
        return refuse_form(call)
    try:
        token = _find_open_token(call)
    except OAuthProblemError as exc:
        return _problem_page(call, exc)
    is_approved = call.request.parameter("approve") is not None
    if not is_approved and call.request.parameter("deny") is None:
        return frame(call).make("Neither Allow nor Deny", _UNDECIDED, user=call.user.name, status=400)
    token.decision = "approved" if is_approved else "denied"
    token.user = call.user.name
    token.verifier = make_random(6) if is_approved else ""
    return _lead_back(call, token)


def show_grants(call: Call) -> Answer:
    """Show the user's access tokens."""
    return _grants_page(call, "") if call.session is not None else send_to_login(call)


def revoke_grant(call: Call) -> Answer:
    """Delete one of the user's access tokens; an unknown one is fine."""
    if call.session is None or call.user is None:
        login = make_link(call.local(call.site.product.login_path), "Log in", is_main=True)
        return frame(call).make("Log in first", f"<p>Only a logged-in user can revoke a token.</p>{login}", status=401)
    if not check_xsrf_token(call):
        return refuse_form(call)
    if call.site.oauth2 is not None and call.request.parameter("grant") is not None:
        for grant in call.site.oauth2.grants:
            if (grant.id, grant.user) == (call.request.parameter("grant"), call.user.name):
                grant.has_ended = True
        return _grants_page(call, "The access was revoked.")
    key = call.request.parameter("token")
    if not key:
        content = f"<p>The form does not name a token. {_revoke_there(call)}</p>"
        return frame(call).make("No token", content, user=call.user.name, status=400)
    token = call.state.access_tokens.get(key)
    if token is not None and token.user != call.user.name:
        content = f"<p>Only its owner can revoke a token. {_revoke_there(call)}</p>"
        return frame(call).make("Not your token", content, user=call.user.name, status=401)
    call.state.access_tokens.pop(key, None)
    return _grants_page(call, "The access was revoked.")


def _revoke_there(call: Call) -> str:
    return f"Open {make_link(call.local(_GRANTS_PATH), 'your access tokens')} and press Revoke there."


def _find_open_token(call: Call) -> RequestToken:
    token = call.state.request_tokens.get(call.request.parameter("oauth_token") or "")
    if token is None:
        raise OAuthProblemError("token_rejected")
    if token.decision is not None:
        raise OAuthProblemError("token_used")
    if token.expires_at <= call.state.clock():
        raise OAuthProblemError("token_expired")
    return token


def _lead_back(call: Call, token: RequestToken) -> Answer:
    consumer = call.state.find_consumer(token.consumer_key)
    fixed = consumer.callback if consumer is not None else None
    given = token.callback or call.request.parameter("oauth_callback")
    callback = given if given not in (None, "oob") else fixed
    if callback is not None and is_valid_callback(callback):
        fields = {"oauth_token": token.key}
        if token.callback is not None or token.decision == "denied":
            fields["oauth_verifier"] = token.verifier if token.decision == "approved" else "denied"
        query = "&".join(f"{name}={percent_encode(value)}" for name, value in fields.items())
        return make_redirect(f"{callback}{'&' if '?' in callback else '?'}{query}")
    if token.decision == "denied":
        return frame(call).make("Access denied", f"<p>You denied access. {_GO_BACK}</p>", user=token.user)
    if token.callback is None:
        return frame(call).make("Access allowed", f"<p>You allowed access. {_GO_BACK}</p>", user=token.user)
    content = (
        f"<p>You allowed access. {_GO_BACK}</p>"
        f"{make_copy('The application asks for this code:', 'oauth_verifier', token.verifier)}"
    )
    return frame(call).make("Access allowed", content, user=token.user)


def _describe_way_back(token: RequestToken) -> str:
    if token.callback == "oob":
        return "this page shows a code to copy"
    return f"your browser opens <code>{escape(token.callback)}</code>" if token.callback else "you go back yourself"


def _problem_page(call: Call, error: OAuthProblemError) -> Answer:
    call.verdict = error.problem
    content = (
        f"<p>{_WORDS[error.problem]} Start again in the application that sent you here.</p>"
        f"<p>oauth_problem: <code>{error.problem}</code></p>"
        f"{make_copy('If that was atl-sign, list your links in your terminal:', 'command', 'atl-sign status')}"
    )
    return frame(call).make("This request cannot be allowed", content, user=user_name(call), status=error.status)


def _grants_page(call: Call, done: str) -> Answer:
    grants = [token for token in call.state.access_tokens.values() if call.user is not None and token.user == call.user.name]
    cards = "".join(_grant_card(call, token) for token in grants) + _oauth2_cards(call)
    content = f"{make_status(done)}<p>These applications can act as you here.</p>{cards or '<p>There are none.</p>'}"
    return frame(call).make("OAuth access tokens", content, user=user_name(call))


def _grant_card(call: Call, token: AccessToken) -> str:
    consumer = call.state.find_consumer(token.consumer_key)
    name = consumer.name if consumer is not None else token.consumer_key
    dates = f"allowed {_date(token.created_at)}, ends {_date(token.expires_at)}"
    form = make_form(call.local(_GRANTS_PATH), "", make_button("Revoke"), {"token": token.key, **xsrf_fields(call)})
    return make_card(name, (f"consumer key {token.consumer_key}", dates), form)


def _oauth2_cards(call: Call) -> str:
    """The grants of OAuth 2.0, a card each."""
    cards = ""
    for grant in call.site.oauth2.grants if call.site.oauth2 is not None else ():
        if grant.user == user_name(call) and not grant.has_ended:
            lines = (f"client ID {grant.app.client_id}", f"allowed {_date(grant.created_at)}, {', '.join(grant.scopes)}")
            form = make_form(call.local(_GRANTS_PATH), "", make_button("Revoke"), {"grant": grant.id, **xsrf_fields(call)})
            cards += make_card(grant.app.name, lines, form)
    return cards


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
