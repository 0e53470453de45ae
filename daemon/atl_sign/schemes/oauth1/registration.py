"""An application link made at the product by REST, with an administrator's password (facts section 1.2)."""

import json
import re
import time
from base64 import b64encode
from contextlib import suppress
from shlex import quote
from typing import Any

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, ProviderRefusedError
from atl_sign.base.registration_errors import (
    ApplinkExistsError,
    CaptchaNeededError,
    NotAdministratorError,
    RegistrationUnsupportedError,
    WebSudoNeededError,
    WrongPasswordError,
)
from atl_sign.base.text import shorten
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.exchange import fetch, within_deadline
from atl_sign.providers.products import LINKS_PAGE
from atl_sign.providers.unexpected import explain_bystander, unexpected_answer
from atl_sign.schemes.oauth1.applink import LINKS_PATH, Applink, consumer_path

_HREF = re.compile(r"applicationlink/([0-9A-Fa-f-]{1,64})")


class Administration:
    """The product's REST calls about application links, as an administrator; a refused password is never sent again."""

    def __init__(self, link: Link, user: str, password: Secret) -> None:
        """Call the product of *link*; the name *user* has no colon."""
        self._link = link
        self._user = user
        self._basic = b64encode(f"{user}:{password.reveal()}".encode()).decode()
        self._password = password

    def create(self, applink: Applink) -> None:
        """
        Make *applink* with its consumer, or leave nothing of it behind.

        Raises:
            WrongPasswordError, NotAdministratorError, CaptchaNeededError, WebSudoNeededError: the product refuses the user.
            ApplinkExistsError: it has one with this address.
            RegistrationUnsupportedError: it does not know the calls.
            ProviderRefusedError, ProviderBusyError, ProviderUnreachableError: as everywhere.
        """
        link_id = self._make_link(applink)
        try:
            answer = self._call("PUT", consumer_path(link_id), applink.consumer_fields)
            if answer.status not in (200, 201):
                raise self._refuse(answer)
        except DaemonError:
            with suppress(DaemonError):  # the first error says more
                self._call("DELETE", f"{LINKS_PATH}/{link_id}")
            raise

    def _make_link(self, applink: Applink) -> str:
        """Return the id of the new link, which has no consumer yet."""
        answer = self._call("PUT", LINKS_PATH, applink.link_fields)
        if answer.status in (400, 409) and self._has_link_at(applink.url):
            again = f"atl-sign link register {quote(self._link.name)} --admin {quote(self._user)}"
            hint = f"delete it at {self._link.url}{LINKS_PAGE}, then: {again}"
            raise ApplinkExistsError(f"an application link with the address {applink.url} exists already", hint)
        if answer.status != 201:
            raise self._refuse(answer)
        found = _HREF.search(_find_href(answer.json_object or {}))
        if found is None:
            raise unexpected_answer(self._link, answer, "it does not name the link that was made")
        return found[1]

    def _has_link_at(self, url: str) -> bool:
        listed = (self._call("GET", LINKS_PATH).json_object or {}).get("applicationLinks")
        return isinstance(listed, list) and any(isinstance(each, dict) and each.get("rpcUrl") == url for each in listed)

    def _call(self, method: str, path: str, fields: dict[str, object] | None = None) -> Answer:
        """Return the product's answer, without what was sent; raises for a user whom it refuses."""
        headers = {"Authorization": f"Basic {self._basic}", "Accept": "application/json"}
        body = None
        if fields is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(fields).encode()
        link = self._link
        answer = within_deadline(link, lambda: fetch(link, path, headers, time.time, method=method, body=body))
        answer = answer.without(self._basic).without(self._password.reveal())
        refusal = self._refuse_user(answer)
        if refusal is not None:
            raise refusal
        return answer

    def _refuse_user(self, answer: Answer) -> DaemonError | None:
        """Return the error for an answer about who asks; None for any other (facts section 6)."""
        name, by_form = self._link.name, f"atl-sign link setup {self._link.name}"
        reason = answer.headers.get("X-Seraph-LoginReason", "")
        if (
            answer.headers.get("X-Authentication-Denied-Reason", "").startswith("CAPTCHA_CHALLENGE")
            or "AUTHENTICATION_DENIED" in reason
        ):
            hint = f"log in as {self._user} in the browser, which shows the CAPTCHA: {self._link.url}"
            return CaptchaNeededError(f"the product wants a CAPTCHA from {self._user} after wrong passwords", hint, link=name)
        if answer.status not in (401, 403):
            return None
        bystander = explain_bystander(self._link, answer)
        if bystander is not None:
            return bystander
        if answer.status == 401 and "websudo" in answer.text.lower():
            message = "the product requires a secure administrator session for this (web sudo), which only a browser gets"
            return WebSudoNeededError(message, by_form, link=name)
        is_known = answer.user is not None or reason.strip() == "OK"
        if (answer.status == 403 and "AUTHENTICATED_FAILED" not in reason) or is_known:
            message = f"{self._user} may not make application links there (status {answer.status})"
            return NotAdministratorError(message, f"name an administrator in --admin, or: {by_form}", link=name)
        message = f"the product does not take the user name and the password of {self._user}"
        return WrongPasswordError(message, f"check both; for a product that takes no passwords here: {by_form}", link=name)

    def _refuse(self, answer: Answer) -> DaemonError:
        """Return the error for an answer that is not the expected one."""
        if answer.status in (404, 405):
            message = f"the product has no REST calls for application links (status {answer.status})"
            return RegistrationUnsupportedError(message, f"atl-sign link setup {self._link.name}", link=self._link.name)
        words = _find_words(answer.json_object or {})
        if answer.status == 400 and words:
            message = f"the product refuses the application link: {shorten(words)}"
            return ProviderRefusedError(message, f"atl-sign link setup {self._link.name}", link=self._link.name)
        return unexpected_answer(self._link, answer, "the application link was not made")


def _find_href(fields: dict[str, Any]) -> str:
    """Return where the product says that the new link is; "" when it does not. Versions differ in the names around it."""
    created = fields.get("resources-created")
    each = created[0] if isinstance(created, list) and created else created
    if isinstance(each, dict) and isinstance(each.get("link"), dict):
        each = each["link"]
    href = each.get("href") if isinstance(each, dict) else None
    return href if isinstance(href, str) else ""


def _find_words(fields: dict[str, Any]) -> str:
    """Return the product's own words for a refusal."""
    words = fields.get("message")
    if isinstance(fields.get("errorMessages"), list) and fields["errorMessages"]:
        words = fields["errorMessages"][0]
    return words if isinstance(words, str) else ""
