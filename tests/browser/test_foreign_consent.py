"""Authorization servers that others wrote, in Chromium: login, consent, and the redirect to a loopback listener."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

from atl_sign.base.credentials import Secret
from atl_sign.schemes.oauth2.redirect import Refused, read_redirect
from tests.browser.conftest import PAGE_S, read_requests
from tests.browser.test_dance import press, read_heading
from tests.interop.oauth2_servers import PASSWORD, USER, AuthlibServer, ForeignServer, Kind, OidcProvider
from tests.interop.our_client import OurClient, knows_alice

pytestmark = pytest.mark.slow


class _Callback(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Back</title><h1>Back</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a listener for the redirects."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Callback)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", params=[OidcProvider, AuthlibServer])
def server(request: pytest.FixtureRequest, port: int) -> Iterator[ForeignServer]:
    with request.param(exact_redirect=f"http://localhost:{port}/callback") as started:
        yield started


def log_in(browser: Chrome, authorize_url: str, password: str = PASSWORD) -> None:
    """Open the login page, fill it in, and wait for the next one."""
    browser.get(authorize_url)
    assert read_heading(browser) == "Log in"
    browser.find_element(By.NAME, "username").send_keys(USER)
    browser.find_element(By.NAME, "password").send_keys(password)
    page = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(browser, PAGE_S).until(staleness_of(page))


@pytest.mark.parametrize("kind", ["public", "exact"])
def test_allow_ends_at_the_listener(browser: Chrome, server: ForeignServer, port: int, kind: Kind) -> None:
    """At 127.0.0.1 with any port, and at localhost with its exact one. No page loads anything from another host."""
    client = OurClient(server, kind)
    begun = client.begin(port)

    log_in(browser, begun.url)
    assert read_heading(browser) == f"Allow app-{kind}?"
    press(browser, "Allow")

    assert read_heading(browser) == "Back"
    assert browser.current_url.startswith(f"{begun.redirect_uri}?")
    query = urlsplit(browser.current_url).query
    assert sorted(name for name, _ in parse_qsl(query)) == ["code", "iss", "state"]
    code = read_redirect(query, begun.expected)
    assert isinstance(code, Secret)
    assert knows_alice(server, client.swap(code, begun))
    hosts = {urlsplit(url).hostname for url in read_requests(browser) if url.startswith("http")}
    assert hosts <= {"127.0.0.1", "localhost"}


def test_deny_ends_at_the_listener(browser: Chrome, server: ForeignServer, port: int) -> None:
    """The twin: the redirect has the error, state and issuer."""
    begun = OurClient(server, "public").begin(port)

    log_in(browser, begun.url)
    press(browser, "Deny")

    assert read_heading(browser) == "Back"
    assert read_redirect(urlsplit(browser.current_url).query, begun.expected) == Refused("access_denied")


def test_wrong_password_ends_nowhere(browser: Chrome, server: ForeignServer, port: int) -> None:
    """The twin: the login page appears again."""
    log_in(browser, OurClient(server, "public").begin(port).url, "looking-glass")

    assert read_heading(browser) == "Log in"
    assert browser.find_element(By.CSS_SELECTOR, "[role=alert]").text == "wrong name or password"
    assert browser.current_url.startswith(server.issuer.removesuffix(server.path))
