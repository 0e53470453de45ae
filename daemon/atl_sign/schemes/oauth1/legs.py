"""The requests of the dance, and of a renewal, through requests-oauthlib (RFC 5849 §2)."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1Session
from requests_oauthlib.oauth1_session import TokenMissing, TokenRequestDenied

from atl_sign.base.credentials import Consumer, Grant, Secret
from atl_sign.base.errors import ProviderRefusedError
from atl_sign.base.urls import Pairs, parse_pairs, parse_url
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.exchange import open_session, read_answer, within_deadline
from atl_sign.providers.unexpected import unexpected_answer
from atl_sign.schemes.base import Refusal, Sent
from atl_sign.schemes.oauth1.refusal import REQUEST_TOKEN_PATH, explain_refusal
from atl_sign.schemes.oauth1.signature import LegRequest, sign
from atl_sign.schemes.oauth1.tokens import RENEW_BEFORE, AccessToken, RequestToken
from atl_sign.schemes.session import ask_twice

AUTHORIZE_PATH = "/plugins/servlet/oauth/authorize"
ACCESS_TOKEN_PATH = "/plugins/servlet/oauth/access-token"  # noqa: S105 - an address


class Legs:
    """The legs of a dance with one link's provider, as our consumer walks them."""

    def __init__(self, link: Link, consumer: Consumer, clocks: Clocks) -> None:
        """
        Walk them with the provider of *link*.

        Args:
            link: where it is, and how to reach it.
            consumer: who signs.
            clocks: the providers' clocks; what a refused timestamp shows is learned.
        """
        self._link = link
        self._consumer = consumer
        self._clocks = clocks

    def fetch_request_token(self, callback: str) -> RequestToken:
        """
        Begin a dance (RFC 5849 §2.1).

        Args:
            callback: "oob", or the absolute address where the browser is sent afterwards.

        Raises:
            ProviderRefusedError: it answered no, or not with a request token bound to *callback*.
            ProviderUnreachableError: no answer in time.
        """
        fields = self._fetch_token(REQUEST_TOKEN_PATH, None, callback_uri=callback)
        if fields.get("oauth_callback_confirmed") != "true":
            # Without this the provider speaks OAuth 1.0, where somebody else's consent can be slipped in (facts section 1.4).
            raise ProviderRefusedError(
                "the provider did not confirm the callback", "it speaks OAuth 1.0, not 1.0a", link=self._link.name
            )
        return RequestToken(Secret(fields["oauth_token"]), Secret(fields["oauth_token_secret"]))

    def authorize_url(self, request_token: RequestToken) -> str:
        """Return the page where the user presses Allow or Deny (RFC 5849 §2.2)."""
        return f"{self._link.url}{AUTHORIZE_PATH}?oauth_token={quote(request_token.key.reveal(), safe='')}"

    def fetch_access_token(self, request_token: RequestToken, verifier: Secret) -> Grant:
        """
        Swap the request token that the user allowed (RFC 5849 §2.3); raises as `fetch_request_token`.

        Source: facts section 2 for the lifetimes.
        """
        return self._make_grant(self._fetch_token(ACCESS_TOKEN_PATH, request_token, verifier=verifier))

    def renew_access_token(self, token: AccessToken) -> Grant:
        """
        Swap *token* and its session handle for another token of the same user; *token* is void as soon as the provider answers.

        Raises:
            ProviderRefusedError: with `problem` "token_rejected" there is no such token any more, or the handle is another's;
                with "permission_denied" the session is over. *token* is as it was.
            ProviderUnreachableError: no answer in time; whether *token* still holds is not known.

        Source: facts section 2.
        """
        return self._make_grant(self._fetch_token(ACCESS_TOKEN_PATH, token, session_handle=token.session_handle))

    def _make_grant(self, fields: Mapping[str, str]) -> Grant:
        now = self._clocks.now_utc()
        end = _end(now, fields.get("oauth_expires_in"))
        handle = fields.get("oauth_session_handle")
        token = AccessToken(
            Secret(fields["oauth_token"]),
            Secret(fields["oauth_token_secret"]),
            session_handle=Secret(handle) if handle else None,
            session_expires_at=_end(now, fields.get("oauth_authorization_expires_in")),
        )
        return Grant(token, expires_at=end, renew_at=end - min(RENEW_BEFORE, (end - now) / 10) if end else None)

    def _fetch_token(
        self,
        path: str,
        token: RequestToken | AccessToken | None,
        *,
        callback_uri: str | None = None,
        verifier: Secret | None = None,
        session_handle: Secret | None = None,
    ) -> dict[str, str]:
        hidden = [secret for secret in (verifier, session_handle, *((token.key, token.secret) if token else ())) if secret]

        def ask() -> tuple[tuple[dict[str, str] | None, Answer], Sent]:
            session = OAuth1Session(
                self._consumer.key,
                resource_owner_key=token.key.reveal() if token else None,
                resource_owner_secret=token.secret.reveal() if token else None,
                client_class=_Signer,
                legs=self,
                callback_uri=callback_uri,
                session_handle=session_handle,
            )
            answers: list[Answer] = []
            with open_session(session, self._link):
                session.hooks["response"] = [lambda response, **_: answers.append(read_answer(response))]
                options = {"allow_redirects": False, "timeout": self._link.timeout_s, "headers": {"Content-Length": "0"}}
                try:
                    if verifier is not None:
                        fields = session.fetch_access_token(f"{self._link.url}{path}", verifier=verifier.reveal(), **options)
                    else:  # for a renewal too: requests-oauthlib has no call for it, and this one asks for nothing else
                        fields = session.fetch_request_token(f"{self._link.url}{path}", **options)
                except (TokenRequestDenied, TokenMissing, ValueError):
                    if not answers:
                        raise  # requests could not send it: some of its own errors are ValueErrors
                    # The errors' own text goes no further: it holds what the provider sent.
                    fields = {}
                answer = answers[-1]
                is_token = fields.get("oauth_token") and fields.get("oauth_token_secret") is not None and answer.status == 200
                request, header = session.auth.client.signed
                return (dict(fields) if is_token else None, answer), Sent(request, Secret(header), answer)

        def explain(sent: Sent) -> Refusal | None:
            return explain_refusal(self._link, self._consumer, sent, self._clocks, hidden)

        fields, answer = within_deadline(self._link, lambda: ask_twice(self._link, self._clocks, ask, explain))
        if fields is None:
            raise unexpected_answer(self._link, answer, "its answer holds no token")
        return fields

    def sign(self, method: str, url: str, form: Pairs | None, oauth: Pairs, token: RequestToken | None) -> tuple[LegRequest, str]:
        """Return one request of a leg and its header value, with a fresh nonce and the provider's time."""
        request = LegRequest(method, self._link.as_signed(parse_url(url)), form, oauth)
        moment = self._clocks.moment(self._link)
        return request, sign(request, self._consumer, token, nonce=secrets.token_hex(16), timestamp=moment)


