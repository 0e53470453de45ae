"""
For requests: `requests.get(url, auth=AtlSignAuth())`, or `session.auth = AtlSignAuth()`.

requests asks for a header once, for the first request, and carries it along when it follows a redirect. A signature is good for
one request, so the response hook puts another one into the request that the next one is copied from, or none outside the link.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict

from atl_sign_client.client import DEADLINE_S, AtlSign, SignedHeader
from atl_sign_client.errors import AtlSignError
from atl_sign_client.wording import have_one_origin, insecure_redirect, is_form, log_refusal, own_header

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


class AtlSignAuth(AuthBase):
    """Signs each request, and each redirect inside the link; logs a provider's refusal in words, as a warning."""

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, link: str | None = None, timeout_s: float = DEADLINE_S
    ) -> None:
        """Take what `AtlSign` takes."""
        self.daemon = AtlSign(socket_path, link, timeout_s)

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """
        Put the Authorization header into *r*, which is ready to be sent but for it.

        Raises:
            AtlSignError: there is no signature; nothing was sent.
        """
        own = r.headers.get("Authorization")
        if own is not None and not isinstance(own, SignedHeader):
            raise own_header()
        signed = self.daemon.sign(str(r.method), _as_sent(str(r.url)), _form_of(r))
        r.headers["Authorization"] = signed
        if signed.url is not None:
            r.url = signed.url
        if self._take_response not in r.hooks["response"]:
            r.register_hook("response", self._take_response)  # type: ignore[no-untyped-call]  # so in the stubs
        return r

    def _take_response(self, response: requests.Response, **settings: Any) -> requests.Response:
        signed = response.request.headers.get("Authorization")
        if isinstance(signed, SignedHeader):  # else it went off the link before, and from there nothing is signed any more
            if response.status_code == 401:
                log_refusal(self.daemon, signed.link, response.headers.get("WWW-Authenticate"))
            if response.is_redirect:
                self._sign_redirect(response, signed, settings)
        return response

    def _sign_redirect(self, response: requests.Response, signed: SignedHeader, settings: dict[str, Any]) -> None:
        """
        Make the request that *response* answers the right one to go on from; *signed* is its header.

        A gateway may redirect to the address that the program has used. Then the daemon says where that is answered, and Location
        leads there.

        Raises:
            AtlSignError: from https to http, or the daemon did not sign for another reason than the link's bounds.
            requests.exceptions.UnrewindableBodyError: the body can be sent only once.
        """
        sent = response.request
        following = _follow(response, settings)
        if urlsplit(str(sent.url)).scheme == "https" and urlsplit(str(following.url)).scheme == "http":
            raise insecure_redirect()
        body: object = following.body
        if body is not None and not isinstance(body, (str, bytes)) and getattr(following, "_body_position", None) is None:
            raise requests.exceptions.UnrewindableBodyError("a body that can be read only once cannot follow a redirect")
        # requests copies its own object, so that one is changed; the response keeps the request as it was sent.
        response.request = sent.copy()
        places = (str(sent.url), signed.asked_url or str(sent.url))
        may_be_inside = any(have_one_origin(each, str(following.url)) for each in places)
        header = self._sign_inside(following, signed) if may_be_inside else None
        if header is None:
            del sent.headers["Authorization"]
            return
        sent.headers = _PinnedHeaders(sent.headers)
        sent.headers["Authorization"] = header
        if header.url is not None:
            response.headers["Location"] = header.url

    def _sign_inside(self, request: requests.PreparedRequest, before: SignedHeader) -> SignedHeader | None:
        try:
            header = self.daemon.sign(str(request.method), _as_sent(str(request.url)), _form_of(request), link=before.link)
        except AtlSignError as exc:
            if exc.code != "unknown_link":
                raise
            return None
        header.asked_url = before.asked_url
        return header


class _PinnedHeaders(CaseInsensitiveDict):  # type: ignore[type-arg]  # no generic at run time in old versions
    """Headers in which only another signature takes a signature's place: at a redirect a ~/.netrc entry for the host would."""

    def __setitem__(self, key: str, value: Any) -> None:
        """Keep the signature as it is."""
        if key.lower() != "authorization" or isinstance(value, SignedHeader):
            super().__setitem__(key, value)

    def copy(self) -> _PinnedHeaders:
        """Return another of this kind."""
        return _PinnedHeaders(self.items())


def _follow(response: requests.Response, settings: dict[str, Any]) -> requests.PreparedRequest:
    """Return the request that requests would send next: its own code makes method, address and body."""
    with requests.Session() as session:
        session.trust_env = False
        following: Any = next(session.resolve_redirects(response, response.request, yield_requests=True, **settings))
        return following  # type: ignore[no-any-return]  # yield_requests=True gives requests


def _as_sent(url: str) -> str:
    """Return *url* as urllib3 puts it on the wire; only a redirect's may differ."""
    before, mark, after = url.partition("?")
    scheme, slashes, rest = before.partition("://")
    authority, slash, path = rest.partition("/")
    path = _ESCAPE.sub(lambda match: match[0].upper(), quote(path, safe="/%:@!$&'()*+,;=~#"))
    return f"{scheme}{slashes}{authority}{slash}{path}{mark}{after}"


def _form_of(request: requests.PreparedRequest) -> str | bytes | None:
    body: object = request.body
    if body is None or not is_form(request.headers.get("Content-Type")):
        return None
    if not isinstance(body, (str, bytes)):
        raise AtlSignError("bad_request", "a form that is a stream cannot be signed", "give it as a text or as names and values")
    return body
