"""Links of the schemes bearer and basic: a token that the user pastes, at every product that has one, and every refusal."""

import base64
import json
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError

import pytest

from atl_sign.sandbox import Cloud, Sandbox
from tests.lab import Daemon, Reply

WHO = {
    "jira": "/rest/api/2/myself",
    "confluence": "/rest/api/user/current",
    "bitbucket": "/rest/api/1.0/projects",
    "bamboo": "/rest/api/latest/currentUser",
}
TEXT = {"Content-Type": "text/plain"}
PAGES = {
    "jira": "/secure/ViewPersonalAccessTokens.jspa",
    "confluence": "/plugins/personalaccesstokens/usertokens.action",
    "bitbucket": "/plugins/servlet/access-tokens/manage",
    "bamboo": "/profile/userAccessTokens.action",
}


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A sandbox of this test's own, so that a user has the tokens that the test makes."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as started:
        yield started


def put(daemon: Daemon, name: str, url: str, scheme: str, **settings: object) -> Reply:
    answer = daemon.request("PUT", f"/links/{name}", {"url": url, "scheme": scheme, **settings})
    assert answer.status in (200, 201), answer.json
    return answer


def paste(daemon: Daemon, name: str, secret: str, **fields: object) -> Reply:
    """Begin a dance and answer it with *secret*."""
    begun = daemon.request("POST", "/dance", {"link": name})
    assert begun.status == 201, begun.json
    assert begun.json["callback"] == "paste"
    return daemon.request("POST", f"/dance/{begun.json['id']}", {"secret": secret, **fields})


def sign(daemon: Daemon, url: str) -> dict[str, Any]:
    answer = daemon.request("POST", "/sign", {"method": "GET", "url": url})
    assert answer.status == 200, answer.json
    signed: dict[str, Any] = answer.json
    return signed


def send(url: str, authorization: str) -> int:
    """Send as a program does; returns the status."""
    request = urllib.request.Request(url, headers={"Authorization": authorization})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as exc:
        exc.close()
        return exc.code


@pytest.mark.parametrize("product", WHO)
def test_a_personal_access_token(product: str, own: Sandbox, daemon: Daemon) -> None:
    """From the link to the product's own answer: page, proof, header, check, status, logout."""
    base = own.base_url(product)
    token = own.make_token(product, "alice", days=90)
    put(daemon, product, base, "bearer")

    begun = daemon.request("POST", "/dance", {"link": product})
    assert begun.json["authorize_url"] == base + PAGES[product]
    granted = daemon.request("POST", f"/dance/{begun.json['id']}", {"secret": f"{token.secret}\n"})

    assert granted.json == {"state": "granted", "user": "alice", "instead_of": None, "error": None}
    signed = sign(daemon, base + WHO[product])
    assert signed["authorization"] == f"Bearer {token.secret}"
    assert (signed["scheme"], signed["uses"], "url" in signed) == ("bearer", "many", False)
    assert send(base + WHO[product], signed["authorization"]) == 200
    checked = daemon.request("POST", f"/links/{product}/check").json
    assert (checked["user"], checked["product"]) == ("alice", product)
    (link,) = daemon.request("GET", "/status").json["links"]
    assert link["token"]["state"] == "active"
    assert link["token"]["user"] == "alice"
    end = datetime.fromisoformat(link["token"]["expires_at"])
    assert abs(end - datetime.now(UTC) - timedelta(days=90)) < timedelta(days=1)
    logged_out = daemon.request("DELETE", f"/links/{product}/token").json
    assert logged_out["revoke_url"] == base + PAGES[product]
    assert daemon.request("POST", "/sign", {"method": "GET", "url": base + WHO[product]}).code == "dance_needed"


