"""Git with a link of OAuth 2.0: its own access token, with enough life left, at every provider that has git."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Cloud, Forge, Sandbox
from atl_sign.sandbox.oauth2.server import OAuth2Server
from tests.clients.git.conftest import ATL_SIGN, Lab
from tests.lab import Daemon
from tests.oauth2_lab import PORT, dance, give_app, put_link, redirect_of

KINDS = ["datacenter", "bitbucket-cloud", "github", "github-enterprise", "gitlab"]
USERS = {"bitbucket-cloud": "x-token-auth", "github": "x-access-token", "github-enterprise": "x-access-token", "gitlab": "oauth2"}


class OAuth2Lab(Lab):
    """A link to one provider, danced with as alice."""

    server: OAuth2Server
    origin: str
    path: str

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}"


def start(kind: str, daemon: Daemon, stack: ExitStack) -> tuple[str, str, OAuth2Server, Any]:
    """Start the provider and dance; returns its address, the repository's path, its server, and the double itself."""
    if kind == "datacenter":
        sandbox = stack.enter_context(Sandbox())
        url = sandbox.base_url("bitbucket")
        put_link(daemon, "git", url)
        give_app(daemon, "git", sandbox.register_app("bitbucket", redirect_uris=[redirect_of(url)]))
        dance(daemon, "git", lambda address: sandbox.approve("bitbucket", address))
        return url, "/scm/web/shop.git", sandbox.oauth2("bitbucket"), sandbox
    if kind == "bitbucket-cloud":
        cloud = stack.enter_context(Cloud())
        url = cloud.url("bitbucket")
        put_link(daemon, "git", url, flavour=kind, gateway=cloud.url("bitbucket-api"))
        scopes = ["account", "repository:write", "pullrequest:write"]
        give_app(daemon, "git", cloud.register_app("bitbucket", redirect_uris=[redirect_of(url)], scopes=scopes))
        dance(daemon, "git", cloud.approve)
        return url, "/acme/shop.git", cloud.oauth2("bitbucket"), cloud
    forge = stack.enter_context(Forge(kind))  # type: ignore[arg-type]
    url = forge.url("site")
    put_link(daemon, "git", url, flavour=kind, **({"gateway": forge.url("api")} if kind == "github" else {}))
    host = "localhost" if kind == "github-enterprise" else "127.0.0.1"
    more = {"kind": "github-app"} if kind.startswith("github") else {}
    give_app(daemon, "git", forge.register_app(redirect_uris=[redirect_of(url, PORT, host)], **more))
    dance(daemon, "git", forge.approve)
    return url, "/acme/shop.git", forge.oauth2, forge


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def lab(kind: str, git_program: str, daemon: Daemon, tmp_path: Path) -> Iterator[OAuth2Lab]:
    with ExitStack() as stack:
        origin, path, server, double = start(kind, daemon, stack)
        lab = OAuth2Lab(daemon, double, git_program, tmp_path)
        lab.origin, lab.path, lab.server = origin, path, server
        done = lab.run(ATL_SIGN, "git", "setup", "git")
        assert done.returncode == 0, done.stderr
        yield lab


def test_clone_fetch_and_push(lab: OAuth2Lab, kind: str) -> None:
    """With the link's token, by the name that the provider wants or as a bearer; the twin: a revoked one is refused."""
    lab.works("clone", "-q", lab.url, "one")
    lab.commit("one")
    lab.works("-C", "one", "push", "-q", "origin", "main")
    found = lab.fill()
    assert ("password_expiry_utc" in found) == ("2.39" not in lab.works("version"))  # which knows no end
    assert found["username"] == USERS.get(kind, "alice")

    lab.server.revoke_all()
    lab.commit("one")
    assert lab.git("-C", "one", "push", "-q", "origin", "main").returncode != 0


def test_a_token_that_is_refused_is_renewed(lab: OAuth2Lab) -> None:
    """Once: the command that meets the 401 fails, for git asks once; the next one works."""
    lab.works("clone", "-q", lab.url, "one")
    lab.commit("one")
    for token in lab.server.access_tokens:
        lab.server.end_token(token)

    assert lab.git("-C", "one", "push", "-q", "origin", "main").returncode != 0
    lab.works("-C", "one", "push", "-q", "origin", "main")

    assert lab.server.refreshes == 1
