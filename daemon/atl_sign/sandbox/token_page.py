"""The page where users make, see and revoke their personal access tokens, at each product's own address."""

from datetime import UTC, datetime

from atl_sign.sandbox.call import Call, RefusalError
from atl_sign.sandbox.pages import make_alert, make_button, make_card, make_copy, make_field, make_form, make_link, make_status
from atl_sign.sandbox.people import check_xsrf_token, frame, refuse_form, send_to_login, user_name, xsrf_fields
from atl_sign.sandbox.token_calls import create_token, own_tokens
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.sandbox.wire import Answer


def show_tokens(call: Call) -> Answer:
    """Show the user's tokens and the form for a new one."""
    return _tokens_page(call) if call.session is not None else send_to_login(call)


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
        return _tokens_page(call, done="The token was revoked.")
    days = call.request.parameter("days") or ""
    fields = {
        "name": call.request.parameter("name"),
        "days": int(days) if days.isascii() and days.isdigit() and len(days) < 10 else days or None,
        "permissions": [value for name, value in call.request.form if name == "permission"],
    }
    try:
        token = create_token(call, fields, "days")
    except RefusalError as exc:
        return _tokens_page(call, alert=exc.message)
    content = (
        f"{make_copy('Copy the token now: it is not shown again.', 'token', token.secret)}"
        f"<p>It {_describe_end(token)}. If a program asked for it, go back to your terminal and paste it there.</p>"
        f"<p>{make_link(call.local(call.site.product.tokens.page_path), 'All tokens')}</p>"
    )
    return frame(call).make(f"Token {token.name} created", content, user=user_name(call))


def _tokens_page(call: Call, *, alert: str = "", done: str = "") -> Answer:
    path = call.local(call.site.product.tokens.page_path)
    cards = "".join(_card(call, path, token) for token in own_tokens(call))

    def entered(name: str, otherwise: str) -> str:  # what was refused is shown again
        return call.request.parameter(name) or "" if alert else otherwise

    inputs = make_field("Name", "name", value=entered("name", ""), note="It tells your tokens apart", extra="required autofocus")
    if call.site.product.has_expiring_tokens:
        note = f"Up to {call.state.tokens.days_max}"
        if not call.state.tokens.must_expire:
            note += "; blank for a token that does not expire"
        inputs += make_field("Days until it expires", "days", value=entered("days", "90"), note=note)
    form = make_form(path, inputs + _permissions(call), make_button("Create token", is_main=True), xsrf_fields(call))
    new = f"{make_alert(alert)}{make_status(done)}<h2>New token</h2>{form}"
    tokens = f"<h2>Your tokens</h2>{cards or '<p>There are none yet.</p>'}"
    return frame(call).make(call.site.product.tokens.title, new, tokens, user=user_name(call), status=400 if alert else 200)


def _permissions(call: Call) -> str:
    kind, boxes = call.site.product.tokens, ""
    for name in kind.permissions:
        checked = " checked" if name == kind.permissions[0] and kind.needs_permissions else ""
        boxes += f'<label class="check"><input type="checkbox" name="permission" value="{name}"{checked}>{name}</label>'
    note = "" if kind.needs_permissions else "<small>Tick none for a classic token</small>"
    return f"<fieldset><legend>Permissions</legend>{note}{boxes}</fieldset>" if boxes else ""


def _card(call: Call, path: str, token: PersonalToken) -> str:
    lines = [f"created {_date(token.created_at)}, {_describe_end(token)}"]
    if token.permissions:
        lines.append(", ".join(token.permissions))
    return make_card(token.name, lines, make_form(path, "", make_button("Revoke"), {"revoke": token.id, **xsrf_fields(call)}))


def _describe_end(token: PersonalToken) -> str:
    return f"expires {_date(token.expires_at)}" if token.expires_at is not None else "does not expire"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
