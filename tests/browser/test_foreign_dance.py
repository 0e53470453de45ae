"""A whole dance in Chromium: the real daemon, the login and consent pages of a server that others wrote, and our last page."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from tests.browser.conftest import read_requests
from tests.browser.test_dance import is_refused, press, read_heading, read_text
from tests.browser.test_foreign_consent import log_in
from tests.interop.daemon_lab import By, add_link, assert_signed_out
from tests.interop.oauth2_servers import AuthlibServer, ForeignServer, Kind, OidcProvider
from tests.lab import Daemon, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[OidcProvider, AuthlibServer])
def server(request: pytest.FixtureRequest) -> Iterator[ForeignServer]:
    with request.param() as started:
        yield started


@pytest.mark.parametrize(("kind", "by"), [("public", "issuer"), ("exact", "hand")])
def test_allow_ends_on_our_page(browser: Chrome, server: ForeignServer, daemon: Daemon, kind: Kind, by: By) -> None:
    """It names link and user, keeps the code from other sites, and loads nothing; then the port is closed."""
    link = add_link(daemon, server, kind, by)
    begun = link.begin()

    log_in(browser, begun["authorize_url"])
    assert read_heading(browser) == f"Allow app-{kind}?"
    press(browser, "Allow")

    user = "alice" if by == "issuer" else "alice@example.com"
    assert read_heading(browser) == "Signed in to app"
    assert f"atl-sign can now sign requests to {server.origin} as {user}." in read_text(browser)
    assert browser.current_url.startswith(f"{link.redirect}?")
    assert {urlsplit(url).hostname for url in read_requests(browser) if url.startswith("http")} == {"127.0.0.1"}
    assert link.ask(begun)["state"] == "granted"
    assert link.use() == "alice"
    callback = browser.current_url
    wait_for(lambda: is_refused(browser, callback))


def test_deny_ends_on_our_page(browser: Chrome, server: ForeignServer, daemon: Daemon) -> None:
    """The twin."""
    link = add_link(daemon, server, "public")
    begun = link.begin()

    log_in(browser, begun["authorize_url"])
    press(browser, "Deny")

    assert read_heading(browser) == "Access to app denied"
    assert "Nothing has changed" in read_text(browser)
    assert link.ask(begun)["state"] == "refused"
    assert_signed_out(link)


def test_wrong_secret_ends_on_our_page(browser: Chrome, server: ForeignServer, daemon: Daemon) -> None:
    """The user has allowed it, but the server does not take the app's secret: the page says so, and shows no secret."""
    link = add_link(daemon, server)
    daemon.request("PUT", "/links/app/secret", {"secret": "canary-wrong"})
    begun = link.begin()

    log_in(browser, begun["authorize_url"])
    press(browser, "Allow")

    assert read_heading(browser) == "Sign-in to app failed"
    assert "the provider does not take the app's id and secret (invalid_client)" in read_text(browser)
    assert "canary" not in browser.page_source
    assert link.ask(begun)["state"] == "failed"
    assert_signed_out(link)
