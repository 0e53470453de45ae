"""Passwords, tokens, the XSRF filter, and what every product answers."""

from collections.abc import Callable

import pytest

from atl_sign.sandbox import Sandbox
from tests.sandbox.consumer import FORM, JSON, NO_CHECK, Consumer, send
from tests.sandbox.test_applinks import basic

Make = Callable[[str], Consumer]
SEARCH = "/rest/api/2/search"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}


def test_password_is_the_user(provider: Sandbox) -> None:
    """Basic works at REST calls; a wrong one is 401 even where nobody in particular may read."""
    base = provider.base_url("confluence")

    right = send("GET", base + "/rest/api/user/current", headers=basic("bob"))
    wrong = send("GET", base + "/rest/api/user/current", headers=basic("bob", "wrong"))

    assert right.json["username"] == "bob"
    assert wrong.status == 401
    assert [received.verdict for received in provider.state.requests] == ["basic", "wrong password"]


@pytest.mark.parametrize("credentials", ["Basic", "Basic ???", "Basic YWxpY2U=", "Basic /w==", "basic YWxpY2U6"])
def test_unreadable_password_is_refused(provider: Sandbox, credentials: str) -> None:
    """No base64, no colon, no UTF-8, no password."""
    assert send("GET", provider.base_url("jira") + "/status", headers={"Authorization": credentials}).status == 401


@pytest.mark.parametrize(("product", "status"), [("bamboo", 200), ("jira", 200), ("confluence", 200), ("bitbucket", 401)])
def test_unknown_token(provider: Sandbox, product: str, status: int) -> None:
    """A wrong bearer is ignored (facts oauth2 section 2) but by Bitbucket; another scheme is passed over."""
    url = provider.base_url(product) + "/rest/applinks/1.0/manifest"

    assert send("GET", url, headers={"Authorization": "Bearer x"}).status == status
    assert send("GET", url, headers={"Authorization": "Negotiate x"}).status == 200


@pytest.mark.parametrize("product", ["bamboo", "jira", "confluence", "bitbucket"])
def test_address_of_nothing_and_wrong_method(provider: Sandbox, product: str) -> None:
    """404, and 405 with what is allowed."""
    base = provider.base_url(product)

    nothing, wrong = send("GET", base + "/rest/api/2/nothing"), send("DELETE", base + "/rest/applinks/1.0/manifest")

    assert nothing.status == 404
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET")


def test_who_am_i_of_the_application_links(danced: Make) -> None:
    """Plain text; nothing to nobody."""
    for product in ("bamboo", "jira", "confluence", "bitbucket"):
        consumer = danced(product)
        path = "/plugins/servlet/applinks/whoami"

        signed, anonymous = consumer.call("GET", path), send("GET", consumer.base + path)

        assert (signed.text, anonymous.text, anonymous.status) == ("alice", "", 200)
        assert signed.headers["Content-Type"] == "text/plain;charset=UTF-8"


@pytest.mark.parametrize(
    ("product", "signed", "anonymous"),
    [("jira", "alice", "anonymous"), ("bitbucket", "alice", None), ("bamboo", None, None), ("confluence", None, None)],
)
def test_user_name_header(danced: Make, product: str, signed: str | None, anonymous: str | None) -> None:
    """Jira and Bitbucket tell the user with every answer."""
    consumer = danced(product)
    path = "/rest/applinks/1.0/manifest"

    assert consumer.call("GET", path).headers.get("X-AUSERNAME") == signed
    assert send("GET", consumer.base + path).headers.get("X-AUSERNAME") == anonymous


@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain;charset=UTF-8", None]
)
@pytest.mark.parametrize("token", ["no-check", "nocheck", "No-Check", "yes", None])
def test_post_without_the_header_fails_the_xsrf_check(danced: Make, media_type: str | None, token: str | None) -> None:
    """403 and the words; with either spelling it passes to the product, which has its own opinion of the body."""
    jira = danced("jira")
    headers = {name: value for name, value in (("Content-Type", media_type), ("X-Atlassian-Token", token)) if value is not None}

    reply = jira.call("POST", SEARCH, headers=headers)

    is_let_pass = token is not None and token != "yes"
    assert reply.status == (415 if is_let_pass else 403)
    assert is_let_pass or reply.text == "XSRF check failed"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
def test_other_methods_pass_the_xsrf_filter(danced: Make, method: str) -> None:
    """POST alone is enforced."""
    assert danced("jira").call(method, SEARCH, headers=FORM).status != 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Atlassian-Token": "no-check"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Referer": "http://["}, 403),
        ({"Origin": "SELF"}, 200),
        ({"Referer": "SELF/jira/secure/Dashboard.jspa"}, 200),
    ],
)
def test_browsers_post_needs_its_own_origin(danced: Make, headers: dict[str, str], status: int) -> None:
    """JSON or not: a User-Agent like a browser's needs Origin or Referer, and no-check does not help."""
    jira = danced("jira")
    origin = jira.base.removesuffix("/jira")
    own = {name: value.replace("SELF", origin) for name, value in headers.items()}

    assert jira.call("POST", SEARCH, '{"jql": ""}', {**JSON, **BROWSER, **own}).status == status
    assert jira.call("POST", SEARCH, '{"jql": ""}', {**JSON, "User-Agent": "curl/8.5.0"}).status == 200


def test_forms_of_pages_need_no_such_header(danced: Make) -> None:
    """The filter is REST's; the dance's calls are servlets."""
    jira = danced("jira")

    assert jira.call("POST", "/plugins/servlet/oauth/request-token", "a=b", {**FORM, **BROWSER}, callback_uri="oob").status == 200


@pytest.mark.parametrize("body", ["", "{", "[]", '"text"', "[" * 100_000, b"\xff\xfe\xfa"])
def test_broken_json_is_refused(danced: Make, body: str | bytes) -> None:
    """400 in the product's own shape; the same without a content type is 415."""
    jira = danced("jira")

    broken = jira.call("POST", SEARCH, body, JSON)
    untyped = jira.call("POST", SEARCH, body, {**NO_CHECK, "Content-Type": "application/xml"})

    assert (broken.status, untyped.status) == (400, 415)
    assert broken.json["errorMessages"]
