"""The proxy between us and the network, such as a company's: which one it is, by a link's setting or the environment."""

import asyncio
import base64
import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from atl_sign.base.urls import Url
from atl_sign.config.links import Link

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """Where a proxy is."""

    scheme: str
    host: str  # without brackets
    port: int
    authorization: bytes | None  # the value of Proxy-Authorization, when its address has a user name


async def find_proxy(link: Link, origin: Url) -> str | None:
    """Return the address of the proxy through which *link* asks *origin*, None for none; it can hold a password."""
    return link.proxy if link.proxy is not None else await find_proxy_of_environment(str(origin))


async def find_proxy_of_environment(url: str) -> str | None:
    """Return as `find_proxy` the one that the environment names for *url*."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # In a thread, for it loads requests: what the variables mean is decided in one place.
    return await asyncio.to_thread(_find_proxy_of_environment, url)


def _find_proxy_of_environment(url: str) -> str | None:
    from atl_sign.providers.exchange import find_proxy_of_environment

    return find_proxy_of_environment(url)


def parse_proxy(text: str) -> ProxyAddress | None:
    """Take the address of a proxy apart as requests does; None when it is of no kind that works here."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        return None
    if scheme not in _PORTS or not host:
        return None
    authorization = None
    if parts.username:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(words.encode())
    return ProxyAddress(scheme, host, port or _PORTS[scheme], authorization)
