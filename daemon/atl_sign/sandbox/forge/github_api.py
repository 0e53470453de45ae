"""GitHub's API: who am I, e-mail addresses, a repository, and the ends of tokens (facts oauth2 section 8)."""

from typing import Any

from atl_sign.sandbox.call import Call, RefusalError, Route, make_routes, text_field
from atl_sign.sandbox.cloud.gate import make_scoped_routes, read_basic
from atl_sign.sandbox.forge.git import find_repository
from atl_sign.sandbox.forge.kind import number_of
from atl_sign.sandbox.oauth2.bearers import take_bearer
from atl_sign.sandbox.oauth2.client_request import ClientRefusalError, ClientRequest, authenticate
from atl_sign.sandbox.oauth2.pages import find_server
from atl_sign.sandbox.oauth2.records import AccessToken
from atl_sign.sandbox.wire import Answer, make_json

_HELP = "https://docs.github.com/rest"
_BY_APP = "/applications/"


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in GitHub's shape."""
    words = {401: "Requires authentication", 404: "Not Found"}
    return make_json({"message": words.get(status, message), "documentation_url": _HELP, "status": str(status)}, status)


def identify(call: Call) -> Answer | None:
    """Set the call's user by a bearer; a dead one is refused."""
    if call.path.startswith(_BY_APP) or take_bearer(call, "token") or call.verdict in ("anonymous", "bearer ignored"):
        return None
    return make_json({"message": "Bad credentials", "documentation_url": _HELP, "status": "401"}, 401)


def finish(call: Call, found: Answer) -> Answer:
    """Add the scopes that an OAuth app's token has, and those that the call accepts."""
    if call.grant is None or not _grants_scopes(call):
        return found
    needed = next((route.scopes for route in API_ROUTES if route.pattern.fullmatch(call.path)), ())
    return found.with_headers(
        ("X-OAuth-Scopes", ", ".join(call.grant.scopes)),
        ("X-Accepted-OAuth-Scopes", ", ".join(needed)),
        ("X-OAuth-Client-Id", call.grant.grant.app.client_id),
    )


def show_user(call: Call) -> Answer:
    """Answer the user, without any scope."""
    user = call.require_user()
    return make_json({"login": user.name, "id": number_of(call), "type": "User", "name": user.full_name, "email": None})


def list_emails(call: Call) -> Answer:
    """Answer the user's addresses; without the scope they do not exist, and a GitHub App has no such permission."""
    user = call.require_user()
    if not _grants_scopes(call):
        call.verdict = "permission missing"
        found = make_json({"message": "Resource not accessible by integration", "documentation_url": _HELP, "status": "403"}, 403)
        return found.with_headers(("X-Accepted-GitHub-Permissions", "emails=read"))
    _require_scope(call, "user:email", 404)
    return make_json([{"email": user.email, "primary": True, "verified": True, "visibility": "private"}])


def show_repository(call: Call) -> Answer:
    """Answer a repository; a private one does not exist without the scope."""
    found = find_repository(call, call.groups["owner"], call.groups["name"])
    is_public = found is not None and found[1].is_public
    if found is None or (not is_public and call.user is None):
        raise RefusalError(404, "Not Found")
    if not is_public:
        _require_scope(call, "repo", 404)
    name = f"{found[0].key.lower()}/{found[1].slug}"
    return make_json(
        {"name": found[1].slug, "full_name": name, "private": not is_public, "clone_url": call.link_to(f"/{name}.git")}
    )


def star_repository(call: Call) -> Answer:
    """Star a public repository; without the scope it is a 403."""
    call.require_user()
    _require_scope(call, "public_repo", 403)
    return Answer(204)


def delete_token(call: Call) -> Answer:
    """Revoke one token of the app that calls."""
    token = _find_app_token(call)
    token.has_ended = True
    for refresh in find_server(call).refresh_tokens.values():
        if refresh.access is token:
            refresh.has_ended = True
    call.verdict = "revoked"
    return Answer(204)


def delete_grant(call: Call) -> Answer:
    """Revoke a user's whole grant to the app that calls, by one of its tokens."""
    _find_app_token(call).grant.has_ended = True
    call.verdict = "grant revoked"
    return Answer(204)


def revoke_credentials(call: Call) -> Answer:
    """Revoke any tokens, by anybody who has them; a caller with credentials is refused."""
    if call.request.header("authorization") is not None:
        raise RefusalError(403, "This endpoint does not support authentication.")
    values = call.read_json().get("credentials")
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise RefusalError(422, "Validation Failed")
    for value in values:
        find_server(call).end_token(value)
    call.verdict = "revoked"
    return make_json({}, 202)


def _grants_scopes(call: Call) -> bool:
    return call.grant is not None and find_server(call).flavour.kinds[call.grant.grant.app.kind].has_scopes


def _require_scope(call: Call, name: str, status: int) -> None:
    if _grants_scopes(call) and not call.has_scope(name):
        call.verdict = "scope missing"
        raise RefusalError(status, "Must have the right scope.")


def _find_app_token(call: Call) -> AccessToken:
    """Return the living token that the body names, of the app that Basic authenticates; raises RefusalError."""
    server, basic = find_server(call), read_basic(call)
    try:
        app = authenticate(server, ClientRequest({}, basic[0] if basic else None, basic[1] if basic else None))
    except ClientRefusalError:
        raise RefusalError(401, "Requires authentication") from None
    if app.client_id != call.groups["client_id"]:
        raise RefusalError(404, "Not Found")
    fields: dict[str, Any] = call.read_json()
    token = server.find_access(text_field(fields, "access_token"))
    if token is None or token.grant.app is not app or not server.is_alive(token):
        raise RefusalError(422, "Validation Failed")
    return token


API_ROUTES: tuple[Route, ...] = make_scoped_routes(
    ("GET", "/user", show_user, ()),
    ("GET", "/user/emails", list_emails, ("user:email", "user")),
    ("GET", "/repos/{owner}/{name}", show_repository, ("repo",)),
    ("PUT", "/user/starred/{owner}/{name}", star_repository, ("public_repo", "repo")),
    ("DELETE", "/applications/{client_id}/token", delete_token, ()),
    ("DELETE", "/applications/{client_id}/grant", delete_grant, ()),
)
REVOKE_ROUTES = make_routes(("POST", "/credentials/revoke", revoke_credentials))
