"""HTTP out of the daemon: one link's own view of the network, every answer bounded in size and time."""

import socket
import threading
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

from atl_sign import __version__
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.refusals import AnswerTooLargeError, TooManyWaitError, unreachable
from atl_sign.providers.tls_files import check_files, find_ca_bundle

ANSWER_BYTES_MAX = 1 << 20  # a manifest, a user or a token has a few KiB
# Callers wait in the 40 threads that the framework has for everything: providers may hold 32 of them, and one origin 20.
EXCHANGES_MAX = 16
EXCHANGES_PER_ORIGIN_MAX = 4
WAITING_MAX = 16
WAIT_S_MAX = 1.0  # a burst of calls to a provider that does answer gets through

# Not like a browser's: POSTs of browsers meet another XSRF check (facts section 6).
_HEADERS = {"User-Agent": f"atl-sign/{__version__}", "X-Atlassian-Token": "no-check"}

_BYTE_ORDER_MARKS = ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16"))

_CHECK: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)

_Result = TypeVar("_Result")
_Session = TypeVar("_Session", bound=requests.Session)


def fetch(
    link: Link,
    path: str,
    headers: Mapping[str, str],
    clock: Callable[[], float],
    *,
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """Ask for *path*, below the base URL, without following redirects; raises what requests raises: call it `within_deadline`."""
    with open_session(requests.Session(), link) as session:
        started_at = clock()
        response = session.request(
            method, f"{link.url}{path}", headers=headers, data=body, allow_redirects=False, timeout=link.timeout_s
        )
        return read_answer(response, (started_at + clock()) / 2)


def read_answer(response: requests.Response, moment: float | None = None) -> Answer:
    """Take *response* apart; *moment* is our clock's time in the middle of the exchange, when the offset matters."""
    offset = None if moment is None else _clock_offset(response.headers, moment)
    return Answer(response.status_code, response.headers, response.text, offset)


def open_session(session: _Session, link: Link) -> _Session:
    """
    Make *session* see the network as *link* has it.

    Of the environment it takes only proxies and authorities: netrc would add a password.
    """
    session.trust_env = False
    # requests prepares the next request even where redirects are not followed: requests-oauthlib would sign it.
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]  # noqa: ARG005 - the name is the caller's
    session.headers.update(_HEADERS)
    check_files(link)
    session.verify = find_ca_bundle(link)
    if link.client_cert is not None:
        # Twice: told where the key is, urllib3 refuses an encrypted one; else OpenSSL would ask the terminal for a password.
        session.cert = (str(link.client_cert), str(link.client_cert))
    session.proxies = _proxies_of(link)
    adapter = _BoundedAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def find_proxy(link: Link) -> str | None:
    """Return the address of the proxy through which the provider of *link* is asked, None for none; it can hold a password."""
    return select_proxy(str(link.url), _proxies_of(link))


def find_proxy_of_environment(url: str) -> str | None:
    """Return the address of the proxy that the environment names for *url*, None for none; it can hold a password."""
    return select_proxy(url, get_environ_proxies(url))


def _proxies_of(link: Link) -> dict[str, str]:
    return {"http": link.proxy, "https": link.proxy} if link.proxy else get_environ_proxies(str(link.url))


@contextmanager
def sending_while(check: Callable[[], None]) -> Iterator[None]:
    """Call *check* before each exchange of this thread, for a `with`; what it raises keeps the exchange from being begun."""
    before = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(before)


def within_deadline(link: Link, call: Callable[[], _Result]) -> _Result:
    """
    Run *call* in a thread of its own and wait for it as long as *link* allows.

    requests bounds each read, not the whole: a provider that sends a byte a second would hold us for ever.

    Raises:
        ProviderUnreachableError: the network, TLS or the deadline failed, or too many other calls wait for providers already;
            everything else that *call* raises goes on as it is, and what a check of `sending_while` raises.
    """
    _CHECK.get()()
    try:
        with _PLACES.take(link.url.origin):
            return _call_in_thread(link, call)
    except (requests.RequestException, OSError) as exc:
        error = unreachable(link, exc)
    raise error  # out here, with no chain: requests' errors carry the request, and that its signed header


