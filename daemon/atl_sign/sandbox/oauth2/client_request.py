"""A request by an app to the token endpoint or one of its neighbours: its fields, and who it says it is."""

import hmac
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from atl_sign.sandbox.oauth2.flavour import Flavour
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.wire import FORM, Request


class ClientRefusalError(Exception):
    """The request is refused; *case* is one of `flavour.RFC_ERRORS`, or the server's own."""

    def __init__(self, case: str, **fields: object) -> None:
        """Refuse because of *case*; *fields* come along with it."""
        super().__init__(case)
        self.case = case
        self.fields = fields


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """The fields of a request, and the credentials of the app that sent it."""

    fields: Mapping[str, str] = field(repr=False)
    client_id: str | None
    client_secret: str | None = field(repr=False)

    def require(self, name: str) -> str:
        """Return the field *name*; raises ClientRefusalError when it is missing or empty."""
        value = self.fields.get(name)
        if not value:
            raise ClientRefusalError("missing parameter")
        return value


def read_client_request(flavour: Flavour, request: Request) -> ClientRequest:
    """Return what *request* says, as a server of *flavour* reads it; raises ClientRefusalError for a body of a wrong type."""
    fields = _read_fields(flavour, request)
    client_id, secret = fields.get("client_id"), fields.get("client_secret")
    if "body" not in flavour.client_auth:
        secret = None
    scheme, _, credentials = (request.header("authorization") or "").partition(" ")
    if "basic" in flavour.client_auth and scheme.lower() == "basic":
        try:
            name, _, password = b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            raise ClientRefusalError("missing client") from None
        client_id, secret = unquote_plus(name), unquote_plus(password)  # RFC 6749 §2.3.1: both form-encoded
    return ClientRequest(fields, client_id or None, secret or None)


def authenticate(server: OAuth2Server, request: ClientRequest, *, is_secret_optional: bool = False) -> App:
    """
    Return the app that sent *request*.

    Args:
        server: the one that it asks.
        request: with its credentials.
        is_secret_optional: whether the app may leave its secret out here.

    Raises:
        ClientRefusalError: it is unknown, or its secret is missing or wrong.
    """
    if request.client_id is None:
        raise ClientRefusalError("missing client")
    app = server.apps.get(request.client_id)
    if app is None:
        raise ClientRefusalError("unknown client")
    if app.client_secret is None or (is_secret_optional and request.client_secret is None):
        return app
    if request.client_secret is None:
        raise ClientRefusalError("missing client")
    if not hmac.compare_digest(app.client_secret.encode(), request.client_secret.encode()):
        raise ClientRefusalError("wrong secret")
    return app


def _read_fields(flavour: Flavour, request: Request) -> dict[str, str]:
    """Return the fields by name; of several with one name the first counts."""
    pairs = request.query if "query" in flavour.bodies else ()
    if request.media_type == FORM:
        pairs += request.form
    elif request.media_type == "application/json" and "json" in flavour.bodies:
        try:
            value = json.loads(request.body)
        except (ValueError, RecursionError):
            raise ClientRefusalError("bad body") from None
        if not isinstance(value, dict):
            raise ClientRefusalError("bad body")
        pairs += tuple((name, text) for name, text in value.items() if isinstance(text, str))
    elif request.body or not pairs:
        raise ClientRefusalError("bad body")
    return dict(reversed(pairs))
