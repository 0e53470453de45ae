"""The callback page in Chromium: every kind of it, light and dark, at a telephone's width and at a desk's."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.keys import Keys

from atl_sign.grants.loopback import CallbackListener, CallbackPage
from atl_sign.schemes.base import NoAnswerError, OtherDanceError, RedirectPlace
from tests.browser.conftest import read_log, read_requests
from tests.browser.looks import assert_for_everybody, assert_readable, contrast, read_focus
from tests.lab import wait_for

pytestmark = pytest.mark.slow

TOKEN = "p9oZGVOZDXAXwQ33cFmGzcYd6Y7Ab1Ze"
LONG = "https://bitbucket.engineering.division.example.com:8443/" + "a-context-path-that-does-not-end/" * 4
AGAIN = "atl-sign dance bamboo"
PAGES = {
    "granted": CallbackPage(
        "Signed in to bamboo", "atl-sign can now sign requests to https://bamboo.example.com/bamboo as alice.", is_good=True
    ),
    "refused": CallbackPage("Access to bamboo denied", "You denied access. Nothing has changed.", is_good=False, command=AGAIN),
    "expired": CallbackPage("Sign-in to bamboo has expired", "Nothing has changed.", is_good=False, command=AGAIN),
    "failed": CallbackPage(
        "Sign-in to bamboo failed",
        f"link bamboo: the provider answered 502 at {LONG}.\ntry again when it is back",
        is_good=False,
        command=AGAIN,
    ),
}
KINDS = [*PAGES, "no_answer", "wrong_token", "over", "nothing_here", "unforeseen"]


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a listener shows one kind of page, each time it is asked."""
    kind: str = request.param

    def receive(query: str) -> CallbackPage:
        if not query:
            raise NoAnswerError
        if TOKEN not in query:
            raise OtherDanceError
        if kind == "unforeseen":
            raise RuntimeError
        return PAGES.get(kind, PAGES["granted"])

    listener = CallbackListener(RedirectPlace(), receive, PAGES["failed"])
    listener.open()
    query = f"oauth_token={TOKEN}&oauth_verifier=x"
    match kind:
        case "no_answer":
            yield listener.url
        case "wrong_token":
            yield f"{listener.url}?oauth_token=other&oauth_verifier=x"
        case "nothing_here":
            yield listener.url.rpartition("/callback")[0] + "/"
        case _:
            yield f"{listener.url}?{query}"
    listener.close()


@pytest.mark.parametrize("address", ["granted", "failed"], indirect=True)
def test_page_asks_for_nothing_else(browser: Chrome, address: str) -> None:
    """The page loads nothing from anywhere, no icon either, and its own policy lets its style through."""
    browser.get(address)

    assert [url for url in read_requests(browser) if not url.startswith("data:")] == [address]
    assert browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []
    assert [message for message in read_log(browser, "browser") if "Content Security Policy" in message] == []
    assert browser.execute_script("return getComputedStyle(document.querySelector('.sheet')).borderTopStyle") == "solid"


def test_foreign_content_would_be_stopped(browser: Chrome, address: str) -> None:
    """The twin of the above: were anything loaded, or a script run, the policy would stop it on every kind of page."""
    browser.get(address)
    browser.execute_script(
        "const image = document.createElement('img'); image.src = '/canary.png'; document.body.append(image);"
        "const script = document.createElement('script'); script.text = 'window.canary = 1'; document.body.append(script);"
        "const style = document.createElement('style'); style.textContent = 'h1 { color: red }'; document.head.append(style);"
    )

    messages: list[str] = []

    def are_all_told() -> bool:  # the image is turned down some time after it was asked for
        messages.extend(message for message in read_log(browser, "browser") if "Content Security Policy" in message)
        return len(messages) >= 3

    wait_for(are_all_told, lambda: f"the policy stopped these alone: {messages}")
    assert sorted(re.findall(r"image|script|style", message)[0] for message in messages) == ["image", "script", "style"]
    assert browser.execute_script("return window.canary === undefined")
    assert [url for url in read_requests(browser) if url.endswith("/canary.png")] != []


def test_page_is_readable(browser: Chrome, address: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Light and dark, on a telephone and on a desk: no sideways scrolling, and enough contrast."""
    kind = request.node.callspec.params["address"]
    if kind == "over":
        browser.get(address)
    browser.get(address)

    assert_readable(browser, kind, tmp_path)


def test_page_says_what_it_is(browser: Chrome, address: str) -> None:
    """Title, heading and the way back are there for eyes and for screen readers."""
    browser.get(address)
    heading = browser.execute_script("return document.querySelector('h1').innerText")
    text = browser.execute_script("return document.body.innerText")

    assert browser.title == f"{heading} \N{EN DASH} atl-sign"
    assert text.startswith("atl-sign")
    assert "Go back to your terminal" in text
    assert text.rstrip().endswith("You can close this tab.")
    assert_for_everybody(browser)
    assert urlsplit(browser.current_url).hostname == "127.0.0.1"


@pytest.mark.parametrize("address", ["granted", "no_answer"], indirect=True)
def test_nothing_is_to_be_pressed(browser: Chrome, address: str) -> None:
    """The way on is in the terminal: without a command to copy, nothing on the page has the focus or could have it."""
    browser.get(address)

    assert read_focus(browser) == ""
    assert browser.execute_script("return document.querySelectorAll('a, button, input, textarea, [tabindex]').length") == 0


@pytest.mark.parametrize("address", ["refused", "expired", "failed", "unforeseen"], indirect=True)
def test_command_has_the_focus_and_can_be_copied(browser: Chrome, address: str) -> None:
    """The keys Ctrl+A and Ctrl+C, straight after the page came, copy the command alone."""
    browser.get(address)
    browser.execute_script("document.addEventListener('copy', event => { window.copied = getSelection().toString() })")

    assert read_focus(browser) == "command"
    ActionChains(browser).key_down(Keys.CONTROL).send_keys("ac").key_up(Keys.CONTROL).perform()
    assert browser.execute_script("return window.copied") == "atl-sign dance bamboo"


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("h1 { color: #777 }", "light: h1"),
        ("main { width: 400px }", "light, 320"),
        ("input { border: 1px solid #ccc }", "light: input"),
        ("@media (prefers-color-scheme: dark) { h1 { color: #333 } }", "dark: h1"),
    ],
)
def test_unreadable_page_is_noticed(browser: Chrome, tmp_path: Path, style: str, words: str) -> None:
    """The twin: a faint text, a wide page, an edge that is hardly seen, and what is faint in the dark only."""
    base = "body { background: #eee; color: #111; margin: 0 }"
    base += "@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } }"
    plain = "input { color: inherit; background: none; border: 1px solid #777 }"
    svg = '<svg width="9" height="9"><path d="M0 0h9" style="stroke: #777"/></svg>'
    page = '<!DOCTYPE html><meta name="viewport" content="width=device-width">'
    page += f'<style>{base} {plain}</style>{svg}<main><h1>Title</h1><input type="text" size="5"></main>'

    browser.get(f"data:text/html,{quote(page)}")
    assert_readable(browser, "page", tmp_path)
    browser.get(f"data:text/html,{quote(page + f'<style>{style}</style>')}")

    with pytest.raises(AssertionError, match=re.escape(f"page, {words}")):
        assert_readable(browser, "page", tmp_path)


def test_contrast_is_that_of_the_standard() -> None:
    """WCAG's own ends of the scale: black on white is 21, white on white 1; #767676 on white is the known 4.54."""
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(255, 255, 255)", "rgb(255, 255, 255)") == pytest.approx(1)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.005)
