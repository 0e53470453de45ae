"""The differences of the four products: who am I, where a link is registered, where a grant is taken back (facts 1.2, 5, 7)."""

from collections.abc import Callable
from dataclasses import dataclass

from atl_sign.providers.answer import json_object


@dataclass(frozen=True, slots=True)
class Product:
    """One of the products whose application links speak OAuth 1.0a."""

    type_id: str  # the manifest's typeId, and our word for it
    name: str
    admin_menu: str  # the way to the application links in the product's own menus
    who_am_i: str  # the path, below the base URL, of a call that names the user
    parse_user: Callable[[str], str | None]  # its answer's text → the user's name, None for anonymous or another shape
    old_form_until: str  # the last version whose dialog begins with the address box
    has_git: bool = False
    git_user: str | None = None  # the user that git names beside a pasted token; None: the token's user


LINKS_PAGE = "/plugins/servlet/applinks/listApplicationLinks"
REVOKE_PATH = "/plugins/servlet/oauth/users/access-tokens"  # where users see and revoke their grants, in all four
MANIFEST_PATH = "/rest/applinks/1.0/manifest"


def json_user(text: str, field: str) -> str | None:
    """Return the user's name in *field* of the JSON object *text*; None when it has none that can be shown."""
    user = (json_object(text) or {}).get(field)
    return user if isinstance(user, str) and is_user_name(user) else None


def _parse_confluence_user(text: str) -> str | None:
    # Confluence may answer 200 with type "anonymous" (facts section 7).
    return json_user(text, "username") if json_user(text, "type") == "known" else None


PRODUCTS = {
    product.type_id: product
    for product in (
        Product(
            "bamboo",
            "Bamboo",
            "cog > Overview > Application links",
            "/rest/api/latest/currentUser",
            lambda text: json_user(text, "name"),
            "9.0",
        ),
        Product(
            "jira",
            "Jira",
            "Administration > Applications > Application links",
            "/rest/api/2/myself",
            lambda text: json_user(text, "name"),
            "8.21",
        ),
        Product(
            "confluence",
            "Confluence",
            "General configuration > Application links",
            "/rest/api/user/current",
            _parse_confluence_user,
            "7.16",
        ),
        Product(
            "bitbucket",
            "Bitbucket",
            "cog > Application Links",
            "/rest/api/1.0/application-properties",  # a call for anybody: the user is in X-AUSERNAME
            lambda _: None,
            "7.19",
            has_git=True,
        ),
    )
}


def _parse_cloud_user(text: str) -> str | None:
    # Atlassian shows an address only where the user's profile does.
    return next((user for field in ("emailAddress", "email", "displayName") if (user := json_user(text, field))), None)


def _parse_cloud_confluence_user(text: str) -> str | None:
    return _parse_cloud_user(text) if json_user(text, "type") == "known" else None


# They have no application links: only their names, and who-am-I.
CLOUD_PRODUCTS = {
    product.type_id: product
    for product in (
        Product("jira-cloud", "Jira Cloud", "", "/rest/api/3/myself", _parse_cloud_user, ""),
        Product("confluence-cloud", "Confluence Cloud", "", "/rest/api/user/current", _parse_cloud_confluence_user, ""),
        Product(
            "bitbucket-cloud",
            "Bitbucket Cloud",
            "",
            "/2.0/user",
            lambda text: json_user(text, "username") or json_user(text, "nickname"),
            "",
            has_git=True,
            git_user="x-bitbucket-api-token-auth",  # facts oauth2.md section 5
        ),
    )
}


def is_user_name(text: str) -> bool:
    """Tell whether *text*, which a provider chose, can be shown as a user's name: up to 255 characters that can be printed."""
    return 0 < len(text) <= 255 and text.isprintable()


def find_product(type_id: str | None) -> Product | None:
    """Return the product that a manifest's *type_id* names ("stash" is Bitbucket's old name), or None."""
    if type_id is None:
        return None
    return PRODUCTS.get({"stash": "bitbucket"}.get(type_id, type_id)) or CLOUD_PRODUCTS.get(type_id)
