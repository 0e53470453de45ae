"""
Tokens that a user makes on a page of the product and pastes: Bearer (RFC 6750 §2.1) and Basic (RFC 7617).

One header is good for any number of requests, until the token ends.
"""

import hmac
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from atl_sign.base.credentials import Client, Credentials, Grant, Material, Secret
from atl_sign.base.errors import BadRequestError, DaemonError, DanceNeededError, ProviderRefusedError
from atl_sign.base.request import Request
from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.config.setting import Setting
from atl_sign.providers import cloud
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest, fetch_manifest
from atl_sign.providers.personal_tokens import (
    PERSONAL_TOKENS,
    PersonalTokens,
    calls_path,
    not_taken,
    parse_list,
    tokens_of,
    tokens_page,
)
from atl_sign.providers.products import Product, find_product
from atl_sign.schemes.base import (
    Consent,
    GitSecret,
    NoAnswerError,
    Place,
    RedirectPlace,
    Refusal,
    Sent,
    Uses,
    change_scheme,
    own_place,
)
from atl_sign.schemes.fields import Fields, dump_known, load_known

_TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that the user pasted: the material of a grant."""

    secret: Secret
    user: str | None = None  # the user beside it, for Basic
    id: str | None = None  # at the provider; None when that is not known
    name: str | None = None  # as the user called it there
    base_url: str | None = None  # where it is good, when that is not the link's base URL: the gateway's address

    def is_same_as(self, other: Material) -> bool:
        """See `Material.is_same_as`."""
        ours = self.secret.reveal().encode()
        return isinstance(other, StaticToken) and hmac.compare_digest(ours, other.secret.reveal().encode())

    def may_renew(self, now: Any) -> bool:  # noqa: ARG002 - a protocol's
        """Nobody but the user makes another one."""
        return False


def static_token_of(credentials: Credentials) -> StaticToken:
    """Return the token in *credentials*, which are of one of these schemes and have a grant."""
    material = credentials.grant.material if credentials.grant is not None else None
    assert isinstance(material, StaticToken)  # noqa: S101 - the store's items say of which scheme they are
    return material


class Static:
    """The common parts of the schemes of such tokens."""

    name: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    uses: ClassVar[Uses] = "many"
    needs_key: ClassVar[bool] = False
    needs_app: ClassVar[bool] = False
    is_pasted: ClassVar[bool] = True
    covers_form: ClassVar[bool] = False
    can_rotate: ClassVar[bool] = False

    def authorize(self, request: Request, credentials: Credentials, moment: int) -> Secret:
        """See `Scheme.authorize`."""
        del request, moment
        return self._header(static_token_of(credentials))

    @abstractmethod
    def _header(self, token: StaticToken) -> Secret:
        """Return the header's value with *token*."""

    def place(self, link: Link) -> Place:
        """See `Scheme.place`."""
        return own_place(link)

    def gateway(self, link: Link) -> Url | None:
        """See `Scheme.gateway`."""
        del link
        return None

    def good_at(self, link: Link, grant: Grant) -> str | None:
        """See `Scheme.good_at`."""
        del link
        return static_token_of(Credentials(None, grant)).base_url

    def send_to(self, link: Link, credentials: Credentials, url: Url) -> Url:
        """See `Scheme.send_to`."""
        del link, credentials
        return url

    def describe(self, link: Link) -> Manifest | None:
        """See `Scheme.describe`."""
        del link
        return None

    def begin(self, link: Link, client: Client | None, callback: str, clocks: Clocks, sharing: Sequence[Link] = ()) -> Consent:
        """See `Scheme.begin`: no request but those for what the product is."""
        del client, callback, clocks, sharing
        manifest = fetch_manifest(link)
        self.check_product(link, manifest)
        tokens = tokens_of(manifest)
        return Consent(cloud.TOKENS_PAGE if tokens is None else tokens_page(link, tokens))

    def renew(self, link: Link, credentials: Credentials, clocks: Clocks) -> Grant:
        """Nobody asks for it: such a token cannot be renewed."""
        del credentials, clocks
        raise DanceNeededError(f"the token of link {link.name} cannot be renewed", f"atl-sign dance {link.name}")

    def old_dies_at_once(self, link: Link) -> bool:
        """See `Scheme.old_dies_at_once`; nothing replaces it."""
        del link
        return False

    def revoke(self, link: Link, client: Client | None, grant: Grant) -> bool:
        """See `Scheme.revoke`: only the user can (facts oauth2.md sections 6 and 7)."""
        del link, client, grant
        return False

    def revoke_page(self, link: Link, product: Product | None) -> str:
        """See `Scheme.revoke_page`."""
        tokens = PERSONAL_TOKENS.get(product.type_id) if product is not None else None
        if tokens is not None:
            return tokens_page(link, tokens)
        return str(link.url) if product is None else cloud.TOKENS_PAGE

    def scopes(self, grant: Grant) -> tuple[str, ...] | None:
        """See `Scheme.scopes`; the products do not say."""
        del grant
        return None

    def git_secret(self, link: Link, grant: Grant, product: Product | None) -> GitSecret | None:
        """See `Scheme.git_secret`."""
        del link
        token = static_token_of(Credentials(None, grant))
        alias = product.git_user if product is not None else None
        users = tuple(name for name in (alias, token.user, grant.user) if name is not None)
        return GitSecret(token.secret, users, token.name or "", takes_bearer=alias is None)

    def dump(self, grant: Grant) -> Fields:
        """See `Scheme.dump`."""
        token = static_token_of(Credentials(None, grant))
        known = {"token_user": token.user, "id": token.id, "name": token.name, "base_url": token.base_url}
        return {"secret": token.secret.reveal(), **known, **dump_known(grant)}

    def load(self, fields: Mapping[str, Any]) -> Grant:
        """See `Scheme.load`."""
        known = {name: None if fields[key] is None else str(fields[key]) for name, key in _KNOWN.items()}
        return load_known(StaticToken(Secret(str(fields["secret"])), **known), fields)

    def explain_challenge(self, link: Link, www_authenticate: str, clocks: Clocks) -> tuple[str, str, str] | None:
        """See `Scheme.explain_challenge`: a challenge says nothing about a token."""
        del link, www_authenticate, clocks
        return None

    def explain_lack(self, link: Link, request: Request, answer: Answer) -> tuple[str, str, str] | None:
        """See `Scheme.explain_lack`; the words are those of Atlassian Cloud and of Bitbucket Cloud."""
        del request
        if answer.status not in (401, 403):
            return None
        if "scope does not match" not in answer.text and "required privilege scopes" not in answer.text:
            return None
        message = f"link {link.name}: the token lacks a scope for this (status {answer.status})"
        return "insufficient_scope", message, f"make a token with that scope, then: atl-sign dance {link.name}"

    def explain_anonymous(self, link: Link) -> DaemonError | None:
        """See `Scheme.explain_anonymous`: the products ignore an unknown token."""
        return not_taken(link)

    def explain(self, link: Link, credentials: Credentials, sent: Sent, clocks: Clocks) -> Refusal | None:
        """See `Scheme.explain`."""
        from atl_sign.providers.unexpected import explain_bystander

        del credentials, clocks
        answer = sent.answer
        if answer.status not in (401, 403):
            return None
        lack = self.explain_lack(link, sent.request, answer)
        if lack is not None:
            return Refusal(ProviderRefusedError(lack[1].removeprefix(f"link {link.name}: "), lack[2], link=link.name))
        if answer.status == 403:
            return None
        bystander = explain_bystander(link, answer)
        return Refusal(bystander or not_taken(link))

    def redirect_place(self, link: Link) -> RedirectPlace:
        """See `Scheme.redirect_place`; nobody asks."""
        del link
        return RedirectPlace()

    def read_redirect(self, link: Link, consent: Consent, query: str) -> Secret:
        """See `Scheme.read_redirect`: no browser is sent anywhere."""
        del link, consent, query
        raise NoAnswerError("a token is pasted, and not an address")

    def redeem(self, link: Link, client: Client | None, consent: Consent, answer: Secret, clocks: Clocks) -> Grant:
        """See `Scheme.redeem`; *answer* is the token, which the product's who-am-I proves."""
        del client, consent
        text = answer.reveal().strip()
        if not _TOKEN.fullmatch(text):
            raise BadRequestError(
                "this is not a token: a token has 8 to 4096 characters, without blanks and line breaks",
                "copy the token as the page shows it",
            )
        manifest = fetch_manifest(link)
        product = self.check_product(link, manifest)
        return self._prove(link, manifest, product, StaticToken(Secret(text), link.own.get("user")), clocks)

    def _prove(self, link: Link, manifest: Manifest, product: Product, token: StaticToken, clocks: Clocks) -> Grant:
        """Return the grant of *token*; raises ProviderRefusedError when the product does not take it."""
        user = self._ask(link, product, token, clocks)
        tokens = tokens_of(manifest)
        listed = self._list(link, tokens, token, user, clocks) if tokens is not None else []
        # Which of several it is, the product does not say.
        known = listed[0] if len(listed) == 1 else None
        if known is None:
            return Grant(token, user=user)
        return Grant(replace(token, id=known.id, name=known.name), user=user, expires_at=known.expires_at)

    def _ask(self, link: Link, product: Product, token: StaticToken, clocks: Clocks) -> str:
        from atl_sign.providers.who_am_i import read_user

        try:
            answer = self._send(link, product.who_am_i, token, clocks)
        except DanceNeededError as exc:
            raise _refused(link) from exc
        user = read_user(product, answer)
        if user is None:
            raise _refused(link)
        return user

    def _list(self, link: Link, tokens: PersonalTokens, token: StaticToken, user: str, clocks: Clocks) -> list[Any]:
        """Return the user's tokens; none when the product does not list them for this one."""
        try:
            answer = self._send(link, calls_path(tokens, user), token, clocks)
        except DaemonError:
            return []
        return parse_list(tokens, answer.text) if answer.status == 200 else []

    def _send(self, link: Link, path: str, token: StaticToken, clocks: Clocks) -> Any:
        from atl_sign.schemes.session import Session

        return Session(link, self, Credentials(None, Grant(token)), clocks).send("GET", path)

    def check_product(self, link: Link, manifest: Manifest) -> Product:
        """See `Scheme.check_product`; one that is not known has none."""
        product = find_product(manifest.type_id)
        if product is None:
            raise ProviderRefusedError(
                f"the product there calls itself {manifest.type_id}", f"atl-sign doctor {link.name}", link=link.name
            )
        self._check_product(link, manifest, product)
        if not manifest.is_cloud and tokens_of(manifest) is None:
            first = ".".join(map(str, PERSONAL_TOKENS[product.type_id].since))
            raise ProviderRefusedError(
                f"{product.name} {manifest.version} has no personal access tokens; the first version with them is {first}",
                change_scheme(link, "oauth1"),
                link=link.name,
            )
        return product

    @abstractmethod
    def _check_product(self, link: Link, manifest: Manifest, product: Product) -> None:
        """Raise ProviderRefusedError when *product* takes no token of this kind."""


_KNOWN = {"user": "token_user", "id": "id", "name": "name", "base_url": "base_url"}


class Bearer(Static):
    """A personal access token of Jira, Confluence, Bitbucket or Bamboo, Server and Data Center."""

    name: ClassVar[str] = "bearer"
    can_rotate: ClassVar[bool] = True
    settings: ClassVar[tuple[Setting, ...]] = ()

    def _header(self, token: StaticToken) -> Secret:
        return Secret(f"Bearer {token.secret.reveal()}")

    def _check_product(self, link: Link, manifest: Manifest, product: Product) -> None:
        del product
        if manifest.is_cloud:
            raise ProviderRefusedError(
                "an Atlassian Cloud site does not accept bearer tokens",
                change_scheme(link, "basic --user EMAIL"),
                link=link.name,
            )


def _refused(link: Link) -> ProviderRefusedError:
    """Return the error for a token that the user has just pasted."""
    beside = f" with the user {link.own.get('user')}" if link.own.get("user") else ""
    return ProviderRefusedError(
        f"the provider does not accept this token{beside}: it has expired, was revoked, or belongs to another site",
        f"copy the token again, or make a new one; or begin again: atl-sign dance {link.name}",
        link=link.name,
    )
