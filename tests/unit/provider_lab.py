"""What the tests of the outgoing side share: a key, links, consumers, and a search for secrets in errors."""

import functools
import time
import traceback
from collections.abc import Callable
from typing import Any

from atl_sign.base.credentials import Consumer, Credentials, Grant, Secret
from atl_sign.base.errors import DanceNeededError
from atl_sign.base.urls import Url
from atl_sign.config.links import Link, OwnSettings, parse_base_url
from atl_sign.custody.keys.software import RsaPrivateKey, make_private_key
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.who_am_i import Send
from atl_sign.schemes.oauth1 import settings as oauth1
from atl_sign.schemes.oauth1.legs import Legs
from atl_sign.schemes.oauth1.scheme import OAuth1
from atl_sign.schemes.oauth1.tokens import AccessToken
from atl_sign.schemes.session import Session

CONSUMER_KEY = "unit-tests"


@functools.cache
def private_key() -> RsaPrivateKey:
    """The key of every consumer in these tests: making one takes a tenth of a second."""
    return make_private_key(2048)


@functools.cache
def other_private_key() -> RsaPrivateKey:
    return make_private_key(2048)


def make_link(
    url: str, name: str = "jira", *, consumer_key: str = CONSUMER_KEY, signing_url: Url | None = None, **settings: Any
) -> Link:
    own = OwnSettings(oauth1.SETTINGS, (consumer_key, signing_url))
    return Link(name, parse_base_url(url), own=own, **{"timeout_s": 5.0, **settings})


def make_consumer(key: str = CONSUMER_KEY) -> Consumer:
    return Consumer(key, private_key())


class Provider(Legs):
    """One link's provider as our consumer meets it: the legs of the dance, and requests with a token."""

    def __init__(self, link: Link, consumer: Consumer, clocks: Clocks) -> None:
        super().__init__(link, consumer, clocks)
        self.link = link
        self.consumer = consumer
        self.clocks = clocks

    @property
    def clock_offset_s(self) -> float:
        return self.clocks.offset_s(self.link)

    def session(self, token: AccessToken) -> Session:
        return Session(self.link, OAuth1(), Credentials(self.consumer, Grant(token)), self.clocks)

    def fetch_signed(self, path: str, token: AccessToken) -> Answer:
        """Raises the provider's refusal also where the session says that a dance is needed."""
        try:
            return self.session(token).send("GET", path)
        except DanceNeededError as exc:
            raise exc.__cause__ or exc from None


def make_provider(link: Link, clock: Callable[[], float] = time.time, clock_offset_s: float = 0.0) -> Provider:
    clocks = Clocks(clock)
    clocks.learn(link, clock_offset_s)
    return Provider(link, make_consumer(link.consumer_key), clocks)


def make_send(link: Link, token: AccessToken | None = None) -> Send:
    return make_provider(link).session(token or make_token()).send


def make_token(key: str = "canary-token-7f3a", secret: str = "canary-token-secret-91c2") -> AccessToken:
    return AccessToken(Secret(key), Secret(secret))


def make_grant(key: str = "canary-token-7f3a", secret: str = "canary-token-secret-91c2", **known: Any) -> Grant:
    return Grant(make_token(key, secret), **known)


def token_of(grant: Grant | None) -> AccessToken:
    """Return the access token that *grant* holds."""
    assert grant is not None
    assert isinstance(grant.material, AccessToken)
    return grant.material


def everything_shown(error: BaseException) -> str:
    """Return all that a traceback, a repr or a log of *error* and of every error behind it would show."""
    shown = []
    waiting: list[BaseException | None] = [error]
    seen = set()
    while waiting:
        exc = waiting.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        shown += [repr(exc), str(exc), repr(vars(exc)), *traceback.format_exception(exc)]
        waiting += [exc.__cause__, exc.__context__]
    return "\n".join(shown)
