"""The memory of one OAuth 2.0 server: its apps, grants and tokens, and the knobs that a test turns."""

import hmac
import uuid
from collections.abc import Callable, Sequence

from atl_sign.sandbox.oauth2.faults import Faults
from atl_sign.sandbox.oauth2.flavour import Flavour, RedirectRule, TokenShape
from atl_sign.sandbox.oauth2.records import AccessToken, App, Code, DeviceCode, Grant, Issued, RefreshToken
from atl_sign.sandbox.oauth2.redirects import check_registration
from atl_sign.sandbox.oauth2.scopes import read_scopes
from atl_sign.sandbox.oauth2.shapes import make_value, make_word

_HEX = "0123456789abcdef"
_CODE = TokenShape(length=40)


class OAuth2Server:
    """One server. Nothing here is thread-safe: who serves it answers one request at a time."""

    def __init__(self, flavour: Flavour, clock: Callable[[], float]) -> None:
        """Begin without apps; lives and errors are the flavour's, and may be changed at any time."""
        self.flavour = flavour
        self.clock = clock
        self.faults = Faults()
        self.errors = dict(flavour.errors)  # by case; see `RFC_ERRORS`
        self.access_token_life_s = flavour.access_token_life_s
        self.refresh_token_life_s = flavour.refresh_token_life_s
        self.code_life_s = flavour.code_life_s
        self.leeway_s = flavour.leeway_s
        self.grant_life_s = flavour.grant_life_s
        self.access_token_chars: int | None = None  # instead of the flavour's
        self.refresh_token_chars: int | None = None
        self.refreshes = 0  # the successful ones
        self.spent_refreshes = 0  # with a refresh token that has been replaced
        self.apps: dict[str, App] = {}
        self.grants: list[Grant] = []
        self.codes: dict[str, Code] = {}
        self.device_codes: dict[str, DeviceCode] = {}
        self.refresh_tokens: dict[str, RefreshToken] = {}
        self._access_tokens: dict[str, AccessToken] = {}

    @property
    def access_tokens(self) -> tuple[str, ...]:
        """The living access tokens, the oldest first."""
        return tuple(token.value for token in list(self._access_tokens.values()) if self.is_alive(token))

    def register_app(
        self,
        redirect_uris: Sequence[str],
        scopes: Sequence[str] = (),
        *,
        name: str = "atl-sign",
        kind: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        is_public: bool = False,
        has_device_flow: bool = True,
    ) -> App:
        """
        Register an app; one with the same client id goes first, with its tokens.

        Raises:
            ValueError: the server would not take it.
        """
        kind = next(iter(self.flavour.kinds)) if kind is None else kind
        if kind not in self.flavour.kinds:
            raise ValueError(f"kinds of apps are {', '.join(self.flavour.kinds)}")
        if is_public and "none" not in self.flavour.client_auth:
            raise ValueError(f"every app of {self.flavour.name} has a secret")
        for uri in redirect_uris:
            check_registration(self.flavour.registration, uri)
        unknown = [scope for scope in scopes if scope not in self.flavour.scopes.implied]
        if unknown:
            raise ValueError(f"no scope {unknown[0]}")
        secret = None if is_public else client_secret or make_word(64, _HEX)
        app = App(client_id or make_word(32, _HEX), secret, name, tuple(redirect_uris), tuple(scopes), kind, has_device_flow)
        self.remove_app(app.client_id)
        self.apps[app.client_id] = app
        return app

    def remove_app(self, client_id: str) -> None:
        """Remove an app, if it is there; its grants end."""
        app = self.apps.pop(client_id, None)
        for grant in self.grants:
            if grant.app is app:
                grant.has_ended = True

    def read_scopes(self, app: App | None, text: str | None) -> tuple[str, ...]:
        """Return the scopes of a request by *app*; raises ScopeError. Apps whose users grant none get none."""
        if app is not None and not self.flavour.kinds[app.kind].has_scopes:
            return ()
        return read_scopes(self.flavour.scopes, app, text)

    def redirect_rule(self, app: App) -> RedirectRule:
        """Return how redirect URIs of *app* are compared."""
        return self.flavour.kinds[app.kind].redirects or self.flavour.redirects

    def consent(self, app: App, user: str, scopes: tuple[str, ...]) -> Grant:
        """Note that *user* lets *app* have *scopes*: a new grant, or at some servers the old one, widened."""
        if self.flavour.shares_grant:
            grant = self.find_grant(app, user)
            if grant is not None:
                grant.scopes = tuple(dict.fromkeys(grant.scopes + scopes))
                return grant
        grant = Grant(str(uuid.uuid4()), app, user, scopes, self.clock())
        self.grants.append(grant)
        return grant

    def find_grant(self, app: App, user: str) -> Grant | None:
        """Return the living grant of *user* to *app*, or None."""
        return next((grant for grant in self.grants if grant.app is app and grant.user == user and self._lives(grant)), None)

    def add_code(
        self, grant: Grant, scopes: tuple[str, ...], redirect_uri: str | None, challenge: str | None, method: str
    ) -> Code:
        """Make the code that leads back to the app."""
        value = make_value(_CODE)
        self.codes[value] = Code(value, grant, scopes, redirect_uri, challenge, method, self.clock() + self.code_life_s)
        return self.codes[value]

    def issue(
        self,
        grant: Grant,
        scopes: tuple[str, ...],
        *,
        redirect_uri: str | None = None,
        is_from_device: bool = False,
        old: RefreshToken | None = None,
    ) -> Issued:
        """Make tokens; the refresh token is *old* where it does not rotate, and missing where there is none."""
        rule, now = self.flavour.kinds[grant.app.kind], self.clock()
        end = now + self.access_token_life_s if rule.expires else None
        access = AccessToken(make_value(rule.access, self.access_token_chars), grant, scopes, now, end, now)
        self._access_tokens[access.value] = access
        self._evict(access)
        if rule.refresh is None or not self._brings_refresh(scopes, is_from_device):
            return Issued(access, None)
        if old is not None and not self.flavour.rotates:
            return Issued(access, old)
        refresh_end = now + self.refresh_token_life_s if self.refresh_token_life_s is not None else None
        value = make_value(rule.refresh, self.refresh_token_chars)
        refresh = RefreshToken(value, access, redirect_uri, is_from_device, now, refresh_end)
        self.refresh_tokens[value] = refresh
        return Issued(access, refresh)

    def refresh(self, token: RefreshToken) -> Issued:
        """Make a successor of *token*, which must be alive."""
        if self.flavour.rotates and token.spent_at is None:
            token.spent_at = self.clock()
        if self.flavour.rotation_ends_access:
            token.access.has_ended = True
        # At a server with one grant per user, a refresh brings what the user has granted since, too.
        scopes = token.grant.scopes if self.flavour.shares_grant else token.access.scopes
        self.refreshes += 1
        return self.issue(token.grant, scopes, redirect_uri=token.redirect_uri, is_from_device=token.is_from_device, old=token)

    def can_refresh(self, token: RefreshToken) -> bool:
        """Tell whether *token* works."""
        now = self.clock()
        is_spent = token.spent_at is not None and now - token.spent_at >= self.leeway_s
        has_expired = token.expires_at is not None and now >= token.expires_at
        return self._lives(token.grant) and not (token.has_ended or is_spent or has_expired)

    def find_access(self, value: str) -> AccessToken | None:
        """Return the access token that *value* is, living or dead; None for another value."""
        given = value.encode()
        return next((token for key, token in self._access_tokens.items() if hmac.compare_digest(key.encode(), given)), None)

    def take_bearer(self, value: str) -> AccessToken | None:
        """Return the living access token that *value* is, and note that it was used; None when there is none."""
        token = self.find_access(value)
        if token is None or self.faults.ignores_bearers or not self.is_alive(token):
            return None
        token.used_at = self.clock()
        return token

    def is_alive(self, token: AccessToken) -> bool:
        """Tell whether *token* works."""
        return not token.has_ended and self._lives(token.grant) and not self.has_expired(token)

    def has_expired(self, token: AccessToken) -> bool:
        """Tell whether the time of *token* is over, revoked or not."""
        now, unused_life_s = self.clock(), self.flavour.unused_life_s
        if token.expires_at is None:
            return unused_life_s is not None and now - token.used_at >= unused_life_s
        return now >= token.expires_at

    def end_token(self, value: str) -> bool:
        """Revoke the access or refresh token that *value* is, a refresh token with its access token; tells whether it was one."""
        access, refresh = self.find_access(value), self.refresh_tokens.get(value)
        if refresh is not None:
            refresh.has_ended = refresh.access.has_ended = True
        if access is not None:
            access.has_ended = True
        return access is not None or refresh is not None

    def revoke_all(self) -> None:
        """End every grant, and with it every token."""
        for grant in list(self.grants):
            grant.has_ended = True

    def _lives(self, grant: Grant) -> bool:
        has_expired = self.grant_life_s is not None and self.clock() - grant.created_at >= self.grant_life_s
        return not (grant.has_ended or has_expired)

    def _brings_refresh(self, scopes: tuple[str, ...], is_from_device: bool) -> bool:
        offline, device = self.flavour.scopes.offline, self.flavour.device
        if is_from_device and device is not None and not device.has_refresh:
            return False
        return offline is None or offline in scopes

    def _evict(self, newest: AccessToken) -> None:
        """Let the oldest token of the same user, app and scopes die, where the server keeps only so many."""
        if self.flavour.tokens_max is None:
            return
        alike = [
            token
            for token in self._access_tokens.values()
            if token.grant.app is newest.grant.app
            and token.grant.user == newest.grant.user
            and set(token.scopes) == set(newest.scopes)
            and self.is_alive(token)
        ]
        for token in alike[: -self.flavour.tokens_max]:
            token.has_ended = True
