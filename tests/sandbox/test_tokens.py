"""Personal access tokens of the four products: made, used, listed, revoked, and everything that refuses them."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from atl_sign.sandbox import PRODUCTS, ApproveError, Sandbox
from atl_sign.sandbox.__main__ import main
from tests.sandbox.browser import Browser, heading, hidden_fields
from tests.sandbox.consumer import FORM, JSON, NO_CHECK, WHO_AM_I, Clock, Consumer, KeyPair, Reply, send
from tests.sandbox.test_applinks import basic

DAY_S = 86_400
PAT = "/rest/pat/latest/tokens"
BAMBOO = "/rest/api/latest/access-token"
BITBUCKET = "/rest/access-tokens/latest/users/alice"
# From which version on there are tokens, and the page (facts section 9).
SINCE = {
    "jira": ("8.13.9", "8.14"),
    "confluence": ("7.8.3", "7.9.0"),
    "bitbucket": ("5.4.1", "5.5.0"),
    "bamboo": ("6.9.2", "6.10"),
}
PAGES = {
    "jira": "/secure/ViewPersonalAccessTokens.jspa",
    "confluence": "/plugins/personalaccesstokens/usertokens.action",
    "bitbucket": "/plugins/servlet/access-tokens/manage",
    "bamboo": "/profile/userAccessTokens.action",
}
LOGIN = {product.type_id: product.login_path for product in PRODUCTS.values()}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def who(provider: Sandbox, product: str, headers: dict[str, str]) -> str | None:
    """Return the user's name, or None for nobody; the call that tells differs from product to product (facts section 7)."""
    reply = send("GET", provider.base_url(product) + WHO_AM_I[product], headers=headers)
    if product == "bitbucket":
        return reply.text if reply.status == 200 else None
    name: str | None = reply.json.get("name") or reply.json.get("username")
    return name


def post(url: str, fields: dict[str, Any], headers: dict[str, str], method: str = "POST") -> Reply:
    return send(method, url, json.dumps(fields), {**JSON, **headers})


@pytest.mark.parametrize("product", PRODUCTS)
def test_bearer_is_its_user(provider: Sandbox, clock: Clock, product: str) -> None:
    """Until it is revoked or has expired; the scheme is "Bearer" to the letter (facts section 8)."""
    token, other = provider.make_token(product, "bob"), provider.make_token(product, days=1)

    assert who(provider, product, bearer(token.secret)) == "bob"
    assert who(provider, product, bearer(token.secret + "x")) is None
    assert who(provider, product, {"Authorization": f"bearer {token.secret}"}) in (None, "")
    provider.revoke_token(product, token)
    assert who(provider, product, bearer(token.secret)) is None
    clock.now += DAY_S - 1
    assert who(provider, product, bearer(other.secret)) == "alice"
    clock.now += 1
    assert who(provider, product, bearer(other.secret)) is None
    assert who(provider, product, bearer(provider.make_token(product, days=-1).secret)) is None
    assert who(provider, product, bearer(provider.make_token(product, days=None).secret)) == "alice"


@pytest.mark.parametrize("product", PRODUCTS)
def test_deactivated_users_token_is_nobody(provider: Sandbox, product: str) -> None:
    """As an unknown one."""
    token = provider.make_token(product)
    provider.state.sites[product].state.users["alice"].is_active = False

    assert who(provider, product, bearer(token.secret)) is None


@pytest.mark.parametrize("product", ["jira", "confluence", "bamboo"])
def test_refused_token_looks_anonymous(provider: Sandbox, product: str) -> None:
    """The same answer as without one, and no hint that it was bad (facts oauth2 sections 2 and 7)."""
    url = provider.base_url(product) + WHO_AM_I[product]
    expired = provider.make_token(product, days=-1)

    refused, nobody = send("GET", url, headers=bearer(expired.secret)), send("GET", url)

    assert (refused.status, refused.body) == (nobody.status, nobody.body)
    assert refused.status == (200 if product == "confluence" else 401)
    assert refused.headers.get("WWW-Authenticate") == nobody.headers.get("WWW-Authenticate")
    assert provider.state.requests[-2].verdict == "wrong token"


@pytest.mark.parametrize(
    ("product", "is_password"), [("jira", False), ("confluence", False), ("bamboo", False), ("bitbucket", True)]
)
def test_token_as_password(provider: Sandbox, product: str, is_password: bool) -> None:
    """At Bitbucket alone, and beside its owner's name (facts section 9, oauth2 section 7)."""
    token = provider.make_token(product).secret
    url = provider.base_url(product) + WHO_AM_I[product]

    assert send("GET", url, headers=basic("alice", token)).status == (200 if is_password else 401)
    assert send("GET", url, headers=basic("bob", token)).status == 401