@pytest.mark.parametrize("product", WHO)
@pytest.mark.parametrize("token", ["unknown", "expired", "revoked"])
def test_a_token_that_the_product_does_not_take(token: str, product: str, own: Sandbox, daemon: Daemon) -> None:
    """An unknown bearer is anonymous there, and so is nobody here; the dance waits on for another one."""
    made = own.make_token(product, days=-1 if token == "expired" else 10)
    if token == "revoked":
        own.revoke_token(product, made)
    put(daemon, product, own.base_url(product), "bearer")
    begun = daemon.request("POST", "/dance", {"link": product}).json

    refused = daemon.request(
        "POST", f"/dance/{begun['id']}", {"secret": "no-such-token-0123456789" if token == "unknown" else made.secret}
    )

    assert refused.code == "provider_refused"
    assert "does not accept this token" in refused.message
    assert made.secret not in json.dumps(refused.json)
    good = own.make_token(product, "bob")
    assert daemon.request("POST", f"/dance/{begun['id']}", {"secret": good.secret}).json["user"] == "bob"


@pytest.mark.parametrize("product", WHO)
def test_a_token_that_is_revoked_later(product: str, own: Sandbox, daemon: Daemon) -> None:
    """Check asks for a dance, as after an OAuth token's end."""
    token = own.make_token(product)
    put(daemon, product, own.base_url(product), "bearer")
    assert paste(daemon, product, token.secret).json["state"] == "granted"
    own.revoke_token(product, token)

    refused = daemon.request("POST", f"/links/{product}/check")

    assert (refused.code, refused.hint) == ("dance_needed", f"atl-sign dance {product}")


@pytest.mark.parametrize(
    "secret",
    ["", "   ", "short", "two words of a token", "line\nbreak-in-a-token", "tab\tin-a-token", "kein-tökenßß", "x" * 4097],
)
def test_what_is_no_token(secret: str, own: Sandbox, daemon: Daemon) -> None:
    """Refused before anything is sent, and never repeated."""
    put(daemon, "jira", own.base_url("jira"), "bearer")
    begun = daemon.request("POST", "/dance", {"link": "jira"}).json
    before = len(own.state.requests)

    refused = daemon.request("POST", f"/dance/{begun['id']}", {"secret": secret})

    assert refused.status in (400, 422)
    assert not secret.strip() or secret not in json.dumps(refused.json)
    assert len(own.state.requests) == before
    assert daemon.request("GET", f"/dance/{begun['id']}").json["state"] == "waiting"


@pytest.mark.parametrize(
    ("versions", "words"),
    [({"jira": "8.13.0"}, "Jira 8.13.0 has no personal access tokens; the first version with them is 8.14")],
)
def test_a_product_without_tokens_is_named(versions: dict[str, str], words: str, daemon: Daemon) -> None:
    """With the scheme that it has."""
    with Sandbox(["jira"], versions=versions) as old:
        put(daemon, "jira", old.base_url("jira"), "bearer")

        refused = daemon.request("POST", "/dance", {"link": "jira"})

        assert words in refused.message
        assert refused.hint == f"atl-sign link add jira {old.base_url('jira')} --replace --scheme oauth1"


def test_bitbucket_with_user_and_token(own: Sandbox, daemon: Daemon) -> None:
    """Basic is Bitbucket's alone among the Data Center products; git gets the token itself, and its end."""
    base = own.base_url("bitbucket")
    token = own.make_token("bitbucket", "alice", days=30)
    put(daemon, "bitbucket", base, "basic", user="alice")
    assert paste(daemon, "bitbucket", token.secret).json["user"] == "alice"

    signed = sign(daemon, f"{base}/rest/api/1.0/projects")

    assert signed["authorization"] == "Basic " + base64.b64encode(f"alice:{token.secret}".encode()).decode()
    assert send(f"{base}/rest/api/1.0/projects", signed["authorization"]) == 200
    host = base.partition("://")[2]
    asked = f"protocol=http\nhost={host.partition('/')[0]}\npath={host.partition('/')[2]}/scm/web/site.git\n"
    answer = daemon.request("POST", "/git-credential/get", asked.encode(), headers=TEXT)
    lines = dict(line.partition("=")[::2] for line in answer.text.splitlines())
    assert (lines["username"], lines["password"]) == ("alice", token.secret)
    assert int(lines["password_expiry_utc"]) > 0
    other = daemon.request("POST", "/git-credential/get", (asked + "username=bob\n").encode(), headers=TEXT)
    assert other.text == ""


