"""The records of an OAuth 2.0 server: apps, grants, codes and tokens. Secrets hide themselves in repr."""

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class App:
    """A registered client."""

    client_id: str
    client_secret: str | None = field(repr=False)  # None: a public client
    name: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]  # what it may ask for
    kind: str
    has_device_flow: bool = True


@dataclass(slots=True, eq=False)
class Grant:
    """One user's consent to one app; every token that comes of it dies with it."""

    id: str
    app: App
    user: str
    scopes: tuple[str, ...]
    created_at: float
    has_ended: bool = False


@dataclass(slots=True, eq=False)
class Code:
    """An authorization code."""

    value: str = field(repr=False)
    grant: Grant
    scopes: tuple[str, ...]
    redirect_uri: str | None  # as the request had it
    challenge: str | None
    method: str
    expires_at: float
    is_used: bool = False


@dataclass(slots=True, eq=False)
class AccessToken:
    """An access token, living or dead."""

    value: str = field(repr=False)
    grant: Grant
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    used_at: float
    has_ended: bool = False


@dataclass(slots=True, eq=False)
class RefreshToken:
    """A refresh token, living or dead, and the access token that came along with it."""

    value: str = field(repr=False)
    access: AccessToken
    redirect_uri: str | None  # of the dance
    is_from_device: bool
    created_at: float
    expires_at: float | None
    spent_at: float | None = None  # when it was first exchanged, at a server that rotates
    has_ended: bool = False

    @property
    def grant(self) -> Grant:
        """The consent that it comes of."""
        return self.access.grant


@dataclass(frozen=True, slots=True)
class Issued:
    """The tokens of one answer."""

    access: AccessToken
    refresh: RefreshToken | None


@dataclass(slots=True, eq=False)
class DeviceCode:
    """A device flow under way."""

    value: str = field(repr=False)
    user_code: str = field(repr=False)
    app: App
    scopes: tuple[str, ...]
    expires_at: float
    interval_s: float
    polled_at: float | None = None
    decision: str | None = None  # "approved" or "denied", once the user has decided
    user: str = ""
