"""The apps that the command registers everywhere, for people who try OAuth 2.0 with it."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from atl_sign.sandbox.cloud.server import Cloud
from atl_sign.sandbox.forge.kind import ForgeName
from atl_sign.sandbox.forge.server import Forge
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.server import Sandbox

# Where atl-sign listens for the redirect of a dance; each server has a path of its own.
REDIRECT = "http://localhost:47813/callback/{host}"

_CONSUMER_SCOPES = ("account", "repository", "repository:write", "pullrequest", "pullrequest:write")


def register_apps(redirect: str, sandbox: Sandbox, cloud: Cloud | None, forges: Mapping[ForgeName, Forge]) -> Iterator[str]:
    """
    Register an app at every OAuth 2.0 server, and give a line for each: "app NAME CLIENT-ID SECRET REDIRECT".

    Args:
        redirect: the redirect URL; `{host}` in it stands for the server's host and port, with a hyphen between them.
        sandbox: started, as the others are.
        cloud: None if it is not served.
        forges: by kind. Those that free the port of a loopback IP address get one instead of localhost.

    Raises:
        ValueError: a server does not take the redirect URL.
    """
    for product, site in sandbox.state.sites.items():
        if site.oauth2 is not None:
            there = _fill_in(redirect, sandbox.base_url(product))
            yield _format(product, sandbox.register_app(product, redirect_uris=[there]))
    if cloud is not None:
        there = _fill_in(redirect, cloud.url("auth"))
        yield _format("cloud-auth", cloud.register_app("auth", redirect_uris=[there], scopes=()))
        there = _fill_in(redirect, cloud.url("bitbucket"))
        yield _format("cloud-bitbucket", cloud.register_app("bitbucket", redirect_uris=[there], scopes=_CONSUMER_SCOPES))
    for name, forge in forges.items():
        there = _fill_in(redirect, forge.url("site"))
        if name != "github-enterprise":  # only GitHub.com prefers the address (facts oauth2 section 8.1)
            there = there.replace("//localhost", "//127.0.0.1")
        scopes = () if name.startswith("github") else tuple(forge.oauth2.flavour.scopes.implied)
        yield _format(name, forge.register_app(redirect_uris=[there], scopes=scopes))
        if name == "github":
            yield _format("github-app", forge.register_app(kind="github-app", redirect_uris=[there]))
        if "none" in forge.oauth2.flavour.client_auth:
            yield _format(f"{name}-public", forge.register_app(redirect_uris=[there], scopes=scopes, is_public=True))


def _fill_in(redirect: str, address: str) -> str:
    return redirect.replace("{host}", urlsplit(address).netloc.replace(":", "-"))


def _format(name: str, app: App) -> str:
    return f"app {name} {app.client_id} {app.client_secret or '-'} {app.redirect_uris[0]}"
