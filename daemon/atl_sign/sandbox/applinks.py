"""Application links: the administrator's page, the REST calls, and the manifest (facts sections 1.2, 1.3, 7)."""

import uuid
from collections.abc import Mapping
from html import escape

from atl_sign.sandbox.call import Call, PluginRefusalError, RefusalError, text_field
from atl_sign.sandbox.external_apps import add_application, make_section
from atl_sign.sandbox.keys import parse_public_key
from atl_sign.sandbox.oauth import is_valid_callback
from atl_sign.sandbox.pages import make_alert, make_button, make_card, make_field, make_form, make_link, make_status
from atl_sign.sandbox.people import check_xsrf_token, frame, refuse_form, send_to_login, user_name, xsrf_fields
from atl_sign.sandbox.state import ApplicationLink, Consumer
from atl_sign.sandbox.wire import Answer, make_json, make_text

PAGE_PATH = "/plugins/servlet/applinks/listApplicationLinks"


def show_links(call: Call) -> Answer:
    """Show the application links and the form for a new one, to an administrator."""
    return _refuse(call) or _links_page(call, {})


def change_links(call: Call) -> Answer:
    """Take a form of the page: add a link with its consumer or an external application, or delete one."""
    refusal = _refuse(call)
    if refusal is not None:
        return refusal
    if not check_xsrf_token(call):
        return refuse_form(call)
    delete = call.request.parameter("delete")
    if delete is not None:
        if delete in call.state.links:
            call.state.remove_link(delete)
        return _links_page(call, {}, done="The link was deleted.")
    server = call.site.oauth2
    application = call.request.parameter("deleteApplication")
    if server is not None and application is not None:
        server.remove_app(application)
        return _links_page(call, {}, done="The application was deleted.")
    if server is not None and call.request.parameter("applicationName") is not None:
        added = add_application(call, server, call.local(PAGE_PATH))
        return added if isinstance(added, Answer) else _links_page(call, {}, application_alert=added)
    fields = {name: call.request.parameter(name) or "" for name in ("key", "consumerName", "publicKey", "callback")}
    try:
        _add_by_form(call, fields)
    except ValueError as exc:
        return _links_page(call, fields, alert=str(exc))
    return _links_page(call, {}, done="The link was created.")


def create_link(call: Call) -> Answer:
    """Take `PUT …/applicationlink`: a generic link without a consumer yet; of two with one rpcUrl the second is refused."""
    _require_admin(call)
    fields = call.read_json()
    if text_field(fields, "typeId") != "generic":
        raise RefusalError(400, "The sandbox makes only links of typeId generic.")
    name, rpc_url, display_url = (text_field(fields, field) for field in ("name", "rpcUrl", "displayUrl"))
    if any(link.rpc_url == rpc_url for link in call.state.links.values()):
        raise PluginRefusalError(400, f"An application link with the URL {rpc_url} exists already.")
    link = call.state.add_link(name, rpc_url, display_url)
    href = call.link_to(f"/rest/applinks/{call.groups['version']}/applicationlink/{link.id}")
    return make_json({"resources-created": [{"href": href, "rel": "self"}], "status-code": 201}, 201)


def list_links(call: Call) -> Answer:
    """Answer every application link."""
    _require_admin(call)
    return make_json({"applicationLinks": [_describe(call, link) for link in call.state.links.values()]})


def show_link(call: Call) -> Answer:
    """Answer one application link."""
    _require_admin(call)
    return make_json(_describe(call, _find_link(call)))


def delete_link(call: Call) -> Answer:
    """Delete one application link; its consumer's tokens die with it."""
    _require_admin(call)
    call.state.remove_link(_find_link(call).id)
    return make_json({"status-code": 200})


def put_consumer(call: Call) -> Answer:
    """Take `PUT …/authentication/consumer`: the link's incoming consumer. A certificate is not a key here."""
    _require_admin(call)
    link = _find_link(call)
    fields = call.read_json()
    if fields.get("outgoing") is not False:
        raise RefusalError(400, "The sandbox takes only incoming consumers: outgoing must be false.")
    for name in ("twoLOAllowed", "twoLOImpersonationAllowed"):
        if fields.get(name):
            raise RefusalError(400, f"The sandbox knows no two-legged OAuth: {name} must be false.")
    try:
        key = parse_public_key(text_field(fields, "publicKey"), may_be_certificate=False)
        description = fields.get("description") or ""
        consumer = Consumer(text_field(fields, "key"), text_field(fields, "name"), key, description=str(description))
        call.state.set_consumer(link, consumer)
    except ValueError as exc:
        raise RefusalError(400, f"{exc}.") from exc
    return make_json({"status-code": 201}, 201)


