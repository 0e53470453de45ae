"""
Authlib's OAuth 2.0 server on a free loopback port, with login and consent pages of ours.

In, the first line: {"clients": [RFC 7591 metadata, …], "users": {name: password}, "scopes": [name, …],
"lifetimes_s": {"AccessToken", "RefreshToken", "AuthorizationCode", "DeviceCode"}, "device_interval_s"}, where "{port}" stands for
the port. Out, one line: {"port"}.
To standard error, for each request to the token endpoint: "token: GRANT_TYPE OUTCOME", which is "ok" or an error code.
It ends when standard input does.
"""

import json
import logging
import socket
import sys
import threading
from collections.abc import Mapping
from functools import partial
from html import escape
from typing import Any

from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from authlib.oauth2.rfc9207 import AuthorizationServerMetadata as IssuerMetadata

# Flask: Authlib has an integration for it that works without a database, which Django OAuth Toolkit needs.
from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

from tests.interop.authlib_grants import CLIENT_AUTHS, Bearer, Issuer, Server
from tests.interop.authlib_memory import Client, Memory

BASE = "/as"  # so the path of the metadata stands between host and path (RFC 8414 §3.1)


def make_app(origin: str, configuration: Mapping[str, Any]) -> Flask:
    """Return the application for *origin*: scheme, host and port."""
    issuer = f"{origin}{BASE}"
    scopes = frozenset(configuration["scopes"])
    memory = Memory({each["client_id"]: Client(each, scopes) for each in configuration["clients"]})
    app = Flask("authlib_server", static_folder=None)
    app.config["OAUTH2_SCOPES_SUPPORTED"] = sorted(scopes)
    server = Server(app, issuer, memory, configuration["lifetimes_s"], configuration["device_interval_s"])
    pages = Pages(server, configuration["users"])
    metadata = make_metadata(issuer, sorted(scopes))
    app.add_url_rule(f"{BASE}/authorize", view_func=pages.authorize, methods=["GET", "POST"])
    app.add_url_rule(f"{BASE}/device", view_func=pages.device, methods=["GET", "POST"])
    app.add_url_rule(get_well_known_url(issuer), view_func=lambda: metadata, endpoint="metadata")
    for name in ("revocation", "device_authorization"):
        answer = partial(server.create_endpoint_response, name)
        app.add_url_rule(f"{BASE}/{name}", view_func=answer, endpoint=name, methods=["POST"])
    app.add_url_rule(f"{BASE}/token", view_func=lambda: give_token(server), endpoint="token", methods=["POST"])
    protector = ResourceProtector()
    protector.register_token_validator(Bearer(memory))
    app.add_url_rule("/whoami", view_func=protector()(who_am_i))
    return app


def make_metadata(issuer: str, scopes: list[str]) -> dict[str, Any]:
    """Return the document of RFC 8414, which Authlib has validated."""
    metadata = AuthorizationServerMetadata(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/authorize",
        token_endpoint=f"{issuer}/token",
        revocation_endpoint=f"{issuer}/revocation",
        device_authorization_endpoint=f"{issuer}/device_authorization",
        scopes_supported=scopes,
        response_types_supported=["code"],
        grant_types_supported=["authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE],
        token_endpoint_auth_methods_supported=CLIENT_AUTHS,
        revocation_endpoint_auth_methods_supported=CLIENT_AUTHS,
        code_challenge_methods_supported=["S256"],
        authorization_response_iss_parameter_supported=True,
    )
    metadata.validate([IssuerMetadata])
    return dict(metadata)


def give_token(server: Server) -> ResponseReturnValue:
    """The token endpoint."""
    response = server.create_token_response()
    outcome = "ok" if response.status_code == 200 else response.get_json()["error"]
    print(f"token: {request.form.get('grant_type')} {outcome}", file=sys.stderr, flush=True)
    return response  # type: ignore[no-any-return]  # Authlib has no types


def who_am_i() -> ResponseReturnValue:
    """The protected resource: return the user's name."""
    user = current_token.user
    return {"sub": user, "preferred_username": user, "email": f"{user}@example.com"}


class Pages:
    """The pages for people."""

    def __init__(self, server: Server, users: Mapping[str, str]) -> None:
        self._server = server
        self._memory: Memory = server.memory
        self._users = users

    def authorize(self) -> ResponseReturnValue:
        """Show login and consent, then redirect with a code or an error."""
        try:
            grant = self._server.get_consent_grant()
        except OAuth2Error as error:
            response = self._server.handle_error_response(None, error)
            Issuer(self._server.issuer).add_issuer_parameter(self._server, response)
            return response  # type: ignore[no-any-return]  # Authlib has no types
        user = self._find_user()
        if user is None:
            return self._log_in()
        if "decision" not in request.form:
            return _consent_page(grant.client.get_client_id(), grant.request.scope)
        is_allowed = request.form["decision"] == "allow"
        return self._server.create_authorization_response(  # type: ignore[no-any-return]
            grant_user=user if is_allowed else None, grant=grant
        )

    def device(self) -> ResponseReturnValue:
        """Show login, the field for the device's code, and consent."""
        user = self._find_user()
        if user is None:
            return self._log_in()
        code = request.values.get("user_code")
        waiting = [each for each in self._memory.devices.values() if each.answer is None and not each.is_expired()]
        device = next((each for each in waiting if each.user_code == code), None)
        if device is None:
            words = "" if code is None else "unknown code"
            return _page("Enter the code", '<form method="post"><input name="user_code"><button>Continue</button></form>', words)
        if "decision" not in request.form:
            return _consent_page(device.client_id, device.scope, user_code=device.user_code)
        device.answer = user, request.form["decision"] == "allow"
        return _page("Device allowed" if device.answer[1] else "Device denied", "")

    def _find_user(self) -> str | None:
        return self._memory.sessions.get(request.cookies.get("session", ""))

    def _log_in(self) -> ResponseReturnValue:
        """Return the login page; after the login, a redirect to the page that was wanted."""
        name = request.form.get("username", "")
        if name not in self._users or self._users[name] != request.form.get("password"):
            fields = '<input name="username" autofocus><input type="password" name="password">'
            words = "wrong name or password" if name else ""
            return _page("Log in", f'<form method="post">{fields}<button>Log in</button></form>', words)
        response = redirect(request.url, 303)
        response.set_cookie("session", self._memory.begin_session(name), httponly=True, samesite="Lax")
        return response


def _consent_page(client_id: str, scope: str, user_code: str = "") -> str:
    hidden = f'<input type="hidden" name="user_code" value="{escape(user_code)}">' if user_code else ""
    labels = {"allow": "Allow", "deny": "Deny"}
    buttons = "".join(f'<button name="decision" value="{value}">{label}</button>' for value, label in labels.items())
    return _page(f"Allow {client_id}?", f'<p>{escape(scope)}</p><form method="post">{hidden}{buttons}</form>')


def _page(heading: str, body: str, words: str = "") -> str:
    alert = f'<p role="alert">{escape(words)}</p>' if words else ""
    start = '<!doctype html><html lang="en"><meta charset="utf-8">'
    return f"{start}<title>{escape(heading)}</title><h1>{escape(heading)}</h1>{alert}{body}</html>"


def main() -> None:
    """Serve until standard input ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs addresses, and some contain a code
    line = sys.stdin.readline()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        app = make_app(f"http://{host}:{port}", json.loads(line.replace("{port}", str(port))))
        server = make_server(host, port, app, threaded=True, fd=listener.fileno())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
