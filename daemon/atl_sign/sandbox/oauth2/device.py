"""The device flow (RFC 8628): the codes, the page where the user enters one, and the poll."""

from html import escape

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth2.answers import format_refusal, write_fields
from atl_sign.sandbox.oauth2.client_request import ClientRefusalError, ClientRequest, authenticate, read_client_request
from atl_sign.sandbox.oauth2.flavour import DeviceRule
from atl_sign.sandbox.oauth2.pages import describe_scopes, find_server, show_decided
from atl_sign.sandbox.oauth2.records import DeviceCode, Issued
from atl_sign.sandbox.oauth2.scopes import ScopeError
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.oauth2.shapes import make_word
from atl_sign.sandbox.pages import make_alert, make_button, make_field, make_form
from atl_sign.sandbox.people import check_xsrf_token, frame, refuse_form, send_to_login, user_name, xsrf_fields
from atl_sign.sandbox.wire import Answer

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: no vowels, so that no code is a word
_SLOWER_S = 5.0


def answer_device(call: Call) -> Answer:
    """Begin a device flow: answer its two codes."""
    server = find_server(call)
    rule = _rule(server)
    try:
        request = read_client_request(server.flavour, call.request)
        app = authenticate(server, request, is_secret_optional=server.flavour.device_needs_no_secret)
        if not app.has_device_flow:
            raise ClientRefusalError("device flow disabled")
        try:
            scopes = server.read_scopes(app, request.fields.get("scope"))
        except ScopeError as exc:
            raise ClientRefusalError("invalid scope") from exc
    except ClientRefusalError as exc:
        call.verdict = exc.case
        return format_refusal(server, exc.case, call.request)
    user_code = f"{make_word(4, _LETTERS)}-{make_word(4, _LETTERS)}"
    code = DeviceCode(make_word(40), user_code, app, scopes, server.clock() + rule.life_s, rule.interval_s)
    server.device_codes[code.value] = code
    call.verdict = "device code"
    uri = call.link_to(server.flavour.endpoints.device_page or "")
    fields: dict[str, object] = {
        "device_code": code.value,
        "user_code": user_code,
        "verification_uri": uri,
        "expires_in": round(rule.life_s),
        "interval": round(rule.interval_s),
    }
    if rule.has_complete_uri:
        fields["verification_uri_complete"] = f"{uri}?user_code={user_code}"
    return write_fields(server, fields, 200, call.request)


def show_device(call: Call) -> Answer:
    """Ask the user for the code, or with it whether the app may act for him."""
    if call.session is None:
        return send_to_login(call)
    return _device_page(call)


def decide_device(call: Call) -> Answer:
    """Take the code, and then Allow or Deny."""
    if call.session is None or call.user is None:
        return send_to_login(call)
    if not check_xsrf_token(call):
        return refuse_form(call)
    code = _find_open(call)
    decision = next((name for name in ("approve", "deny") if call.request.parameter(name) is not None), None)
    if code is None or decision is None:
        return _device_page(call)
    code.user = call.user.name
    code.decision = "approved" if decision == "approve" else "denied"
    call.verdict = f"device {code.decision}"
    return show_decided(call, f"Device {code.decision}", "You can go back to the device.")


def exchange_device_code(server: OAuth2Server, request: ClientRequest) -> Issued:
    """Return the tokens of an approved device flow; raises ClientRefusalError as long as it is not."""
    app = authenticate(server, request, is_secret_optional=server.flavour.device_needs_no_secret)
    code, now = server.device_codes.get(request.require("device_code")), server.clock()
    if code is None or code.app is not app:
        raise ClientRefusalError("unknown device code")
    if code.expires_at <= now:
        raise ClientRefusalError("expired device code")
    is_early = code.polled_at is not None and now - code.polled_at < code.interval_s
    code.polled_at = now
    if is_early and (_rule(server).checks_rate_first or code.decision is None):
        code.interval_s += _SLOWER_S
        raise ClientRefusalError("slow down", **({"interval": round(code.interval_s)} if _rule(server).tells_interval else {}))
    if code.decision is None:
        raise ClientRefusalError("authorization pending")
    del server.device_codes[code.value]
    if code.decision == "denied":
        raise ClientRefusalError("denied device code")
    return server.issue(server.consent(app, code.user, code.scopes), code.scopes, is_from_device=True)


def _rule(server: OAuth2Server) -> DeviceRule:
    rule = server.flavour.device
    assert rule is not None  # noqa: S101 - only such servers have these routes
    return rule


def _find_open(call: Call) -> DeviceCode | None:
    server, given = find_server(call), (call.request.parameter("user_code") or "").strip().upper()
    for code in server.device_codes.values():
        if code.user_code == given and code.decision is None and code.expires_at > server.clock():
            return code
    return None


def _device_page(call: Call) -> Answer:
    code, given = _find_open(call), call.request.parameter("user_code")
    path = call.local(find_server(call).flavour.endpoints.device_page or "")
    if code is None:
        alert = "This code is unknown, used or expired." if given else ""
        fields = make_field("Code", "user_code", value=given or "", note="As your device shows it", extra="required autofocus")
        form = make_form(path, fields, make_button("Continue", is_main=True), xsrf_fields(call))
        return frame(call).make("Connect a device", make_alert(alert) + form, user=user_name(call), status=400 if alert else 200)
    who = escape(user_name(call) or "")
    content = (
        f"<p><strong>{escape(code.app.name)}</strong> asks for access as you, <strong>{who}</strong>, on a device that shows "
        f"<code>{escape(code.user_code)}</code>:</p>{describe_scopes(code.scopes)}"
    )
    buttons = make_button("Allow", "approve", is_main=True, has_focus=True) + make_button("Deny", "deny")
    form = make_form(path, "", buttons, {"user_code": code.user_code, **xsrf_fields(call)})
    return frame(call).make(f"Allow {code.app.name}?", content + form, user=user_name(call))
