"""
For httpx: `httpx.Client(auth=AtlSignHTTPXAuth())`, `httpx.AsyncClient(auth=AtlSignHTTPXAuth())`.

httpx asks for a header once, for the first request, and carries it along to redirects on the same host. A signature is good for
one request, so each redirect is signed when its head is written: there httpcore calls the request's `trace` extension.
It also does when an answer's head has come, before httpx looks at Location: a gateway may redirect to the address that the
program has used, and only the daemon knows where that is answered.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import anyio.to_thread
import httpx

from atl_sign_client.client import DEADLINE_S, AtlSign, SignedHeader
from atl_sign_client.errors import AtlSignError
from atl_sign_client.wording import have_one_origin, insecure_redirect, is_form, log_refusal, own_header

Headers = list[tuple[bytes, bytes]]


class AtlSignHTTPXAuth(httpx.Auth):
    """Signs each request, and each redirect inside the link; logs a provider's refusal in words, as a warning."""

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, link: str | None = None, timeout_s: float = DEADLINE_S
    ) -> None:
        """Take what `AtlSign` takes."""
        self.daemon = AtlSign(socket_path, link, timeout_s)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """
        Sign *request*, send it, and say what a refusal means.

        Raises:
            AtlSignError: there is no signature; nothing was sent, or not to where a redirect led.
        """
        hops = _SyncHops(self.daemon, request)
        if hops.has_form:
            request.read()
        hops.take(request, hops.sign(request))
        response = yield request
        link = hops.check(response)
        if link is not None:
            log_refusal(self.daemon, link, response.headers.get("WWW-Authenticate"))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same for an AsyncClient; the daemon is asked in a thread, so the event loop goes on."""
        hops = _AsyncHops(self.daemon, request)
        if hops.has_form:
            await request.aread()
        hops.take(request, await anyio.to_thread.run_sync(hops.sign, request))
        response = yield request
        link = hops.check(response)
        if link is not None:
            explain = functools.partial(log_refusal, self.daemon, link, response.headers.get("WWW-Authenticate"))
            await anyio.to_thread.run_sync(explain)


class _Hops:
    """One request and the redirects after it; called by httpcore at each step of each (its `trace` extension)."""

    def __init__(self, daemon: AtlSign, request: httpx.Request) -> None:
        previous = request.extensions.get("trace")
        is_again = isinstance(previous, _Hops)  # the same request is sent once more, with our old header in it
        if "Authorization" in request.headers and not is_again:
            raise own_header()
        self.has_form = _has_form(request)
        self._daemon = daemon
        self._callers_trace: Callable[..., Any] | None = previous._callers_trace if isinstance(previous, _Hops) else previous
        self._method = request.method
        self._url = self._asked_url = _url_of(request)
        self._form: bytes | None = None
        self._link = ""
        self._sent = 0
        self._is_outside = False

    def sign(self, request: httpx.Request) -> SignedHeader:
        """Return the header for the first request."""
        self._form = request.content if self.has_form and request.content else None
        # A user and a password stand only in the URL, not on the wire: for the daemon to refuse.
        userinfo = request.url.userinfo.decode("ascii")
        return self._daemon.sign(
            self._method, self._url.replace("://", f"://{userinfo}@", 1) if userinfo else self._url, self._form
        )

    def take(self, request: httpx.Request, header: SignedHeader) -> None:
        """Put *header* and this into *request*."""
        self._link = header.link
        request.headers["Authorization"] = str(header)
        if header.url is not None:
            request.url = httpx.URL(header.url)
            request.headers["Host"] = request.url.netloc.decode("ascii")
            self._url = _url_of(request)
        request.extensions = {**request.extensions, "trace": self}

    def check(self, response: httpx.Response) -> str | None:
        """
        Return the link of a refused signature, None when none was refused.

        Raises:
            AtlSignError: the transport is another than httpcore's and followed redirects that nobody signed.
        """
        if response.history and not self._sent:
            raise AtlSignError(
                "bad_request",
                "this transport follows redirects where they cannot be signed",
                "use httpx's own transport, or follow_redirects=False",
            )
        return self._link if response.status_code == 401 and not self._is_outside else None

    def _find_hop(self, name: str, info: dict[str, Any]) -> tuple[Any, str, str] | None:
        """Return httpcore's request with its method and URL when its head is about to be written and needs another signature."""
        if not name.endswith(".send_request_headers.started"):
            return None
        request = info["request"]
        method, url = request.method.decode("ascii"), _wire_url(request.url)
        if method == "CONNECT" and self._method != "CONNECT":  # to a proxy
            return None
        self._sent += 1
        if self._sent == 1:  # as signed at the start
            return None
        _drop_header(request)
        if self._url.startswith("https:") and url.startswith("http:"):
            raise insecure_redirect()
        if method != self._method:  # httpx leaves the body behind then, for good
            self._form = None
        may_be_inside = any(have_one_origin(each, url) for each in (self._url, self._asked_url))
        self._is_outside = self._is_outside or not may_be_inside  # and stays so, wherever it leads from there
        self._method, self._url = method, url
        return None if self._is_outside else (request, method, url)

    def _find_place(self, name: str, info: dict[str, Any]) -> tuple[Headers, int, str] | None:
        """
        Return where an answer's redirect to the address that the program has used stands, and the URL.

        None for another answer, and where that address is also the one that was sent to: then nothing has to be changed.
        """
        if not name.endswith(".receive_response_headers.complete") or self._is_outside:
            return None
        if have_one_origin(self._url, self._asked_url):
            return None
        headers = next((part for part in info.get("return_value") or () if isinstance(part, list)), [])
        for number, (field, value) in enumerate(headers):
            if field.lower() == b"location":
                try:
                    there = httpx.URL(self._url).join(value.decode("utf-8"))
                except (UnicodeDecodeError, httpx.InvalidURL):
                    return None  # httpx says so
                url = _join(there.scheme, there.raw_host.decode("ascii"), there.port, there.raw_path.decode("ascii"))
                return (headers, number, url) if have_one_origin(self._asked_url, url) else None
        return None

    def _move(self, headers: Headers, number: int, url: str) -> None:
        """Let a redirect lead to where the daemon says that *url* is answered; an error waits until httpx follows it."""
        try:
            there = self._daemon.sign("GET", url, link=self._link).url
        except AtlSignError:
            return
        if there is not None:
            headers[number] = (headers[number][0], there.encode("ascii"))

    def _sign_hop(self, request: Any, method: str, url: str) -> None:
        try:
            header = self._daemon.sign(method, url, self._form, link=self._link)
        except AtlSignError as exc:
            if exc.code != "unknown_link":
                raise
            self._is_outside = True
        else:
            request.headers.append((b"Authorization", header.encode("ascii")))


