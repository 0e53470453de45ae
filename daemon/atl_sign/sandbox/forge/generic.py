"""A provider that follows the RFCs, with metadata, PKCE, `iss` and detection of reuse (facts oauth2 sections 10 and 12)."""

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.cloud.gate import make_scoped_routes
from atl_sign.sandbox.forge.kind import ForgeKind, leave_as_is, number_of
from atl_sign.sandbox.oauth2.bearers import take_bearer
from atl_sign.sandbox.oauth2.flavour import DAY_S, DeviceRule, Endpoints, Flavour, ScopeRule, TokenRule, TokenShape
from atl_sign.sandbox.oauth2.host import make_pages
from atl_sign.sandbox.wire import Answer, make_json

_REALM = 'Bearer realm="example"'
_GENERIC = Flavour(
    name="a generic provider",
    endpoints=Endpoints(
        authorize="/authorize",
        token="/token",  # noqa: S106 - an address
        revoke="/revoke",
        device="/device_authorization",
        device_page="/device",
        metadata=(
            "/.well-known/openid-configuration",
        ),  # `server` adds that of RFC 8414, whose path does not begin with the issuer's
    ),
    scopes=ScopeRule({"openid": (), "profile": (), "email": (), "read": (), "write": ("read",)}),
    kinds={"client": TokenRule(TokenShape(length=43), TokenShape(length=43))},
    redirects="any loopback IP port",
    client_auth=("basic", "body", "none"),
    refresh_token_life_s=30 * DAY_S,
    code_life_s=60.0,
    reuse_ends_grant=True,
    code_reuse_ends_grant=True,
    pkce_methods=("S256",),
    needs_pkce=True,
    refuses_lone_verifier=True,
    sends_iss=True,
    device=DeviceRule(life_s=1_800.0, checks_rate_first=False),
)


def make_error(status: int, message: str) -> Answer:
    """Return a refusal; a 401 has the challenge of RFC 6750."""
    found = make_json({"error": message}, status)
    return found.with_headers(("WWW-Authenticate", _REALM)) if status == 401 else found


def identify(call: Call) -> Answer | None:
    """Set the call's user by a bearer; a dead one is refused as RFC 6750 §3.1 has it."""
    if take_bearer(call) or call.verdict in ("anonymous", "bearer ignored"):
        return None
    description = "The access token expired" if call.verdict == "expired token" else "The access token is not valid"
    return _refuse(401, "invalid_token", description)


def show_user_info(call: Call) -> Answer:
    """Answer the claims of OpenID Connect; needs openid."""
    user = call.require_user()
    fields = {"sub": str(number_of(call)), "preferred_username": user.name, "name": user.full_name, "email": user.email}
    return _refuse_scope(call, "openid") or make_json(fields)


def show_user(call: Call) -> Answer:
    """Answer the user; needs read."""
    user = call.require_user()
    return _refuse_scope(call, "read") or make_json({"id": number_of(call), "name": user.name})


def add_note(call: Call) -> Answer:
    """Add nothing, successfully; needs write."""
    call.require_user()
    return _refuse_scope(call, "write") or make_json({"id": 1}, 201)


def _refuse_scope(call: Call, name: str) -> Answer | None:
    if call.has_scope(name):
        return None
    call.verdict = "scope missing"
    return _refuse(403, "insufficient_scope", "The access token lacks a scope", f', scope="{name}"')


def _refuse(status: int, error: str, description: str, more: str = "") -> Answer:
    found = make_json({"error": error, "error_description": description}, status)
    challenge = f'{_REALM}, error="{error}", error_description="{description}"{more}'
    return found.with_headers(("WWW-Authenticate", challenge))


GENERIC = ForgeKind(
    make_pages("generic", "Generic provider", "/login", _GENERIC, make_error),
    _GENERIC,
    make_scoped_routes(
        ("GET", "/userinfo", show_user_info, ("openid",)),
        ("GET", "/api/user", show_user, ("read",)),
        ("POST", "/api/notes", add_note, ("write",)),
    ),
    identify,
    leave_as_is,
    api_path="/api",
)