def test_basic_at_a_product_that_takes_none(own: Sandbox, daemon: Daemon) -> None:
    """Jira, Confluence and Bamboo take a token as bearer only."""
    put(daemon, "jira", own.base_url("jira"), "basic", user="alice")

    refused = daemon.request("POST", "/dance", {"link": "jira"})

    assert "does not accept a token as a password" in refused.message
    assert refused.hint.endswith("--replace --scheme bearer")


@pytest.mark.parametrize("path", ["", "/wiki"])
def test_a_classic_token_of_the_cloud(path: str, cloud: Cloud, daemon: Daemon) -> None:
    """Good at the site itself; its end is what the user says, and status warns ahead."""
    token = cloud.make_token("alice@example.com")
    base = cloud.url("site") + path
    put(daemon, "cloud", base, "basic", user="alice@example.com", gateway=cloud.url("gateway"))
    begun = daemon.request("POST", "/dance", {"link": "cloud"}).json
    assert begun["authorize_url"] == "https://id.atlassian.com/manage-profile/security/api-tokens"
    soon = f"{datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}"

    granted = daemon.request("POST", f"/dance/{begun['id']}", {"secret": token.secret, "expires_at": soon})

    assert granted.json["state"] == "granted"
    call = f"{base}/rest/api/content" if path else f"{base}/rest/api/3/project"
    signed = sign(daemon, call)
    assert "url" not in signed
    assert signed["expires_at"] == f"{soon}T23:59:59Z"
    assert send(call, signed["authorization"]) == 200
    assert daemon.request("POST", "/links/cloud/check").status == 200
    assert f"the token of link cloud ends on {soon}: atl-sign dance cloud" in daemon.request("GET", "/status").json["warnings"]


def test_a_scoped_token_of_the_cloud(cloud: Cloud, daemon: Daemon) -> None:
    """Good at the gateway only: /sign says where to send, and refuses what the gateway does not have."""
    token = cloud.make_token("alice@example.com", scopes=["read:jira-user", "read:jira-work"])
    site = cloud.url("site")
    put(daemon, "cloud", site, "basic", user="alice@example.com", gateway=cloud.url("gateway"))
    assert paste(daemon, "cloud", token.secret).json["state"] == "granted"

    signed = sign(daemon, f"{site}/rest/api/3/project?expand=lead")

    assert signed["url"] == f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}/rest/api/3/project?expand=lead"
    assert send(signed["url"], signed["authorization"]) == 200
    assert send(f"{site}/rest/api/3/myself", signed["authorization"]) == 401
    assert daemon.request("POST", "/links/cloud/check").status == 200
    refused = daemon.request("POST", "/sign", {"method": "GET", "url": f"{site}/browse/WEB-1"})
    assert refused.code == "bad_url"
    assert "gateway" in refused.message


def test_a_token_that_lacks_the_scope_for_who_am_i(cloud: Cloud, daemon: Daemon) -> None:
    """It is said so, rather than that the token is wrong."""
    token = cloud.make_token("alice@example.com", scopes=["read:jira-work"])
    put(daemon, "cloud", cloud.url("site"), "basic", user="alice@example.com", gateway=cloud.url("gateway"))

    refused = paste(daemon, "cloud", token.secret)

    assert refused.code == "provider_refused"
    assert "lacks a scope" in refused.message


