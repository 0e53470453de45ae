"""OAuth 2.0 behind the seam of the schemes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, ClassVar

from atl_sign.base.credentials import App, Client, Credentials, Grant, Secret
from atl_sign.base.errors import AppMissingError, BadRequestError, DaemonError, ProviderRefusedError
from atl_sign.base.request import Request
from atl_sign.base.urls import Url
from atl_sign.config.links import Link, parse_base_url
from atl_sign.config.setting import Setting
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.cloud import gateway_base
from atl_sign.providers.manifest import Manifest, fetch_manifest
from atl_sign.providers.personal_tokens import not_taken
from atl_sign.providers.products import Product
from atl_sign.schemes.base import (
    Consent,
    GitSecret,
    NoAnswerError,
    OtherDanceError,
    Place,
    RedirectPlace,
    Refusal,
    Sent,
    Uses,
    change_scheme,
    own_place,
)
from atl_sign.schemes.fields import Fields
from atl_sign.schemes.gateway import send_by_gateway
from atl_sign.schemes.oauth2.begun import Begun, begun_of, refusal_of
from atl_sign.schemes.oauth2.scopes import scopes_to_ask
from atl_sign.schemes.oauth2.server import Servers, address, flavour_of
from atl_sign.schemes.oauth2.settings import SETTINGS
from atl_sign.schemes.oauth2.tokens import dump_grant, load_grant, tokens_of

# With another value of these the secret or the tokens would go to somebody else.
_GOES_TO = ("flavour", "issuer", "token_url", "device_url", "revoke_url", "who_url", "gateway")
_OAUTH2_SINCE = {"jira": (8, 22), "confluence": (7, 17), "bitbucket": (7, 20), "bamboo": (9, 1)}  # facts oauth2.md section 2


class OAuth2:
    """OAuth 2.0 (RFC 6749) with bearer tokens (RFC 6750)."""

    name: ClassVar[str] = "oauth2"
    settings: ClassVar[tuple[Setting, ...]] = SETTINGS
    uses: ClassVar[Uses] = "many"
    needs_key: ClassVar[bool] = False
    needs_app: ClassVar[bool] = True
    is_pasted: ClassVar[bool] = False
    covers_form: ClassVar[bool] = False
    can_rotate: ClassVar[bool] = False

    def __init__(self) -> None:
        """Know no server yet."""
        self._servers = Servers()

    def authorize(self, request: Request, credentials: Credentials, moment: int) -> Secret:
        """See `Scheme.authorize`."""
        del request, moment
        return Secret(f"Bearer {tokens_of(credentials).access.reveal()}")

    def place(self, link: Link) -> Place:
        """See `Scheme.place`: at Atlassian Cloud, one app and one account have one grant."""
        own = link.own
        client = " ".join([own.get("client_id") or "", *(f"{name}={own.get(name)}" for name in _GOES_TO if own.get(name))])
        flavour = flavour_of(link)
        if flavour is None or not flavour.shares_grant or own.get("client_id") is None:
            return replace(own_place(link), client=client)
        digest = sha256(f"{client}\0{own.get('account') or ''}".encode()).hexdigest()[:16]
        return Place(f"{flavour.name}+{digest}", address(link, flavour.token), client)

    def gateway(self, link: Link) -> Url | None:
        """See `Scheme.gateway`."""
        flavour = flavour_of(link)
        return None if flavour is None or flavour.api is None else parse_base_url(address(link, "{api}"))

    def good_at(self, link: Link, grant: Grant) -> str | None:
        """See `Scheme.good_at`."""
        flavour = flavour_of(link)
        if flavour is None or flavour.api is None:
            return None
        if not flavour.shares_grant:
            return address(link, "{api}")
        site = tokens_of(Credentials(None, grant)).sites.get(link.url.origin)
        return None if site is None else gateway_base(link, site)

    def send_to(self, link: Link, credentials: Credentials, url: Url) -> Url:
        """See `Scheme.send_to`; raises ProviderRefusedError when the consent does not include the link's site."""
        flavour = flavour_of(link)
        if flavour is None or not flavour.translates:
            return url
        assert credentials.grant is not None  # noqa: S101 - a request is authorized with one
        base_url = self.good_at(link, credentials.grant)
        if base_url is None and url.origin == link.url.origin:
            raise ProviderRefusedError(
                f"the consent does not include the site {link.url.origin}", f"atl-sign dance {link.name}", link=link.name
            )
        return send_by_gateway(link, base_url, url)

    def check_product(self, link: Link, manifest: Manifest) -> Product | None:
        """See `Scheme.check_product`."""
        product, flavour = manifest.product, link.own.get("flavour")
        if flavour == "datacenter" and manifest.is_cloud:
            cloud = "atlassian-cloud" if manifest.api is None else "bitbucket-cloud"
            raise ProviderRefusedError(
                "this is not a Data Center product but Atlassian's own",
                f"{change_scheme(link, self.name)} --flavour {cloud}",
                link=link.name,
            )
        since = _OAUTH2_SINCE.get(product.type_id) if product is not None and flavour == "datacenter" else None
        if product is not None and since is not None and manifest.version_numbers < since:
            first = ".".join(map(str, since))
            raise ProviderRefusedError(
                f"{product.name} {manifest.version} has no OAuth 2.0; the first version with it is {first}",
                change_scheme(link, "oauth1"),
                link=link.name,
            )
        return product

    def describe(self, link: Link) -> Manifest | None:
        """See `Scheme.describe`."""
        from atl_sign.schemes.oauth2.described import describe

        return describe(link)

    def redirect_place(self, link: Link) -> RedirectPlace:
        """See `Scheme.redirect_place`."""
        from atl_sign.schemes.oauth2.redirect_place import find_redirect_place

        return find_redirect_place(link)

    def begin(self, link: Link, client: Client | None, callback: str, clocks: Clocks, sharing: Sequence[Link] = ()) -> Consent:
        """See `Scheme.begin`; no request but those for what server and product are, and for a device's code."""
        from atl_sign.schemes.oauth2 import consent as consents
        from atl_sign.schemes.oauth2.device import begin_device_flow
        from atl_sign.schemes.oauth2.redirect_place import registered_redirect

        del clocks
        app = _app(client)
        server = self._servers.find(link)
        scopes = scopes_to_ask(link, sharing or (link,), self._product(link))
        if callback == "device":
            return begin_device_flow(link, app, server, scopes)
        flavour = flavour_of(link)
        if app.secret is None and flavour is not None and flavour.needs_secret:
            raise AppMissingError("the secret of its app is missing", f"atl-sign link secret {link.name}", link=link.name)
        redirect_uri = registered_redirect(link) if callback == "oob" else callback
        state, verifier = consents.make_state(), consents.make_verifier()
        url = consents.authorize_url(
            server.authorize_url,
            app.client_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
            state=state,
            verifier=verifier,
            extra=consents.extra_for(server.authorize_url, scopes) if flavour is None else flavour.extra,
        )
        return Consent(url, state, verifier, Begun(server, redirect_uri, tuple(scopes)), needs_address=True)

    def _product(self, link: Link) -> Product | None:
        """Return the product of *link* where the scopes to ask for depend on it."""
        flavour = flavour_of(link)
        if flavour is None or not flavour.scopes_by_product or link.own.get("scopes") is not None:
            return None
        return self.check_product(link, fetch_manifest(link))

    def read_redirect(self, link: Link, consent: Consent, query: str) -> Secret:
        """See `Scheme.read_redirect`; the answer is the code."""
        from atl_sign.schemes.oauth2.redirect import Expected, ForeignRedirectError, MixedUpError, Refused, read_redirect

        begun = begun_of(consent)
        assert consent.key is not None  # noqa: S101 - `begin` sets it
        expected = Expected(consent.key, begun.server.issuer, begun.server.announces_issuer)
        try:
            found = read_redirect(query, expected)
        except ForeignRedirectError as exc:
            if exc.is_empty:
                raise NoAnswerError(str(exc)) from None
            raise OtherDanceError(str(exc)) from None
        except MixedUpError as exc:
            raise ProviderRefusedError(str(exc), f"atl-sign doctor {link.name}", link=link.name) from None
        if isinstance(found, Refused):
            raise refusal_of(link, found.word)
        return found

    def redeem(self, link: Link, client: Client | None, consent: Consent, answer: Secret, clocks: Clocks) -> Grant:
        """See `Scheme.redeem`; *answer* is the code, or a device's code, for which PendingError may be raised."""
        from atl_sign.schemes.oauth2.legs import redeem

        return redeem(link, _app(client), consent, answer, clocks)

    def renew(self, link: Link, credentials: Credentials, clocks: Clocks) -> Grant:
        """See `Scheme.renew`."""
        from atl_sign.schemes.oauth2.legs import refresh

        grant = credentials.grant
        assert grant is not None  # noqa: S101 - only a grant is renewed
        return refresh(link, _app(credentials.client), self._servers.find(link), grant, clocks)

    def old_dies_at_once(self, link: Link) -> bool:
        """See `Scheme.old_dies_at_once`; of a server that nobody knows the worse is supposed."""
        flavour = flavour_of(link)
        return flavour is None or flavour.old_dies_at_once

    def revoke(self, link: Link, client: Client | None, grant: Grant) -> bool:
        """See `Scheme.revoke`."""
        from atl_sign.schemes.oauth2.legs import revoke

        return revoke(link, _app(client), self._servers.find(link), tokens_of(Credentials(None, grant)))

    def revoke_page(self, link: Link, product: Product | None) -> str:
        """See `Scheme.revoke_page`."""
        del product
        flavour = flavour_of(link)
        return str(link.url) if flavour is None else address(link, flavour.grants_page)

    def scopes(self, grant: Grant) -> tuple[str, ...] | None:
        """See `Scheme.scopes`."""
        return tokens_of(Credentials(None, grant)).scopes

    def git_secret(self, link: Link, grant: Grant, product: Product | None) -> GitSecret | None:
        """See `Scheme.git_secret`."""
        del product
        flavour = flavour_of(link)
        users = (None if flavour is None else flavour.git_user, grant.user, "x-token-auth")
        secret = tokens_of(Credentials(None, grant)).access
        takes_bearer = flavour is not None and flavour.git_bearer
        return GitSecret(secret, tuple(name for name in users if name is not None), takes_bearer=takes_bearer)

    def dump(self, grant: Grant) -> Fields:
        """See `Scheme.dump`."""
        return dump_grant(grant)

    def load(self, fields: Mapping[str, Any]) -> Grant:
        """See `Scheme.load`."""
        return load_grant(fields)

    def explain_challenge(self, link: Link, www_authenticate: str, clocks: Clocks) -> tuple[str, str, str] | None:
        """See `Scheme.explain_challenge`; the word is that of RFC 6750 §3.1."""
        from atl_sign.schemes.oauth2.refusal import explain_challenge

        del clocks
        return explain_challenge(link, www_authenticate)

    def explain_lack(self, link: Link, request: Request, answer: Answer) -> tuple[str, str, str] | None:
        """See `Scheme.explain_lack`."""
        from atl_sign.schemes.oauth2.refusal import explain_lack

        return explain_lack(link, request, answer)

    def explain_anonymous(self, link: Link) -> DaemonError | None:
        """See `Scheme.explain_anonymous`: Data Center ignores a token that it does not know."""
        return not_taken(link)

    def explain(self, link: Link, credentials: Credentials, sent: Sent, clocks: Clocks) -> Refusal | None:
        """See `Scheme.explain`."""
        from atl_sign.schemes.oauth2.refusal import explain_answer

        del clocks
        answer = sent.answer.without(tokens_of(credentials).access.reveal())
        return explain_answer(link, replace(sent, answer=answer))


def _app(client: Client | None) -> App:
    if not isinstance(client, App):
        raise BadRequestError("the link has no app")
    return client
