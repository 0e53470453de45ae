"""Credentials as values that hide themselves: secrets, the client, a grant, and git's tokens."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol, final

GitPermission = Literal["read", "write"]
StoreState = Literal["ready", "locked", "unavailable"]  # of where credentials are kept

_CLOCK_STEP = timedelta(minutes=1)  # by less a clock is only corrected


@final
class Secret:
    """A text that shows itself only where `reveal()` is called: not in a repr, a log, a traceback or a comparison's error."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Wrap *text*."""
        self._text = text

    def reveal(self) -> str:
        """Return the text; call it on the line that uses it, and keep the result nowhere."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return "<secret>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


@final
class Passphrase:
    """The passphrase of the store's file: in a buffer that can be overwritten; hides itself as `Secret` does."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes | bytearray) -> None:
        """Copy *octets*."""
        self._octets = bytearray(octets)

    def reveal(self) -> bytearray:
        """Return the buffer itself; keep no copy."""
        return self._octets

    def wipe(self) -> None:
        """Overwrite it with zeros; what others copied of it stays."""
        self._octets[:] = bytes(len(self._octets))

    def __repr__(self) -> str:
        return "<passphrase>"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return "<passphrase>"

    def __reduce__(self) -> str:
        raise TypeError("a passphrase is not pickled")


class PrivateKey(Protocol):
    """
    The part of a consumer's private key that signing needs.

    The seam for keys that stay in hardware or in another service: they too can make one RSA-SHA1 signature.
    """

    @property
    def is_instant(self) -> bool:
        """Whether `sign_sha1` waits for nothing but the processor, so that the event loop may call it."""

    def sign_sha1(self, message: bytes) -> bytes:
        """Return the RSASSA-PKCS1-v1_5 signature with SHA-1 over *message* (RFC 5849 §3.4.3)."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Client credentials (RFC 5849 §1.1): who we are to one provider."""

    key: str  # goes out as oauth_consumer_key; not a secret
    private_key: PrivateKey


@dataclass(frozen=True, slots=True)
class App:
    """Our registration at a provider: the client of OAuth 2.0 (RFC 6749 §2.2, §2.3.1)."""

    client_id: str  # not a secret
    secret: Secret | None  # None for a public client


Client = Consumer | App


class Material(Protocol):
    """The content of one scheme's grant: its tokens, as a frozen value that hides them."""

    def is_same_as(self, other: "Material") -> bool:
        """Tell whether the provider gave both as one; compares in constant time."""

    def may_renew(self, now: datetime) -> bool:
        """Tell whether the provider would give another grant in place of this one at *now* (aware), without a dance."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One user's consent on one link: the scheme's tokens, and what is known of them."""

    material: Material
    user: str | None = None  # as the provider named the user
    expires_at: datetime | None = None  # aware, UTC; None when the provider names no end
    renew_at: datetime | None = None  # aware, UTC; from when on a renewal is asked for
    is_in_doubt: bool = False  # a renewal was asked for, and how it ended is not known
    given_at: datetime | None = None  # aware, UTC; when it was asked for, by the clock by which it ends

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the provider said that the grant ends at *now* (aware) or before."""
        return self.expires_at is not None and self.expires_at <= now

    def ends_within(self, life: timedelta, now: datetime) -> bool:
        """Tell whether it ends before *life* from *now* (aware); of a grant whose whole life is not much longer, half of that."""
        if self.expires_at is None:
            return False
        if self.renew_at is not None:
            life = min(life, 5 * (self.expires_at - self.renew_at))  # a tenth of its life, or a little more
        return self.expires_at - now < life

    def may_renew(self, now: datetime) -> bool:
        """Tell whether the provider would give another grant in place of this one at *now* (aware), without a dance."""
        return self.material.may_renew(now)

    def wants_renewal(self, now: datetime) -> bool:
        """Tell whether a renewal should be asked for at *now* (aware)."""
        is_due = self.renew_at is not None and self.renew_at <= now
        return (is_due or self.is_in_doubt or self.is_from_later(now) or self.is_expired(now)) and self.may_renew(now)

    def is_from_later(self, now: datetime) -> bool:
        """Tell whether it was given after *now* (aware): the clock was set back since, and would show its end too late."""
        return self.given_at is not None and now < self.given_at - _CLOCK_STEP

    def is_same_as(self, other: "Grant") -> bool:
        """Tell whether the provider gave both as one; what is known of it beside may differ."""
        return self.material.is_same_as(other.material)

    def with_user(self, user: str) -> "Grant":
        """Return the same grant, with the name of the user who gave it."""
        return replace(self, user=user)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials that authorize one request."""

    client: Client | None  # None where a header needs none
    grant: Grant | None  # None before the user's consent

    @property
    def is_instant(self) -> bool:
        """Whether a header can be made of them without waiting for a device or another machine."""
        return not isinstance(self.client, Consumer) or self.client.private_key.is_instant


@dataclass(frozen=True, slots=True)
class GitToken:
    """An HTTP access token that the daemon made at a Bitbucket for git: good for every repository of its user until it ends."""

    name: str  # at the provider, where no two of ours have the same
    secret: Secret
    user: str  # whose it is; git's user name beside it
    permission: GitPermission
    expires_at: datetime | None  # aware, UTC, by this machine's clock; None for a token of the user's own whose end nobody knows
    takes_bearer: bool = True  # whether the provider takes it as a bearer token too


@dataclass(frozen=True, slots=True)
class GitRecord:
    """The known tokens for git at one link's provider."""

    token: GitToken | None
    leftovers: tuple[str, ...] = ()  # names of others that may be there still, and are to be removed