def test_bitbucket_cloud(cloud: Cloud, daemon: Daemon) -> None:
    """One link for both hosts: REST at the one, git at the other; the twin: an address at neither."""
    token = cloud.make_token("alice@example.com", scopes=["read:user:bitbucket", "read:repository:bitbucket"])
    host, api = cloud.url("bitbucket"), cloud.url("bitbucket-api")
    put(daemon, "bb", host, "basic", user="alice@example.com", gateway=api)

    granted = paste(daemon, "bb", token.secret)

    assert granted.json == {"state": "granted", "user": "alice", "instead_of": None, "error": None}
    signed = sign(daemon, f"{api}/2.0/repositories/acme")
    assert (signed["link"], signed["uses"], "url" in signed) == ("bb", "many", False)
    assert send(f"{api}/2.0/repositories/acme", signed["authorization"]) == 200
    assert sign(daemon, f"{host}/2.0/user")["url"] == f"{api}/2.0/user"
    checked = daemon.request("POST", "/links/bb/check").json
    assert (checked["user"], checked["product"]) == ("alice", "bitbucket-cloud")
    page = daemon.request("POST", "/sign", {"method": "GET", "url": f"{host}/acme/shop/src"})
    assert (page.code, "has no /acme/shop/src" in page.message) == ("bad_url", True)
    for wanted in ("", "username=alice\n", "username=x-bitbucket-api-token-auth\n", "capability[]=authtype\n"):
        git = daemon.request("POST", "/git-credential/get", ask_git(host, wanted), headers=TEXT)
        assert git.text.startswith("username=x-bitbucket-api-token-auth\npassword="), (wanted, git.text)
    assert daemon.request("POST", "/git-credential/get", ask_git(host, "username=bob\n"), headers=TEXT).text == ""
    assert daemon.request("DELETE", "/links/bb/token").json["revoke_url"].startswith("https://id.atlassian.com/")
    assert daemon.request("POST", "/sign", {"method": "GET", "url": f"{api}/2.0/user"}).code == "unknown_link"


def ask_git(host: str, wanted: str) -> bytes:
    scheme, _, name = host.partition("://")
    return f"protocol={scheme}\nhost={name}\n{wanted}\n".encode()


def test_bitbucket_clouds_rest_host_alone(cloud: Cloud, daemon: Daemon) -> None:
    """A link of its own, for who needs no git."""
    token = cloud.make_token("alice@example.com", scopes=["read:user:bitbucket"])
    api = cloud.url("bitbucket-api")
    put(daemon, "bb", api, "basic", user="alice@example.com")

    assert paste(daemon, "bb", token.secret).json["user"] == "alice"

    signed = sign(daemon, f"{api}/2.0/user")
    assert "url" not in signed
    assert send(f"{api}/2.0/user", signed["authorization"]) == 200


@pytest.mark.parametrize("trouble", ["no scopes", "scope missing", "another e-mail", "expired", "bearer"])
def test_a_token_that_bitbucket_cloud_refuses(trouble: str, cloud: Cloud, daemon: Daemon) -> None:
    """Each is refused in its own words, and nothing is kept."""
    scopes = {"no scopes": [], "scope missing": ["read:repository:bitbucket"]}.get(trouble, ["read:user:bitbucket"])
    token = cloud.make_token("alice@example.com", scopes=scopes, days=-1 if trouble == "expired" else 30)
    settings = {"user": "bob@example.com" if trouble == "another e-mail" else "alice@example.com"}
    api = cloud.url("bitbucket-api")
    put(daemon, "bb", api, "bearer" if trouble == "bearer" else "basic", **({} if trouble == "bearer" else settings))

    begun = daemon.request("POST", "/dance", {"link": "bb"})
    refused = begun if begun.status >= 400 else daemon.request("POST", f"/dance/{begun.json['id']}", {"secret": token.secret})

    assert refused.code == "provider_refused"
    words = {"scope missing": "lacks a scope", "bearer": "does not accept bearer tokens"}
    assert words.get(trouble, "does not accept this token") in refused.message
    assert daemon.request("POST", "/sign", {"method": "GET", "url": f"{api}/2.0/user"}).code == "dance_needed"


