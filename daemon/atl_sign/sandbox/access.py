"""The caller, and whether a POST may pass: session, OAuth, password or token, then the XSRF filter (facts sections 3 and 6)."""

import re
from base64 import b64decode
from urllib.parse import urlsplit

from atl_sign.sandbox.call import Call, RefusalError
from atl_sign.sandbox.oauth2.shapes import is_jwt
from atl_sign.sandbox.parameters import parse_authorization
from atl_sign.sandbox.problems import OAuthProblemError
from atl_sign.sandbox.verify import OAuthMessage, make_base_uri, verify
from atl_sign.sandbox.wire import FORM, Answer, make_text

SESSION_COOKIE = "JSESSIONID"
# These verify by themselves: a request token is not an access token.
_OWN_CHECKS = ("/plugins/servlet/oauth/request-token", "/plugins/servlet/oauth/access-token")
# These read only the form: neither a password nor the marks of a forged request.
_OAUTH2_CALL = re.compile(r"/rest/oauth2/[^/]+/(?:token|revoke)")
_UNFILTERED_AGENTS = ("WebDAVFS/", "Microsoft-WebDAV-MiniRedir/")
_BROWSER = re.compile(r"\b(?:Mozilla|Opera)/")
_XSRF_TYPES = ("", FORM, "multipart/form-data", "text/plain")


class LoginNeededError(Exception):
    """The caller is sent to the login page."""


