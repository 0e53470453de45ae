"""Callers who bring an access token, at providers that are not one of the four products."""

from atl_sign.sandbox.call import Call


def take_bearer(call: Call, *schemes: str) -> bool:
    """
    Set the call's user and grant if it brings a living token; returns whether it does.

    Args:
        call: its verdict becomes "bearer refused" (unknown), "expired token", "wrong token" (revoked, or its user is inactive)
            or "bearer ignored" (by a fault) when there is a token which does not live.
        schemes: further ones that mean the same as Bearer, in lower case.
    """
    scheme, _, value = (call.request.header("authorization") or "").partition(" ")
    return scheme.lower() in ("bearer", *schemes) and take_grant(call, value.strip())


def take_grant(call: Call, value: str) -> bool:
    """Set the call's user and grant if *value* is a living token; returns whether it is, and the verdict says why not."""
    server = call.site.oauth2
    if server is None:
        return False
    known, token = server.find_access(value), server.take_bearer(value)
    user = call.state.find_user(token.grant.user) if token is not None else None
    if user is not None:
        call.user, call.grant, call.verdict = user, token, "oauth2"
    elif server.faults.ignores_bearers:
        call.verdict = "bearer ignored"
    elif known is None:
        call.verdict = "bearer refused"
    else:
        call.verdict = "expired token" if server.has_expired(known) and not known.has_ended else "wrong token"
    return user is not None
