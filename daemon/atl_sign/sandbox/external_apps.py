"""External applications for OAuth 2.0, on the administrator's page of the application links (facts oauth2 section 2)."""

from html import escape

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.pages import make_alert, make_button, make_card, make_copy, make_field, make_form
from atl_sign.sandbox.people import frame, user_name, xsrf_fields
from atl_sign.sandbox.wire import Answer

_FIELDS = ("applicationName", "redirectUrl")


def add_application(call: Call, server: OAuth2Server, path: str) -> Answer | str:
    """Take the form: return the page that shows client ID and secret, or what is wrong."""
    name, redirect = (call.request.parameter(field) or "" for field in _FIELDS)
    scopes = tuple(value for key, value in call.request.form if key == "scope")
    if not name or not redirect:
        return "Name and redirect URL are required"
    try:
        app = server.register_app(redirect.split(), scopes, name=name)
    except ValueError as exc:
        return str(exc)
    return _credentials_page(call, app, path)


def make_section(call: Call, server: OAuth2Server, path: str, alert: str = "") -> str:
    """Return HTML with the applications there are, and the form for a new one."""
    cards = "".join(_card(call, app, path) for app in server.apps.values())
    name, redirect = (call.request.parameter(field) or "" if alert else "" for field in _FIELDS)
    inputs = make_field("Name", "applicationName", value=name, note="Users see it when they are asked for consent")
    note = "https://…, or http://localhost:PORT/…; it is compared character by character"
    inputs += make_field("Redirect URL", "redirectUrl", value=redirect, note=note)
    boxes = "".join(
        f'<label class="check"><input type="checkbox" name="scope" value="{scope}">{scope}</label>'
        for scope in server.flavour.scopes.implied
    )
    inputs += f"<fieldset><legend>Application permissions</legend><small>Tick none for no limit</small>{boxes}</fieldset>"
    form = make_form(path, inputs, make_button("Save external application"), xsrf_fields(call))
    return f"{make_alert(alert)}<h2>External application, incoming (OAuth 2.0)</h2>{form}{cards}"


def _card(call: Call, app: App, path: str) -> str:
    lines = [f"client ID {app.client_id}", *app.redirect_uris, ", ".join(app.scopes) or "every permission"]
    form = make_form(path, "", make_button("Delete"), {"deleteApplication": app.client_id, **xsrf_fields(call)})
    return make_card(app.name, lines, form)


def _credentials_page(call: Call, app: App, path: str) -> Answer:
    content = (
        f"<p>Client ID: <code>{escape(app.client_id)}</code></p>"
        f"{make_copy('Client secret; it is not shown again.', 'client_secret', app.client_secret or '')}"
        f'<p><a href="{escape(path)}">All links</a></p>'
    )
    return frame(call).make(f"External application {app.name}", content, user=user_name(call))
