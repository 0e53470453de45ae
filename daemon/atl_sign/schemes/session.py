"""Requests made with one link's live credentials."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from atl_sign.base.credentials import Credentials
from atl_sign.base.errors import DanceNeededError
from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.exchange import fetch, within_deadline
from atl_sign.schemes.base import Refusal, Scheme, Sent

_ACCEPT = "application/json, text/plain;q=0.9, */*;q=0.1"

_T = TypeVar("_T")


class Session:
    """Sends requests below one link's base URL, each with a header of its own."""

    def __init__(
        self,
        link: Link,
        scheme: Scheme,
        credentials: Credentials,
        clocks: Clocks,
        find_renewed: Callable[[Credentials], Credentials | None] = lambda _: None,
    ) -> None:
        """
        Authorize requests.

        Args:
            link: whose provider they go to.
            scheme: the link's.
            credentials: of that scheme.
            clocks: the providers' clocks.
            find_renewed: returns what has taken the place of credentials that the provider no longer takes, which it may have
                done while a request was on its way; None when nothing has.
        """
        self._link = link
        self._scheme = scheme
        self._credentials = credentials
        self._clocks = clocks
        self._find_renewed = find_renewed

    def send(self, method: str, path: str, body: object = None) -> Answer:
        """
        Send a request to *path*, below the base URL, as the grant's user; a refusal that may pass is tried once more.

        Args:
            method: in upper case.
            path: with its query; escaped. Or the whole address of another place where the grant is good.
            body: goes out as JSON, which takes no part in a signature; None for no body.

        Raises:
            DanceNeededError: the provider does not take the grant any more.
            ProviderRefusedError: another refusal.
            ProviderUnreachableError: no answer in time.
        """
        try:
            return self._send(method, path, body)
        except DanceNeededError:
            renewed = self._find_renewed(self._credentials)
            if renewed is None:
                raise
            self._credentials = renewed
            return self._send(method, path, body)

    def _send(self, method: str, path: str, body: object) -> Answer:
        link = self._link
        content = None if body is None else json.dumps(body).encode()

        def ask() -> tuple[Answer, Sent]:
            url = parse_url(f"{link.url}{path}" if path.startswith("/") else path)
            target = self._scheme.send_to(link, self._credentials, url)
            request = Request(method, link.as_signed(url))
            authorization = self._scheme.authorize(request, self._credentials, self._clocks.moment(link))
            headers = {"Authorization": authorization.reveal(), "Accept": _ACCEPT}
            if content is not None:
                headers["Content-Type"] = "application/json"
            reached = replace(link, url=replace(target, path="", query=None))
            sent_path = target.path if target.query is None else f"{target.path}?{target.query}"
            answer = fetch(reached, sent_path, headers, self._clocks.now, method=method, body=content)
            return answer, Sent(request, authorization, answer)

        def explain(sent: Sent) -> Refusal | None:
            return self._scheme.explain(link, self._credentials, sent, self._clocks)

        return within_deadline(link, lambda: ask_twice(link, self._clocks, ask, explain))


def ask_twice(link: Link, clocks: Clocks, ask: Callable[[], tuple[_T, Sent]], explain: Callable[[Sent], Refusal | None]) -> _T:
    """Return what *ask* gives; after a refusal that may pass, ask once more. Raises the error of what *explain* finds."""
    result, sent = ask()
    refusal = explain(sent)
    if refusal is not None and refusal.may_pass:
        if refusal.clock_offset_s is not None:
            clocks.learn(link, refusal.clock_offset_s)
        result, sent = ask()
        refusal = explain(sent)
    if refusal is not None:
        raise refusal.error
    return result
