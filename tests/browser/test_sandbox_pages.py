"""The sandbox's pages in Chromium: every one of them, light and dark, at a telephone's width and at a desk's."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from atl_sign.grants.loopback_page import CallbackPage, render_page
from atl_sign.sandbox import Cloud, Sandbox
from atl_sign.sandbox.pages import PageFrame
from tests.browser.conftest import PAGE_S, read_log, read_requests
from tests.browser.looks import assert_for_everybody, assert_readable, read_focus

pytestmark = pytest.mark.slow

HOSTILE = '<img src=x onerror="document.title=1">&amp;\''
CONSENT, GRANTS = "/plugins/servlet/oauth/authorize", "/plugins/servlet/oauth/users/access-tokens"
LINKS, TOKENS = "/plugins/servlet/applinks/listApplicationLinks", "/plugins/servlet/access-tokens/manage"
CLOUD_TOKENS = "/manage-profile/security/api-tokens"


@dataclass
class Visitor:
    """Somebody in front of the browser, at Bitbucket and at the Cloud's account pages."""

    browser: Chrome
    sandbox: Sandbox
    cloud: Cloud

    def open(self, path: str) -> None:
        self.browser.get(self.sandbox.base_url("bitbucket") + path)

    def log_in(self, path: str, user: str = "alice") -> None:
        """Open *path*, where the login comes first."""
        self.open(f"/login?{urlencode({'os_destination': path})}")
        self.type(user, user.partition("@")[0])

    def log_in_at_cloud(self, path: str) -> None:
        self.browser.get(self.cloud.url("account") + path)
        self.type("alice@example.com", "alice")

    def type(self, *texts: str) -> None:
        """Type each text where the focus is, with the tabulator between them and the return key at the end."""
        keys = Keys.TAB.join(texts)
        self.leave(lambda: ActionChains(self.browser).send_keys(keys + Keys.RETURN).perform())

    def press(self, label: str) -> None:
        self.leave(lambda: self.browser.find_element(By.XPATH, f"//button[normalize-space()='{label}']").click())

    def send(self, path: str, **fields: str) -> None:
        """Send a form with *fields*, as a page of another site would."""
        script = """
        const form = document.createElement('form'); form.method = 'post'; form.action = arguments[0];
        for (const [name, value] of Object.entries(arguments[1])) {
            const input = document.createElement('input'); input.name = name; input.value = value; form.append(input);
        }
        document.body.append(form); form.submit();
        """
        self.leave(lambda: self.browser.execute_script(script, self.sandbox.base_url("bitbucket") + path, fields))

    def leave(self, action: Callable[[], None]) -> None:
        """Do what leads to another page, and wait for that."""
        self.browser.execute_script("window.isOld = true")
        action()
        WebDriverWait(self.browser, PAGE_S).until(
            lambda browser: browser.execute_script("return !window.isOld && document.readyState === 'complete'")
        )

    def consent(self, callback: str | None = "oob") -> str:
        """Return the path of a consent page that waits for a decision."""
        token = self.sandbox.state.sites["bitbucket"].state.add_request_token("consumer", callback)
        return f"{CONSENT}?oauth_token={token.key}"

    def xsrf_token(self) -> str:
        self.open("/")
        return self.browser.find_element(By.NAME, "atl_token").get_attribute("value") or ""

    # The pages.

    def nobody(self) -> None:
        self.open("/")

    def front(self) -> None:
        self.log_in("/")

    def login(self) -> None:
        self.open("/login")

    def wrong_password(self) -> None:
        self.open("/login")
        self.type(HOSTILE, "x")

    def consent_page(self) -> None:
        self.log_in(self.consent("http://127.0.0.1:9/callback/" + "a-path-without-an-end" * 5))

    def code(self) -> None:
        self.log_in(self.consent())
        self.type()  # the return key: the button that has the focus

    def allowed_without_code(self) -> None:
        self.log_in(self.consent(None))
        self.press("Allow")

    def denied(self) -> None:
        self.log_in(self.consent())
        self.press("Deny")

    def used(self) -> None:
        path = self.consent()
        self.log_in(path)
        self.press("Deny")
        self.open(path)

    def unknown_request(self) -> None:
        self.log_in(f"{CONSENT}?oauth_token=unknown")

    def undecided(self) -> None:
        path = self.consent()
        self.log_in("/")
        (token,) = parse_qs(urlsplit(path).query)["oauth_token"]
        self.send(CONSENT, oauth_token=token, atl_token=self.xsrf_token())

    def grants(self) -> None:
        state = self.sandbox.state.sites["bitbucket"].state
        token = state.request_tokens[parse_qs(urlsplit(self.consent()).query)["oauth_token"][0]]
        token.user, token.decision = "alice", "approved"
        state.swap_request_token(token)
        self.log_in(GRANTS)

    def revoked(self) -> None:
        self.grants()
        self.press("Revoke")

    def revoke_by_nobody(self) -> None:
        self.open("/")
        self.send(GRANTS)

    def revoke_nothing(self) -> None:
        self.log_in("/")
        self.send(GRANTS, atl_token=self.xsrf_token())

    def forged_form(self) -> None:
        self.log_in("/")
        self.send(GRANTS)

    def token_page(self) -> None:
        self.sandbox.make_token("bitbucket", name=HOSTILE)
        self.log_in(TOKENS)

    def token_refused(self) -> None:
        self.log_in(TOKENS)
        self.type("ci", "9999")

    def token_made(self) -> None:
        self.log_in(TOKENS)
        self.type("ci")

    def links(self) -> None:
        self.log_in(LINKS, "admin")

    def link_refused(self) -> None:
        self.log_in(LINKS, "admin")
        self.type("key")

    def links_for_others(self) -> None:
        self.log_in(LINKS)

    def cloud_login(self) -> None:
        self.browser.get(self.cloud.url("account") + "/login")

    def cloud_token_page(self) -> None:
        self.log_in_at_cloud(CLOUD_TOKENS)

    def cloud_token_made(self) -> None:
        self.log_in_at_cloud(CLOUD_TOKENS)
        self.type("ci")


