"""One link's provider: the dance's requests through requests-oauthlib, and signed and anonymous GETs."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1Session
from requests_oauthlib.oauth1_session import TokenMissing, TokenRequestDenied

from atl_sign.base.credentials import RENEW_BEFORE, AccessToken, Consumer, RequestToken, Secret
from atl_sign.base.errors import BadUrlError, ProviderRefusedError
from atl_sign.base.urls import Pairs, Url, parse_pairs, parse_url
from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.challenge import has_oauth_challenge
from atl_sign.providers.exchange import Answer, fetch, open_session, read_answer, within_deadline
from atl_sign.providers.products import MANIFEST_PATH
from atl_sign.providers.unexpected import unexpected_answer
from atl_sign.schemes.oauth1.problems import (
    ENTER_KEY,
    KNOWN_PROBLEMS,
    explain_problem,
    parse_clock_offset,
    parse_problem,
)
from atl_sign.schemes.oauth1.signature import UnsignedRequest, sign, signature_base_string

REQUEST_TOKEN_PATH = "/plugins/servlet/oauth/request-token"  # noqa: S105 - an address
AUTHORIZE_PATH = "/plugins/servlet/oauth/authorize"
ACCESS_TOKEN_PATH = "/plugins/servlet/oauth/access-token"  # noqa: S105 - an address
_KEY_BITS = (1024, 2048, 3072, 4096, 8192)  # what people make; ours has one of the middle three


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a product says of itself to anybody (facts section 7)."""

    type_id: str
    version: str
    url: str  # the configured base URL

    def is_at(self, base_url: Url) -> bool:
        """Tell whether the product is configured with *base_url*, or does not say."""
        try:
            return not self.url or parse_base_url(self.url) == base_url
        except BadUrlError:
            return False


