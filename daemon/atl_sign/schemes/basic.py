"""Basic (RFC 7617) with a token that a user pastes: at Atlassian Cloud, at its gateways, and at Bitbucket."""

from base64 import b64encode
from dataclasses import replace
from typing import ClassVar

from atl_sign.base.credentials import Credentials, Grant, Secret
from atl_sign.base.errors import ProviderRefusedError
from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.config.setting import Setting, Text
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.cloud import gateway_base, gateway_of
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import Product
from atl_sign.schemes.base import change_scheme
from atl_sign.schemes.gateway import GATEWAY, send_by_gateway
from atl_sign.schemes.static import Static, StaticToken, static_token_of

USER = Setting(
    "user",
    Text(r"[^:]{1,255}", "is not 1 to 255 characters without a colon"),
    is_needed=True,
    is_kept=True,
    option="--user USER",
    help="the user who belongs to the token: at Atlassian Cloud the account's e-mail address",
    asked="the user who belongs to the token; at Atlassian Cloud the account's e-mail address; left out: unchanged",
    docs="the user who belongs to the token, without a colon; at Atlassian Cloud the account's e-mail address",
)


class Basic(Static):
    """A user and a token: an API token of Atlassian Cloud, or Bitbucket's HTTP access token with the user's name."""

    name: ClassVar[str] = "basic"
    settings: ClassVar[tuple[Setting, ...]] = (USER, GATEWAY)

    def _header(self, token: StaticToken) -> Secret:
        pair = f"{token.user}:{token.secret.reveal()}"
        return Secret("Basic " + b64encode(pair.encode()).decode("ascii"))

    def gateway(self, link: Link) -> Url | None:
        """See `Scheme.gateway`."""
        return gateway_of(link)

    def send_to(self, link: Link, credentials: Credentials, url: Url) -> Url:
        """See `Scheme.send_to`."""
        return send_by_gateway(link, static_token_of(credentials).base_url, url)

    def _check_product(self, link: Link, manifest: Manifest, product: Product) -> None:
        if not manifest.is_cloud and product.type_id != "bitbucket":  # facts section 7
            raise ProviderRefusedError(
                f"{product.name} does not accept a token as a password", change_scheme(link, "bearer"), link=link.name
            )

    def _prove(self, link: Link, manifest: Manifest, product: Product, token: StaticToken, clocks: Clocks) -> Grant:
        """One try each: at a Cloud site, then at the gateway, where scoped tokens are good; at Bitbucket Cloud where REST is."""
        if manifest.api is not None:
            base_url = None if manifest.api == link.url else str(manifest.api)
            return super()._prove(link, manifest, product, replace(token, base_url=base_url), clocks)
        try:
            return super()._prove(link, manifest, product, token, clocks)
        except ProviderRefusedError:
            if manifest.cloud_id is None:
                raise
        base_url = gateway_base(link, manifest.cloud_id)
        return super()._prove(link, manifest, product, replace(token, base_url=base_url), clocks)
