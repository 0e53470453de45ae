"""The memory of one product of the sandbox: users, sessions, application links, consumers and tokens, all in memory."""

import secrets
import string
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from atl_sign.sandbox.tokens import TokenStore
from atl_sign.sandbox.verify import NonceMemory

# Lifetimes: facts section 2.
REQUEST_TOKEN_LIFE_S = 600
TOKEN_LIFE_S = 157_680_000  # five years
SESSION_EXTRA_S = 2_592_000  # the right to renew outlives the token by 30 days

_ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(slots=True)
class User:
    """Somebody who can log in."""

    name: str
    password: str = field(repr=False)
    full_name: str
    email: str
    is_admin: bool = False
    is_active: bool = True


def make_users() -> dict[str, User]:
    """Return the users that every product begins with, by name; each password is the name."""
    users = (
        User("admin", "admin", "Ada Admin", "admin@example.com", is_admin=True),
        User("alice", "alice", "Alice Adams", "alice@example.com"),
        User("bob", "bob", "Bob Brown", "bob@example.com"),
    )
    return {user.name: user for user in users}


@dataclass(slots=True)
class Consumer:
    """A consumer that may ask users for access: the incoming side of an application link."""

    key: str
    name: str
    public_key: RSAPublicKey = field(repr=False)
    callback: str | None = None  # the fixed one; the form sees to it that it ends in "/"
    description: str = ""
    is_three_legged: bool = True  # False: an administrator has switched 3LO off


@dataclass(slots=True)
class ApplicationLink:
    """An application link, as the administrator's page and the REST calls make it."""

    id: str
    name: str
    rpc_url: str
    display_url: str
    consumer: Consumer | None = None


@dataclass(slots=True)
class RequestToken:
    """A dance under way."""

    key: str
    secret: str = field(repr=False)
    consumer_key: str
    callback: str | None  # "oob", an address, or None: OAuth 1.0 without the a
    expires_at: float
    decision: str | None = None  # "approved" or "denied", once the user has decided
    user: str = ""
    verifier: str = field(default="", repr=False)


@dataclass(slots=True)
class AccessToken:
    """One user's grant to one consumer."""

    key: str
    secret: str = field(repr=False)
    consumer_key: str
    user: str
    created_at: float
    expires_at: float
    session_handle: str = field(repr=False)
    session_expires_at: float


@dataclass(slots=True)
class Session:
    """A browser's login."""

    user: str
    xsrf_token: str


def make_random(length: int = 32) -> str:
    """Return *length* random letters and digits: tokens have 32, verifiers 6."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(length))


class SiteState:
    """Everything one product knows. Nothing here is thread-safe: the server answers one request at a time."""

    def __init__(
        self,
        clock: Callable[[], float],
        token_life_s: float = TOKEN_LIFE_S,
        request_token_life_s: float = REQUEST_TOKEN_LIFE_S,
        tokens: TokenStore | None = None,
    ) -> None:
        """Begin with the users and nothing else."""
        self.clock = clock
        self.tokens = tokens if tokens is not None else TokenStore()  # the users' personal access tokens
        self.token_life_s = token_life_s
        self.request_token_life_s = request_token_life_s
        self.users = make_users()
        self.links: dict[str, ApplicationLink] = {}
        self.request_tokens: dict[str, RequestToken] = {}
        self.access_tokens: dict[str, AccessToken] = {}
        self.sessions: dict[str, Session] = {}
        self.nonces = NonceMemory()
        self.renewals = 0
        self.spent_renewals = 0  # asked for with a token that is not there any more
        self.has_websudo = False  # whether the REST calls about application links want a secure session, which Basic has not
        self.captcha_after: int | None = None  # how many wrong passwords in a row; None: never
        self._wrong_passwords: Counter[str] = Counter()

    def check_password(self, name: str, password: str) -> User | None:
        """Return the user who may log in with *password*, or None."""
        user = self.find_user(name)
        if user is not None and secrets.compare_digest(user.password.encode(), password.encode()):
            return user
        self._wrong_passwords[name] += 1
        return None

    def needs_captcha(self, name: str) -> bool:
        """Tell whether the password of the user called *name* counts only beside a solved CAPTCHA."""
        return self.captcha_after is not None and self._wrong_passwords[name] >= self.captcha_after

    def solve_captcha(self, name: str) -> None:
        """Forget the wrong passwords of the user called *name*, as a login in the browser does."""
        del self._wrong_passwords[name]

    def find_user(self, name: str) -> User | None:
        """Return the user called *name* when he may log in, or None."""
        user = self.users.get(name)
        return user if user is not None and user.is_active else None

    def find_consumer(self, key: str) -> Consumer | None:
        """Return the consumer whose key is *key*, or None."""
        consumers = (link.consumer for link in self.links.values() if link.consumer is not None)
        return next((consumer for consumer in consumers if consumer.key == key), None)

    def add_link(self, name: str, rpc_url: str, display_url: str) -> ApplicationLink:
        """Make an application link without a consumer."""
        link = ApplicationLink(str(uuid.uuid4()), name, rpc_url, display_url)
        self.links[link.id] = link
        return link

    def set_consumer(self, link: ApplicationLink, consumer: Consumer) -> None:
        """Give *link* its consumer; raises ValueError when another link's consumer has that key."""
        if any(
            other.consumer is not None and other.consumer.key == consumer.key
            for other in self.links.values()
            if other is not link
        ):
            raise ValueError("The consumer key is in use already")
        if link.consumer is not None and link.consumer.key != consumer.key:
            self._forget_tokens(link.consumer.key)
        link.consumer = consumer

    def remove_link(self, link_id: str) -> None:
        """Remove an application link; its consumer and every token of that die with it."""
        consumer = self.links.pop(link_id).consumer
        if consumer is not None:
            self._forget_tokens(consumer.key)

    def add_request_token(self, consumer_key: str, callback: str | None) -> RequestToken:
        """Begin a dance."""
        token = RequestToken(make_random(), make_random(), consumer_key, callback, self.clock() + self.request_token_life_s)
        self.request_tokens[token.key] = token
        return token

    def swap_request_token(self, token: RequestToken) -> AccessToken:
        """Make the access token that *token* was approved for; it keeps the secret, and *token* is gone."""
        del self.request_tokens[token.key]
        return self._add_access_token(token.secret, token.consumer_key, token.user)

    def renew(self, token: AccessToken) -> AccessToken:
        """Make a successor with a new session handle; *token* is gone at once."""
        del self.access_tokens[token.key]
        return self._add_access_token(token.secret, token.consumer_key, token.user)

    def log_in(self, user: User) -> str:
        """Begin a session; returns the cookie's value."""
        session_id = secrets.token_hex(16).upper()
        self.sessions[session_id] = Session(user.name, secrets.token_hex(16))
        return session_id

    def _add_access_token(self, secret: str, consumer_key: str, user: str) -> AccessToken:
        now = self.clock()
        session_life_s = self.token_life_s + SESSION_EXTRA_S
        token = AccessToken(
            make_random(), secret, consumer_key, user, now, now + self.token_life_s, make_random(), now + session_life_s
        )
        self.access_tokens[token.key] = token
        return token

    def _forget_tokens(self, consumer_key: str) -> None:
        self.request_tokens = {key: token for key, token in self.request_tokens.items() if token.consumer_key != consumer_key}
        self.access_tokens = {key: token for key, token in self.access_tokens.items() if token.consumer_key != consumer_key}