def test_a_gateways_address_of_two_links(cloud: Cloud, daemon: Daemon) -> None:
    """Ambiguous, until one is named or the default; what climbs out of the site's part is refused."""
    for name in ("one", "two"):
        token = cloud.make_token("alice@example.com", scopes=["read:jira-user", "read:jira-work"])
        put(daemon, name, cloud.url("site"), "basic", user="alice@example.com", gateway=cloud.url("gateway"))
        assert paste(daemon, name, token.secret).json["state"] == "granted"
    base = f"{cloud.url('gateway')}/ex/jira/{cloud.cloud_id}"
    asked: dict[str, object] = {"method": "GET", "url": f"{base}/rest/api/3/myself"}

    assert daemon.request("POST", "/sign", asked).code == "ambiguous_link"
    assert daemon.request("POST", "/sign", {**asked, "link": "two"}).json["link"] == "two"
    assert daemon.request("POST", "/links/one/default").status == 200
    assert daemon.request("POST", "/sign", asked).json["link"] == "one"
    for path in ("/../another/rest/api/3/myself", "/%2e%2e/another/rest", "/..%2fanother/rest"):
        assert daemon.request("POST", "/sign", {"method": "GET", "url": base + path}).code == "bad_url"


@pytest.mark.parametrize("trouble", ["another e-mail", "unknown", "expired", "revoked"])
def test_a_cloud_token_that_is_refused(trouble: str, cloud: Cloud, daemon: Daemon) -> None:
    """One try at the site and one at the gateway, and the dance waits on."""
    token = cloud.make_token("alice@example.com", days=-1 if trouble == "expired" else 30)
    if trouble == "revoked":
        cloud.revoke_token(token)
    user = "bob@example.com" if trouble == "another e-mail" else "alice@example.com"
    put(daemon, "cloud", cloud.url("site"), "basic", user=user, gateway=cloud.url("gateway"))

    refused = paste(daemon, "cloud", "no-such-token" if trouble == "unknown" else token.secret)

    assert refused.code == "provider_refused"
    assert f"does not accept this token with the user {user}" in refused.message


@pytest.mark.parametrize("path", ["", "/wiki"])
@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("bearer", "an Atlassian Cloud site does not accept bearer tokens"),
        ("oauth1", "an Atlassian Cloud site has no application links with OAuth 1.0a"),
    ],
)
def test_a_cloud_site_takes_one_scheme(cloud: Cloud, daemon: Daemon, path: str, scheme: str, words: str) -> None:
    """The link is kept with a warning; what comes after it fails with the same words and the scheme that the site takes."""
    url = f"{cloud.url('site')}{path}"
    hint = f"atl-sign link add cloud {url} --replace --scheme basic --user EMAIL"

    daemon.request("POST", "/key", {})
    added = put(daemon, "cloud", url, scheme)
    refused = daemon.request("POST", "/dance", {"link": "cloud"})

    assert (added.json["warnings"], added.json["hint"]) == ([f"link cloud: {words}"], hint)
    assert (refused.code, refused.message, refused.hint) == ("provider_refused", f"link cloud: {words}", hint)
    if scheme == "oauth1":
        form = daemon.request("GET", "/links/cloud/setup")
        assert (form.code, form.hint) == ("provider_refused", hint)
    assert put(daemon, "cloud", url, "basic", user="alice@example.com").json["warnings"] == []


def test_another_user_or_scheme_is_another_grant(own: Sandbox, daemon: Daemon) -> None:
    """A token that was pasted for one is not sent for another."""
    base = own.base_url("bitbucket")
    token = own.make_token("bitbucket", "alice")
    put(daemon, "bitbucket", base, "basic", user="alice")
    assert paste(daemon, "bitbucket", token.secret).json["state"] == "granted"

    put(daemon, "bitbucket", base, "basic", user="bob")

    assert daemon.request("POST", "/sign", {"method": "GET", "url": f"{base}/x"}).code == "dance_needed"