class _SyncHops(_Hops):
    def __call__(self, name: str, info: dict[str, Any]) -> None:
        hop, place = self._find_hop(name, info), self._find_place(name, info)
        if hop is not None:
            self._sign_hop(*hop)
        elif place is not None:
            self._move(*place)
        if self._callers_trace is not None:
            self._callers_trace(name, info)


class _AsyncHops(_Hops):
    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        hop, place = self._find_hop(name, info), self._find_place(name, info)
        if hop is not None:
            await anyio.to_thread.run_sync(self._sign_hop, *hop)
        elif place is not None:
            await anyio.to_thread.run_sync(self._move, *place)
        if self._callers_trace is not None:
            await self._callers_trace(name, info)


def _has_form(request: httpx.Request) -> bool:
    if request.headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in request.headers:  # no body
        return False
    types = request.headers.get_list("Content-Type")
    if len(types) > 1:
        raise AtlSignError("bad_request", "there are two Content-Type headers", "take one of them out")
    return is_form(types[0] if types else None)


def _drop_header(request: Any) -> None:
    request.headers[:] = [(name, value) for name, value in request.headers if name.lower() != b"authorization"]


def _url_of(request: httpx.Request) -> str:
    url = request.url
    host = url.raw_host.decode("ascii")
    return _join(url.scheme, host, url.port, url.raw_path.decode("ascii"))


def _wire_url(url: Any) -> str:
    target = url.target.decode("ascii")
    if not target.startswith(("/", "*")):  # a proxy gets the whole address
        return str(target)
    return _join(url.scheme.decode("ascii"), url.host.decode("ascii"), url.port, target)


def _join(scheme: str, host: str, port: int | None, target: str) -> str:
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme}://{host}{'' if port is None else f':{port}'}{target}"
