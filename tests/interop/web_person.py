"""A person at the pages of an authorization server: logs in, enters a code, allows or denies, over HTTP and without a script."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

PAGES_MAX = 20
TIMEOUT_S = 10.0


class LostPersonError(Exception):
    """The pages ended early or led elsewhere; the text is the heading of the last page and its alert."""


@dataclass(slots=True)
class Page(HTMLParser):
    """A page as a person reads it: heading, alert, form and buttons; a button may stand outside the form."""

    heading: str = ""
    alert: str = ""
    action: str | None = None  # None without a form; "" is the page's own address
    fields: dict[str, tuple[str, str]] = field(default_factory=dict)  # type and value by name
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)  # name and value by label
    _inside: str = ""
    _pressed: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        super(Page, self).__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given.get("action", "")
        elif tag == "input":
            self.fields[given["name"]] = (given.get("type", "text"), given.get("value", ""))
        elif tag == "button":
            self._pressed = (given.get("name", ""), given.get("value", ""))
        self._inside = "alert" if given.get("role") == "alert" else tag

    def handle_data(self, data: str) -> None:
        if self._inside == "h1":
            self.heading += data
        elif self._inside == "alert":
            self.alert += data
        elif self._inside == "button":
            self.buttons[data.strip()] = self._pressed

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


class WebPerson:
    """One user with a name, a password and a browser without scripts."""

    def __init__(self, site: str, name: str, password: str) -> None:
        """
        Prepare.

        Args:
            site: scheme, host and port; other addresses are not opened.
            name: the user's.
            password: the user's.
        """
        self._site = site
        self._name = name
        self._password = password

    def consent(self, authorize_url: str, *, deny: bool) -> str:
        """
        Log in, allow or deny, and return the redirect to another site, which is not opened.

        Raises:
            LostPersonError: there is no such redirect.
        """
        ended = self._walk(authorize_url, "", deny)
        if isinstance(ended, Page):
            raise LostPersonError(f"{ended.heading}: {ended.alert}" if ended.alert else ended.heading)
        return ended

    def enter_code(self, verification_uri: str, user_code: str, *, deny: bool) -> str:
        """
        Enter a device's code, log in, allow or deny, and return the heading of the last page.

        Raises:
            LostPersonError: the code is rejected, or a page leads to another site.
        """
        ended = self._walk(verification_uri, user_code, deny)
        if not isinstance(ended, Page):
            raise LostPersonError("a redirect to another site")
        return ended.heading

    def _walk(self, url: str, user_code: str, deny: bool) -> Page | str:
        """Return the first page without a form, or the first redirect to another site."""
        answered: set[str] = set()
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no .netrc
            body = None
            for _ in range(PAGES_MAX):
                method = "GET" if body is None else "POST"
                response = session.request(method, url, data=body, allow_redirects=False, timeout=TIMEOUT_S)
                if "Location" in response.headers:
                    url, body = urljoin(url, response.headers["Location"]), None
                    if not url.startswith(f"{self._site}/"):
                        return url
                    continue
                page = Page()
                page.feed(response.text)
                page.close()
                page.heading = page.heading or response.text[:200]
                if page.action is None:
                    return page
                if page.heading in answered:  # the first answer was rejected
                    raise LostPersonError(f"{page.heading}: {page.alert}")
                answered.add(page.heading)
                url = urljoin(url, page.action)
                body = self._fill_in(page, user_code, deny)
        raise LostPersonError("too many pages")

    def _fill_in(self, page: Page, user_code: str, deny: bool) -> dict[str, str]:
        """Return the fields of the form that the person sends."""
        body = {}
        typed = {"username": self._name, "password": self._password, "user_code": user_code}
        for name, (kind, value) in page.fields.items():
            body[name] = value if kind == "hidden" else typed[name]
        label = "Deny" if deny and "Deny" in page.buttons else next(iter(page.buttons), "")
        name, value = page.buttons.get(label, ("", ""))
        return {**body, name: value} if name else body
