"""HTTP out of the daemon: one link's own view of the network, every answer bounded in size and time."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from atl_sign import __version__
from atl_sign.errors import ProviderUnreachableError
from atl_sign.links import Link

ANSWER_BYTES_MAX = 1 << 20  # a manifest, a user or a token has a few KiB

# Where systems keep the authorities that their administrators trust; certifi's list, which requests takes, lacks the company's.
_SYSTEM_CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# Not like a browser's: POSTs of browsers meet another XSRF check (facts section 6).
_HEADERS = {"User-Agent": f"atl-sign/{__version__}", "X-Atlassian-Token": "no-check"}

_Result = TypeVar("_Result")
_Session = TypeVar("_Session", bound=requests.Session)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in any case
    text: str
    clock_offset_s: float | None  # the provider's clock less ours, by its Date header; None without one

    @property
    def is_html(self) -> bool:
        """Tell whether this is a page for people, such as a login page that stands before the product."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.text.lstrip()[:9].lower().startswith(
            ("<!doctype", "<html")
        )

    @property
    def user(self) -> str | None:
        """The user that X-AUSERNAME (percent-encoded) names; None when it is absent or says anonymous."""
        name = unquote(self.headers.get("X-AUSERNAME", ""))
        return name if name and name != "anonymous" else None


def fetch(link: Link, path: str, headers: Mapping[str, str], clock: Callable[[], float]) -> Answer:
    """GET *path*, below the base URL, without following redirects; raises what requests raises: call it `within_deadline`."""
    with open_session(requests.Session(), link) as session:
        started_at = clock()
        response = session.get(f"{link.url}{path}", headers=headers, allow_redirects=False, timeout=link.timeout_s)
        return read_answer(response, (started_at + clock()) / 2)


def read_answer(response: requests.Response, moment: float | None = None) -> Answer:
    """Take *response* apart; *moment* is our clock's time in the middle of the exchange, when the offset matters."""
    offset = None if moment is None else _clock_offset(response.headers, moment)
    return Answer(response.status_code, response.headers, response.text, offset)


def open_session(session: _Session, link: Link) -> _Session:
    """
    Make *session* see the network as *link* has it.

    Of the environment it takes proxies and authorities alone: netrc would add a password.
    """
    session.trust_env = False
    # requests prepares the next request even where redirects are not followed: requests-oauthlib would sign it.
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]  # noqa: ARG005 - the name is the caller's
    session.headers.update(_HEADERS)
    session.verify = _ca_bundle(link)
    if link.client_cert is not None:
        # Twice: told where the key is, urllib3 refuses an encrypted one; else OpenSSL would ask the terminal for a password.
        session.cert = (str(link.client_cert), str(link.client_cert))
    url = str(link.url)
    session.proxies = {"http": link.proxy, "https": link.proxy} if link.proxy else get_environ_proxies(url)
    adapter = _BoundedAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def within_deadline(link: Link, call: Callable[[], _Result]) -> _Result:
    """
    Run *call* in a thread of its own and wait for it as long as *link* allows.

    requests bounds each read, not the whole: a provider that sends a byte a second would hold us for ever.

    Raises:
        ProviderUnreachableError: the network, TLS or the deadline failed; everything else that *call* raises goes on as it is.
    """
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as exc:
            failure.append(exc)

    exchange = _Exchange(run, link.name)
    exchange.start()
    exchange.join(link.timeout_s + 0.5)  # a little later than requests' own limits, which know better what was waited for
    if outcome:
        return outcome[0]
    if failure:
        exc = failure[0]
    else:
        exc = TimeoutError()  # first, for being cut off makes the thread fail in its own way
        exchange.cut_off()
    if isinstance(exc, requests.RequestException | OSError):
        # No chain: requests' errors carry the request, and that its signed header.
        raise _unreachable(link, exc) from None
    raise exc


class _Exchange(threading.Thread):
    """A thread that talks to a provider, and can be made to stop."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        """Prepare a thread for *run*; *name* is the link's."""
        super().__init__(target=run, name=f"provider-{name}", daemon=True)
        self.sockets: list[socket.socket] = []

    def cut_off(self) -> None:
        """End the connections under the thread: it would wait for a slow provider for as long as that goes on."""
        for connected in self.sockets:
            with suppress(OSError):  # it is closed already
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # under TLS too, which would want to say good-bye first


class _AnswerTooLargeError(requests.RequestException):
    """The provider sends more than any real answer has."""


