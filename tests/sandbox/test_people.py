"""Login, logout and the front page."""

import pytest

from atl_sign.sandbox import Sandbox
from tests.sandbox.browser import Browser, heading, hidden_fields

LOGIN_PATHS = {"bamboo": "/userlogin.action", "jira": "/login.jsp", "confluence": "/login.action", "bitbucket": "/login"}


@pytest.mark.parametrize(("product", "path"), LOGIN_PATHS.items())
def test_login_makes_a_session(provider: Sandbox, product: str, path: str) -> None:
    """The front page says who; the cookie stays below the context path and out of scripts."""
    browser = Browser(provider.base_url(product))

    before = browser.get("/")
    reply = browser.log_in("alice", path)
    after = browser.get("/")

    assert f'href="/{product}{path}"' in before.text
    assert reply.headers["Location"] == f"/{product}/"
    assert reply.headers["Set-Cookie"].endswith(f"; Path=/{product}; HttpOnly; SameSite=Lax")
    assert "not logged in" in before.text
    assert "logged in as alice" in after.text


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody", "nobody"), ("alice", "ü"), ("", "")])
def test_wrong_password_makes_none(provider: Sandbox, user: str, password: str) -> None:
    """The form again, with a word, and where the user wanted to go."""
    browser = Browser(provider.base_url("jira"))

    reply = browser.post("/login.jsp", {"os_username": user, "os_password": password, "os_destination": "/x"})

    assert "Set-Cookie" not in reply.headers
    assert "The user name or the password is wrong." in reply.text
    assert hidden_fields(reply.text) == {"os_destination": "/x"}


@pytest.mark.parametrize(
    "destination", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\r\nX: y", "/\t/evil.example"]
)
def test_login_leads_nowhere_else(provider: Sandbox, destination: str) -> None:
    """Only to a path of the product."""
    browser = Browser(provider.base_url("jira"))

    reply = browser.post("/login.jsp", {"os_username": "bob", "os_password": "bob", "os_destination": destination})

    assert reply.headers["Location"] == "/jira/"


def test_deactivated_user_is_nobody(provider: Sandbox) -> None:
    """His session ends, and he gets no other."""
    browser = Browser(provider.base_url("jira"))
    browser.log_in("bob")
    provider.state.sites["jira"].state.users["bob"].is_active = False

    assert "not logged in" in browser.get("/").text
    assert "Set-Cookie" not in browser.log_in("bob").headers


def test_logout_ends_the_session(provider: Sandbox) -> None:
    """Only with the XSRF token."""
    browser = Browser(provider.base_url("jira"))
    browser.log_in("alice")
    token = browser.xsrf_token()

    refused = browser.post("/logout", {})
    still = browser.get("/")
    left = browser.post("/logout", {"atl_token": token})

    assert (refused.status, heading(refused.text)) == (403, "XSRF security token missing")
    assert "logged in as alice" in still.text
    assert left.headers["Location"] == "/jira/"
    assert "not logged in" in browser.get("/").text


def test_session_counts_before_a_signature(provider: Sandbox) -> None:
    """A browser's cookie is the user, at the API too; one that nobody knows is nobody."""
    browser, stranger = Browser(provider.base_url("jira")), Browser(provider.base_url("jira"))
    browser.log_in("alice")
    stranger.cookie = "a=b; JSESSIONID=unknown"

    assert browser.get("/rest/api/2/myself").json["name"] == "alice"
    assert stranger.get("/rest/api/2/myself").status == 401