def test_what_belongs_to_signatures_only(own: Sandbox, daemon: Daemon) -> None:
    """No administrator's form, no base string, no code: each is refused by name."""
    base = own.base_url("jira")
    put(daemon, "jira", base, "bearer")
    begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"}).json

    assert begun["callback"] == "paste"
    assert "an administrator enters nothing" in daemon.request("GET", "/links/jira/setup").message
    dry = daemon.request("POST", "/sign", {"method": "GET", "url": f"{base}/x", "dry_run": True})
    assert "there is no base string" in dry.message
    findings = daemon.request("POST", "/links/jira/diagnosis").json["findings"]
    assert [each["result"] for each in findings[:3]] == ["skipped"] * 3
    daemon.link(own, "bamboo")
    refused = daemon.request("POST", "/dance", {"link": "bamboo", "callback": "paste"})
    assert "nothing is pasted" in refused.message


ROTATING = ["jira", "confluence", "bamboo"]


@pytest.mark.parametrize("product", ROTATING)
def test_a_token_makes_its_successor(product: str, own: Sandbox, daemon: Daemon) -> None:
    """The new one is in use, the old one is gone at the product, and what a rotation that was cut off left goes too."""
    old = own.make_token(product, "alice", days=5)
    put(daemon, product, own.base_url(product), "bearer")
    assert paste(daemon, product, old.secret).json["state"] == "granted"
    prefix = f"atl-sign {product} on {socket.gethostname().partition('.')[0]} "
    orphan = own.make_token(product, "alice", name=f"{prefix}0a1b2c3d")
    other = own.make_token(product, "alice", name="somebody else's")

    rotated = daemon.request("POST", f"/links/{product}/rotate", {"days": 30})

    assert rotated.status == 200, rotated.json
    assert (rotated.json["user"], rotated.json["warnings"]) == ("alice", [])
    end = datetime.fromisoformat(rotated.json["expires_at"])
    assert abs(end - datetime.now(UTC) - timedelta(days=30)) < timedelta(days=1)
    url = own.base_url(product) + WHO[product]
    new = sign(daemon, url)["authorization"]
    assert new != f"Bearer {old.secret}"
    assert daemon.request("POST", f"/links/{product}/check").json["user"] == "alice"
    assert send(url, f"Bearer {other.secret}") == 200
    for gone in (old, orphan):
        assert "alice" not in fetch(url, f"Bearer {gone.secret}")
    again = daemon.request("POST", f"/links/{product}/rotate", {"days": 30})
    assert again.json["warnings"] == []
    assert "alice" not in fetch(url, new)


@pytest.mark.parametrize("product", ["jira", "bitbucket"])
def test_a_link_called_git_leaves_the_git_helpers_tokens(product: str, own: Sandbox, daemon: Daemon) -> None:
    """Tokens of ours go by their names' beginning, and the git helper's begin with `git`; the twin is the orphan above."""
    daemon.dance(own, product)
    put(daemon, "git", own.base_url(product), "bearer")
    helper = own.make_token(product, "alice", name=f"atl-sign git on {socket.gethostname().partition('.')[0]} 0a1b2c3d")
    assert daemon.request("POST", "/links/git/token", {"source": product}).status == 201

    again = daemon.request("POST", "/links/git/token", {"source": product})

    assert (again.status, again.json["warnings"]) == (201, [])
    assert send(own.base_url(product) + WHO[product], f"Bearer {helper.secret}") == 200


def test_a_token_whose_id_is_not_known_is_named(own: Sandbox, daemon: Daemon) -> None:
    """Of several tokens the product does not say which one it is: the user removes it."""
    own.make_token("jira", "alice")
    old = own.make_token("jira", "alice")
    put(daemon, "jira", own.base_url("jira"), "bearer")
    assert paste(daemon, "jira", old.secret).json["state"] == "granted"

    rotated = daemon.request("POST", "/links/jira/rotate")

    assert rotated.json["warnings"] == [f"the old token is still good: revoke it at {own.base_url('jira')}{PAGES['jira']}"]
    assert send(own.base_url("jira") + WHO["jira"], f"Bearer {old.secret}") == 200


