"""A page in a real browser against a lease's port (facts, attack 23): it reaches nothing, with and without the secret."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.wait import WebDriverWait

from atl_sign.sandbox import Sandbox
from tests.browser.conftest import PAGE_S, start_chromium
from tests.fork_server import ForkServer
from tests.lab import Daemon
from tests.lease_lab import MYSELF, arrivals, open_lease

pytestmark = pytest.mark.slow

EVIL = "evil.example"  # whose name leads to 127.0.0.1 for this browser: DNS rebinding, after the name has been given again
FETCH = """
const [url, options, done] = arguments;
fetch(url, options).then(
  async answer => done([answer.type, answer.status, answer.type === 'opaque' ? '' : await answer.text()]),
  error => done([String(error), 0, '']));
"""
IMAGE = """
const [url, done] = arguments;
const image = new Image();
image.onload = () => done('loaded');
image.onerror = () => done('failed');
image.src = url;
"""
FORM = """
const form = document.createElement('form');
form.action = arguments[0]; form.method = 'POST'; form.target = 'answer';
const frame = document.createElement('iframe'); frame.name = 'answer';
const field = document.createElement('input'); field.name = 'token'; field.value = arguments[1];
form.append(field); document.body.append(frame, form);
const done = arguments[2];
frame.onload = () => done('answered');
setTimeout(() => done('silence'), 3000);
form.submit();
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>evil</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """An attacker's page, on a name of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{EVIL}:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser whose names lead where the attacker wants, and which asks nobody before a page reaches loopback."""
    arguments = (
        f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
        "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,OptimizationHints,MediaRouter",
    )
    with start_chromium(tmp_path_factory.mktemp("misled"), *arguments) as browser:
        browser.set_script_timeout(PAGE_S)
        yield browser


@pytest.fixture(scope="module")
def lease(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[dict[str, Any]]:
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        yield open_lease(daemon, links=["jira"], entries=["port"], allow=["* /**"])


def port_of(lease: dict[str, Any]) -> int:
    return int(lease["url"].rpartition(":")[2])


def hosts_of(lease: dict[str, Any]) -> list[str]:
    """The port by its address, by its name, by the attacker's own, and with the secret where a URL can have one."""
    port, secret = port_of(lease), lease["secret"]
    return [
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        f"{EVIL}:{port}",
        f"x:{secret}@127.0.0.1:{port}",
        f"x:{secret}@{EVIL}:{port}",
    ]


def test_no_fetch_of_a_page_comes_through(misled: Chrome, page: str, lease: dict[str, Any], sandbox: Sandbox) -> None:
    """Simple ones, those with headers of their own (which ask first), and those that do not want to read the answer."""
    misled.get(page)
    bearer = {"Authorization": f"Bearer {lease['secret']}"}

    with arrivals(sandbox) as seen:
        for host in hosts_of(lease):
            for options in (
                {},
                {"mode": "no-cors"},
                {"mode": "no-cors", "method": "POST", "body": "a=1"},
                {"method": "POST", "body": "a=1", "credentials": "include"},
                {"headers": bearer},
                {"referrerPolicy": "no-referrer"},
                {"method": "DELETE", "headers": {**bearer, "X-Atlassian-Token": "no-check"}},
            ):
                kind, status, text = misled.execute_async_script(FETCH, f"http://{host}/jira{MYSELF}", options)
                assert "alice" not in text
                assert kind == "opaque" or status == 0, (host, options, kind, status, text)
    assert seen == []


def test_no_image_and_no_form_of_a_page_comes_through(misled: Chrome, page: str, lease: dict[str, Any], sandbox: Sandbox) -> None:
    with arrivals(sandbox) as seen:
        for host in hosts_of(lease):
            misled.get(page)
            assert misled.execute_async_script(IMAGE, f"http://{host}/jira{MYSELF}") == "failed"
            misled.execute_async_script(FORM, f"http://{host}/jira/rest/api/2/issue", lease["secret"])
    assert seen == []


@pytest.mark.parametrize("name", [EVIL, "127.0.0.1", "localhost"])
def test_a_page_of_the_ports_own_origin_gets_nothing(misled: Chrome, lease: dict[str, Any], sandbox: Sandbox, name: str) -> None:
    """After rebinding, page and port are one origin, and no CORS rule helps: the browser's own headers give it away."""
    with arrivals(sandbox) as seen:
        misled.get(f"http://{name}:{port_of(lease)}/jira{MYSELF}")
        WebDriverWait(misled, PAGE_S).until(lambda browser: "atl-sign" in browser.page_source)
        for options in ({}, {"headers": {"Authorization": f"Bearer {lease['secret']}"}}, {"method": "POST", "body": "a=1"}):
            kind, status, text = misled.execute_async_script(FETCH, f"/jira{MYSELF}", options)
            assert (kind, status) == ("basic", 403), (kind, status, text)
            assert "alice" not in text
    assert seen == []


@pytest.mark.parametrize(
    "more", [[], ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: GET"], ["-H", "Host: evil.example"]]
)
def test_no_answer_to_a_page_has_a_cors_header(lease: dict[str, Any], sandbox: Sandbox, more: list[str]) -> None:
    """As a browser sends it, byte for byte, with the secret too."""
    url = f"{lease['url']}/jira{MYSELF}"
    with arrivals(sandbox) as seen:
        for secret in ([], ["-H", f"Authorization: Bearer {lease['secret']}"]):
            done = subprocess.run(
                ["curl", "-qsSi", *more, *secret, "-H", f"Origin: http://{EVIL}", url], capture_output=True, text=True, check=True
            )
            assert done.stdout.startswith("HTTP/1.1 403 ")
            assert "access-control" not in done.stdout.lower()
    assert seen == []


def test_curl_with_the_secret_comes_through(lease: dict[str, Any], sandbox: Sandbox) -> None:
    """The twin."""
    with arrivals(sandbox) as seen:
        for given in (["-u", f"x:{lease['secret']}"], ["-H", f"Authorization: Bearer {lease['secret']}"]):
            done = subprocess.run(
                ["curl", "-qsS", *given, f"{lease['url']}/jira{MYSELF}"], capture_output=True, text=True, check=True
            )
            assert '"alice"' in done.stdout
    assert [each.user for each in seen] == ["alice", "alice"]
