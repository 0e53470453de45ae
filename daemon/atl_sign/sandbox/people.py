"""People in a browser: login, logout and the front page."""

import re
from html import escape
from urllib.parse import quote

from atl_sign.sandbox.access import SESSION_COOKIE, find_session
from atl_sign.sandbox.call import Call
from atl_sign.sandbox.pages import PageFrame, make_alert, make_button, make_field, make_form, make_link
from atl_sign.sandbox.wire import Answer, make_redirect

# Inside this product: begins with one slash, and holds nothing that makes a browser leave the host.
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def frame(call: Call) -> PageFrame:
    """Return the frame of the call's product."""
    return PageFrame(call.site.product.title, call.site.context_path)


def user_name(call: Call) -> str | None:
    """Return the logged-in user's name, for a page's head."""
    return call.user.name if call.user is not None else None


def send_to_login(call: Call) -> Answer:
    """Send the browser to the login page, and from there back to where it is."""
    return make_redirect(call.local(f"{call.site.product.login_path}?os_destination={quote(_own_target(call), safe='')}"))


def check_xsrf_token(call: Call) -> bool:
    """Tell whether the form brought the session's XSRF token."""
    return call.session is not None and call.request.parameter("atl_token") == call.session.xsrf_token


def xsrf_fields(call: Call) -> dict[str, str]:
    """Return the hidden field that `check_xsrf_token` wants to see again."""
    return {"atl_token": call.session.xsrf_token} if call.session is not None else {}


def refuse_form(call: Call) -> Answer:
    """Return the page for a form without its XSRF token."""
    content = (
        "<p>This form was not sent from its own page, or you have logged in again since. "
        f"Open the page again and send the form from there.</p><p>{make_link(call.local('/'), 'Start page')}</p>"
    )
    return frame(call).make("XSRF security token missing", content, user=user_name(call), status=403)


def show_login(call: Call) -> Answer:
    """Show the login form."""
    return _login_page(call, "")


def log_in(call: Call) -> Answer:
    """Take the login form: begin a session and go where the user wanted to."""
    name, password = (call.request.parameter(field) or "" for field in ("os_username", "os_password"))
    user = call.state.check_password(name, password)
    if user is None:
        return _login_page(call, "The user name or the password is wrong.")
    call.state.solve_captcha(name)  # the page would have shown it
    cookie = f"{SESSION_COOKIE}={call.state.log_in(user)}; Path={call.site.context_path or '/'}; HttpOnly; SameSite=Lax"
    return make_redirect(call.local(_destination(call))).with_headers(("Set-Cookie", cookie))


def log_out(call: Call) -> Answer:
    """End the session."""
    if not check_xsrf_token(call):
        return refuse_form(call)
    call.state.sessions.pop(find_session(call) or "")
    return make_redirect(call.local("/"))


def show_front_page(call: Call) -> Answer:
    """Show who is logged in, and the pages there are."""
    entries = []
    if call.site.product.has_oauth:
        entries = [
            ("/plugins/servlet/oauth/users/access-tokens", "Applications that can act as you (OAuth access tokens)"),
            ("/plugins/servlet/applinks/listApplicationLinks", "Application links (administrators)"),
        ]
    if call.site.product.has_tokens:
        entries.insert(1, (call.site.product.tokens.page_path, call.site.product.tokens.title))
    links = "".join(f"<li>{make_link(call.local(path), text)}</li>" for path, text in entries)
    product = call.site.product
    content = f"<p>{product.title} {product.version} at <code>{escape(call.site.base_url)}</code></p><ul>{links}</ul>"
    if call.session is not None:
        content += make_form(call.local("/logout"), "", make_button("Log out"), xsrf_fields(call))
    elif call.user is None:
        content += make_link(call.local(product.login_path), "Log in", is_main=True)
    return frame(call).make("Start page", content, user=user_name(call))


def _login_page(call: Call, alert: str) -> Answer:
    name = call.request.parameter("os_username") or ""
    focus = [" autofocus", ""] if not name else ["", " autofocus"]
    has_addresses = any("@" in user for user in call.state.users)
    label, part = ("Email address", "the part before the @") if has_addresses else ("User name", "the user name")
    fields = make_field(label, "os_username", value=name, extra=f'autocomplete="username" required{focus[0]}')
    fields += make_field("Password", "os_password", kind="password", extra=f'autocomplete="current-password" required{focus[1]}')
    users = ", ".join(f"<code>{escape(user)}</code>" for user in call.state.users)
    hint = f"<p>Users of this sandbox: {users}. The password is {part}.</p>"
    form = make_form(
        call.local(call.site.product.login_path),
        fields,
        make_button("Log in", is_main=True),
        {"os_destination": _destination(call)},
    )
    return frame(call).make("Log in", make_alert(alert) + form + hint, user=user_name(call))


def _destination(call: Call) -> str:
    wanted = call.request.parameter("os_destination") or "/"
    return wanted if _OWN_PATH.fullmatch(wanted) else "/"


def _own_target(call: Call) -> str:
    """Return the request's path below the context path, with its query, in characters that a browser sends unchanged."""
    target = call.request.target.decode("latin-1")
    return quote(target[target.index(call.site.context_path) + len(call.site.context_path) :], safe="%/?&=:;@,!$'()*+~-._")