class _BoundedAdapter(HTTPAdapter):
    """Reads every answer here, up to `ANSWER_BYTES_MAX`, whatever asked for it."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send as requests does; the response comes with its body read."""
        response = super().send(*args, **{**kwargs, "stream": True})
        try:
            content = bytearray()
            for chunk in response.iter_content(16_384):  # small, for a compressed answer can be a thousand times as large
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise _AnswerTooLargeError()
        finally:
            response.close()
        response._content = bytes(content)
        if response.encoding is None or "charset" not in response.headers.get("Content-Type", ""):
            response.encoding = "utf-8"  # guessing reads the whole body once more, and guesses wrong
        return response

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Choose the connections' pool as requests does; the thread gets to know what the pool opens."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        thread, make_connection = threading.current_thread(), pool.ConnectionCls

        def make_known_connection(*args: Any, **kwargs: Any) -> Any:
            connection: Any = make_connection(*args, **kwargs)
            connect = connection.connect

            def connect_and_tell() -> None:
                connect()
                if isinstance(thread, _Exchange):
                    thread.sockets.append(connection.sock)

            connection.connect = connect_and_tell
            return connection

        pool.ConnectionCls = make_known_connection
        return pool


def _ca_bundle(link: Link) -> str | bool:
    """Return the file of the authorities that *link* trusts; one that is named counts even if it is not there."""
    if link.ca_bundle is not None:
        return str(link.ca_bundle)
    named = [path for path in map(os.environ.get, _CA_VARIABLES) if path]
    return next((path for path in (*named, *_SYSTEM_CA_BUNDLES) if path in named or Path(path).exists()), True)


def _clock_offset(headers: Mapping[str, str], middle: float) -> float | None:
    try:
        date = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    # The header counts whole seconds: on average the moment is half a second later.
    return date.timestamp() + 0.5 - middle


def _unreachable(link: Link, exc: BaseException) -> ProviderUnreachableError:
    cause, hint = _explain(link, exc)
    return ProviderUnreachableError(f"the provider of link {link.name} at {link.url.origin} cannot be reached: {cause}", hint)


def _explain(link: Link, exc: BaseException) -> tuple[str, str]:
    """Return why, and what to do. What the errors themselves say goes no further, but for OpenSSL's word on a certificate."""
    kinds = tuple(_unwrap(exc))
    proxy = "the link's proxy" if link.proxy else "the proxies in the daemon's environment"

    def find(*wanted: type[BaseException]) -> BaseException | None:
        return next((kind for kind in kinds if isinstance(kind, wanted)), None)

    if find(requests.exceptions.SSLError) or not find(requests.RequestException, TimeoutError):
        broken = _find_broken_file(link)
        if broken is not None:
            return broken
    certificate = find(ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate is not trusted ({certificate.verify_message})",
            "give the link the company's authorities: ca_bundle; or mend the address",
        )
    if find(requests.exceptions.SSLError):
        return "TLS failed", "check that the address is an https one, and whether it wants a client_cert"
    if find(requests.exceptions.ProxyError):
        return "the proxy does not let us through", f"check {proxy}"
    if find(requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL):
        return "the proxy's address is of no kind that works here (SOCKS needs the Python package PySocks)", f"check {proxy}"
    if find(NameResolutionError):
        return "its host name is not known", "check the base URL for typing errors, and the network"
    if find(NewConnectionError):
        return "nobody takes the connection there", "check the base URL, the network and the link's proxy"
    if find(requests.Timeout, TimeoutError, UrllibTimeoutError):
        return f"no whole answer within {link.timeout_s:g} s", "try again, or raise the link's timeout_s"
    if find(_AnswerTooLargeError):
        return "its answer is larger than any real one", "check the base URL"
    return "the connection broke, or what answers there does not speak HTTP", "check the base URL and its port"


def _unwrap(exc: BaseException) -> Iterator[BaseException]:
    """Give *exc* and what it wraps: requests and urllib3 keep that in an attribute, an argument or the cause."""
    inner: object = exc
    while isinstance(inner, BaseException):
        yield inner
        candidates = (getattr(inner, "reason", None), *inner.args, inner.__cause__)
        inner = next((candidate for candidate in candidates if isinstance(candidate, BaseException)), None)


def _find_broken_file(link: Link) -> tuple[str, str] | None:
    """Return the words for the first file that TLS cannot be set up with, or None: OpenSSL's errors name no file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle = _ca_bundle(link)
    if isinstance(bundle, str) and not Path(bundle).is_dir():
        setting = "ca_bundle" if link.ca_bundle is not None else f"one of {', '.join(_CA_VARIABLES)}"
        try:
            context.load_verify_locations(bundle)
        except OSError as exc:
            return f"the file {bundle} cannot be used: {_reason(exc, 'no certificates in PEM')}", f"check {setting}"
    if link.client_cert is not None:
        try:
            context.load_cert_chain(link.client_cert, password=lambda: "")  # without one OpenSSL would ask the terminal
        except OSError as exc:
            words = _reason(exc, "no certificate with its unencrypted key, both in PEM")
            return f"the file {link.client_cert} cannot be used: {words}", "check the link's client_cert"
    return None


def _reason(exc: OSError, not_pem: str) -> str:
    return not_pem if isinstance(exc, ssl.SSLError) else exc.strerror or type(exc).__name__
