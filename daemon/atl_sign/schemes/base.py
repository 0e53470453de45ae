"""The seam for authentication schemes (RFC 9110 §11): how requests are authorized, how a grant is got and kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from atl_sign.base.credentials import Consumer, Credentials, Grant, Secret
from atl_sign.base.errors import DaemonError
from atl_sign.base.request import Request
from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.config.setting import Setting
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import Product

Uses = Literal["one", "many"]


@dataclass(frozen=True, slots=True)
class Consent:
    """A dance that has begun: where the user consents, and what the scheme needs to know at its end."""

    authorize_url: str
    key: Secret | None = None  # what the redirect must carry: the request token
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One authorized request that was sent, and its answer."""

    request: Request
    authorization: Secret
    answer: Answer


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider's refusal, explained."""

    error: DaemonError
    may_pass: bool = False  # the same request, authorized afresh, may be taken
    clock_offset_s: float | None = None  # the provider's clock less ours, when the refusal shows it


class Scheme(Protocol):
    """How a link's requests are authorized, and how its grant is got and kept."""

    settings: ClassVar[tuple[Setting, ...]]  # what a link of this scheme says beside its URL and its network
    name: ClassVar[str]  # a link's `scheme`, and that of /sign
    uses: ClassVar[Uses]  # how many requests one header is good for
    has_client: ClassVar[bool]  # whether it needs the consumer's key
    is_pasted: ClassVar[bool]  # whether the user pastes a dance's answer: there is no redirect and no code
    covers_form: ClassVar[bool]  # whether a form must be known before the header is
    can_rotate: ClassVar[bool]  # whether products replace a token of it by a new one when asked with the old one

    def authorize(self, request: Request, credentials: Credentials, moment: int) -> Secret:
        """
        Return the Authorization header value for *request*.

        Args:
            request: its URL is the one the provider believes it was called by.
            credentials: of this scheme, with a grant.
            moment: seconds since 1970-01-01 UTC, by the provider's clock.
        """

    def check_product(self, link: Link, manifest: Manifest) -> Product | None:
        """
        Return the product that *link* leads to; None for one that is not known, which may have grants of this scheme.

        Raises ProviderRefusedError when it has none.
        """

    def gateway(self, link: Link) -> Url | None:
        """Return the address of the gateway where a grant of *link* may be good instead; None when there is none."""

    def send_to(self, link: Link, credentials: Credentials, url: Url) -> Url:
        """
        Return where a request for *url* is to be sent; raises BadUrlError for what is not there.

        Args:
            link: whose request it is.
            credentials: of this scheme, with a grant.
            url: below the link's base URL, or already where the grant is good.
        """

    def begin(self, link: Link, client: Consumer | None, callback: str, clocks: Clocks) -> Consent:
        """
        Begin a dance.

        Args:
            link: whom with.
            client: None for a scheme that has none.
            callback: "oob", or the absolute address where the browser is sent afterwards.
            clocks: the providers' clocks.

        Raises:
            ProviderRefusedError: the provider does not begin one.
            ProviderUnreachableError: no answer in time.
        """

    def redeem(self, link: Link, client: Consumer | None, consent: Consent, answer: Secret, clocks: Clocks) -> Grant:
        """
        Return the grant that the user's *answer* stands for.

        Raises:
            BadRequestError: this cannot be an answer; the dance waits on.
            DanceRefusedError: the user refused.
            DanceExpiredError: the consent's time is over.
            ProviderRefusedError: the provider does not take the answer; the dance waits on for another one.
            ProviderUnreachableError: no answer in time; the dance waits on.
        """

    def renew(self, link: Link, credentials: Credentials, clocks: Clocks) -> Grant:
        """
        Return another grant of the same user; the one in *credentials* is void as soon as the provider answers.

        Raises:
            ProviderRefusedError: the grant is as it was when `problem` has the provider's word.
            ProviderUnreachableError: no answer in time; whether the grant still holds is not known.
        """

    def dump(self, grant: Grant) -> Mapping[str, str | int | None]:
        """Return everything in *grant*, its secrets as text, for the store."""

    def load(self, fields: Mapping[str, Any]) -> Grant:
        """Return what `dump` gave *fields* for; raises KeyError, TypeError, ValueError, OverflowError or OSError for others."""

    def explain_challenge(self, link: Link, www_authenticate: str, clocks: Clocks) -> tuple[str, str, str] | None:
        """
        Return the provider's word, message and hint for a refusal that a caller's own request met; None when it is not a refusal.

        Args:
            link: whose provider it is.
            www_authenticate: the header's value.
            clocks: learn the provider's clock when the refusal shows it.
        """

    def explain_anonymous(self, link: Link) -> DaemonError | None:
        """Return the error if the provider treats a request as anonymous; None if it refuses a wrong grant by name."""

    def explain(self, link: Link, credentials: Credentials, sent: Sent, clocks: Clocks) -> Refusal | None:
        """Return what the provider's answer refuses, None when it takes the authorization; may ask the provider once more."""


def change_scheme(link: Link, scheme: str) -> str:
    """Return the command that gives *link* another *scheme*, which may be followed by options."""
    return f"atl-sign link add {link.name} {link.url} --replace --scheme {scheme}"


@runtime_checkable
class HasBaseString(Protocol):
    """A scheme that signs, so that one can see what it would sign."""

    def base_string(self, request: Request, client: Consumer | None, moment: int) -> str:
        """Return what `authorize` would sign for *request*, with token and nonce struck out; raises as `authorize`."""
