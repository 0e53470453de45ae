"""The registration of an app for one link: what is entered, and where (facts oauth2.md sections 2 to 4, 8 and 9)."""

from collections.abc import Sequence
from dataclasses import dataclass

from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link
from atl_sign.providers.products import Product
from atl_sign.schemes.oauth2.redirect_place import registered_redirect
from atl_sign.schemes.oauth2.scopes import scopes_to_ask
from atl_sign.schemes.oauth2.server import address, flavour_of
from atl_sign.schemes.setup import FormField, SetupForm

_NAME = "atl-sign"


@dataclass(frozen=True, slots=True)
class _Steps:
    """One flavour's way to a registered app."""

    who: str  # may do it
    menu: str
    steps: tuple[str, ...]  # `{name}`, `{redirect}` and `{scopes}` are filled in
    redirect_label: str
    scopes_label: str
    notes: tuple[str, ...] = ()


_DATACENTER = _Steps(
    "An administrator of {product}",
    "{menu}",
    (
        "press Create link",
        "choose External application, then the direction Incoming, and press Continue",
        "enter the fields below and press Save",
        "copy Client ID and Client secret",
    ),
    "Redirect URL",
    "Application permissions",
    (
        "{product} compares the redirect URL character by character, and accepts http only for localhost",
        "The permission is a ceiling: nobody gets more than their own rights",
        "OAuth 1.0a or OAuth 2.0? OAuth 1.0a (--scheme oauth1) needs no secret and no renewal, and is signed for each request. "
        "OAuth 2.0 can be limited to reading, and is what newer versions recommend",
    ),
)
_CLOUD = _Steps(
    "Any Atlassian account of your organization",
    "developer.atlassian.com > your avatar > Developer console",
    (
        "press Create > OAuth 2.0 integration, and name it {name}",
        "Permissions: add the APIs of the scopes below, and under Configure > Edit scopes tick them",
        "Authorization > OAuth 2.0 (3LO) > Configure: enter the callback URL below",
        "Distribution: enable sharing, or nobody but you can consent",
        "Settings: copy Client ID and Secret",
    ),
    "Callback URL",
    "Scopes",
    (
        "offline_access is ticked nowhere: it is only in the address of the consent",
        "An app has one callback URL; port and path are compared too",
        "Several links can use one app, and then share one consent",
    ),
)
_BITBUCKET_CLOUD = _Steps(
    "An administrator of the workspace",
    "avatar > the workspace > Settings > Workspace settings > OAuth consumers",
    (
        "press Add consumer, and name it {name}",
        "enter the callback URL below, and tick This is a private consumer",
        "tick the permissions below, and press Save",
        "expand the row: Key is the client id; copy it and Secret",
    ),
    "Callback URL",
    "Permissions",
)
_GITHUB = _Steps(
    "You, or an owner of the organization",
    "Settings > Developer settings > OAuth Apps > New OAuth App",
    (
        "Application name: {name}; Homepage URL: anything",
        "enter the callback URL below; tick Enable Device Flow if you want to sign in over SSH",
        "press Register application, then Generate a new client secret",
        "copy Client ID and the secret",
    ),
    "Authorization callback URL",
    "Scopes",
    (
        "The scopes are not entered there: the consent asks for them",
        "The device flow (atl-sign dance NAME --device) needs no secret",
    ),
)
_GITLAB = _Steps(
    "You, a group's owner, or an administrator of the instance",
    "avatar > Edit profile > Applications > Add new application",
    (
        "Name: {name}",
        "enter the redirect URI below, and tick the scopes",
        "untick Confidential: then there is no secret to keep",
        "press Save application, and copy Application ID (and Secret, if it is confidential)",
    ),
    "Redirect URI",
    "Scopes",
    ("Any port will do there, but path and slash must be the same",),
)
_GENERIC = _Steps(
    "The administrator of the authorization server",
    "as its documentation says",
    (
        "register a native (or web) application with the grant types authorization code and refresh token",
        "enter the redirect URI below",
        "copy the client id, and the secret if there is one",
    ),
    "Redirect URI",
    "Scopes",
)
_STEPS = {
    "datacenter": _DATACENTER,
    "atlassian-cloud": _CLOUD,
    "bitbucket-cloud": _BITBUCKET_CLOUD,
    "github": _GITHUB,
    "github-enterprise": _GITHUB,
    "gitlab": _GITLAB,
}


def make_form(link: Link, product: Product | None, sharing: Sequence[Link]) -> SetupForm:
    """
    Return what to enter for *link*.

    Args:
        link: whose app it will be.
        product: what the manifest said; None when nobody knows.
        sharing: the links that share its app, and itself.
    """
    flavour = flavour_of(link)
    steps = _GENERIC if flavour is None else _STEPS[flavour.name]
    scopes = " ".join(scopes_to_ask(link, sharing, product)) or "as you need them"
    title = product.name if product is not None else flavour.title if flavour is not None else "the server"
    menu = product.admin_menu if product is not None and product.admin_menu else "Administration > Application links"
    words = {"name": _NAME, "product": title, "menu": menu}
    return SetupForm(
        who=steps.who.format(**words),
        page=str(link.url) if flavour is None else address(link, flavour.makes_apps),
        menu=steps.menu.format(**words),
        new_steps=tuple(step.format(**words) for step in steps.steps),
        old_steps=(),
        fields=(FormField(steps.redirect_label, registered_redirect(link)), FormField(steps.scopes_label, scopes)),
        leave_alone=tuple(note.format(**words) for note in steps.notes),
        then=_next_commands(link),
    )


def _next_commands(link: Link) -> tuple[str, ...]:
    commands = []
    if link.own.get("client_id") is None:
        commands.append(f"{format_link_command(link)} --client-id ID")
    return (*commands, f"atl-sign link secret {link.name}", f"atl-sign dance {link.name}")
