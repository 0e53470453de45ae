"""A person without a browser: logs in and presses Allow or Deny over real HTTP, as the pages ask."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

_REDIRECTS_MAX = 5
_TIMEOUT_S = 10.0
_CONSENT_FIELDS = {"oauth_token", "client_id"}  # by one of them a page is known that asks for consent


class ApproveError(Exception):
    """The pages did not lead where they should; the message is the last page's heading."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    location: str | None
    text: str


@dataclass(slots=True)
class _Page(HTMLParser):
    """The parts of a page that a person sees: its heading, its alert, its forms, and the code or token to copy."""

    action: str | None = None  # the first form's
    hidden: dict[str, str] = field(default_factory=dict)
    ticked: dict[str, str] = field(default_factory=dict)
    heading: str = ""
    alert: str = ""
    code: str = ""
    _inside: str = ""

    def __post_init__(self) -> None:
        super(_Page, self).__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = fields.get("action")
        elif tag == "input" and fields.get("type") == "hidden":
            self.hidden[fields.get("name") or ""] = fields.get("value") or ""
        elif tag == "input" and "checked" in fields:
            self.ticked[fields.get("name") or ""] = fields.get("value") or ""
        if fields.get("id") in ("oauth_verifier", "token"):
            self._inside = "code"
        else:
            self._inside = "alert" if fields.get("role") == "alert" else tag

    def handle_data(self, data: str) -> None:
        if self._inside == "h1":
            self.heading += data
        elif self._inside == "alert":
            self.alert += data
        elif self._inside == "code":
            self.code += data

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = ""


class Person:
    """Somebody with a name, a password and a cookie jar."""

    def __init__(self, name: str, password: str) -> None:
        """Be the user called *name*."""
        self._name = name
        self._password = password
        self._cookie: str | None = None

    def decide(self, authorize_url: str, *, deny: bool) -> str:
        """
        Log in, and press Allow or Deny.

        Returns:
            The address that the browser would be sent to; for an oob dance the code, or "denied". "" when a page ends it.

        Raises:
            ApproveError: the pages say no.
        """
        url, reply, page = self._open(authorize_url)
        if reply.location is not None:  # sent away without being asked
            return reply.location
        if page.action is None or not page.hidden.keys() & _CONSENT_FIELDS:
            raise ApproveError(page.heading)
        button = {"deny": "Deny"} if deny else {"approve": "Allow"}
        is_oob = "oauth_token" in page.hidden
        reply = self._send("POST", urljoin(url, page.action), {**page.hidden, **button})
        if reply.location is not None:
            return reply.location
        page = _read(reply)
        if reply.status != 200:
            raise ApproveError(page.heading)
        return page.code or ("denied" if deny and is_oob else "")

    def enter_device_code(self, page_url: str, user_code: str, *, deny: bool) -> None:
        """
        Log in, enter *user_code* on the page for devices, and press Allow or Deny.

        Raises:
            ApproveError: the pages say no, for example because the code is unknown.
        """
        url, _, page = self._open(page_url)
        if page.action is None:
            raise ApproveError(page.heading)
        page = _read(self._send("POST", urljoin(url, page.action), {**page.hidden, "user_code": user_code}))
        if page.action is None or "user_code" not in page.hidden:
            raise ApproveError(page.alert or page.heading)
        button = {"deny": "Deny"} if deny else {"approve": "Allow"}
        reply = self._send("POST", urljoin(url, page.action), {**page.hidden, **button})
        if reply.status != 200:
            raise ApproveError(_read(reply).heading)

    def make_token(self, page_url: str, fields: Mapping[str, str]) -> str:
        """
        Log in, fill in the form of a token page, and return the token that the next page shows.

        Raises:
            ApproveError: the pages say no.
        """
        url, _, page = self._open(page_url)
        if page.action is None or "atl_token" not in page.hidden:
            raise ApproveError(page.heading)
        form = {"atl_token": page.hidden["atl_token"], **page.ticked, **fields}
        page = _read(self._send("POST", urljoin(url, page.action), form))
        if not page.code:
            raise ApproveError(page.alert or page.heading)
        return page.code

    def _open(self, wanted: str) -> tuple[str, _Reply, _Page]:
        """Return the answer at *wanted*, its address and its page, after a login when there is one on the way."""
        url, reply = self._follow("GET", wanted)
        page = _read(reply)
        if "os_destination" in page.hidden:
            fields = {**page.hidden, "os_username": self._name, "os_password": self._password}
            url, reply = self._follow("POST", urljoin(url, page.action), fields)
            page = _read(reply)
        return url, reply, page

    def _follow(self, method: str, url: str, fields: dict[str, str] | None = None) -> tuple[str, _Reply]:
        """Send a request and follow redirects, up to one that leads to another host."""
        for _ in range(_REDIRECTS_MAX):
            reply = self._send(method, url, fields)
            if reply.location is None or urlsplit(urljoin(url, reply.location))[:2] != urlsplit(url)[:2]:
                return url, reply
            method, url, fields = "GET", urljoin(url, reply.location), None
        raise ApproveError("too many redirects")

    def _send(self, method: str, url: str, fields: dict[str, str] | None = None) -> _Reply:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
        headers = {"Cookie": self._cookie} if self._cookie is not None else {}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(
                method, parts._replace(scheme="", netloc="").geturl(), urlencode(fields) if fields is not None else None, headers
            )
            response = connection.getresponse()
            cookie = response.getheader("Set-Cookie")
            if cookie is not None:
                self._cookie = cookie.partition(";")[0]
            return _Reply(response.status, response.getheader("Location"), response.read().decode())
        finally:
            connection.close()


def _read(reply: _Reply) -> _Page:
    page = _Page()
    page.feed(reply.text)
    page.close()
    return page
