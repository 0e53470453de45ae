"""Which cause a failed exchange has: what requests, urllib3 and OpenSSL mean, without what they say."""

import re
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.config.links import Link
from atl_sign.providers import causes
from atl_sign.providers.tls_files import UnusableFileError, load_files

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")  # what a proxy answered to CONNECT, as http.client has it


class AnswerTooLargeError(requests.RequestException):
    """The provider sends more than any real answer has."""


class TooManyWaitError(OSError):
    """As many exchanges as may be are under way, and none of them ended in time."""


def unreachable(link: Link, exc: BaseException) -> ProviderUnreachableError:
    """Return the error that tells of *exc*, which ended an exchange with the provider of *link*."""
    cause = _explain(link, exc)
    error = causes.cannot_be_reached(link, *cause)
    has_no_connection = any(isinstance(kind, requests.exceptions.ConnectTimeout) for kind in _unwrap(exc))
    error.nothing_sent = has_no_connection or cause in (causes.UNKNOWN_HOST, causes.NOBODY_THERE, causes.TOO_MANY_WAIT)
    return error


def _explain(link: Link, exc: BaseException) -> causes.Cause:
    """Return why, and what to do. The errors' own texts go no further, except for OpenSSL's word on a certificate."""
    kinds = tuple(_unwrap(exc))

    def find(*wanted: type[BaseException]) -> BaseException | None:
        return next((kind for kind in kinds if isinstance(kind, wanted)), None)

    if find(TooManyWaitError):
        return causes.TOO_MANY_WAIT
    if find(requests.exceptions.SSLError) or not find(requests.RequestException, TimeoutError):
        try:
            load_files(link)
        except UnusableFileError as unusable:
            words, hint = unusable.args
            return words, hint
    certificate = find(ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return causes.not_trusted(certificate.verify_message)
    if find(requests.exceptions.SSLError):
        return causes.TLS_FAILED
    if find(requests.exceptions.ProxyError):
        return causes.not_let_through(link, next((int(match[1]) for kind in kinds if (match := _TUNNEL.search(str(kind)))), None))
    if find(requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL):
        return causes.unusable_proxy(link)
    if find(NameResolutionError):
        return causes.UNKNOWN_HOST
    if find(NewConnectionError):
        return causes.NOBODY_THERE
    if find(requests.Timeout, TimeoutError, UrllibTimeoutError):
        return causes.too_late(link)
    if find(AnswerTooLargeError):
        return causes.TOO_LARGE
    return causes.BROKEN


def _unwrap(exc: BaseException) -> Iterator[BaseException]:
    """Give *exc* and what it wraps: requests and urllib3 keep that in an attribute, an argument or the cause."""
    inner: object = exc
    while isinstance(inner, BaseException):
        yield inner
        candidates = (getattr(inner, "reason", None), *inner.args, inner.__cause__)
        inner = next((candidate for candidate in candidates if isinstance(candidate, BaseException)), None)
