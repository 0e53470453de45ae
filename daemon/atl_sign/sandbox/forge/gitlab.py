"""GitLab: Doorkeeper's OAuth 2.0, and a few calls of its API (facts oauth2 section 9)."""

from collections.abc import Mapping

from atl_sign.sandbox.call import Call, RefusalError
from atl_sign.sandbox.cloud.gate import make_scoped_routes
from atl_sign.sandbox.forge.kind import ForgeKind, GitRule, leave_as_is, number_of
from atl_sign.sandbox.oauth2.bearers import take_bearer
from atl_sign.sandbox.oauth2.flavour import (
    RFC_ERRORS,
    AnswerRule,
    DeviceRule,
    Endpoints,
    Flavour,
    ScopeRule,
    TokenError,
    TokenRule,
    TokenShape,
)
from atl_sign.sandbox.oauth2.host import make_pages
from atl_sign.sandbox.oauth2.pages import find_server
from atl_sign.sandbox.wire import Answer, make_json

_GRANT = TokenError(
    400,
    "invalid_grant",
    "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the "
    "authorization request, or was issued to another client.",
)
_CLIENT = TokenError(
    401,
    "invalid_client",
    "Client authentication failed due to unknown client, no client authentication included, or unsupported "
    "authentication method.",
)
_GRANT_CASES = (
    "unknown code",
    "expired code",
    "used code",
    "foreign code",
    "wrong redirect",
    "unregistered redirect",
    "wrong verifier",
    "dead refresh token",
    "unknown device code",
)
_ERRORS: Mapping[str, TokenError] = {
    **RFC_ERRORS,
    **dict.fromkeys(("missing client", "unknown client", "wrong secret"), _CLIENT),
    **dict.fromkeys(_GRANT_CASES, _GRANT),
}
_DEAD = {
    "expired token": "Token is expired. You can either do re-authorization or token refresh.",
    "wrong token": "Token was revoked. You have to re-authorize from the user.",
    "bearer refused": "Bad Access Token.",
}

_GITLAB = Flavour(
    name="GitLab",
    endpoints=Endpoints(
        authorize="/oauth/authorize",
        token="/oauth/token",  # noqa: S106 - an address
        revoke="/oauth/revoke",
        device="/oauth/authorize_device",
        device_page="/oauth/device",
        metadata=("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
    ),
    scopes=ScopeRule(
        {
            "api": ("read_api",),
            "read_api": ("read_user",),
            "read_user": (),
            "write_repository": ("read_repository",),
            "read_repository": (),
            "openid": (),
            "profile": (),
            "email": (),
        }
    ),
    kinds={"application": TokenRule(TokenShape(length=64), TokenShape(length=64))},
    redirects="any loopback IP port",
    errors=_ERRORS,
    answer=AnswerRule(extra=("created_at",), challenge='Bearer realm="Doorkeeper"'),
    client_auth=("basic", "body", "none"),
    bodies=("form", "json"),
    access_token_life_s=7_200.0,
    rotation_ends_access=True,
    refresh_needs_redirect=True,
    denied_description="The resource owner or authorization server denied the request.",
    device=DeviceRule(life_s=300.0, has_refresh=False),
    device_needs_no_secret=True,
)


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in GitLab's shape."""
    words = {401: "401 Unauthorized", 404: "404 Not Found"}
    return make_json({"message": words.get(status, message)}, status)


def identify(call: Call) -> Answer | None:
    """Set the call's user by a bearer; a dead one is refused with the reason."""
    if take_bearer(call) or call.verdict in ("anonymous", "bearer ignored"):
        return None
    description = _DEAD[call.verdict]
    challenge = f'Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="{description}"'
    found = make_json({"error": "invalid_token", "error_description": description}, 401)
    return found.with_headers(("WWW-Authenticate", challenge))


def show_user(call: Call) -> Answer:
    """Answer the user; needs read_user."""
    user = call.require_user()
    refusal = _refuse_scope(call, "read_user")
    fields = {"id": number_of(call), "username": user.name, "name": user.full_name, "state": "active", "email": user.email}
    return refusal or make_json(fields)


def list_projects(call: Call) -> Answer:
    """Answer two projects; needs read_api."""
    call.require_user()
    projects = [{"id": number, "path_with_namespace": f"acme/{name}"} for number, name in enumerate(("shop", "docs"), 1)]
    return _refuse_scope(call, "read_api") or make_json(projects)


def create_issue(call: Call) -> Answer:
    """Create nothing, successfully; needs api."""
    call.require_user()
    return _refuse_scope(call, "api") or make_json({"iid": 1, "title": call.request.parameter("title")}, 201)


def show_token_info(call: Call) -> Answer:
    """Answer what a token is good for; 401 to nobody."""
    token = call.grant
    if token is None:
        raise RefusalError(401, "Unauthorized")
    now = find_server(call).clock()
    return make_json(
        {
            "resource_owner_id": number_of(call),
            "scope": list(token.scopes),
            "expires_in": round(token.expires_at - now) if token.expires_at is not None else None,
            "application": {"uid": token.grant.app.client_id},
            "created_at": int(token.created_at),
        }
    )


def _refuse_scope(call: Call, name: str) -> Answer | None:
    """Return the 403 when the scope *name* is missing; it comes without WWW-Authenticate."""
    if call.has_scope(name):
        return None
    call.verdict = "scope missing"
    description = "The request requires higher privileges than provided by the access token."
    return make_json({"error": "insufficient_scope", "error_description": description, "scope": name}, 403)


GITLAB = ForgeKind(
    make_pages("gitlab", "GitLab", "/users/sign_in", _GITLAB, make_error),
    _GITLAB,
    make_scoped_routes(
        ("GET", "/api/v4/user", show_user, ("read_user",)),
        ("GET", "/api/v4/projects", list_projects, ("read_api",)),
        ("POST", "/api/v4/projects/{id}/issues", create_issue, ("api",)),
        ("GET", "/oauth/token/info", show_token_info, ()),
    ),
    identify,
    leave_as_is,
    api_path="/api/v4",
    git=GitRule('Basic realm="GitLab"', ("read_repository", "api"), ("write_repository", "api"), 403),
)
