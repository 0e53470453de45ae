"""The authorization request: who asks, for what, and where the browser goes afterwards (RFC 6749 §4.1.1 and §4.1.2.1)."""

from collections.abc import Callable
from dataclasses import dataclass

from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.redirects import is_match, is_well_formed
from atl_sign.sandbox.oauth2.scopes import ScopeError
from atl_sign.sandbox.oauth2.server import OAuth2Server


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that may be shown to the user."""

    app: App
    scopes: tuple[str, ...]
    redirect_uri: str  # where the browser goes
    given_redirect_uri: str | None  # as the request had it
    state: str | None
    challenge: str | None
    method: str


class PageError(Exception):
    """The request is refused on a page of the server: the browser is not sent anywhere."""

    def __init__(self, case: str, message: str, status: int = 400) -> None:
        """Refuse because of *case*, such as "unknown client"."""
        super().__init__(message)
        self.case = case
        self.message = message
        self.status = status


class RedirectError(Exception):
    """The request is refused, and the app told so by the redirect."""

    def __init__(self, redirect_uri: str, error: str, description: str, state: str | None) -> None:
        """Refuse with *error*, at *redirect_uri*."""
        super().__init__(error)
        self.redirect_uri = redirect_uri
        self.error = error
        self.description = description
        self.state = state


def read_request(server: OAuth2Server, parameter: Callable[[str], str | None]) -> AuthorizationRequest:
    """
    Return the request whose parameters *parameter* gives by name.

    Raises:
        PageError: nobody knows where the answer could go.
        RedirectError: everything else that is wrong.
    """
    flavour, state = server.flavour, parameter("state")
    try:
        app = _find_app(server, parameter)
        redirect_uri, given = _find_redirect(server, app, parameter)
    except PageError:
        if flavour.checks_scope_first:
            _check_scope(server, parameter("scope"))
        raise
    for name, value in flavour.authorize_needs.items():
        if parameter(name) != value:
            raise PageError("missing parameter", f"The parameter {name} must be {value}.")

    def refuse(error: str, description: str) -> RedirectError:
        return RedirectError(redirect_uri, error, description, state)

    if parameter("response_type") != "code":
        raise refuse("unsupported_response_type", "The response type must be code.")
    try:
        scopes = server.read_scopes(app, parameter("scope"))
    except ScopeError as exc:
        raise refuse("invalid_scope", str(exc)) from exc
    challenge, method = parameter("code_challenge"), parameter("code_challenge_method") or "plain"
    if not flavour.pkce_methods:
        challenge = None
    elif challenge is None and flavour.needs_pkce:
        raise refuse("invalid_request", "A code challenge is required.")
    elif challenge is not None and method not in flavour.pkce_methods:
        raise refuse("invalid_request", "The code challenge method is not supported.")
    return AuthorizationRequest(app, scopes, redirect_uri, given, state, challenge, method)


def _find_app(server: OAuth2Server, parameter: Callable[[str], str | None]) -> App:
    app = server.apps.get(parameter("client_id") or "")
    if app is None:
        raise PageError("unknown client", "There is no application with this client ID.")
    return app


def _find_redirect(server: OAuth2Server, app: App, parameter: Callable[[str], str | None]) -> tuple[str, str | None]:
    """Return where the browser goes, and what the request says about it."""
    flavour, given = server.flavour, parameter("redirect_uri")
    if given is None:
        if flavour.redirect_is_optional and app.redirect_uris:
            return app.redirect_uris[0], None
        raise PageError("wrong redirect", "The request names no redirect URL.")
    if any(is_match(server.redirect_rule(app), registered, given) for registered in app.redirect_uris):
        if not is_well_formed(given):
            raise PageError("malformed redirect", "The redirect URL cannot be opened.", flavour.malformed_redirect_status)
        return given, given
    if flavour.wrong_redirect_goes_back and app.redirect_uris:
        description = "The redirect_uri must match the registered callback URL for this application."
        raise RedirectError(app.redirect_uris[0], "redirect_uri_mismatch", description, parameter("state"))
    if not is_well_formed(given):
        raise PageError("malformed redirect", "The redirect URL is not one.", flavour.malformed_redirect_status)
    raise PageError("wrong redirect", "The redirect URL is not registered for this application.")


def _check_scope(server: OAuth2Server, text: str | None) -> None:
    try:
        server.read_scopes(None, text)
    except ScopeError as exc:
        raise PageError("invalid scope", str(exc)) from exc