def identify(call: Call) -> None:
    """
    Set the call's user, session and verdict.

    Raises:
        LoginNeededError: a token where tokens do not work.
        OAuthProblemError: it is OAuth, and refused.
        RefusalError: a password or token that is wrong, or a user who may not log in.
        ServerThrowsError: the real server would throw while it checks the signature.
    """
    if _is_oauth2_call(call) or take_session(call):
        return
    agent = call.request.header("user-agent") or ""
    if call.path not in _OWN_CHECKS and not agent.startswith(_UNFILTERED_AGENTS):
        message = make_message(call)
        if message.is_access_attempt:
            _take_signature(call, message)
            return
    scheme, _, credentials = (call.request.header("authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        _take_password(call, credentials)
    elif scheme == "Bearer":
        _take_bearer(call, credentials.strip())


def make_message(call: Call) -> OAuthMessage:
    """Return what is verified of the request: the parameters of header, query and form, and the URL as the server sees it."""
    request = call.request
    header = tuple(pair for name, value in request.headers if name == "authorization" for pair in parse_authorization(value))
    if call.site.signed_base is not None:
        base_uri = call.site.signed_base + request.path[len(call.site.context_path) :]
    else:
        base_uri = make_base_uri("http", request.authority, request.path)
    return OAuthMessage(request.method, base_uri, header + request.query + request.form)


def check_signature(call: Call, message: OAuthMessage) -> None:
    """
    Return when *message* is signed by the consumer that it names.

    Raises:
        OAuthProblemError: it is not.
        ServerThrowsError: as `identify`.
    """
    (consumer_key,) = message.require("oauth_consumer_key")
    consumer = call.state.find_consumer(consumer_key)
    if consumer is None:
        raise OAuthProblemError("consumer_key_unknown")
    verify(message, consumer.public_key, call.state.nonces, call.state.clock())
    if not consumer.is_three_legged:
        raise OAuthProblemError("permission_denied")
    call.verdict = "signed"


def refuse_xsrf(call: Call) -> Answer | None:
    """Return the XSRF filter's 403, or None when the request may pass. Only a POST to REST is filtered."""
    request = call.request
    if request.method != "POST" or not call.path.startswith("/rest/") or _is_oauth2_call(call):
        return None
    is_foreign = _BROWSER.search(request.header("user-agent") or "") is not None and not _has_own_origin(call)
    lacks_token = request.media_type in _XSRF_TYPES and (request.header("x-atlassian-token") or "").lower() not in (
        "no-check",
        "nocheck",
    )
    return make_text("XSRF check failed", 403) if is_foreign or lacks_token else None


def check_scope(call: Call) -> None:
    """Return if the caller's OAuth 2.0 token, if there is one, has the scope that the call needs; raises RefusalError (403)."""
    kind = call.site.product.oauth2
    if call.grant is None or kind is None:
        return
    if kind.find_missing_scope(call.request.method, call.path, call.grant.scopes) is not None:
        call.verdict = "scope missing"
        raise RefusalError(403, "You are not permitted to perform this operation.")


def find_session(call: Call) -> str | None:
    """Return the session id that the request's cookie names, or None."""
    for part in (call.request.header("cookie") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == SESSION_COOKIE:
            return value
    return None


def take_session(call: Call) -> bool:
    session = call.state.sessions.get(find_session(call) or "")
    user = call.state.find_user(session.user) if session is not None else None
    if session is None or user is None:
        return False
    call.user, call.session, call.verdict = user, session, "session"
    return True


def _take_signature(call: Call, message: OAuthMessage) -> None:
    key = message.get("oauth_token")
    if not key:  # two-legged OAuth, which no consumer here is allowed
        check_signature(call, message)
        call.verdict = "two-legged"
        raise RefusalError(401, "Two-legged OAuth is not allowed.")
    token = call.state.access_tokens.get(key)
    if token is None or token.consumer_key != message.get("oauth_consumer_key"):
        raise OAuthProblemError("token_rejected")
    if token.expires_at <= call.state.clock():
        raise OAuthProblemError("token_expired")
    check_signature(call, message)
    call.user = call.state.find_user(token.user)
    if call.user is None:
        call.verdict = "no login"
        raise RefusalError(401, "The user may not log in.")


def _take_password(call: Call, credentials: str) -> None:
    try:
        name, _, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        raise RefusalError(401, "The user name and password cannot be read.") from None
    if _accepts_token_as_password(call) and take_token(call, password) and call.user is not None and call.user.name == name:
        return  # a token needs its owner's name beside it
    call.token = None
    if call.state.needs_captcha(name):
        call.verdict = "captcha"
        where = f"CAPTCHA_CHALLENGE; login-url={call.link_to(call.site.product.login_path)}"
        reason = ("X-Authentication-Denied-Reason", where)
        raise RefusalError(403, "Log in with a CAPTCHA first.", reason, ("X-Seraph-LoginReason", "AUTHENTICATION_DENIED"))
    call.user, call.verdict = call.state.check_password(name, password), "basic"
    if call.user is None:
        call.verdict = "wrong password"
        raise RefusalError(401, "The user name or password is wrong.", ("X-Seraph-LoginReason", "AUTHENTICATED_FAILED"))


def _accepts_token_as_password(call: Call) -> bool:
    product = call.site.product
    return product.has_tokens and product.tokens.is_password and not (product.confines_tokens and _is_outside_rest(call))


def _take_bearer(call: Call, secret: str) -> None:
    product = call.site.product
    if not product.has_tokens and not product.has_oauth2:  # such a version does not know the scheme
        return
    if product.confines_tokens and _is_outside_rest(call):
        call.verdict = "bearer outside REST"
        raise LoginNeededError
    if take_grant(call, secret) or (product.has_tokens and take_token(call, secret)):
        return
    call.verdict = "wrong token"
    if not is_ignored_when_wrong(call, secret):
        raise RefusalError(401, "The token is not valid.")


def take_token(call: Call, secret: str) -> bool:
    """Set the call's user and token if *secret* is a living token of a user who may log in; returns whether it is."""
    token = call.state.tokens.find(secret, call.state.clock())
    user = call.state.find_user(token.user) if token is not None else None
    if user is None:
        return False
    call.user, call.token, call.verdict = user, token, "bearer"
    return True


def take_grant(call: Call, value: str) -> bool:
    """Set the call's user and grant if *value* is a living OAuth 2.0 token of a user who may log in; returns whether it is."""
    token = call.site.oauth2.take_bearer(value) if call.site.oauth2 is not None else None
    user = call.state.find_user(token.grant.user) if token is not None else None
    if user is None:
        return False
    call.user, call.grant, call.verdict = user, token, "oauth2"
    return True


def is_ignored_when_wrong(call: Call, secret: str) -> bool:
    """Tell whether a wrong token makes the caller anonymous: always when it could be one of OAuth 2.0."""
    return call.site.product.tokens.is_ignored_when_wrong or (call.site.oauth2 is not None and is_jwt(secret))


def _is_oauth2_call(call: Call) -> bool:
    return call.site.oauth2 is not None and _OAUTH2_CALL.fullmatch(call.path) is not None


def _is_outside_rest(call: Call) -> bool:
    return not call.path.startswith(("/rest/", "/scm/"))


def _has_own_origin(call: Call) -> bool:
    own = urlsplit(call.site.base_url)
    here = call.request.authority.decode("latin-1").lower()
    try:
        origin = urlsplit(call.request.header("origin") or call.request.header("referer") or "")
    except ValueError:
        return False
    return (origin.scheme, origin.netloc.lower()) in (("http", here), (own.scheme, own.netloc.lower()))
