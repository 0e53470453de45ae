"""The documentation site in Chromium, opened from its folder: search, the colour schemes, and no request elsewhere."""

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser.conftest import read_log, read_requests, show
from tests.lab import REPOSITORY, wait_for
from tests.site_lab import build_site

pytestmark = pytest.mark.slow

PHONE, DESK = 390, 1440
_WIDTH = "return document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the site's folder."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build_site(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder.as_uri()


def scheme_of(browser: Chrome) -> str | None:
    return browser.find_element(By.TAG_NAME, "body").get_attribute("data-md-color-scheme")


def press_switch(browser: Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, "[data-md-component=palette] label:not([hidden])").click()


def test_search_finds_a_page(browser: Chrome, site: str) -> None:
    """Without a server and without a request to another host; what it finds can be opened."""
    browser.get(f"{site}/index.html")
    browser.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]").send_keys("dance_needed")
    found = ".md-search-result__item a"
    wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, found))

    address = browser.find_element(By.CSS_SELECTOR, found).get_attribute("href")
    assert address is not None
    browser.get(address)

    assert "dance_needed" in browser.find_element(By.TAG_NAME, "article").text
    requests = read_requests(browser)
    assert any("search_index.js" in url for url in requests)
    assert [url for url in requests if not url.startswith((f"{site}/", "data:", "about:"))] == []
    assert read_log(browser, "browser") == []


def test_a_request_to_another_host_is_seen(browser: Chrome, site: str) -> None:
    """The twin: a picture from a port that nobody serves is among the requests, and its failure in the log."""
    browser.get(f"{site}/index.html")
    browser.execute_script("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    wait_for(lambda: read_log(browser, "browser"))

    assert "http://127.0.0.1:9/x.png" in read_requests(browser)


def test_search_finds_nothing_for_a_word_that_is_nowhere(browser: Chrome, site: str) -> None:
    """The twin: so what it finds is found by the word."""
    browser.get(f"{site}/index.html")
    browser.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]").send_keys("xylophone")
    wait_for(lambda: "No matching documents" in browser.page_source)

    assert browser.find_elements(By.CSS_SELECTOR, ".md-search-result__item") == []


def test_the_scheme_is_the_systems_until_one_is_chosen(browser: Chrome, site: str) -> None:
    """The switch goes from the system's to light, to dark, and back to the system's."""
    schemes = []
    show(browser, scheme="dark", width=DESK)
    browser.get(f"{site}/index.html")
    schemes.append(scheme_of(browser))
    for _ in range(3):
        press_switch(browser)
        schemes.append(scheme_of(browser))
    show(browser, scheme="light", width=DESK)
    wait_for(lambda: scheme_of(browser) == "default")

    assert schemes == ["slate", "default", "slate", "slate"]


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", ["index.html", "api.html", "commands.html", "configuration.html", "errors.html"])
def test_no_page_is_wider_than_the_screen(browser: Chrome, site: str, page: str, width: int) -> None:
    """Tables, code and pictures scroll by themselves."""
    show(browser, scheme="light", width=width)
    browser.get(f"{site}/{page}")

    assert browser.execute_script(_WIDTH) <= width
    browser.execute_script("document.querySelector('article').style.width = '2000px'")
    assert browser.execute_script(_WIDTH) > width