class _Signer(Client):  # type: ignore[misc]  # oauthlib has no types
    """oauthlib's client with our signature, so that one implementation signs the dance and everything else."""

    def __init__(self, *args: Any, legs: Legs, session_handle: Secret | None, **kwargs: Any) -> None:
        """Sign as *legs* do, with *session_handle* for a renewal; the rest is what requests-oauthlib passes on."""
        super().__init__(*args, **kwargs)
        self._legs = legs
        self._session_handle = session_handle
        self.signed: tuple[LegRequest, str] | None = None  # the last request, and its header value

    def sign(
        self, uri: str, http_method: str = "GET", body: str | None = None, headers: Any = None, realm: str | None = None
    ) -> tuple[str, Any, str | None]:
        """Return the request with its Authorization header, as requests-oauthlib asks for it."""
        del realm
        token = None
        if self.resource_owner_key is not None:
            token = RequestToken(Secret(self.resource_owner_key), Secret(self.resource_owner_secret or ""))
        oauth: Pairs = ()
        if self.callback_uri is not None:
            oauth += (("oauth_callback", self.callback_uri),)
        if self.verifier is not None:
            oauth += (("oauth_verifier", self.verifier),)
        if self._session_handle is not None:
            oauth += (("oauth_session_handle", self._session_handle.reveal()),)
        form = parse_pairs(body, "form") if body else None
        self.signed = self._legs.sign(http_method, uri, form, oauth, token)
        headers["Authorization"] = self.signed[1]
        return uri, headers, body


def _end(now: datetime, seconds: str | None) -> datetime | None:
    if seconds is None or not seconds.isascii() or not seconds.isdigit() or len(seconds) > 10:
        return None
    return now + timedelta(seconds=int(seconds))
