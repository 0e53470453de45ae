"""The page where users make, see and revoke their personal access tokens, at each product's own address."""

from datetime import UTC, datetime
from html import escape

from atl_sign.sandbox.call import Call, RefusalError
from atl_sign.sandbox.pages import make_alert, make_button, make_card, make_field, make_form
from atl_sign.sandbox.people import check_xsrf_token, frame, refuse_form, send_to_login, user_name, xsrf_fields
from atl_sign.sandbox.token_calls import create_token, own_tokens
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.sandbox.wire import Answer


def show_tokens(call: Call) -> Answer:
    """Show the user's tokens and the form for a new one."""
    return _tokens_page(call, "") if call.session is not None else send_to_login(call)


def change_tokens(call: Call) -> Answer:
    """Take the page's form: make a token and show it this once, or revoke one."""
    if call.session is None:
        return send_to_login(call)
    if not check_xsrf_token(call):
        return refuse_form(call)
    revoked = call.request.parameter("revoke")
    if revoked is not None:
        for token in own_tokens(call):
            if token.id == revoked:
                call.state.tokens.remove(token)
        return _tokens_page(call, "")
    days = call.request.parameter("days") or ""
    fields = {
        "name": call.request.parameter("name"),
        "days": int(days) if days.isascii() and days.isdigit() and len(days) < 10 else days or None,
        "permissions": [value for name, value in call.request.form if name == "permission"],
    }
    try:
        token = create_token(call, fields, "days")
    except RefusalError as exc:
        return _tokens_page(call, exc.message)
    content = (
        "<p>Copy the token now: it is not shown again.</p>"
        f'<p><code class="token" id="token">{escape(token.secret)}</code></p><p>It {_describe_end(token)}.</p>'
        f'<p><a href="{escape(call.local(call.site.product.tokens.page_path))}">All tokens</a></p>'
    )
    return frame(call).make(f"Token {token.name}", content, user=user_name(call))


def _tokens_page(call: Call, alert: str) -> Answer:
    path = call.local(call.site.product.tokens.page_path)
    cards = "".join(_card(call, path, token) for token in own_tokens(call))
    inputs = make_field("Name", "name", extra="required")
    if call.site.product.has_expiring_tokens:
        note = f"up to {call.state.tokens.days_max}"
        if not call.state.tokens.must_expire:
            note += "; blank for a token that does not expire"
        inputs += make_field("Days until it expires", "days", value="90", note=note)
    permissions = call.site.product.tokens.permissions
    for name in permissions:
        checked = " checked" if name == permissions[0] and call.site.product.tokens.needs_permissions else ""
        inputs += f'<label class="check"><input type="checkbox" name="permission" value="{name}"{checked}> {name}</label>'
    form = make_form(path, inputs, make_button("Create token", is_main=True), xsrf_fields(call))
    content = f"{make_alert(alert)}{cards or '<p>There are none yet.</p>'}<h2>New token</h2>{form}"
    return frame(call).make("Personal access tokens", content, user=user_name(call), status=400 if alert else 200)


def _card(call: Call, path: str, token: PersonalToken) -> str:
    lines = [f"made {_date(token.created_at)}, {_describe_end(token)}"]
    if token.permissions:
        lines.append(", ".join(token.permissions))
    return make_card(token.name, lines, make_form(path, "", make_button("Revoke"), {"revoke": token.id, **xsrf_fields(call)}))


def _describe_end(token: PersonalToken) -> str:
    return f"expires {_date(token.expires_at)}" if token.expires_at is not None else "does not expire"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
