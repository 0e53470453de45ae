"""Requests to an authorization server, sent as the link reaches its network; their redirects are not followed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from atl_sign.base.credentials import Secret
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.exchange import fetch, within_deadline
from atl_sign.schemes.oauth2.metadata import parse_server_address
from atl_sign.schemes.oauth2.token_request import TokenRequest

_FORM = "application/x-www-form-urlencoded"


def ask(
    link: Link,
    url: str,
    headers: Mapping[str, str],
    *,
    method: Literal["GET", "POST", "DELETE"] = "GET",
    body: bytes | None = None,
) -> Answer:
    """Return the answer at *url*, on any host; raises ProviderUnreachableError, and BadUrlError for one in the clear."""
    target = parse_server_address(url)  # secrets and tokens go there
    place = replace(link, url=replace(target, path="", query=None))
    path = target.path if target.query is None else f"{target.path}?{target.query}"
    return within_deadline(place, lambda: fetch(place, path, headers, _no_clock, method=method, body=body))


def post(link: Link, url: str, request: TokenRequest) -> Answer:
    """Return the answer to *request* at *url*; raises ProviderUnreachableError."""
    headers = {"Content-Type": _FORM, "Accept": "application/json"}
    if request.authorization is not None:
        headers["Authorization"] = request.authorization.reveal()
    return ask(link, url, headers, method="POST", body=request.body.reveal().encode("ascii"))


def ask_as(link: Link, url: str, access_token: Secret) -> Answer:
    """Return the answer at *url* to the user of *access_token*; raises ProviderUnreachableError."""
    return ask(link, url, {"Authorization": f"Bearer {access_token.reveal()}", "Accept": "application/json"})


def _no_clock() -> float:
    return 0.0
