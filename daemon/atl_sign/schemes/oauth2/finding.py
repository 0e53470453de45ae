"""The flavour of a new link: by its address, by the settings beside it, by what the product or the server says of itself."""

from atl_sign.base.errors import BadFieldsError, DaemonError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.config.links import Link
from atl_sign.providers.manifest import Manifest, fetch_manifest
from atl_sign.providers.products import PRODUCTS
from atl_sign.schemes.oauth2.flavours import FLAVOURS, find_flavour
from atl_sign.schemes.oauth2.metadata import Metadata
from atl_sign.schemes.oauth2.server import fetch_metadata
from atl_sign.schemes.oauth2.settings import GENERIC


def find_for(link: Link) -> tuple[dict[str, str], str]:
    """
    Return the settings that a new link lacks, and why it gets them, for people.

    Args:
        link: its address, how it is reached, and what the user named.

    Raises:
        BadFieldsError: nothing tells.
    """
    by_address = find_flavour(link.url)
    if by_address is not None:
        return {"flavour": by_address.name}, f"{link.url.host} is {by_address.title}"
    if link.own.get("issuer") or link.own.get("token_url"):
        return {"flavour": GENERIC}, "the link names its own authorization server"
    try:
        found = _by_product(fetch_manifest(link))
    except ProviderUnreachableError as exc:
        raise _unknown(exc.reason) from None
    except ProviderRefusedError:
        found = None
    found = found or _by_metadata(link)
    if found is None:
        raise _unknown("neither the address nor the server tells which it is")
    return found


def _by_product(manifest: Manifest) -> tuple[dict[str, str], str] | None:
    product = manifest.product
    if product is None:
        return None
    if product.type_id in PRODUCTS:
        return {"flavour": "datacenter"}, f"the product says that it is {product.name} {manifest.version}"
    return {"flavour": "atlassian-cloud" if manifest.api is None else "bitbucket-cloud"}, f"the product is {product.name}"


def _by_metadata(link: Link) -> tuple[dict[str, str], str] | None:
    issuer = str(link.url)
    try:
        found = fetch_metadata(link, issuer)
    except DaemonError:
        return None
    if _is_gitlab(link, found):
        return {"flavour": "gitlab"}, "its metadata (RFC 8414) are those of a GitLab"
    return {"flavour": GENERIC, "issuer": issuer}, f"it has metadata (RFC 8414) as the issuer {issuer}"


def _is_gitlab(link: Link, found: Metadata) -> bool:
    base = str(link.url)
    return found.authorize_url == f"{base}/oauth/authorize" and "read_api" in (found.scopes or ())


def _unknown(cause: str) -> BadFieldsError:
    words = ", ".join((*FLAVOURS, GENERIC))
    return BadFieldsError(f"flavour is missing: {cause}", f"name it with --flavour, one of {words}")
