"""
The providers' flavours of OAuth 2.0, as data: a new one is a row here, and its tests.

Source: facts oauth2.md, sections 2 to 4, 8 and 9.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from atl_sign.base.urls import Url
from atl_sign.schemes.oauth2.metadata import ClientAuth

# Which redirect addresses the provider takes beside the registered one: none, or on a loopback address with any port.
Redirects = Literal["exact", "any_port"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """
    One flavour.

    In addresses, `{base}` stands for the link's base URL, `{origin}` for its scheme, host and port, `{host}` for host and port,
    `{server}` for where the authorization server is, and `{api}` for the second host.
    """

    name: str  # a link's `flavour`
    title: str  # for people
    server: str = "{origin}"  # unless the link has an `issuer`
    issuer: str | None = None  # what it calls itself, where that is known
    authorize: str
    token: str
    device: str | None = None
    revoke: str | None = None
    deletes: str | None = None  # GitHub's own way to revoke: the address of its API
    client_auth: ClientAuth = "body"
    needs_secret: bool = True  # in a device flow, none is needed anywhere
    redirects: Redirects = "exact"
    redirect_host: Literal["localhost", "127.0.0.1"] = "localhost"
    scopes: tuple[str, ...] = ()  # that are asked for if the user names none
    scopes_by_product: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))  # where they differ
    added_scopes: tuple[str, ...] = ()  # that are always asked for besides
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # further parameters of the consent's address
    late_code_words: frozenset[str] = frozenset()  # see `read_token_answer`
    old_dies_at_once: bool = True  # with a refresh, the access token before it
    leeway_s: float = 0.0  # for which a used refresh token is taken once more
    repeats_redirect: bool = False  # a refresh names the dance's redirect address again
    shares_grant: bool = False  # one app and one account have one grant, however many dances there were
    api: str | None = None  # a second host, with the REST calls, unless the link has a `gateway`
    translates: bool = False  # whether calls below the link's base URL go to that host
    who: str | None = None  # the address that tells who one is; None: as the product has it for every scheme
    who_field: str = ""  # in its JSON: the user's name
    git_user: str | None = None  # beside a token for a password; None: any name will do, or there is no git
    git_bearer: bool = False  # whether git can bring the token as a bearer, too
    grants_page: str  # where the user ends a grant
    makes_apps: str  # the page where an app is registered


_GITHUB_SCOPES = ("repo", "read:user")

DATACENTER = Flavour(
    name="datacenter",
    title="Atlassian Data Center",
    server="{base}",
    authorize="{server}/rest/oauth2/latest/authorize",
    token="{server}/rest/oauth2/latest/token",  # noqa: S106 - an address
    revoke="{server}/rest/oauth2/latest/revoke",
    scopes=("WRITE",),
    scopes_by_product=MappingProxyType({"bitbucket": ("REPO_WRITE",), "bamboo": ("USER",)}),
    late_code_words=frozenset({"invalid_request"}),
    git_bearer=True,
    grants_page="{base}/plugins/servlet/oauth/users/access-tokens",
    makes_apps="{base}/plugins/servlet/applinks/listApplicationLinks",
)
_CLOUD = Flavour(
    name="atlassian-cloud",
    title="Atlassian Cloud",
    server="https://auth.atlassian.com",
    issuer="https://auth.atlassian.com",
    authorize="{server}/authorize",
    token="{server}/oauth/token",  # noqa: S106 - an address
    revoke="{server}/oauth/revoke",
    scopes=("read:jira-work", "read:jira-user", "write:jira-work"),
    added_scopes=("read:me", "offline_access"),
    extra=MappingProxyType({"audience": "api.atlassian.com", "prompt": "consent"}),
    old_dies_at_once=False,
    leeway_s=600.0,
    shares_grant=True,
    api="https://api.atlassian.com",
    translates=True,
    who="{api}/me",
    who_field="email",
    grants_page="https://id.atlassian.com/manage-profile/apps",
    makes_apps="https://developer.atlassian.com/console/myapps",
)
_BITBUCKET_CLOUD = Flavour(
    name="bitbucket-cloud",
    title="Bitbucket Cloud",
    authorize="{server}/site/oauth2/authorize",
    token="{server}/site/oauth2/access_token",  # noqa: S106 - an address
    client_auth="basic",
    scopes=("account", "repository:write", "pullrequest:write"),
    old_dies_at_once=False,
    leeway_s=600.0,
    api="https://api.{host}",
    translates=True,
    who="{api}/2.0/user",
    who_field="username",
    git_user="x-token-auth",
    git_bearer=True,
    grants_page="{origin}/account/settings/app-authorizations/",
    makes_apps="{origin}/WORKSPACE/workspace/settings/oauth-consumers/new",
)
_GITHUB = Flavour(
    name="github",
    title="GitHub",
    authorize="{server}/login/oauth/authorize",
    token="{server}/login/oauth/access_token",  # noqa: S106 - an address
    device="{server}/login/device/code",
    deletes="{api}",
    redirects="any_port",
    redirect_host="127.0.0.1",
    scopes=_GITHUB_SCOPES,
    api="https://api.{host}",
    who="{api}/user",
    who_field="login",
    git_user="x-access-token",
    grants_page="{origin}/settings/applications",
    makes_apps="{origin}/settings/applications/new",
)
_GITHUB_ENTERPRISE = Flavour(
    name="github-enterprise",
    title="GitHub Enterprise Server",
    authorize="{server}/login/oauth/authorize",
    token="{server}/login/oauth/access_token",  # noqa: S106 - an address
    device="{server}/login/device/code",
    deletes="{origin}/api/v3",
    redirects="any_port",
    scopes=_GITHUB_SCOPES,
    who="{origin}/api/v3/user",
    who_field="login",
    git_user="x-access-token",
    grants_page="{origin}/settings/applications",
    makes_apps="{origin}/settings/applications/new",
)
_GITLAB = Flavour(
    name="gitlab",
    title="GitLab",
    server="{base}",
    authorize="{server}/oauth/authorize",
    token="{server}/oauth/token",  # noqa: S106 - an address
    device="{server}/oauth/authorize_device",
    revoke="{server}/oauth/revoke",
    needs_secret=False,
    redirects="any_port",
    redirect_host="127.0.0.1",
    scopes=("api",),
    repeats_redirect=True,
    who="{base}/api/v4/user",
    who_field="username",
    git_user="oauth2",
    grants_page="{base}/-/user_settings/applications",
    makes_apps="{base}/-/user_settings/applications",
)

FLAVOURS: Mapping[str, Flavour] = MappingProxyType(
    {each.name: each for each in (DATACENTER, _CLOUD, _BITBUCKET_CLOUD, _GITHUB, _GITHUB_ENTERPRISE, _GITLAB)}
)
# By host, or by the end of it.
_BY_HOST = {
    "bitbucket.org": _BITBUCKET_CLOUD,
    "api.bitbucket.org": _BITBUCKET_CLOUD,
    "github.com": _GITHUB,
    "gitlab.com": _GITLAB,
}
_BY_HOST_END = {".atlassian.net": _CLOUD, ".jira.com": _CLOUD, ".ghe.com": _GITHUB}


def find_flavour(base: Url) -> Flavour | None:
    """Return the flavour that the address of a link tells; None for a server that may be anybody's own."""
    host = base.host.rstrip(".")
    by_end = next((flavour for end, flavour in _BY_HOST_END.items() if host.endswith(end)), None)
    return _BY_HOST.get(host, by_end)
