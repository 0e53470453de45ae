"""Why a provider cannot be reached, in words: what requests, urllib3 and OpenSSL mean, without what they say."""

import re
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.config.links import Link
from atl_sign.providers.tls_files import UnusableFileError, load_files

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")  # what a proxy answered to CONNECT, as http.client has it


class AnswerTooLargeError(requests.RequestException):
    """The provider sends more than any real answer has."""


class TooManyWaitError(OSError):
    """As many exchanges as may be are under way, and none of them ended in time."""


def unreachable(link: Link, exc: BaseException) -> ProviderUnreachableError:
    """Return the error that tells of *exc*, which ended an exchange with the provider of *link*."""
    return cannot_be_reached(link, *_explain(link, exc))


def cannot_be_reached(link: Link, cause: str, hint: str) -> ProviderUnreachableError:
    """Return the error for a provider from which nothing came, for this *cause*."""
    return ProviderUnreachableError(f"the provider of link {link.name} at {link.url.origin} cannot be reached: {cause}", hint)


def name_proxy(link: Link) -> str:
    """Return the words for the proxy that requests of *link* go through, if they go through one."""
    return "the link's proxy" if link.proxy else "the proxies in the daemon's environment"


def _explain(link: Link, exc: BaseException) -> tuple[str, str]:
    """Return why, and what to do. The errors' own texts go no further, except for OpenSSL's word on a certificate."""
    kinds = tuple(_unwrap(exc))
    proxy = name_proxy(link)

    def find(*wanted: type[BaseException]) -> BaseException | None:
        return next((kind for kind in kinds if isinstance(kind, wanted)), None)

    if find(TooManyWaitError):
        return "too many requests wait for providers", "try again in a moment, or lower the timeout_s of links that do not answer"
    if find(requests.exceptions.SSLError) or not find(requests.RequestException, TimeoutError):
        try:
            load_files(link)
        except UnusableFileError as unusable:
            words, hint = unusable.args
            return words, hint
    certificate = find(ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate is not trusted ({certificate.verify_message})",
            "set the link's ca_bundle to your company's CA certificates, or correct the address",
        )
    if find(requests.exceptions.SSLError):
        return "TLS failed", "check that the address is an https one, and whether it wants a client_cert"
    if find(requests.exceptions.ProxyError):
        tunnel = next((match[1] for kind in kinds if (match := _TUNNEL.search(str(kind)))), None)
        if tunnel == "407":
            cause = "the proxy does not let us through: it requires a user name and a password (status 407)"
            return cause, f"check the user name and the password of {proxy}"
        words = {"403": ": it forbids this address", "502": ": it cannot reach the provider", "503": ": it is not available"}
        return (
            f"the proxy does not let us through{words.get(tunnel or '', '')}{f' (status {tunnel})' if tunnel else ''}",
            f"check {proxy}",
        )
    if find(requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL):
        return "the proxy's address is of no kind that works here (SOCKS needs the Python package PySocks)", f"check {proxy}"
    if find(NameResolutionError):
        return "its host name is not known", "check the base URL for typing errors, and the network"
    if find(NewConnectionError):
        return "nobody takes the connection there", "check the base URL, the network and the link's proxy"
    if find(requests.Timeout, TimeoutError, UrllibTimeoutError):
        return f"no whole answer within {link.timeout_s:g} s", "try again, or raise the link's timeout_s"
    if find(AnswerTooLargeError):
        return "its answer is larger than any real one", "check the base URL"
    return "the connection broke, or what answers there does not speak HTTP", "check the base URL and its port"


def _unwrap(exc: BaseException) -> Iterator[BaseException]:
    """Give *exc* and what it wraps: requests and urllib3 keep that in an attribute, an argument or the cause."""
    inner: object = exc
    while isinstance(inner, BaseException):
        yield inner
        candidates = (getattr(inner, "reason", None), *inner.args, inner.__cause__)
        inner = next((candidate for candidate in candidates if isinstance(candidate, BaseException)), None)
