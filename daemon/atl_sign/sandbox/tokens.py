"""Personal access tokens of one provider: made, listed, found by their secret, revoked (facts section 9)."""

import hmac
import secrets
from base64 import b64encode
from dataclasses import dataclass, field

DAYS_MAX = 365  # an administrator's setting; Atlassian Cloud's own limit
DAY_S = 86_400


@dataclass(slots=True)
class PersonalToken:
    """One token of one user."""

    id: str
    user: str
    name: str
    permissions: tuple[str, ...]  # what it is good for; empty: whatever its user may do
    secret: str = field(repr=False)
    created_at: float
    expires_at: float | None
    used_at: float | None = None


class TokenStore:
    """Every user's tokens."""

    def __init__(
        self,
        prefix: str = "",
        days_max: int = DAYS_MAX,
        *,
        must_expire: bool = False,
        refuses_signed: bool = False,
        random_bytes: int = 20,
    ) -> None:
        """
        Begin with none.

        Args:
            prefix: what each secret begins with.
            days_max: for how many days a user may ask for a token at most.
            must_expire: whether a user has to name the days.
            refuses_signed: whether an OAuth 1.0a signature does not suffice for making one.
            random_bytes: how many bytes of each secret are random.
        """
        self.days_max = days_max
        self.must_expire = must_expire
        self.refuses_signed = refuses_signed
        self._prefix = prefix
        self._random_bytes = random_bytes
        self._tokens: dict[str, PersonalToken] = {}
        self._last_id = 100_000

    def add(self, user: str, name: str, permissions: tuple[str, ...], now: float, expires_at: float | None) -> PersonalToken:
        """Make a token; one whose end has passed already is fine."""
        self._last_id += 1
        # As the products': a number of twelve digits, a colon and 20 random bytes in base64, which comes to 44 characters.
        secret = b64encode(b"%012d:%b" % (secrets.randbelow(10**12), secrets.token_bytes(self._random_bytes))).decode()
        token = PersonalToken(str(self._last_id), user, name, permissions, self._prefix + secret, now, expires_at)
        self._tokens[token.id] = token
        return token

    def of_user(self, user: str) -> list[PersonalToken]:
        """Return the tokens of *user*."""
        return [token for token in self._tokens.values() if token.user == user]

    def remove(self, token: PersonalToken) -> None:
        """Forget *token*."""
        del self._tokens[token.id]

    def find(self, secret: str, now: float) -> PersonalToken | None:
        """Return the living token that *secret* is, and note that it was used; None if there is none."""
        token = self._find(secret)
        if token is None or not _is_alive(token, now):
            return None
        token.used_at = now
        return token

    def is_expired(self, secret: str, now: float) -> bool:
        """Tell whether *secret* is a token that has expired, and was not revoked."""
        token = self._find(secret)
        return token is not None and not _is_alive(token, now)

    def _find(self, secret: str) -> PersonalToken | None:
        given = secret.encode()
        return next((token for token in self._tokens.values() if hmac.compare_digest(token.secret.encode(), given)), None)


def _is_alive(token: PersonalToken, now: float) -> bool:
    return token.expires_at is None or now < token.expires_at