# Each page, its heading, and what has the focus: the field to fill in, the value to copy, the one thing to press, or nothing.
PAGES = [
    (Visitor.nobody, "Start page", "Log in"),
    (Visitor.front, "Start page", ""),
    (Visitor.login, "Log in", "os_username"),
    (Visitor.wrong_password, "Log in", "os_password"),
    (Visitor.consent_page, f"Allow {HOSTILE}?", "Allow"),
    (Visitor.code, "Access allowed", "oauth_verifier"),
    (Visitor.allowed_without_code, "Access allowed", ""),
    (Visitor.denied, "Access denied", ""),
    (Visitor.used, "This request cannot be allowed", "command"),
    (Visitor.unknown_request, "This request cannot be allowed", "command"),
    (Visitor.undecided, "Neither Allow nor Deny", ""),
    (Visitor.grants, "OAuth access tokens", ""),
    (Visitor.revoked, "OAuth access tokens", ""),
    (Visitor.revoke_by_nobody, "Log in first", "Log in"),
    (Visitor.revoke_nothing, "No token", ""),
    (Visitor.forged_form, "XSRF security token missing", ""),
    (Visitor.token_page, "HTTP access tokens", "name"),
    (Visitor.token_refused, "HTTP access tokens", "name"),
    (Visitor.token_made, "Token ci created", "token"),
    (Visitor.links, "Application links", "key"),
    (Visitor.link_refused, "Application links", "key"),
    (Visitor.links_for_others, "For administrators only", ""),
    (Visitor.cloud_login, "Log in", "os_username"),
    (Visitor.cloud_token_page, "API tokens", "name"),
    (Visitor.cloud_token_made, "Token ci created", "token"),
]