@pytest.mark.parametrize("product", PRODUCTS)
def test_older_version_has_none(product: str) -> None:
    """No calls, no page, and the header is passed over; the next version has them all."""
    calls = {"jira": PAT, "confluence": PAT, "bamboo": BAMBOO, "bitbucket": BITBUCKET}
    older, first = SINCE[product]
    for version, status in ((older, 404), (first, 200)):
        with Sandbox(versions={product: version}) as provider:
            base = provider.base_url(product)
            assert f"<version>{version}</version>" in send("GET", base + "/rest/applinks/1.0/manifest").text
            assert send("GET", base + calls[product], headers=basic("alice")).status == status
            browser = Browser(base)
            browser.log_in("alice", LOGIN[product])
            assert browser.get(PAGES[product]).status == status
            if status == 404:
                with pytest.raises(ValueError, match=f"{version} has no personal access tokens"):
                    provider.make_token(product)
                assert who(provider, product, bearer("x")) in (None, "")
            else:
                assert who(provider, product, bearer(provider.make_token(product).secret)) == "alice"


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("8.9.21", 200),
        ("8.9.22", 302),
        ("8.10.0", 200),
        ("8.19.11", 200),
        ("8.19.12", 302),
        ("9.3.1", 200),
        ("9.3.2", 302),
        ("9.4.0", 302),
        ("10.0.0", 302),
    ],
)
def test_newer_bitbucket_takes_tokens_below_rest_alone(version: str, status: int) -> None:
    """Elsewhere a bearer is sent to the login page, and a token as the password is refused (facts oauth2 section 2)."""
    with Sandbox(["bitbucket"], versions={"bitbucket": version}) as provider:
        base, token = provider.base_url("bitbucket"), provider.make_token("bitbucket").secret
        outside = send("GET", base + WHO_AM_I["bitbucket"], headers=bearer(token))
        by_password = send("GET", base + WHO_AM_I["bitbucket"], headers=basic("alice", token))
        rest = send("GET", base + "/rest/api/latest/application-properties", headers=bearer(token))
        git = send("GET", base + "/scm/web/shop.git/info/refs?service=git-upload-pack", headers=bearer(token))

    assert (outside.status, by_password.status) == (status, 200 if status == 200 else 401)
    assert status == 200 or outside.headers["Location"].startswith("/bitbucket/login?os_destination=")
    assert (rest.status, rest.headers["X-AUSERNAME"], git.status) == (200, "alice", 200)


@pytest.mark.parametrize("product", ["jira", "confluence"])
@pytest.mark.parametrize("version", ["latest", "1.0"])
def test_pat_by_rest(provider: Sandbox, clock: Clock, product: str, version: str) -> None:
    """201 with rawToken this once; a bare array without it; 204 for DELETE (facts oauth2 section 7)."""
    url = provider.base_url(product) + f"/rest/pat/{version}/tokens"

    made = post(url, {"name": "ci", "expirationDuration": 90}, basic("alice"))
    endless = post(url, {"name": "x"}, bearer(made.json["rawToken"]))
    clock.now += 60
    listed = send("GET", url, headers=bearer(endless.json["rawToken"]))

    assert made.status == endless.status == 201
    assert set(made.json) == {"id", "name", "createdAt", "expiringAt", "rawToken"}
    assert made.json["createdAt"] == "2023-11-14T22:13:20.000+00:00"  # the clock's 1,700,000,000
    assert made.json["expiringAt"] == "2024-02-12T22:13:20.000+00:00"
    assert re.fullmatch(r"[A-Za-z0-9+/]{44}", made.json["rawToken"])
    assert [(token["id"], token["name"], token["expiringAt"]) for token in listed.json] == [
        (made.json["id"], "ci", made.json["expiringAt"]),
        (endless.json["id"], "x", None),
    ]
    assert listed.json[1]["lastAccessedAt"] == "2023-11-14T22:14:20.000+00:00"
    assert all("rawToken" not in token for token in listed.json)
    deletes = [send("DELETE", f"{url}/{made.json['id']}", headers=basic("alice")).status for _ in range(2)]
    assert deletes == [204, 404]
    assert who(provider, product, bearer(made.json["rawToken"])) is None


