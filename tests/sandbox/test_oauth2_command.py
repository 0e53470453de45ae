"""`atl-sign sandbox --forges --app`: the addresses, the apps that it registers, and how it refuses (docs/sandbox.md)."""

import signal
from urllib.parse import urlencode, urlsplit

import pytest

from atl_sign.sandbox import FORGES, HOSTS
from atl_sign.sandbox.__main__ import main
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.person import Person
from tests.sandbox.consumer import FORM, send
from tests.sandbox.oauth2_client import S256, VERIFIER, Client, bearer
from tests.sandbox.test_command import running

ENDPOINTS = {
    "jira": ("/rest/oauth2/latest/authorize", "/rest/oauth2/latest/token", "READ"),
    "cloud-auth": ("/authorize", "/oauth/token", "read:me"),
    "cloud-bitbucket": ("/site/oauth2/authorize", "/site/oauth2/access_token", ""),
    "github": ("/login/oauth/authorize", "/login/oauth/access_token", "repo"),
    "github-app": ("/login/oauth/authorize", "/login/oauth/access_token", ""),
    "github-enterprise": ("/login/oauth/authorize", "/login/oauth/access_token", "repo"),
    "gitlab": ("/oauth/authorize", "/oauth/token", "read_user"),
    "gitlab-public": ("/oauth/authorize", "/oauth/token", "read_user"),
    "generic": ("/authorize", "/token", "read"),
    "generic-public": ("/authorize", "/token", "read"),
}


def make_client(name: str, words: list[str], addresses: dict[str, str]) -> Client:
    """Return a client with what the command printed."""
    client_id, secret, redirect = words
    authorize, token, scope = ENDPOINTS[name]
    kind = {"github-app": "github"}.get(name, name.removesuffix("-public"))
    base = addresses[kind if kind in addresses else f"{kind}-site"]
    assert redirect.endswith(f":47813/callback/{urlsplit(base).netloc.replace(':', '-')}")
    app = App(client_id, None if secret == "-" else secret, "", (redirect,), (), "")
    user = "alice@example.com" if name.startswith("cloud") else "alice"
    person = Person(user, "alice")
    extra = {"audience": "api.atlassian.com", "prompt": "consent"} if name == "cloud-auth" else {}

    def approve(address: str, user: str = "alice", *, deny: bool = False) -> str:
        del user
        return person.decide(address, deny=deny)

    return Client(app, redirect, base + authorize, base + token, approve, scope, extra)


def test_each_app_can_be_danced_with() -> None:
    """With the client ID, the secret and the redirect URL that stand in its line; and with no other secret."""
    arguments = ("--product", "jira", "--cloud", "--forges", "--app", "--oauth2-token-life", "60")
    with running(*arguments) as (process, addresses):
        assert process.stdout is not None
        addresses |= dict(process.stdout.readline().split() for _ in range(len(HOSTS) + 2 * len(FORGES)))
        lines = [process.stdout.readline().split() for _ in ENDPOINTS]
        for word, name, *words in lines:
            assert word == "app"
            client = make_client(name, words, addresses)
            code = client.code(**S256)
            if client.app.client_secret is not None:
                assert "access_token" not in client.exchange(code, client_secret="wrong", code_verifier=VERIFIER).json
            tokens = client.exchange(code, code_verifier=VERIFIER).json
            assert tokens.get("expires_in") == (None if name in ("github", "github-enterprise") else 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    assert [name for _, name, *_ in lines] == list(ENDPOINTS)
    assert [name for name in addresses if "-site" in name] == ["cloud-site", *(f"{kind}-site" for kind in FORGES)]


def test_redirect_may_be_chosen() -> None:
    """For every server; where the port of a loopback IP address is free, localhost becomes one."""
    with running("--product", "bamboo", "--forges", "--app", "http://localhost:5000/cb") as (process, _):
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2 * len(FORGES) + 8)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    redirects = {words[1]: words[4] for words in lines if words[0] == "app"}
    assert redirects["bamboo"] == redirects["github-enterprise"] == "http://localhost:5000/cb"
    assert redirects["github"] == redirects["generic-public"] == "http://127.0.0.1:5000/cb"
    assert len(redirects) == 8


def test_ports_follow_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the forges after those of Cloud; too few are bad usage."""
    with pytest.raises(SystemExit) as caught:
        main(["--port", "65525", "--forges"])

    assert caught.value.code == 2
    assert "there are no 5 ports from 65532 on" in capsys.readouterr().err


def test_redirect_that_a_server_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """Is bad usage, and leaves nothing running."""
    with pytest.raises(SystemExit) as caught:
        main(["--product", "jira", "--app", "http://127.0.0.1:5000/cb"])

    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert "the redirect URL must begin with https:// or http://localhost:PORT" in captured.err
    assert captured.out == ""


def test_versions_without_it_get_no_app() -> None:
    """Their line is missing, and an access token of another product is nobody's."""
    arguments = ("--product", "jira", "--product", "confluence", "--product-version", "jira=8.13.0", "--app")
    with running(*arguments) as (process, addresses):
        assert process.stdout is not None
        _, name, client_id, secret, redirect = process.stdout.readline().split()
        fields = {"client_id": client_id, "client_secret": secret, "redirect_uri": redirect, "grant_type": "refresh_token"}
        url = f"{addresses['confluence']}/rest/oauth2/latest/token"
        reply = send("POST", url, urlencode({**fields, "refresh_token": "x"}), FORM)
        jira = send("GET", f"{addresses['jira']}/rest/api/2/myself", headers=bearer("x"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    assert (name, reply.json["error"], jira.status) == ("confluence", "invalid_grant", 401)