def show_manifest(call: Call) -> Answer:
    """Answer the manifest to anybody: XML, or JSON when asked for it."""
    product = call.site.product
    fields: dict[str, object] = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, call.site.base_url)),
        "name": f"{product.title} sandbox",
        "typeId": product.type_id,
        "version": product.version,
        "buildNumber": product.build_number,
        "applinksVersion": "9.1.9",
        "inboundAuthenticationTypes": ["com.atlassian.applinks.api.auth.types.OAuthAuthenticationProvider"],
        "outboundAuthenticationTypes": [],
        "publicSignup": False,
        "url": call.site.base_url,
        "iconUrl": call.link_to("/favicon.ico"),
    }
    accept = call.request.header("accept") or ""
    if "application/json" in accept and "xml" not in accept.partition("json")[0]:
        return make_json(fields)
    items = "".join(_xml_item(name, value) for name, value in fields.items())
    xml = f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<manifest>{items}</manifest>\n'
    return make_text(xml, media_type="application/xml")


def _require_admin(call: Call) -> None:
    """Return if an administrator calls, in a secure session where the product wants one; raises RefusalError."""
    if call.state.has_websudo and call.require_user() and call.session is None:
        raise PluginRefusalError(401, "This resource requires WebSudo.")
    call.require_admin()


def _refuse(call: Call) -> Answer | None:
    if call.session is None:
        return send_to_login(call)
    if call.user is None or not call.user.is_admin:
        content = (
            "<p>Only administrators can see application links. "
            f"Log out on the {make_link(call.local('/'), 'start page')}, then log in as <code>admin</code>.</p>"
        )
        return frame(call).make("For administrators only", content, user=user_name(call), status=403)
    return None


def _add_by_form(call: Call, fields: Mapping[str, str]) -> None:
    """Add link and consumer; raises ValueError with what is wrong, and then nothing was added."""
    if not fields["key"] or not fields["consumerName"]:
        raise ValueError("Consumer key and consumer name are required")
    callback = fields["callback"]
    if callback and (callback == "oob" or not is_valid_callback(callback)):
        raise ValueError("The callback must be an absolute http or https address")
    key = parse_public_key(fields["publicKey"], may_be_certificate=True)
    # The products' form does this too: a fixed callback always ends in a slash.
    callback = callback if not callback or callback.endswith("/") else f"{callback}/"
    link = call.state.add_link(fields["consumerName"], "http://generic.example", "http://generic.example")
    try:
        call.state.set_consumer(link, Consumer(fields["key"], fields["consumerName"], key, callback or None))
    except ValueError:
        call.state.remove_link(link.id)
        raise


def _links_page(call: Call, fields: Mapping[str, str], *, alert: str = "", done: str = "", application_alert: str = "") -> Answer:
    cards = "".join(_link_card(call, link) for link in call.state.links.values())
    inputs = make_field(
        "Consumer key", "key", value=fields.get("key", ""), note="Exactly as the consumer sends it", extra="autofocus"
    )
    inputs += make_field(
        "Consumer name", "consumerName", value=fields.get("consumerName", ""), note="Users see it when they are asked for consent"
    )
    inputs += (
        "<label>Public key<small>A public key or a certificate, in PEM</small>"
        f'<textarea name="publicKey" rows="8" spellcheck="false">{escape(fields.get("publicKey", ""))}</textarea></label>'
    )
    inputs += make_field(
        "Consumer callback URL", "callback", value=fields.get("callback", ""), note="Optional; leave it blank for atl-sign"
    )
    form = make_form(call.local(PAGE_PATH), inputs, make_button("Create incoming link", is_main=True), xsrf_fields(call))
    new = f"{make_alert(alert)}{make_status(done)}<h2>New incoming link (OAuth 1.0a)</h2>{form}"
    links = f"<h2>Links</h2>{cards or '<p>There are none yet.</p>'}"
    sections = [new, links]
    if call.site.oauth2 is not None:
        sections.append(make_section(call, call.site.oauth2, call.local(PAGE_PATH), application_alert))
    status = 400 if alert or application_alert else 200
    return frame(call).make("Application links", *sections, user=user_name(call), status=status)


def _link_card(call: Call, link: ApplicationLink) -> str:
    key = f"consumer key {link.consumer.key}" if link.consumer is not None else "no consumer yet"
    form = make_form(call.local(PAGE_PATH), "", make_button("Delete"), {"delete": link.id, **xsrf_fields(call)})
    return make_card(link.name, (key,), form)


def _find_link(call: Call) -> ApplicationLink:
    link = call.state.links.get(call.groups["id"])
    if link is None:
        raise RefusalError(404, "There is no application link of this id.")
    return link


def _describe(call: Call, link: ApplicationLink) -> dict[str, object]:
    href = call.link_to(f"/rest/applinks/{call.groups['version']}/applicationlink/{link.id}")
    return {
        "id": link.id,
        "name": link.name,
        "typeId": "generic",
        "rpcUrl": link.rpc_url,
        "displayUrl": link.display_url,
        "isPrimary": False,
        "isSystem": False,
        "link": [{"href": href, "rel": "self"}],
    }


def _xml_item(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_xml_item(name, item) for item in value)
    return f"<{name}>{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{name}>"