@pytest.fixture
def visitor(browser: Chrome) -> Iterator[Visitor]:
    """Bitbucket with a consumer of an evil name, and the Cloud."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with Sandbox(["bitbucket"]) as sandbox, Cloud() as cloud:
        sandbox.register_consumer("bitbucket", "consumer", pem, name=HOSTILE)
        yield Visitor(browser, sandbox, cloud)


@pytest.mark.parametrize(("page", "heading", "focus"), PAGES, ids=[page.__name__ for page, *_ in PAGES])
def test_page(visitor: Visitor, page: Callable[[Visitor], None], heading: str, focus: str, tmp_path: Path) -> None:
    """Title, heading and focus; readable; loads nothing, breaks its policy nowhere, and takes no name for HTML."""
    browser = visitor.browser
    page(visitor)
    product = "Atlassian account" if "cloud" in page.__name__ else "Bitbucket"

    assert browser.find_element(By.TAG_NAME, "h1").text == heading
    assert browser.title == f"{heading} \N{EN DASH} {product} \N{EN DASH} atl-sign sandbox"
    assert read_focus(browser) == focus
    assert len(browser.find_elements(By.CSS_SELECTOR, ".main")) <= 1
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert_for_everybody(browser)
    assert_readable(browser, page.__name__, tmp_path)
    hosts = {urlsplit(url).hostname for url in read_requests(browser) if url.startswith("http")}
    assert hosts == {"127.0.0.1"}
    assert [message for message in read_log(browser, "browser") if "Content Security Policy" in message] == []


@pytest.mark.parametrize("page", [Visitor.code, Visitor.token_made, Visitor.cloud_token_made, Visitor.used])
def test_value_can_be_copied(visitor: Visitor, page: Callable[[Visitor], None]) -> None:
    """The keys Ctrl+A and Ctrl+C, straight after the page came, copy the code, the token or the command alone, and whole."""
    page(visitor)
    browser = visitor.browser
    browser.execute_script("document.addEventListener('copy', event => { window.copied = getSelection().toString() })")
    field = browser.find_element(By.CSS_SELECTOR, "textarea[readonly]")

    ActionChains(browser).key_down(Keys.CONTROL).send_keys("ac").key_up(Keys.CONTROL).perform()

    copied = browser.execute_script("return window.copied")
    assert copied == field.get_attribute("value")
    assert copied == "atl-sign status" or copied in known_values(visitor)
    assert browser.execute_script("return arguments[0].scrollHeight <= arguments[0].clientHeight", field)


def known_values(visitor: Visitor) -> set[str]:
    """Return the codes and tokens that the sandbox and the Cloud have given out."""
    state = visitor.sandbox.state.sites["bitbucket"].state
    tokens = state.tokens.of_user("alice") + visitor.cloud.state.accounts.tokens.of_user("alice@example.com")
    return {token.verifier for token in state.request_tokens.values()} | {token.secret for token in tokens}


def test_wrong_password_keeps_the_name(visitor: Visitor) -> None:
    """What was typed is there again, and only the password has to be typed anew."""
    visitor.wrong_password()
    assert visitor.browser.find_element(By.NAME, "os_username").get_attribute("value") == HOSTILE
    assert visitor.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text == "The user name or the password is wrong."

    visitor.open("/login")
    visitor.type("alice", "x")
    visitor.type("alice")

    assert "logged in as alice" in visitor.browser.find_element(By.TAG_NAME, "header").text


def test_the_mark_is_the_callback_pages() -> None:
    """The sandbox imports nothing of the daemon, so the drawing stands twice, and so do the colours."""
    sandbox = PageFrame("Jira", "/jira").make("Title", "").body.decode()
    callback = render_page(CallbackPage("Title", "", is_good=True)).decode()

    drawn = [re.findall(r'<rect width="24".*?</svg>', html)[0] for html in (sandbox, callback)]
    colours = [re.findall(r"--[\w-]+: #\w+", html) for html in (sandbox, callback)]

    assert drawn[0] == drawn[1]
    assert colours[0] == colours[1]
    assert len(colours[0]) == 20  # ten names, light and dark