@pytest.mark.parametrize("product", ["jira", "confluence"])
def test_pat_is_ones_own(provider: Sandbox, product: str) -> None:
    """401 to nobody, and another user's does not exist."""
    url = provider.base_url(product) + PAT
    token = provider.make_token(product)

    assert (send("GET", url).status, post(url, {"name": "x"}, {}).status) == (401, 401)
    assert send("GET", url, headers=basic("bob")).json == []
    assert send("DELETE", f"{url}/{token.id}", headers=basic("bob")).status == 404
    assert who(provider, product, bearer(token.secret)) == "alice"


@pytest.mark.parametrize("fields", [{}, {"name": ""}, {"name": 5}, {"expirationDuration": 0}, {"expirationDuration": 366}])
def test_bad_pat_is_refused(provider: Sandbox, fields: dict[str, Any]) -> None:
    """400, and none is made."""
    url = provider.base_url("jira") + PAT

    assert post(url, fields if "name" in fields or not fields else {"name": "x", **fields}, basic("alice")).status == 400
    assert send("GET", url, headers=basic("alice")).json == []


def test_signed_request_makes_a_token(danced: Callable[[str], Consumer], provider: Sandbox) -> None:
    """At each product by its own call: an OAuth 1.0a link gets a bearer token of its own (facts section 9)."""
    rows = (
        ("jira", "POST", PAT, {"name": "x"}, 201, "rawToken"),
        ("confluence", "POST", PAT, {"name": "x"}, 201, "rawToken"),
        ("bamboo", "POST", BAMBOO, {"name": "x", "permissions": ["READ"]}, 200, "rawToken"),
        ("bitbucket", "PUT", BITBUCKET, {"name": "x", "permissions": ["REPO_READ"]}, 200, "token"),
    )
    for product, method, path, fields, status, field in rows:
        made = danced(product).call(method, path, json.dumps(fields), JSON)

        assert made.status == status
        assert who(provider, product, bearer(made.json[field])) == "alice"


@pytest.mark.parametrize("product", PRODUCTS)
def test_signed_request_may_be_refused_a_token(product: str, key_pair: KeyPair, clock: Clock) -> None:
    """No source says that Jira, Confluence and Bamboo take one (facts section 14); Bitbucket does (section 9)."""
    calls = {"jira": ("POST", PAT), "confluence": ("POST", PAT), "bamboo": ("POST", BAMBOO), "bitbucket": ("PUT", BITBUCKET)}
    method, path = calls[product]
    fields = {"name": "x", "permissions": ["REPO_READ"] if product == "bitbucket" else ["READ"]}
    with Sandbox([product], clock=clock, signed_makes_tokens=False) as provider:
        consumer = Consumer(provider, product, key_pair, clock)
        consumer.dance()

        signed = consumer.call(method, path, json.dumps(fields), JSON)
        by_password = post(consumer.base + path, {**fields, "name": "y"}, basic("alice"), method)

    assert signed.status == (200 if product == "bitbucket" else 403)
    assert by_password.status in (200, 201)


def test_bamboo_tokens(provider: Sandbox, clock: Clock) -> None:
    """Made, listed and revoked by Bamboo's own call; a name is taken once, and 400 answers a token that one does not have."""
    url = provider.base_url("bamboo") + BAMBOO
    fields = {"name": "ci", "permissions": ["READ", "TRIGGER"], "daysUntilExpiry": 30}

    made = post(url, fields, basic("alice"))
    again = post(url, fields, basic("alice"))
    listed = send("GET", f"{url}?limit=1", headers=basic("alice")).json

    assert (made.status, again.status) == (200, 400)
    assert (made.json["permissions"], made.json["daysUntilExpiry"]) == (["READ", "TRIGGER"], 30)
    assert [token["id"] for token in listed["values"]] == [made.json["id"]]
    assert "rawToken" not in listed["values"][0]
    clock.now += 29 * DAY_S
    assert who(provider, "bamboo", bearer(made.json["rawToken"])) == "alice"
    clock.now += DAY_S
    assert who(provider, "bamboo", bearer(made.json["rawToken"])) is None
    one = f"{url}/{made.json['id']}"
    assert [send("DELETE", one, headers=basic(user)).status for user in ("bob", "alice", "alice")] == [400, 204, 400]


@pytest.mark.parametrize(("version", "status"), [("9.3.9", 400), ("9.4.0", 200)])
def test_bamboo_tokens_end_since_9_4(version: str, status: int) -> None:
    """Before, daysUntilExpiry is not known (facts section 9); without it a token is made in both."""
    with Sandbox(["bamboo"], versions={"bamboo": version}) as provider:
        url = provider.base_url("bamboo") + BAMBOO

        ending = post(url, {"name": "a", "permissions": ["READ"], "daysUntilExpiry": 1}, basic("alice"))
        endless = post(url, {"name": "b", "permissions": ["READ"]}, basic("alice"))

    assert (ending.status, endless.status) == (status, 200)