class Provider:
    """One link's provider, as our consumer meets it."""

    def __init__(
        self, link: Link, consumer: Consumer, clock_offset_s: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Stand for the provider of *link*.

        Args:
            link: where it is, and how to reach it.
            consumer: who signs.
            clock_offset_s: the provider's clock less ours, as far as it is known; `clock_offset_s` is what was learned since.
            clock: seconds since 1970-01-01 UTC, as `time.time`.
        """
        self._link = link
        self._consumer = consumer
        self._clock = clock
        self.clock_offset_s = clock_offset_s

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
                f"link {self._link.name}: the provider did not confirm the callback", "it speaks OAuth 1.0, not 1.0a"
            )
        return RequestToken(Secret(fields["oauth_token"]), Secret(fields["oauth_token_secret"]))

    def authorize_url(self, request_token: RequestToken) -> str:
        """Return the page where the user presses Allow or Deny (RFC 5849 §2.2)."""
        return f"{self._link.url}{AUTHORIZE_PATH}?oauth_token={quote(request_token.key.reveal(), safe='')}"

    def fetch_access_token(self, request_token: RequestToken, verifier: Secret) -> AccessToken:
        """
        Swap the request token that the user allowed (RFC 5849 §2.3); raises as `fetch_request_token`.

        Source: facts section 2 for the lifetimes.
        """
        fields = self._fetch_token(ACCESS_TOKEN_PATH, request_token, verifier=verifier)
        return self._make_access_token(fields)

    def renew_access_token(self, token: AccessToken) -> AccessToken:
        """
        Swap *token* and its session handle for another token of the same user; *token* is void as soon as the provider answers.

        Raises:
            ProviderRefusedError: with `problem` "token_rejected" there is no such token any more, or the handle is another's;
                with "permission_denied" the session is over. *token* is as it was.
            ProviderUnreachableError: no answer in time; whether *token* still holds is not known.

        Source: facts section 2.
        """
        return self._make_access_token(self._fetch_token(ACCESS_TOKEN_PATH, token, session_handle=token.session_handle))

    def fetch_signed(self, path: str, token: AccessToken) -> Answer:
        """GET *path*, below the base URL, as the token's user; raises as `send_signed`."""
        return self.send_signed("GET", path, token)

    def send_signed(self, method: str, path: str, token: AccessToken, body: object = None) -> Answer:
        """
        Send a request to *path*, below the base URL, as the token's user; a refused timestamp or nonce is tried once more.

        Args:
            method: in upper case.
            path: with its query; escaped.
            token: who asks.
            body: goes out as JSON, which takes no part in the signature; None for no body.

        Raises:
            ProviderRefusedError: it answered with an `oauth_problem`; `problem` has the word.
            ProviderUnreachableError: no answer in time.
        """
        content = None if body is None else json.dumps(body).encode()

        def try_once() -> tuple[Answer | None, Answer, str]:
            unsigned = UnsignedRequest(method, self._link.as_signed(parse_url(f"{self._link.url}{path}")))
            header, base_string = self.sign(unsigned, token)
            headers = {"Authorization": header, "Accept": "application/json, text/plain;q=0.9, */*;q=0.1"}
            if content is not None:
                headers["Content-Type"] = "application/json"
            answer = fetch(self._link, path, headers, self._clock, method=method, body=content)
            return answer, answer, base_string

        answer: Answer = within_deadline(self._link, lambda: self._try_twice(try_once, token.key, token.secret))
        return answer

    def sign(self, request: UnsignedRequest, token: AccessToken | RequestToken | None) -> tuple[str, str]:
        """Return the header value for *request* with a fresh nonce and the provider's time, and its base string."""
        nonce = secrets.token_hex(16)
        timestamp = self._timestamp()
        header = sign(request, self._consumer, token, nonce=nonce, timestamp=timestamp)
        return header, signature_base_string(request, self._consumer, token, nonce=nonce, timestamp=timestamp)

    def as_signed(self, url: str) -> Url:
        """Return *url* as the provider believes it was called."""
        return self._link.as_signed(parse_url(url))

    def _make_access_token(self, fields: Mapping[str, str]) -> AccessToken:
        now = datetime.fromtimestamp(self._clock(), UTC)
        end = _end(now, fields.get("oauth_expires_in"))
        handle = fields.get("oauth_session_handle")
        return AccessToken(
            Secret(fields["oauth_token"]),
            Secret(fields["oauth_token_secret"]),
            expires_at=end,
            session_handle=Secret(handle) if handle else None,
            session_expires_at=_end(now, fields.get("oauth_authorization_expires_in")),
            renew_at=end - min(RENEW_BEFORE, (end - now) / 10) if end else None,
        )

    def _fetch_token(
        self,
        path: str,
        token: RequestToken | AccessToken | None,
        *,
        callback_uri: str | None = None,
        verifier: Secret | None = None,
        session_handle: Secret | None = None,
    ) -> dict[str, str]:
        def try_once() -> tuple[dict[str, str] | None, Answer, str]:
            session = OAuth1Session(
                self._consumer.key,
                resource_owner_key=token.key.reveal() if token else None,
                resource_owner_secret=token.secret.reveal() if token else None,
                client_class=_Signer,
                provider=self,
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
                return (dict(fields) if is_token else None), answer, session.auth.client.base_string

        hidden = [secret for secret in (verifier, session_handle, *((token.key, token.secret) if token else ())) if secret]
        return within_deadline(self._link, lambda: self._try_twice(try_once, *hidden))

    def _try_twice(self, try_once: Callable[[], tuple[Any, Answer, str]], *hidden: Secret) -> Any:
        """
        Return the first part of what *try_once* gives; when its answer holds a problem that passes, try once more.

        Args:
            try_once: signs afresh and sends; returns the result (None: the answer has none), the answer, and the base string.
            hidden: what went out and must not come back in an error's words, whatever the provider repeats.
        """
        result, answer, base_string = try_once()
        fields = _parse_problem(answer)
        if fields and self._is_worth_repeating(fields):
            result, answer, base_string = try_once()
            fields = _parse_problem(answer)
        if answer.status == 500 and not fields and has_oauth_challenge(answer.headers.get("WWW-Authenticate", "")):
            raise self._explain_throw()
        if fields:
            # Known words stay: a user can type "denied" as the code, and permission_denied is no secret by that.
            fields = {name: text if text in KNOWN_PROBLEMS else _hide(text, hidden) for name, text in fields.items()}
            problem = fields["oauth_problem"]
            message, hint = explain_problem(problem, fields, self._link, _hide(base_string, hidden))
            raise ProviderRefusedError(f"link {self._link.name}: {message}", hint, problem=problem)
        if result is None:
            raise unexpected_answer(self._link, answer, "its answer holds no token")
        return result

    def _explain_throw(self) -> ProviderRefusedError:
        """
        Return the error for a 500 with an OAuth challenge and no problem: the provider threw while it checked the signature.

        It does so when its public key is of another length than the signature. A random signature as long as that key is merely
        invalid, so that trying each length proves it; when none is, something else is at fault there.
        """
        ours = 8 * len(self._consumer.private_key.sign_sha1(b""))
        theirs = next((bits for bits in _KEY_BITS if bits != ours and self._takes_signatures_of(bits)), None)
        if theirs is None:
            return ProviderRefusedError(
                f"link {self._link.name}: the provider failed while it checked the signature (status 500, no oauth_problem)",
                "the provider's log says why",
            )
        return ProviderRefusedError(
            f"link {self._link.name}: the provider has another public key for this consumer: "
            f"it has {theirs} bits, this machine's has {ours} (signature_invalid)",
            ENTER_KEY,
            problem="signature_invalid",
        )

    def _takes_signatures_of(self, bits: int) -> bool:
        """Tell whether the provider finds a random signature of *bits* invalid, rather than failing over it."""
        unsigned = UnsignedRequest("POST", self.as_signed(f"{self._link.url}{REQUEST_TOKEN_PATH}"))
        consumer = Consumer(self._consumer.key, _NoKey(bits))
        header = sign(unsigned, consumer, None, nonce=secrets.token_hex(16), timestamp=self._timestamp())
        answer = fetch(self._link, REQUEST_TOKEN_PATH, {"Authorization": header}, self._clock, method="POST")
        return _parse_problem(answer).get("oauth_problem") == "signature_invalid"

    def _timestamp(self) -> int:
        return int(self._clock() + self.clock_offset_s)

    def _is_worth_repeating(self, fields: Mapping[str, str]) -> bool:
        """Tell whether one more try can do better; learns the provider's clock on the way (facts section 3)."""
        if fields["oauth_problem"] == "timestamp_refused":
            offset = parse_clock_offset(fields, self._clock())
            if offset is None:
                return False
            self.clock_offset_s = offset
            return True
        return fields["oauth_problem"] == "nonce_used"


class _NoKey:
    """Stands for a key of *bits* whose signatures are random: nobody's."""

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def sign_sha1(self, message: bytes) -> bytes:
        """Return something as long as a signature."""
        del message
        return secrets.token_bytes(self._bits // 8)


class _Signer(Client):  # type: ignore[misc]  # oauthlib has no types
    """oauthlib's client with our signature, so that one implementation signs the dance and everything else."""

    def __init__(self, *args: Any, provider: Provider, session_handle: Secret | None, **kwargs: Any) -> None:
        """Sign as *provider* does, with *session_handle* for a renewal; the rest is what requests-oauthlib passes on."""
        super().__init__(*args, **kwargs)
        self._provider = provider
        self._session_handle = session_handle
        self.base_string = ""

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
        unsigned = UnsignedRequest(http_method, self._provider.as_signed(uri), form, oauth)
        headers["Authorization"], self.base_string = self._provider.sign(unsigned, token)
        return uri, headers, body


def fetch_manifest(link: Link) -> Manifest:
    """Ask the product who it is, anonymously; raises ProviderRefusedError or ProviderUnreachableError."""
    return read_manifest(link, fetch_manifest_answer(link))


def fetch_manifest_answer(link: Link) -> Answer:
    """Return whatever answers where the manifest should be; raises ProviderUnreachableError."""
    return within_deadline(link, lambda: fetch(link, MANIFEST_PATH, {"Accept": "application/xml"}, time.time))


def read_manifest(link: Link, answer: Answer) -> Manifest:
    """Return the manifest that *answer* holds; raises ProviderRefusedError."""
    manifest = _parse_manifest(answer.text) if answer.status == 200 else None
    if manifest is None:
        raise unexpected_answer(link, answer, "it has no application-link manifest")
    return manifest


def _parse_problem(answer: Answer) -> dict[str, str]:
    """Return what came with an `oauth_problem`, from the header or the body (facts section 3.1); empty when there is none."""
    if answer.status < 400:
        return {}
    return parse_problem(answer.headers.get("WWW-Authenticate", ""), "" if answer.is_html else answer.text)


def _parse_manifest(text: str) -> Manifest | None:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None  # a manifest has neither, and entities can be made to explode
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no entities, bounded size
    except ElementTree.ParseError:
        return None
    # Parts of the document may carry a namespace.
    found = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root}
    type_id, version, url = (found.get(name, "")[:500] for name in ("typeId", "version", "url"))
    return Manifest(type_id, version, url) if type_id else None


def _hide(text: str, hidden: Iterable[Secret]) -> str:
    for secret in hidden:
        if len(secret.reveal()) > 3:  # shorter ones hide words, and nothing else
            text = text.replace(secret.reveal(), str(secret))
    return text


def _end(now: datetime, seconds: str | None) -> datetime | None:
    if seconds is None or not seconds.isascii() or not seconds.isdigit() or len(seconds) > 10:
        return None
    return now + timedelta(seconds=int(seconds))
