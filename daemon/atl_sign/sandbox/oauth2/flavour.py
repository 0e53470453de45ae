"""A flavour: everything in which one OAuth 2.0 server differs from the others, as data (facts oauth2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DAY_S = 86_400.0

ClientAuthentication = Literal["basic", "body", "none"]
Body = Literal["form", "json", "query"]
# How a redirect URI of a request compares with a registered one; `redirects` has the rules.
RedirectRule = Literal["exact", "prefix", "below", "any loopback port", "any loopback IP port"]
RegistrationRule = Literal["any", "https or localhost"]


@dataclass(frozen=True, slots=True)
class TokenError:
    """The token endpoint's refusal in one case."""

    status: int
    error: str
    description: str = ""
    uri: str = ""
    fields: Mapping[str, object] | None = None  # the whole JSON body, where it is not one of RFC 6749


# The cases by name, as RFC 6749 and RFC 8628 have them. A flavour overrides what its server does differently.
RFC_ERRORS: Mapping[str, TokenError] = {
    "bad body": TokenError(400, "invalid_request", "The body must be form-encoded."),
    "missing parameter": TokenError(400, "invalid_request", "A parameter is missing."),
    "unsupported grant type": TokenError(400, "unsupported_grant_type", "The grant type is not supported."),
    "missing client": TokenError(401, "invalid_client", "The client is not authenticated."),
    "unknown client": TokenError(401, "invalid_client", "The client is unknown."),
    "wrong secret": TokenError(401, "invalid_client", "The client is not authenticated."),
    "invalid scope": TokenError(400, "invalid_scope", "The scope is unknown or exceeds what the client may have."),
    "unknown code": TokenError(400, "invalid_grant", "The code is unknown."),
    "expired code": TokenError(400, "invalid_grant", "The code has expired."),
    "used code": TokenError(400, "invalid_grant", "The code was used already."),
    "foreign code": TokenError(400, "invalid_grant", "The code belongs to another client."),
    "wrong redirect": TokenError(400, "invalid_grant", "The redirect URI is another one."),
    "unregistered redirect": TokenError(400, "invalid_grant", "The redirect URI is not registered any more."),
    "wrong verifier": TokenError(400, "invalid_grant", "The code verifier is wrong."),
    "dead refresh token": TokenError(400, "invalid_grant", "The refresh token is expired, revoked or unknown."),
    "authorization pending": TokenError(400, "authorization_pending"),
    "slow down": TokenError(400, "slow_down"),
    "expired device code": TokenError(400, "expired_token"),
    "denied device code": TokenError(400, "access_denied"),
    "unknown device code": TokenError(400, "invalid_grant", "The device code is unknown."),
    "device flow disabled": TokenError(400, "unauthorized_client"),
}


@dataclass(frozen=True, slots=True)
class TokenShape:
    """How a token looks: as a JWT that nobody can read anything from, or as random letters and digits."""

    prefix: str = ""
    is_jwt: bool = False
    length: int = 40  # in characters; a JWT has at least some 200


@dataclass(frozen=True, slots=True)
class TokenRule:
    """The tokens of one kind of app."""

    access: TokenShape
    refresh: TokenShape | None  # None: there are no refresh tokens
    expires: bool = True
    has_scopes: bool = True  # whether its users grant scopes at all
    redirects: RedirectRule | None = None  # other than the server's


@dataclass(frozen=True, slots=True)
class ScopeRule:
    """The scopes of a server, and how they are written."""

    implied: Mapping[str, tuple[str, ...]]  # every known scope, with those that it directly includes
    separators: str = " "  # between the scopes of a request
    is_single: bool = False  # whether a request names exactly one
    is_needed: bool = False  # whether a request must name some; otherwise `default` counts
    default: Literal["app", "none"] = "app"  # those of a request that names none: all of the app's, or none
    ignores_unknown: bool = False
    normalizes: bool = False  # whether scopes that others include are dropped
    offline: str | None = None  # the scope that brings a refresh token; None: there always is one


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The paths of a server, below its base URL; None for what it does not have."""

    authorize: str
    token: str
    consent: str | None = None  # where the authorization endpoint sends the browser; None: it shows the page itself
    revoke: str | None = None
    device: str | None = None
    device_page: str | None = None
    metadata: tuple[str, ...] = ()
    version: str = "latest"  # what stands for {version} where an address is given away


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """How the token endpoint writes what it answers."""

    token_type: str = "bearer"  # noqa: S105 - a word
    scope_field: str = "scope"
    scope_separator: str = " "
    is_form: bool = False  # whether it is form-encoded unless the caller accepts JSON
    extra: tuple[str, ...] = ()  # of created_at, refresh_token_expires_in, and state
    challenge: str | None = None  # begins the WWW-Authenticate of every error


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """The device flow of a server (RFC 8628)."""

    life_s: float = 900.0
    interval_s: float = 5.0
    has_complete_uri: bool = True
    has_refresh: bool = True
    checks_rate_first: bool = True  # whether a poll that comes too early fails even when the user has approved
    tells_interval: bool = False  # whether slow_down comes with the new interval


@dataclass(frozen=True, slots=True, eq=False)
class Flavour:
    """One OAuth 2.0 server. Lives are only the initial ones: a test may change them at the server."""

    name: str
    endpoints: Endpoints
    scopes: ScopeRule
    kinds: Mapping[str, TokenRule]  # by kind of app, the usual one first
    redirects: RedirectRule
    errors: Mapping[str, TokenError] = field(default_factory=lambda: RFC_ERRORS)
    answer: AnswerRule = AnswerRule()
    registration: RegistrationRule = "any"
    client_auth: tuple[ClientAuthentication, ...] = ("body",)
    bodies: tuple[Body, ...] = ("form",)
    usual_grant_type: str | None = None  # of a request that names none
    # Lives.
    access_token_life_s: float = 3_600.0
    refresh_token_life_s: float | None = None
    code_life_s: float = 600.0
    leeway_s: float = 0.0  # for how long a spent refresh token works on
    grant_life_s: float | None = None  # absolute, from the first consent
    unused_life_s: float | None = None  # of an access token that does not expire
    # Refreshing.
    rotates: bool = True
    rotation_ends_access: bool = False  # whether the old access token dies with the old refresh token
    reuse_ends_grant: bool = False  # whether a dead refresh token that comes again takes its family with it
    refresh_needs_redirect: bool = False
    # Codes and consent.
    code_reuse_ends_grant: bool = False
    checks_grant_first: bool = False  # whether code and refresh token are looked at before the client's secret
    checks_before_login: bool = False  # whether client, redirect and scope are looked at before somebody logs in
    shares_grant: bool = False  # whether a second consent of a user widens the first one
    remembers_consent: bool = False  # whether the page is skipped when nothing new is asked for
    redirect_is_optional: bool = False
    malformed_redirect_status: int = 400
    checks_scope_first: bool = False  # whether a bad scope is reported even when the client is unknown
    denied_description: str = "The user denied access."
    wrong_redirect_goes_back: bool = False  # whether a wrong redirect URI is reported to the registered one
    authorize_needs: Mapping[str, str] = field(default_factory=dict)  # further parameters, with the value that is needed
    pkce_methods: tuple[str, ...] = ("S256", "plain")  # none: the parameters are ignored
    needs_pkce: bool = False
    refuses_lone_verifier: bool = False
    sends_iss: bool = False  # RFC 9207
    # The rest.
    device: DeviceRule | None = None
    device_needs_no_secret: bool = False  # whether the device flow and its refresh tokens work without the secret
    tokens_max: int | None = None  # of one user, app and set of scopes; then the oldest dies