def test_permissions_of_bamboo_tokens(provider: Sandbox) -> None:
    """READ reads, TRIGGER queues builds, USER changes things too."""
    base = provider.base_url("bamboo")

    def queue(*permissions: str) -> int:
        token = provider.make_token("bamboo", permissions=permissions).secret
        assert send("GET", base + "/rest/api/latest/plan/WEB-BUILD", headers=bearer(token)).status == 200
        return send("POST", base + "/rest/api/latest/queue/WEB-BUILD", "", {**FORM, **NO_CHECK, **bearer(token)}).status

    def label(*permissions: str) -> int:
        token = provider.make_token("bamboo", permissions=permissions).secret
        return post(base + "/rest/api/latest/plan/WEB-BUILD/label", {"name": "x"}, bearer(token)).status

    assert (queue("READ"), queue("TRIGGER"), queue("USER")) == (403, 200, 200)
    assert (label("READ"), label("TRIGGER"), label("USER")) == (403, 403, 204)


@pytest.mark.parametrize("product", PRODUCTS)
def test_page_makes_a_token(provider: Sandbox, product: str) -> None:
    """A person logs in, presses the button and copies it; it is listed without its secret, and can be revoked there."""
    secret = provider.ask_for_token(product, "bob", name="My <laptop>", days="30")

    assert who(provider, product, bearer(secret)) == "bob"
    browser = Browser(provider.base_url(product))
    assert browser.get(PAGES[product]).headers["Location"].partition("?")[0].endswith(LOGIN[product])
    browser.log_in("bob", LOGIN[product])
    page = browser.get(PAGES[product]).text
    assert "My &lt;laptop&gt;" in page
    assert secret not in page
    fields = hidden_fields(page)
    assert browser.post(PAGES[product], {"revoke": fields["revoke"]}).status == 403
    assert "There are none yet" in browser.post(PAGES[product], fields).text
    assert who(provider, product, bearer(secret)) is None


def test_page_refuses_bad_fields(provider: Sandbox) -> None:
    """With words, and none is made; also without a login or the form's own token."""
    for days in ("0", "366", "x", "9" * 20):
        with pytest.raises(ApproveError, match="days must be a number from 1 to 365"):
            provider.ask_for_token("jira", days=days)
    with pytest.raises(ApproveError, match="name"):
        provider.ask_for_token("jira", name=" ")
    browser = Browser(provider.base_url("jira"))
    assert browser.post(PAGES["jira"], {"name": "x"}).status == 302
    browser.log_in("alice")
    refused = browser.post(PAGES["jira"], {"name": "x"})
    assert (refused.status, heading(refused.text)) == (403, "XSRF security token missing")
    assert send("GET", provider.base_url("jira") + PAT, headers=basic("alice")).json == []


def test_page_shows_again_what_it_refused(provider: Sandbox) -> None:
    """Name and days stand in the form again, as text; after a success it is empty."""
    browser = Browser(provider.base_url("jira"))
    browser.log_in("alice")
    fields = {"atl_token": browser.xsrf_token(), "name": 'My "<laptop>"', "days": "9999"}

    refused = browser.post(PAGES["jira"], fields).text
    browser.post(PAGES["jira"], {**fields, "days": "9"})
    after = browser.get(PAGES["jira"]).text

    assert 'name="name" value="My &quot;&lt;laptop&gt;&quot;"' in refused
    assert 'name="days" value="9999"' in refused
    assert 'name="name" value=""' in after
    assert 'name="days" value="90"' in after


@pytest.mark.parametrize(
    ("product", "title"),
    [("jira", "Personal access tokens"), ("bitbucket", "HTTP access tokens")],
)
def test_page_is_called_as_the_product_calls_it(provider: Sandbox, product: str, title: str) -> None:
    """On the page, and in the link to it."""
    browser = Browser(provider.base_url(product))
    browser.log_in("alice", LOGIN[product])

    assert heading(browser.get(PAGES[product]).text) == title
    assert f">{title}</a>" in browser.get("/").text


def test_page_gives_the_permissions_that_are_ticked(provider: Sandbox) -> None:
    """The most modest one of itself; none is refused."""
    browser = Browser(provider.base_url("bitbucket"))
    browser.log_in("alice", "/login")
    fields = {"atl_token": hidden_fields(browser.get(PAGES["bitbucket"]).text)["atl_token"], "name": "x", "days": ""}

    assert browser.post(PAGES["bitbucket"], fields).status == 400
    assert "does not expire" in browser.post(PAGES["bitbucket"], {**fields, "permission": "REPO_ADMIN"}).text
    provider.ask_for_token("bitbucket")
    tokens = provider.state.sites["bitbucket"].state.tokens.of_user("alice")
    assert [token.permissions for token in tokens] == [("REPO_ADMIN",), ("REPO_READ",)]


