"""The dance in Chromium, end to end: the real daemon, the sandbox's pages, a user who presses Allow or Deny."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.conftest import PAGE_S, show
from tests.lab import PRODUCTS, Daemon, Reply, wait_for

if TYPE_CHECKING:
    from atl_sign.sandbox import Sandbox

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("product", PRODUCTS)
def test_allow_ends_on_the_callback_page(
    browser: Chrome, daemon: Daemon, sandbox: "Sandbox", product: str, tmp_path: Path
) -> None:
    """Log in, press Allow: the page says granted and to whom, the daemon knows the user, and can sign."""
    link = daemon.link(sandbox, product)
    dance = begin(daemon, link)

    log_in(browser, dance["authorize_url"])
    press(browser, "Allow")

    take_pictures(browser, tmp_path)
    assert read_heading(browser) == f"Signed in to {link}"
    assert browser.title == f"Signed in to {link} \N{EN DASH} atl-sign"
    assert "alice" in read_text(browser)
    assert "Go back to your terminal" in read_text(browser)
    assert urlsplit(browser.current_url).hostname == "127.0.0.1"
    assert urlsplit(browser.current_url).path.startswith("/callback/")
    state = ask(daemon, dance)
    assert (state["state"], state["user"]) == ("granted", "alice")
    assert daemon.request("GET", f"/links/{link}").json["token"]["state"] == "active"
    assert sign(daemon, sandbox, product).status == 200


def test_deny_ends_on_the_callback_page(browser: Chrome, daemon: Daemon, sandbox: "Sandbox", tmp_path: Path) -> None:
    """The twin: press Deny, and there is no token, and nothing is signed."""
    link = daemon.link(sandbox, "jira")
    dance = begin(daemon, link)

    log_in(browser, dance["authorize_url"])
    press(browser, "Deny")

    take_pictures(browser, tmp_path)
    assert read_heading(browser) == "Access to jira denied"
    assert "Go back to your terminal" in read_text(browser)
    assert ask(daemon, dance)["state"] == "refused"
    assert daemon.request("GET", f"/links/{link}").json["token"]["state"] == "none"
    assert sign(daemon, sandbox, "jira").code == "dance_needed"


def test_allow_after_cancel_finds_nobody(browser: Chrome, daemon: Daemon, sandbox: "Sandbox") -> None:
    """When the dance was cancelled meanwhile, the listener is gone, and the user's Allow gives nobody a token."""
    link = daemon.link(sandbox, "jira")
    dance = begin(daemon, link)
    log_in(browser, dance["authorize_url"])
    assert daemon.request("DELETE", f"/dance/{dance['id']}").status == 200

    press(browser, "Allow")

    assert "ERR_CONNECTION_REFUSED" in browser.page_source
    assert daemon.request("GET", f"/links/{link}").json["token"]["state"] == "none"
    assert sign(daemon, sandbox, "jira").code == "dance_needed"


def test_reload_after_the_end_finds_nobody(browser: Chrome, daemon: Daemon, sandbox: "Sandbox") -> None:
    """The listener was good for one answer: its port is free again, and the grant stays as it is."""
    dance = begin(daemon, daemon.link(sandbox, "jira"))
    log_in(browser, dance["authorize_url"])
    press(browser, "Allow")
    assert read_heading(browser) == "Signed in to jira"

    callback = browser.current_url
    wait_for(lambda: is_refused(browser, callback), lambda: f"the listener still answers: {read_text(browser)}")

    assert ask(daemon, dance)["state"] == "granted"


def test_answer_of_another_dance_changes_nothing(browser: Chrome, daemon: Daemon, sandbox: "Sandbox") -> None:
    """One dance's answer, brought to the other's listener, is told so; the other then ends by its own."""
    jira, bamboo = begin(daemon, daemon.link(sandbox, "jira")), begin(daemon, daemon.link(sandbox, "bamboo"))
    token, callback = find_request_token(sandbox, "bamboo", bamboo)

    browser.get(f"{callback}?oauth_token={find_request_token(sandbox, 'jira', jira)[0]}&oauth_verifier=abc123")

    assert read_heading(browser) == "This response belongs to a different sign-in"
    assert ask(daemon, jira, wait_s=0)["state"] == "waiting"
    assert ask(daemon, bamboo, wait_s=0)["state"] == "waiting"
    log_in(browser, bamboo["authorize_url"])
    press(browser, "Allow")
    assert read_heading(browser) == "Signed in to bamboo"
    assert f"oauth_token={token}&" in browser.current_url
    assert ask(daemon, bamboo)["state"] == "granted"


