"""A provider of each flavour in the sandbox, with what a link to it needs, and an address to ask who one is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from atl_sign.sandbox import Cloud, Forge, OAuth2Server, Sandbox
from atl_sign.sandbox.cloud.auth import DEAD_REFRESH_TOKEN_OTHERWISE
from atl_sign.sandbox.oauth2.records import App
from tests.oauth2_lab import PORT, redirect_of

# By what their token endpoint says of a refresh token that is dead (facts oauth2.md sections 2 to 4, 8.2 and 9).
KINDS = (
    "datacenter",
    "atlassian-cloud",
    "atlassian-cloud, otherwise",
    "bitbucket-cloud",
    "bitbucket-cloud, old",
    "github",
    "github-enterprise",
    "gitlab",
    "generic",
)
KEEPS_USED = ("atlassian-cloud", "atlassian-cloud, otherwise", "bitbucket-cloud", "bitbucket-cloud, old")  # refresh tokens


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider, which is running."""

    kind: str
    server: OAuth2Server
    app: App
    settings: Mapping[str, object]  # of a link, without scheme and secret
    approve: Callable[..., str]
    who: str  # an address that only a living token gets 200 from
    sandbox: Any  # Sandbox, Cloud or Forge, to stop and start


@contextmanager
def provider_of(kind: str, clock: Callable[[], float]) -> Iterator[Provider]:
    """Run the provider of *kind* by *clock*."""
    flavour = kind.partition(",")[0]
    if flavour == "datacenter":
        with Sandbox(["jira"], clock=clock) as sandbox:
            yield _datacenter(sandbox)
    elif flavour == "atlassian-cloud":
        with Cloud(clock=clock) as cloud:
            if "otherwise" in kind:
                cloud.oauth2("auth").errors["dead refresh token"] = DEAD_REFRESH_TOKEN_OTHERWISE
            yield _cloud(kind, cloud)
    elif flavour == "bitbucket-cloud":
        with Cloud(clock=clock, bitbucket_back_end="old" if "old" in kind else "new") as cloud:
            yield _bitbucket(kind, cloud)
    else:
        with Forge(flavour, clock=clock) as forge:  # type: ignore[arg-type]  # one of the words
            yield _forge(flavour, forge)


def _datacenter(sandbox: Sandbox) -> Provider:
    url = sandbox.base_url("jira")
    app = sandbox.register_app("jira", redirect_uris=[redirect_of(url)])
    return Provider(
        "datacenter",
        sandbox.oauth2("jira"),
        app,
        {"url": url, "client_id": app.client_id, "redirect_port": PORT, "flavour": "datacenter"},
        lambda address, **more: sandbox.approve("jira", address, **more),
        f"{url}/rest/api/2/myself",
        sandbox,
    )


def _cloud(kind: str, cloud: Cloud) -> Provider:
    scopes = ["read:jira-work", "read:jira-user", "write:jira-work", "read:me"]
    app = cloud.register_app("auth", redirect_uris=[redirect_of(cloud.url("auth"))], scopes=scopes)
    settings = {
        "url": cloud.url("site"),
        "client_id": app.client_id,
        "redirect_port": PORT,
        "flavour": "atlassian-cloud",
        "issuer": cloud.url("auth"),
        "gateway": cloud.url("gateway"),
    }
    who = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}/rest/api/3/myself"
    return Provider(kind, cloud.oauth2("auth"), app, settings, cloud.approve, who, cloud)


def _bitbucket(kind: str, cloud: Cloud) -> Provider:
    url, api = cloud.url("bitbucket"), cloud.url("bitbucket-api")
    scopes = ["account", "repository:write", "pullrequest:write"]
    app = cloud.register_app("bitbucket", redirect_uris=[redirect_of(url)], scopes=scopes)
    settings = {"url": url, "client_id": app.client_id, "redirect_port": PORT, "flavour": "bitbucket-cloud", "gateway": api}
    return Provider(kind, cloud.oauth2("bitbucket"), app, settings, cloud.approve, f"{api}/2.0/user", cloud)


def _forge(flavour: str, forge: Forge) -> Provider:
    url = forge.url("site")
    host = "localhost" if flavour == "github-enterprise" else "127.0.0.1"
    kind = {"kind": "github-app"} if flavour.startswith("github") else {}  # an OAuth app's tokens do not end
    app = forge.register_app(redirect_uris=[redirect_of(url, host=host)], **kind)
    own = {
        "github": {"gateway": forge.url("api")},
        "github-enterprise": {},
        "gitlab": {},
        "generic": {"issuer": url, "scopes": "read openid", "who_url": f"{url}/userinfo"},
    }[flavour]
    who = {
        "github": f"{forge.url('api')}/user",
        "github-enterprise": f"{url}/api/v3/user",
        "gitlab": f"{url}/api/v4/user",
        "generic": f"{url}/api/user",
    }[flavour]
    settings = {"url": url, "client_id": app.client_id, "redirect_port": PORT, "flavour": flavour, **own}
    return Provider(flavour, forge.oauth2, app, settings, forge.approve, who, forge)