@pytest.mark.parametrize("product", ["jira", "confluence", "bamboo"])
def test_token_is_rotated_by_itself(provider: Sandbox, product: str) -> None:
    """A new one is made with the old one, both are good, and the new one deletes the old (facts oauth2 section 7)."""
    url = provider.base_url(product) + (BAMBOO if product == "bamboo" else PAT)
    old = provider.make_token(product, name="old")

    new = post(url, {"name": "new", "permissions": ["USER"]}, bearer(old.secret)).json
    both = [who(provider, product, bearer(secret)) for secret in (old.secret, new["rawToken"])]
    deleted = send("DELETE", f"{url}/{old.id}", headers=bearer(new["rawToken"]))

    assert both == ["alice", "alice"]
    assert deleted.status == 204
    assert who(provider, product, bearer(old.secret)) is None
    assert who(provider, product, bearer(new["rawToken"])) == "alice"
    assert post(url, {"name": "newer"}, bearer(old.secret)).status == 401


def test_bitbucket_token_is_not_rotated_by_itself(danced: Callable[[str], Consumer], provider: Sandbox) -> None:
    """A token cannot make one, in either way; a signature and a password can, and a token deletes tokens (facts section 9)."""
    bitbucket, old = danced("bitbucket"), provider.make_token("bitbucket")
    url, fields = bitbucket.base + BITBUCKET, {"name": "new", "permissions": ["REPO_READ"]}

    refused = [post(url, fields, headers, "PUT").status for headers in (bearer(old.secret), basic("alice", old.secret))]
    signed = bitbucket.call("PUT", BITBUCKET, json.dumps(fields), JSON).json
    by_password = post(url, fields, basic("alice"), "PUT")

    assert refused == [403, 403]
    assert by_password.status == 200
    assert send("DELETE", f"{url}/{old.id}", headers=bearer(signed["token"])).status == 204
    assert who(provider, "bitbucket", bearer(old.secret)) is None
    assert who(provider, "bitbucket", bearer(signed["token"])) == "alice"


@pytest.mark.parametrize("product", PRODUCTS)
def test_administrator_demands_an_end(product: str) -> None:
    """400 without days, at the page too (facts section 9); with days a token is made."""
    calls: dict[str, tuple[str, str, dict[str, Any], str]] = {
        "jira": ("POST", PAT, {}, "expirationDuration"),
        "confluence": ("POST", PAT, {}, "expirationDuration"),
        "bamboo": ("POST", BAMBOO, {"permissions": ["READ"]}, "daysUntilExpiry"),
        "bitbucket": ("PUT", BITBUCKET, {"permissions": ["REPO_READ"]}, "expiryDays"),
    }
    method, path, fields, days = calls[product]
    with Sandbox([product], tokens_must_expire=True) as provider:
        url = provider.base_url(product) + path

        endless = post(url, {"name": "x", **fields}, basic("alice"), method)
        ending = post(url, {"name": "x", **fields, days: 365}, basic("alice"), method)

        assert endless.status == 400
        assert f"{days} must be a number from 1 to 365" in endless.text
        assert ending.status in (200, 201)
        with pytest.raises(ApproveError, match="days must be a number"):
            provider.ask_for_token(product, days="")
        assert provider.ask_for_token(product, days="1")


def test_making_a_token_is_checked(provider: Sandbox) -> None:
    """Permissions that the product does not have, and versions of nothing."""
    with pytest.raises(ValueError, match="permissions of Jira"):
        provider.make_token("jira", permissions=["READ"])
    with pytest.raises(ValueError, match="permissions of Bamboo are READ, TRIGGER, USER"):
        provider.make_token("bamboo", permissions=["WRITE"])
    for versions in ({"trello": "1.0"}, {"jira": "9"}, {"jira": "9.x"}, {"jira": ""}, {"jira": "9.1.2.3.4"}, {"jira": "1.٣"}):
        with pytest.raises(ValueError, match="version"):
            Sandbox(versions=versions)


@pytest.mark.parametrize("argument", ["jira", "jira=", "jira=x", "trello=1.0", "=9.1"])
def test_bad_version_on_the_command_line(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage."""
    with pytest.raises(SystemExit) as caught:
        main(["--product-version", argument])

    assert caught.value.code == 2
    assert "usage: atl-sign sandbox" in capsys.readouterr().err