def test_forged_verifier_gives_no_token(browser: Chrome, daemon: Daemon, sandbox: "Sandbox") -> None:
    """With the right token and a verifier that the provider never gave, the dance fails, and the page says so."""
    link = daemon.link(sandbox, "jira")
    dance = begin(daemon, link)
    token, callback = find_request_token(sandbox, "jira", dance)
    log_in(browser, dance["authorize_url"])

    browser.get(f"{callback}?oauth_token={token}&oauth_verifier=abc123")

    assert read_heading(browser) == "Sign-in to jira failed"
    assert "abc123" not in read_text(browser)
    assert ask(daemon, dance)["state"] == "failed"
    assert daemon.request("GET", f"/links/{link}").json["token"]["state"] == "none"


def begin(daemon: Daemon, link: str) -> dict[str, str]:
    """Begin a dance that ends in the browser; returns the daemon's answer."""
    reply = daemon.request("POST", "/dance", {"link": link, "callback": "loopback"})
    assert reply.status == 201, reply.text
    assert reply.json["callback"] == "loopback"
    assert reply.json["state"] == "waiting"
    answer: dict[str, str] = reply.json
    return answer


def ask(daemon: Daemon, dance: dict[str, str], wait_s: int = 20) -> dict[str, str]:
    """Ask how the dance went, and wait while it goes."""
    reply = daemon.request("GET", f"/dance/{dance['id']}?wait={wait_s}")
    assert reply.status == 200, reply.text
    answer: dict[str, str] = reply.json
    return answer


def find_request_token(sandbox: "Sandbox", product: str, dance: dict[str, str]) -> tuple[str, str]:
    """Return the dance's request token and the callback that the provider was given for it."""
    (token,) = parse_qs(urlsplit(dance["authorize_url"]).query)["oauth_token"]
    callback = sandbox.state.sites[product].state.request_tokens[token].callback
    assert callback is not None
    return token, callback


def sign(daemon: Daemon, sandbox: "Sandbox", product: str) -> Reply:
    """Ask for a signature for some address of *product*."""
    return daemon.request("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url(product)}/rest/api/latest/x"})


def log_in(browser: Chrome, authorize_url: str) -> None:
    """Open the consent page and log in as alice where the login page comes first."""
    browser.get(authorize_url)
    browser.find_element(By.CSS_SELECTOR, "input:not([type=hidden]):not([type=password])").send_keys("alice")
    password = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    password.send_keys("alice")
    password.submit()
    WebDriverWait(browser, PAGE_S).until(lambda page: page.find_elements(By.XPATH, _button("Allow")))


def press(browser: Chrome, label: str) -> None:
    """Press the consent page's button *label*, and wait until the browser is elsewhere."""
    before = browser.current_url
    browser.find_element(By.XPATH, _button(label)).click()
    WebDriverWait(browser, PAGE_S).until(lambda page: page.current_url != before and _is_loaded(page))


def is_refused(browser: Chrome, url: str) -> bool:
    """Open *url*; tell whether nobody listens there."""
    try:
        browser.get(url)
    except WebDriverException as exc:
        return "ERR_CONNECTION_REFUSED" in str(exc)
    return False


def read_heading(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "h1").text


def read_text(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def take_pictures(browser: Chrome, folder: Path) -> None:
    """Leave the page as the user sees it, light and dark, among pytest's temporary files."""
    for scheme in ("light", "dark"):
        show(browser, scheme=scheme, width=1280)
        assert browser.save_screenshot(str(folder / f"{scheme}.png"))


def _button(label: str) -> str:
    return f"//button[normalize-space()='{label}'] | //input[@type='submit' and @value='{label}']"


def _is_loaded(browser: Chrome) -> bool:
    return bool(browser.execute_script("return document.readyState === 'complete'"))
