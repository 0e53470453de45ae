"""The seam for authentication schemes (RFC 9110 §11): how requests are authorized, how a grant is got and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from atl_sign.base.credentials import Client, Credentials, Grant, Secret
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


class NoAnswerError(Exception):
    """A redirect holds no answer that can be read; the dance waits on."""


class OtherDanceError(Exception):
    """A redirect belongs to another dance, or is made up: nothing of it counts, and the dance waits on."""


class PendingError(Exception):
    """The user has not answered yet at the other device; ask again after a while, and more slowly from now on if it says so."""

    def __init__(self, *, is_slower: bool = False) -> None:
        """Wait."""
        super().__init__()
        self.is_slower = is_slower


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """The code that the user enters at another device (RFC 8628 §3.2)."""

    user_code: str
    whole_url: str | None  # the page with the code in its address; for a QR code
    interval_s: float  # between two questions whether it was entered
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class GitSecret:
    """A grant's own token as git uses it."""

    secret: Secret
    users: tuple[str, ...]  # the names that go beside it; the first one is given to git
    name: str = ""  # of the token, for people
    takes_bearer: bool = True  # whether the provider takes it as a bearer token too


@dataclass(frozen=True, slots=True)
class Place:
    """The place where a link's grant is kept, and what it was given for; links with the same place share one grant."""

    name: str  # of the store's items: the link's, or one that no link can have
    url: str
    client: str


@dataclass(frozen=True, slots=True)
class RedirectPlace:
    """The address on this machine that the browser is sent to after the consent: `http://HOST:PORT/PATH`."""

    host: Literal["127.0.0.1", "localhost"] = "127.0.0.1"
    port: int = 0  # 0: any free one
    path: str | None = None  # None: one that nobody can guess


@dataclass(frozen=True, slots=True)
class Consent:
    """A dance that has begun: where the user consents, and what the scheme needs to know at its end."""

    authorize_url: str
    key: Secret | None = None  # what the redirect must carry: the request token, the state
    secret: Secret | None = None
    own: object = None  # what else this scheme needs to know
    device: DeviceCode | None = None  # of a dance whose user answers at another device
    needs_address: bool = False  # a code by itself does not show which dance it belongs to; the redirect's address does


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
    needs_key: ClassVar[bool]  # whether a header needs the consumer's key
    needs_app: ClassVar[bool]  # whether a dance and a renewal need the link's app, of which the store has the secret
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

    def place(self, link: Link) -> Place:
        """Return where the grant of *link* is kept, and what it is given for."""

    def gateway(self, link: Link) -> Url | None:
        """Return the address of the gateway where a grant of *link* may be good instead; None when there is none."""

    def good_at(self, link: Link, grant: Grant) -> str | None:
        """Return where *grant* is good, when that is not at the base URL of *link*: an address at a gateway."""

    def send_to(self, link: Link, credentials: Credentials, url: Url) -> Url:
        """
        Return where a request for *url* is to be sent; raises BadUrlError for what is not there.

        Args:
            link: whose request it is.
            credentials: of this scheme, with a grant.
            url: below the link's base URL, or already where the grant is good.
        """

    def describe(self, link: Link) -> Manifest | None:
        """Return what the provider of *link* is, when its settings say it; None: the provider is asked."""

    def begin(self, link: Link, client: Client | None, callback: str, clocks: Clocks, sharing: Sequence[Link] = ()) -> Consent:
        """
        Begin a dance.

        Args:
            link: whom with.
            client: None for a scheme that has none.
            callback: "oob", "device", or the absolute address where the browser is sent afterwards.
            clocks: the providers' clocks.
            sharing: the links with the same place as *link*, and itself.

        Raises:
            AppMissingError: the client is not whole.
            BadRequestError: there is no such callback here.
            ProviderRefusedError: the provider does not begin one.
            ProviderUnreachableError: no answer in time.
        """

    def redirect_place(self, link: Link) -> RedirectPlace:
        """Return where a browser is sent after the consent on *link*."""

    def read_redirect(self, link: Link, consent: Consent, query: str) -> Secret:
        """
        Return the user's answer in *query*, that of the address that the browser was sent to.

        Raises:
            NoAnswerError, OtherDanceError: this dance has no such answer.
            DanceRefusedError: the user refused.
            ProviderRefusedError: the provider ends the dance.
        """

    def redeem(self, link: Link, client: Client | None, consent: Consent, answer: Secret, clocks: Clocks) -> Grant:
        """
        Return the grant that the user's *answer* stands for.

        Raises:
            BadRequestError: this cannot be an answer; the dance waits on.
            PendingError: the user has not answered at the other device.
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

    def old_dies_at_once(self, link: Link) -> bool:
        """Tell whether the provider of *link* voids what a renewal replaces as it answers, also for requests on their way."""

    def revoke(self, link: Link, client: Client | None, grant: Grant) -> bool:
        """Have the provider end *grant*, and tell whether it has; raises ProviderUnreachableError and ProviderRefusedError."""

    def revoke_page(self, link: Link, product: Product | None) -> str:
        """Return the page where the user ends the grant of *link* at *product*, which is None when nobody knows it."""

    def scopes(self, grant: Grant) -> tuple[str, ...] | None:
        """Return the rights that *grant* has, in the provider's words; None when the provider did not say, or has none."""

    def git_secret(self, link: Link, grant: Grant, product: Product | None) -> GitSecret | None:
        """Return the own token of *grant* as git uses it; None when a token of git's own is made with the grant."""

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

    def explain_lack(self, link: Link, request: Request, answer: Answer) -> tuple[str, str, str] | None:
        """
        Return word, message and hint for an answer that says what the grant does not allow; None when it does not say that.

        Args:
            link: whose provider it is.
            request: the refused one, with the URL that the caller knows.
            answer: of its text the beginning is enough.
        """

    def explain_anonymous(self, link: Link) -> DaemonError | None:
        """Return the error if the provider treats a request as anonymous; None if it refuses a wrong grant by name."""

    def explain(self, link: Link, credentials: Credentials, sent: Sent, clocks: Clocks) -> Refusal | None:
        """Return what the provider's answer refuses, None when it takes the authorization; may ask the provider once more."""


def own_place(link: Link) -> Place:
    """Return the place of a grant that *link* shares with no other."""
    return Place(link.name, str(link.url), link.client)


def change_scheme(link: Link, scheme: str) -> str:
    """Return the command that gives *link* another *scheme*, which may be followed by options."""
    return f"atl-sign link add {link.name} {link.url} --replace --scheme {scheme}"


@runtime_checkable
class HasBaseString(Protocol):
    """A scheme that signs, so that one can see what it would sign."""

    def base_string(self, request: Request, client: Client | None, moment: int) -> str:
        """Return what `authorize` would sign for *request*, with token and nonce struck out; raises as `authorize`."""
