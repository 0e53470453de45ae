"""A browser without a screen: cookies, redirects by hand, and the forms of a page."""

import re
from collections.abc import Mapping
from html import unescape
from urllib.parse import urlencode, urljoin

from tests.sandbox.consumer import FORM, Reply, send


class Browser:
    """One browser at one product."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookie: str | None = None

    def get(self, path: str) -> Reply:
        return self._send("GET", path, None)

    def post(self, path: str, fields: Mapping[str, str]) -> Reply:
        return self._send("POST", path, urlencode(fields))

    def log_in(self, user: str, login_path: str = "/login.jsp", password: str | None = None) -> Reply:
        return self.post(login_path, {"os_username": user, "os_password": password or user})

    def xsrf_token(self) -> str:
        return hidden_fields(self.get("/").text)["atl_token"]

    def _send(self, method: str, path: str, body: str | None) -> Reply:
        headers = {**(FORM if body is not None else {}), **({"Cookie": self.cookie} if self.cookie else {})}
        reply = send(method, urljoin(self.base + "/", path) if path.startswith("http") else self.base + path, body, headers)
        if "Set-Cookie" in reply.headers:
            self.cookie = reply.headers["Set-Cookie"].partition(";")[0]
        return reply


def hidden_fields(html: str) -> dict[str, str]:
    """Return the hidden fields of every form, by name."""
    return {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', html)
    }


def heading(html: str) -> str:
    """Return the page's heading."""
    return unescape(re.findall(r"<h1>(.*?)</h1>", html, re.S)[0])
