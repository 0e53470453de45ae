"""The answers of the token endpoint: tokens, refusals and nonsense, as the flavour's server writes them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from atl_sign.sandbox.oauth2.faults import TokenFault
from atl_sign.sandbox.oauth2.records import Issued
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.wire import FORM, Answer, Request, make_json, make_redirect, make_text

_NO_STORE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
_PAGE = "<!doctype html>\n<html lang=en><title>{0}</title><h1>{0}</h1><p>Please try again later.</p></html>\n"


def format_issued(server: OAuth2Server, issued: Issued, request: Request) -> Answer:
    """Return the answer that gives *issued* away."""
    rule, faults, access = server.flavour.answer, server.faults, issued.access
    fields: dict[str, Any] = {"access_token": access.value, "token_type": rule.token_type}
    if faults.expires_in is not None:
        fields["expires_in"] = faults.expires_in
    elif access.expires_at is not None:
        fields["expires_in"] = round(access.expires_at - access.created_at)
    if faults.omits_expires_in:
        fields.pop("expires_in", None)
    if issued.refresh is not None and not faults.omits_refresh_token:
        fields["refresh_token"] = issued.refresh.value
    fields[rule.scope_field] = rule.scope_separator.join(access.scopes)
    if "refresh_token_expires_in" in rule.extra and issued.refresh is not None and issued.refresh.expires_at is not None:
        fields["refresh_token_expires_in"] = round(issued.refresh.expires_at - issued.refresh.created_at)
    if "created_at" in rule.extra:
        fields["created_at"] = int(access.created_at)
    if "state" in rule.extra:
        fields["state"] = "authorization_code"
    return write_fields(server, fields, 200, request)


def format_refusal(server: OAuth2Server, case: str, request: Request, **more: Any) -> Answer:
    """Return the refusal because of *case*; *more* are further fields."""
    error = server.errors[case]
    status = 200 if server.faults.errors_with_200 else error.status
    if error.fields is not None:
        return make_json(error.fields, status)
    fields = {"error": error.error, "error_description": error.description, "error_uri": error.uri, **more}
    found = write_fields(server, {name: value for name, value in fields.items() if value != ""}, status, request)
    challenge = server.flavour.answer.challenge
    if challenge is not None:
        words = f'{challenge}, error="{error.error}", error_description="{error.description}"'
        found = found.with_headers(("WWW-Authenticate", words))
    return found


def make_fault(server: OAuth2Server, fault: TokenFault) -> Answer:
    """Return what comes instead of the token endpoint's answer."""
    if fault == "html":
        return make_text(_PAGE.format("Single sign-on"), 200, "text/html")
    if fault == "shape":
        return make_json([{"token": "in a list"}])
    if fault == "redirect":
        return make_redirect(server.faults.redirect_to)
    if fault == "hang up":
        return Answer(200, is_lost=True)
    status = int(fault)
    found = make_text(_PAGE.format(f"Error {status}"), status, "text/html")
    if status in (429, 503) and server.faults.retry_after is not None:
        found = found.with_headers(("Retry-After", server.faults.retry_after))
    return found


def write_fields(server: OAuth2Server, fields: Mapping[str, Any], status: int, request: Request) -> Answer:
    """Return *fields* in the form that the server gives to this caller."""
    if server.flavour.answer.is_form and "json" not in (request.header("accept") or ""):
        found = make_text(urlencode(fields), status, FORM)
    else:
        found = make_json(fields, status)
    return found.with_headers(*_NO_STORE)
