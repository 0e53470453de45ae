"""Bitbucket's HTTP access tokens, by signed requests: who is asked for, listed, made and removed (facts section 9)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from atl_sign.base.credentials import GitPermission, Secret
from atl_sign.base.errors import DaemonError, ProviderRefusedError
from atl_sign.base.text import printable
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.personal_tokens import PERSONAL_TOKENS, ListedToken, parse_each, parse_id
from atl_sign.providers.unexpected import explain_bystander, unexpected_answer
from atl_sign.providers.who_am_i import Send

PERMISSIONS: Mapping[GitPermission, str] = {"read": "REPO_READ", "write": "REPO_WRITE"}

_PAGE_SIZE = 500
_PAGES_MAX = 20
_PLAIN_SLUG = re.compile(r"[a-z0-9._-]+")
_SECRET = re.compile(r"[\x21-\x7e]{8,1024}")  # what git can carry, and what no header can be broken with
_TOLD_MAX = 200  # characters of the provider's own words


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A new token."""

    id: str
    secret: Secret
    life_s: float | None  # by the provider's own clock; None when it does not say


class HttpTokens:
    """The HTTP access tokens of one user at one link's provider."""

    def __init__(self, link: Link, send: Send, user: str) -> None:
        """Ask the provider of *link* by *send*, which asks as *user*."""
        self._link = link
        self._send = send
        self.user = user
        self._path: str | None = None

    def list(self) -> list[ListedToken]:
        """
        Return every token of the user.

        Raises:
            DanceNeededError: the provider does not take the access token any more.
            ProviderRefusedError: another refusal, or an answer of another shape.
            ProviderUnreachableError: no answer in time.
        """
        tokens: list[ListedToken] = []
        start = 0
        for _ in range(_PAGES_MAX):
            page = self._ask("GET", f"{self._find_path()}?start={start}&limit={_PAGE_SIZE}")
            values = page.get("values")
            tokens += parse_each(PERSONAL_TOKENS["bitbucket"], values)
            following = page.get("nextPageStart", start + len(values) if isinstance(values, list) else start)
            if page.get("isLastPage") is not False or type(following) is not int or following <= start:
                break
            start = following
        return tokens

    def make(self, name: str, permission: GitPermission, days: int) -> MadeToken:
        """Make a token that ends after *days*, or after fewer where the administrator allows no more; raises as `list`."""
        answer = self._send_make(name, permission, days)
        allowed = _find_days_max(answer, days)
        if allowed is not None:
            answer = self._send_make(name, permission, allowed)
        made = self._read(answer)
        token_id, secret = parse_id(made.get("id")), made.get("token")
        if token_id is None or not isinstance(secret, str) or not _SECRET.fullmatch(secret):
            raise unexpected_answer(self._link, answer, "its answer holds no HTTP access token")
        created_at, expires_at = made.get("createdDate"), made.get("expiryDate")
        is_told = type(created_at) is int and type(expires_at) is int
        return MadeToken(token_id, Secret(secret), (expires_at - created_at) / 1000 if is_told else None)  # type: ignore[operator]

    def remove(self, token_id: str) -> None:
        """Remove one token; one that is not there is fine; raises as `list`."""
        answer = self._send("DELETE", f"{self._find_path()}/{token_id}", None)
        if answer.status not in (200, 204, 404) or answer.is_html:  # a login page says nothing of the token
            raise self._refused(answer)

    def _send_make(self, name: str, permission: GitPermission, days: int) -> Answer:
        return self._send("PUT", self._find_path(), {"name": name, "permissions": [PERMISSIONS[permission]], "expiryDays": days})

    def _find_path(self) -> str:
        """Return the path of the user's tokens. A slug is a user's name as addresses have it: in lower case, and more."""
        if self._path is None:
            slug = self.user
            if not _PLAIN_SLUG.fullmatch(slug):
                found = self._ask("GET", f"/rest/api/1.0/users?filter={quote(self.user, safe='')}").get("values")
                slug = (
                    next((name for each in found if (name := _parse_slug(each, self.user))), "")
                    if isinstance(found, list)
                    else ""
                )
            self._path = f"/rest/access-tokens/1.0/users/{quote(slug or self.user.lower(), safe='')}"
        return self._path

    def _ask(self, method: str, path: str) -> Mapping[str, Any]:
        return self._read(self._send(method, path, None))

    def _read(self, answer: Answer) -> Mapping[str, Any]:
        fields = answer.json_object
        if answer.status not in (200, 201) or fields is None:
            raise self._refused(answer)
        return fields

    def _refused(self, answer: Answer) -> DaemonError:
        """Return the error for an answer that is not a success; the provider's own words are in it when it has some."""
        bystander = explain_bystander(self._link, answer)
        if bystander is not None:
            return bystander
        told = _find_words(answer)
        if answer.status in (401, 403):
            message = f"the provider does not let this user have HTTP access tokens (status {answer.status})"
            hint = "an administrator may have switched them off; git over SSH needs none"
        elif told:
            message, hint = (
                f"the provider made no HTTP access token (status {answer.status})",
                "see its own words, or ask its administrator",
            )
        else:
            return unexpected_answer(self._link, answer, "it has no HTTP access tokens: Bitbucket has them from 5.5 on")
        return ProviderRefusedError(f"{message}{f': {told}' if told else ''}", hint, link=self._link.name)


def _find_days_max(answer: Answer, asked: int) -> int | None:
    """Return the number of days that *answer* names, when it is a refusal about days and they are fewer than *asked*."""
    told = _find_words(answer) if answer.status in (400, 409) else ""
    if not re.search(r"day|expir", told, re.I):
        return None
    return max((number for text in re.findall(r"\d{1,5}", told) if 0 < (number := int(text)) < asked), default=None)


def _find_words(answer: Answer) -> str:
    """Return the first message of Bitbucket's `errors`, on one line."""
    errors = (answer.json_object or {}).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    told = first.get("message") if isinstance(first, dict) else None
    text = told if isinstance(told, str) else ""
    return printable(" ".join(text.split())[:_TOLD_MAX])


def _parse_slug(value: object, user: str) -> str | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not isinstance(value.get("slug"), str):
        return None
    return value["slug"] if value["name"].casefold() == user.casefold() else None