def _call_in_thread(link: Link, call: Callable[[], _Result]) -> _Result:
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
        raise failure[0]
    late = TimeoutError()  # first, for being cut off makes the thread fail in its own way
    exchange.cut_off()
    raise late


class _Places:
    """How many calls talk to providers at once, and how many wait until they may."""

    def __init__(self) -> None:
        """Begin with all places free."""
        self._changed = threading.Condition()
        self._taken: Counter[str] = Counter()  # by origin
        self._waiting = 0

    @contextmanager
    def take(self, origin: str) -> Iterator[None]:
        """Have a place for the time of a `with`; raises TooManyWaitError."""

        def is_free() -> bool:
            return self._taken[origin] < EXCHANGES_PER_ORIGIN_MAX and self._taken.total() < EXCHANGES_MAX

        with self._changed:
            if not is_free():
                if self._waiting >= WAITING_MAX:
                    raise TooManyWaitError
                self._waiting += 1
                try:
                    if not self._changed.wait_for(is_free, WAIT_S_MAX):
                        raise TooManyWaitError
                finally:
                    self._waiting -= 1
            self._taken[origin] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[origin] -= 1
                self._taken += Counter()  # forgets origins with none
                self._changed.notify_all()


_PLACES = _Places()  # the process's, as the threads are that it spares


class _Exchange(threading.Thread):
    """A thread that talks to a provider, and can be made to stop."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        """Prepare a thread for *run*; *name* is the link's."""
        super().__init__(name=f"provider-{name}", daemon=True)
        self._run_call = run
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._is_cut_off = False

    def run(self) -> None:
        """Talk."""
        try:
            self._run_call()
        finally:
            with self._lock:
                while self._connections:
                    self._connections.pop().close()

    def note_connection(self, connected: socket.socket) -> None:
        """Take note of a connection that the thread has opened, before a byte of TLS is spoken on it."""
        with self._lock:
            # A descriptor of our own: TLS takes the socket's away and keeps it to itself until its handshake is over.
            self._connections.append(socket.fromfd(connected.fileno(), connected.family, connected.type))
        if self._is_cut_off:
            self.cut_off()

    def cut_off(self) -> None:
        """End the connections under the thread: it would wait for a slow provider for as long as that goes on."""
        self._is_cut_off = True
        with self._lock:
            for connected in self._connections:
                with suppress(OSError):  # the other side has closed it already
                    connected.shutdown(socket.SHUT_RDWR)


class _BoundedAdapter(HTTPAdapter):
    """Reads every answer here, up to `ANSWER_BYTES_MAX`, whatever asked for it."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send as requests does; the response comes with its body read. Raises AnswerTooLargeError."""
        response = super().send(*args, **{**kwargs, "stream": True})
        try:
            content = bytearray()
            for chunk in response.iter_content(16_384):  # small, for a compressed answer can be a thousand times as large
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise AnswerTooLargeError()
        finally:
            response.close()
        response._content = bytes(content)
        mark = next((name for bom, name in _BYTE_ORDER_MARKS if content.startswith(bom)), None)
        if mark is not None:  # it says more than the header does, and does not belong to the text
            response.encoding = mark
        elif response.encoding is None or "charset" not in response.headers.get("Content-Type", ""):
            response.encoding = "utf-8"  # guessing reads the whole body once more, and guesses wrong
        return response

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Choose the connections' pool as requests does; the thread gets to know what the pool opens."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        thread, make_connection = threading.current_thread(), pool.ConnectionCls

        def make_known_connection(*args: Any, **kwargs: Any) -> Any:
            connection: Any = make_connection(*args, **kwargs)
            open_socket = connection._new_conn  # `connect` itself returns after the handshake, which may take for ever

            def open_and_tell() -> Any:
                opened = open_socket()
                if isinstance(thread, _Exchange):
                    thread.note_connection(opened)
                return opened

            connection._new_conn = open_and_tell
            return connection

        pool.ConnectionCls = make_known_connection
        return pool


def _clock_offset(headers: Mapping[str, str], middle: float) -> float | None:
    try:
        date = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    # The header counts whole seconds: on average the moment is half a second later.
    return date.timestamp() + 0.5 - middle
