"""What the tests of the outgoing side share: a key, links, consumers, and a search for secrets in errors."""

import functools
import traceback
from typing import Any

from atl_sign.base.credentials import AccessToken, Consumer, Secret
from atl_sign.base.urls import Url
from atl_sign.config.links import Link, OwnSettings, parse_base_url
from atl_sign.custody.keys.software import RsaPrivateKey, make_private_key
from atl_sign.schemes.oauth1 import settings as oauth1
from atl_sign.schemes.oauth1.legs import Provider

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
    own = OwnSettings.of(oauth1.SETTINGS, {"consumer_key": consumer_key, "signing_url": signing_url})
    return Link(name, parse_base_url(url), own=own, **{"timeout_s": 5.0, **settings})


def make_consumer(key: str = CONSUMER_KEY) -> Consumer:
    return Consumer(key, private_key())


def make_provider(link: Link, **arguments: Any) -> Provider:
    return Provider(link, make_consumer(link.consumer_key), **arguments)


def make_token(key: str = "canary-token-7f3a", secret: str = "canary-token-secret-91c2") -> AccessToken:
    return AccessToken(Secret(key), Secret(secret))


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
