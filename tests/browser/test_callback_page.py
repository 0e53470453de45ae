"""The callback page in Chromium: every kind of it, light and dark, on a telephone's width and on a desk's."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from atl_sign.grants.loopback import CallbackListener, CallbackPage, WrongTokenError
from tests.browser.conftest import read_log, read_requests, show
from tests.lab import wait_for

pytestmark = pytest.mark.slow

TOKEN = "p9oZGVOZDXAXwQ33cFmGzcYd6Y7Ab1Ze"
LONG = "https://bitbucket.engineering.division.example.com:8443/" + "a-context-path-that-does-not-end/" * 4
PAGES = {
    "granted": CallbackPage(
        "Access granted",
        "atl-sign may now sign requests as alice for bamboo (https://bamboo.example.com/bamboo).",
        is_good=True,
    ),
    "refused": CallbackPage("Access denied", "Nothing was changed: the user refused access on link bamboo.", is_good=False),
    "expired": CallbackPage("This sign-in has expired", "To begin again: atl-sign dance bamboo", is_good=False),
    "failed": CallbackPage(
        "Sign-in failed",
        f"link bitbucket: the provider answered 502 at {LONG}.\nTry again when it is back: atl-sign dance bitbucket",
        is_good=False,
    ),
}
KINDS = [*PAGES, "no_answer", "wrong_token", "over", "nothing_here", "unforeseen"]


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a listener shows one kind of page, each time it is asked."""
    kind: str = request.param

    def receive(token: str, verifier: str) -> CallbackPage:
        if token != TOKEN:
            raise WrongTokenError
        if kind == "unforeseen":
            raise RuntimeError
        return PAGES.get(kind, PAGES["granted"])

    listener = CallbackListener(receive)
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
    assert browser.execute_script("return getComputedStyle(document.querySelector('main')).borderTopStyle") == "solid"


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
    """Light and dark, 320 and 1280 pixels wide: no sideways scrolling, and enough contrast (WCAG 2.2, 1.4.3 and 1.4.11)."""
    kind = request.node.callspec.params["address"]
    if kind == "over":
        browser.get(address)
    browser.get(address)
    grounds = {}
    for scheme in ("light", "dark"):
        for width in (320, 1280):
            show(browser, scheme=scheme, width=width)
            where = f"{kind}-{scheme}-{width}"
            assert browser.save_screenshot(str(tmp_path / f"{where}.png"))

            assert browser.execute_script("return innerWidth") == width
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, where
            colours = browser.execute_script(_COLOURS)
            assert {name for name, *_ in colours} == {"H1", "P", "FOOTER", "svg"}
            for name, colour, ground in colours:
                assert _contrast(colour, ground) >= (3.0 if name == "svg" else 4.5), f"{where}: {name} {colour} on {ground}"
            grounds[scheme] = _luminance(colours[0][2])
    assert grounds["dark"] < 0.05
    assert grounds["light"] > 0.8


def test_page_says_what_it_is(browser: Chrome, address: str) -> None:
    """Title, heading and the closing words are there for eyes and for screen readers; the drawing is not read out."""
    browser.get(address)
    heading = browser.execute_script("return document.querySelector('h1').innerText")
    text = browser.execute_script("return document.body.innerText")

    assert browser.title == f"{heading} - atl-sign"
    assert "You can close this tab and go back to your terminal." in text
    assert text.rstrip().endswith("atl-sign")
    assert browser.execute_script("return document.documentElement.lang") == "en"
    assert browser.execute_script("return document.querySelector('svg').getAttribute('aria-hidden')") == "true"
    assert browser.execute_script("return document.compatMode") == "CSS1Compat"
    assert urlsplit(browser.current_url).hostname == "127.0.0.1"


# Each text and the sign with its colour and the colour of what is behind it: the nearest ancestor that is not transparent.
_COLOURS = """
return [...document.querySelectorAll('h1, p, footer, svg')].map(element => {
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    return [element.tagName, getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
});
"""


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio (WCAG 2.2, "contrast ratio") of two CSS colours without transparency."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2, "relative luminance") of "rgb(r, g, b)"."""
    matched = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour)
    assert matched is not None, colour
    parts = [int(part) / 255 for part in matched.groups()]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_is_that_of_the_standard() -> None:
    """WCAG's own ends of the scale: black on white is 21, white on white 1; #767676 on white is the known 4.54."""
    assert _contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert _contrast("rgb(255, 255, 255)", "rgb(255, 255, 255)") == pytest.approx(1)
    assert _contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.005)