def test_what_cannot_be_rotated(own: Sandbox, daemon: Daemon) -> None:
    """Bitbucket's tokens make none; more days than are allowed; other schemes; no token. The old one is still there."""
    token = own.make_token("bitbucket", "alice")
    put(daemon, "bitbucket", own.base_url("bitbucket"), "bearer")
    assert daemon.request("POST", "/links/bitbucket/rotate").code == "dance_needed"
    assert paste(daemon, "bitbucket", token.secret).json["state"] == "granted"
    refused = daemon.request("POST", "/links/bitbucket/rotate")
    assert "makes no token for a token" in refused.message
    with Sandbox(["jira"], token_days_max=30) as strict:
        kept = strict.make_token("jira", "alice", days=10)
        put(daemon, "jira", strict.base_url("jira"), "bearer")
        assert paste(daemon, "jira", kept.secret).json["state"] == "granted"
        refused = daemon.request("POST", "/links/jira/rotate", {"days": 90})
        assert (refused.code, "made no token" in refused.message) == ("provider_refused", True)
        assert sign(daemon, strict.base_url("jira") + WHO["jira"])["authorization"] == f"Bearer {kept.secret}"
    daemon.link(own, "bamboo")
    assert daemon.request("POST", "/links/bamboo/rotate").code == "bad_request"
    assert daemon.request("POST", "/links/jira/rotate", {"days": 0}).status == 422


@pytest.mark.parametrize("product", WHO)
def test_a_token_by_a_signature(product: str, own: Sandbox, daemon: Daemon) -> None:
    """The user consented to the signature once; nothing is pasted. Bitbucket, whose tokens make none, can do this too."""
    daemon.dance(own, product)
    put(daemon, "mine", own.base_url(product), "bearer")

    made = daemon.request("POST", "/links/mine/token", {"source": product, "days": 20})

    assert made.status == 201, made.json
    assert (made.json["link"], made.json["user"]) == ("mine", "alice")
    end = datetime.fromisoformat(made.json["expires_at"])
    assert abs(end - datetime.now(UTC) - timedelta(days=20)) < timedelta(days=1)
    url = own.base_url(product) + WHO[product]
    header = daemon.request("POST", "/sign", {"method": "GET", "url": url, "link": "mine"}).json["authorization"]
    assert header.startswith("Bearer ")
    assert send(url, header) == 200
    assert daemon.request("POST", "/links/mine/check").json["user"] == "alice"
    again = daemon.request("POST", "/links/mine/token", {"source": product})
    assert (again.status, again.json["warnings"]) == (201, [])


def test_a_token_by_what_cannot_sign_for_it(own: Sandbox, daemon: Daemon) -> None:
    """Another product, another scheme, the wrong way round, a product that refuses: nothing is stored."""
    daemon.dance(own, "jira")
    put(daemon, "mine", own.base_url("jira"), "bearer")
    put(daemon, "wiki", own.base_url("confluence"), "bearer")
    for name, source in (("wiki", "jira"), ("jira", "mine"), ("mine", "wiki"), ("mine", "mine")):
        assert daemon.request("POST", f"/links/{name}/token", {"source": source}).code == "bad_request"
    assert daemon.request("POST", "/links/mine/token", {"source": "nobody"}).code == "unknown_link"
    with Sandbox(["bamboo"], signed_makes_tokens=False) as strict:
        daemon.dance(strict, "bamboo")
        put(daemon, "ours", strict.base_url("bamboo"), "bearer")
        refused = daemon.request("POST", "/links/ours/token", {"source": "bamboo"})
        assert refused.code == "provider_refused"
    states = {each["name"]: each["token"]["state"] for each in daemon.request("GET", "/links").json["links"]}
    assert {states[name] for name in ("mine", "wiki", "ours")} == {"none"}


def fetch(url: str, authorization: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": authorization})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return str(answer.read().decode())
    except HTTPError as exc:
        with exc:
            return exc.read().decode()
