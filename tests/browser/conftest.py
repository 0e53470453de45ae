"""Debian's Chromium, without a window, for the tests in this folder."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

PAGE_S = 30  # for a page to load; the last one waits for the token swap

# What Chromium does in the background would be traffic that no test asked for.
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-features=OptimizationHints,MediaRouter",
    "--disable-gpu",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium for all tests, with a home and a profile of its own."""
    with start_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@contextmanager
def start_chromium(home: Path, *arguments: str) -> Iterator[Chrome]:
    """Give a Chromium with *home* for its home, its profile there, and *arguments* more; an argument here stands for ours."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail("there is no Chromium here: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    quiet = [each for each in _QUIET if each.partition("=")[0] not in {word.partition("=")[0] for word in arguments}]
    for argument in ("--headless=new", f"--user-data-dir={home / 'profile'}", *quiet, *arguments):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    if not _has_room(Path("/dev/shm")):
        options.add_argument("--disable-dev-shm-usage")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        browser = Chrome(options=options, service=Service(driver, env=environment))
        try:
            browser.set_page_load_timeout(PAGE_S)
            yield browser
        finally:
            browser.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Chrome:
    """The browser as if it had just been started: no cookies, an empty page, light, 1280 pixels wide, nothing logged."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Network.clearBrowserCache", {})
    show(chromium, scheme="light", width=1280)
    read_requests(chromium)
    read_log(chromium, "browser")
    return chromium


def show(browser: Chrome, *, scheme: str, width: int) -> None:
    """Make the browser prefer the colour *scheme* on a screen of *width* CSS pixels."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": width, "height": 844 if width < 600 else 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def read_requests(browser: Chrome) -> list[str]:
    """Return the addresses that pages wanted since this was last called, those that their policy then stopped too."""
    events = [json.loads(message)["message"] for message in read_log(browser, "performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def read_log(browser: Chrome, kind: str) -> list[str]:
    """Return the messages in one of the browser's logs since this was last called."""
    return [entry["message"] for entry in browser.get_log(kind)]  # type: ignore[no-untyped-call]  # selenium has no types there


def _has_room(folder: Path) -> bool:
    """Tell whether Chromium's shared memory fits into *folder*: containers often have 64 MB there."""
    return folder.is_dir() and shutil.disk_usage(folder).free > 256 << 20
