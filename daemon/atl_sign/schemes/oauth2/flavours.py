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
    """One flavour. In addresses, `{base}` stands for the link's base URL, `{origin}` for its scheme, host and port."""

    name: str  # a link's `flavour`
    title: str  # for people
    authorize: str
    token: str
    device: str | None = None
    revoke: str | None = None
    metadata: str | None = None  # of the server, where it is not at the place of RFC 8414
    client_auth: ClientAuth = "body"
    needs_secret: bool = True  # in a device flow, none is needed anywhere
    redirects: Redirects = "exact"
    redirect_host: Literal["localhost", "127.0.0.1"] = "localhost"
    scopes: tuple[str, ...] = ()  # that are asked for if the user names none
    added_scopes: tuple[str, ...] = ()  # that are always asked for besides
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # further parameters of the consent's address
    late_code_words: frozenset[str] = frozenset()  # see `read_token_answer`
    rotates: bool = True  # a refresh token is good for one refresh
    leeway_s: float = 0.0  # for which one that was used is taken once more
    repeats_redirect: bool = False  # a refresh names the dance's redirect address again
    who: str | None = None  # the address that tells who one is; None: as the product has it for every scheme
    who_field: str = ""  # in its JSON: the user's name
    git_user: str | None = None  # beside a token for a password; None: there is no git, or any name will do
    grants_page: str | None = None  # where the user ends a grant

    def address(self, template: str, base: Url) -> str:
        """Return the address that *template* is for a link with the base URL *base*."""
        return template.format(base=str(base).rstrip("/"), origin=base.origin)


_GITHUB_SCOPES = ("repo", "read:user")

DATACENTER = Flavour(
    name="datacenter",
    title="Atlassian Data Center",
    authorize="{base}/rest/oauth2/latest/authorize",
    token="{base}/rest/oauth2/latest/token",  # noqa: S106 - an address
    revoke="{base}/rest/oauth2/latest/revoke",
    metadata="{base}/rest/oauth2/latest/.well-known/oauth-authorization-server",
    scopes=("WRITE",),
    late_code_words=frozenset({"invalid_request"}),
    grants_page="{base}/plugins/servlet/oauth/users/access-tokens",
)
_CLOUD = Flavour(
    name="atlassian-cloud",
    title="Atlassian Cloud",
    authorize="https://auth.atlassian.com/authorize",
    token="https://auth.atlassian.com/oauth/token",  # noqa: S106 - an address
    revoke="https://auth.atlassian.com/oauth/revoke",
    scopes=("read:jira-work", "read:jira-user", "write:jira-work", "read:me"),
    added_scopes=("offline_access",),
    extra=MappingProxyType({"audience": "api.atlassian.com", "prompt": "consent"}),
    leeway_s=600.0,
    who="https://api.atlassian.com/me",
    who_field="email",
    grants_page="https://id.atlassian.com/manage-profile/apps",
)
_BITBUCKET_CLOUD = Flavour(
    name="bitbucket-cloud",
    title="Bitbucket Cloud",
    authorize="https://bitbucket.org/site/oauth2/authorize",
    token="https://bitbucket.org/site/oauth2/access_token",  # noqa: S106 - an address
    client_auth="basic",
    scopes=("account", "repository:write", "pullrequest:write"),
    leeway_s=600.0,
    who="https://api.bitbucket.org/2.0/user",
    who_field="username",
    git_user="x-token-auth",
    grants_page="https://bitbucket.org/account/settings/app-authorizations/",
)
_GITHUB = Flavour(
    name="github",
    title="GitHub",
    authorize="https://github.com/login/oauth/authorize",
    token="https://github.com/login/oauth/access_token",  # noqa: S106 - an address
    device="https://github.com/login/device/code",
    redirects="any_port",
    redirect_host="127.0.0.1",
    scopes=_GITHUB_SCOPES,
    who="https://api.github.com/user",
    who_field="login",
    git_user="x-access-token",
    grants_page="https://github.com/settings/applications",
)
_GITHUB_ENTERPRISE = Flavour(
    name="github-enterprise",
    title="GitHub Enterprise Server",
    authorize="{origin}/login/oauth/authorize",
    token="{origin}/login/oauth/access_token",  # noqa: S106 - an address
    device="{origin}/login/device/code",
    redirects="any_port",
    scopes=_GITHUB_SCOPES,
    who="{origin}/api/v3/user",
    who_field="login",
    git_user="x-access-token",
    grants_page="{origin}/settings/applications",
)
_GITLAB = Flavour(
    name="gitlab",
    title="GitLab",
    authorize="{base}/oauth/authorize",
    token="{base}/oauth/token",  # noqa: S106 - an address
    device="{base}/oauth/authorize_device",
    revoke="{base}/oauth/revoke",
    needs_secret=False,
    redirects="any_port",
    redirect_host="127.0.0.1",
    scopes=("api",),
    repeats_redirect=True,
    who="{base}/api/v4/user",
    who_field="username",
    git_user="oauth2",
    grants_page="{base}/-/user_settings/applications",
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
_BY_HOST_END = {".atlassian.net": _CLOUD, ".jira.com": _CLOUD}


def find_flavour(base: Url) -> Flavour | None:
    """Return the flavour that the address of a link tells; None for a server that may be anybody's own."""
    host = base.host.rstrip(".")
    by_end = next((flavour for end, flavour in _BY_HOST_END.items() if host.endswith(end)), None)
    return _BY_HOST.get(host, by_end)
