"""Callers at Bitbucket Cloud: API tokens beside a name, and OAuth 2.0 tokens of consumers (facts oauth2 sections 4 and 5)."""

from atl_sign.sandbox.call import Call, Route
from atl_sign.sandbox.cloud.gate import accept, find_caller, has_scope, is_email, read_basic
from atl_sign.sandbox.git_backend import GitRefusalError
from atl_sign.sandbox.oauth2.bearers import take_bearer, take_grant
from atl_sign.sandbox.oauth2.scopes import include
from atl_sign.sandbox.state import User
from atl_sign.sandbox.wire import Answer, make_json, make_text

CHALLENGE = 'Basic realm="Bitbucket.org HTTP"'
GIT_USER = "x-bitbucket-api-token-auth"  # stands for the user of any API token
CONSUMER_GIT_USER = "x-token-auth"  # stands for the user of any access token
READ, WRITE = "read:repository:bitbucket", "write:repository:bitbucket"  # of API tokens; neither implies the other
REFUSED = "Token is invalid, expired, or not supported for this endpoint."
SCOPE_MISSING = "Your credentials lack one or more required privilege scopes."
_EXPIRED = "{} token expired. Use your refresh token to obtain a new access token."

_APP_PASSWORD = "ATBB"  # noqa: S105 - what an app password began with
# The names that consumers have for an API token's scopes; there `:write` includes reading.
_CONSUMER_SCOPES = {"read:user:bitbucket": "account", READ: "repository", WRITE: "repository:write"}


def user_name(user: User) -> str:
    """Return the Bitbucket user name of *user*, which is neither the e-mail address nor the full name."""
    return user.email.partition("@")[0]


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in Bitbucket Cloud's shape."""
    return make_json({"type": "error", "error": {"message": message}}, status)


def identify(call: Call) -> Answer | None:
    """Set the call's user: by a consumer's token, or by a scoped API token beside its owner's e-mail; returns the refusal."""
    if take_bearer(call):
        return None
    if call.verdict == "expired token" and call.site.oauth2 is not None:
        return make_error(401, _EXPIRED.format("OAuth2 access" if call.site.oauth2.flavour.rotates else "Access"))
    if call.verdict == "bearer ignored":
        return None
    if call.verdict == "anonymous":
        token = find_caller(call, is_email)
        if token is not None and not token.permissions:
            call.verdict, token = "token without scopes", None
        if token is not None:
            accept(call, token)
    return make_error(401, REFUSED) if call.user is None and call.verdict != "anonymous" else None


def refuse_scope(call: Call, route: Route) -> Answer | None:
    """Return the 403 when the call's token lacks the scope of *route*, or None."""
    if call.grant is not None:
        required = [_CONSUMER_SCOPES[scope] for scope in route.scopes]
        granted, is_missing = call.grant.scopes, not any(call.has_scope(scope) for scope in required)
    else:
        required, is_missing = list(route.scopes), not has_scope(call, route)
        granted = tuple(call.token.permissions) if call.token is not None else ()
    if not is_missing:
        return None
    call.verdict = "scope missing"
    detail = {"required": required, "granted": sorted(granted)}
    return make_json({"type": "error", "error": {"message": SCOPE_MISSING, "detail": detail}}, 403)


def identify_git(call: Call) -> None:
    """Set the call's user; raises GitRefusalError: 410 for an app password, 401 for everything else that is wrong."""
    basic = read_basic(call)
    if basic is not None and basic[1].startswith(_APP_PASSWORD):
        call.verdict = "app password"
        raise GitRefusalError(make_text("App passwords have been removed.\n", 410))
    if take_bearer(call) or (basic is not None and basic[0] == CONSUMER_GIT_USER and take_grant(call, basic[1])):
        return
    if call.verdict == "anonymous":
        token = find_caller(call, lambda name, user: name in (GIT_USER, user_name(user)))
        if token is not None and not token.permissions:
            call.verdict, token = "token without scopes", None
        if token is not None:
            accept(call, token)
    if call.user is None and call.verdict not in ("anonymous", "bearer ignored"):
        raise unauthorized()


def lacks_git_scope(call: Call, *, is_write: bool, is_public: bool) -> bool:
    """Tell whether the call's token, if there is one, may not read or write the repository."""
    needed = WRITE if is_write else READ
    if call.grant is not None:
        allowed = include(call.site.oauth2.flavour.scopes, call.grant.scopes) if call.site.oauth2 is not None else ()
        return _CONSUMER_SCOPES[needed] not in allowed and (is_write or not is_public)
    return call.token is not None and needed not in call.token.permissions


def unauthorized() -> GitRefusalError:
    """Return git's 401."""
    return GitRefusalError(make_text("Authentication failed\n", 401).with_headers(("WWW-Authenticate", CHALLENGE)))
