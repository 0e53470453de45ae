"""The parts that requests and httpx share: refusals, the warning after a 401, and what a form is."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from atl_sign_client.client import AtlSign
from atl_sign_client.errors import AtlSignError

LOG = logging.getLogger("atl_sign_client")
_FORM_TYPE = "application/x-www-form-urlencoded"
_BLANKS = " \t"  # of HTTP; Python's own are more
_PORTS = {"http": 80, "https": 443}


def is_form(content_type: str | bytes | None) -> bool:
    """
    Say whether a body of this content type is part of what is signed (RFC 5849 §3.4.1.3.1).

    Raises:
        AtlSignError: a server may read it otherwise. Tomcat before 9.0.98 knows the type in lower case only, and a charset
            other than UTF-8 makes other parameters of the same bytes.
    """
    if isinstance(content_type, bytes):  # requests takes both
        content_type = content_type.decode("latin-1")
    kind, *parameters = (part.strip(_BLANKS) for part in (content_type or "").split(";"))
    if kind.lower() != _FORM_TYPE:
        return False
    if kind != _FORM_TYPE:
        raise AtlSignError(
            "bad_request",
            "the form's Content-Type is not in lower case, which some servers do not read as a form",
            f"write {_FORM_TYPE}",
        )
    for parameter in parameters:
        name, _, value = parameter.lower().partition("=")
        if name.strip(_BLANKS) == "charset" and value.strip(_BLANKS).replace('"', "") not in ("utf-8", "utf8"):
            raise AtlSignError(
                "bad_request",
                "a form in another encoding than UTF-8 cannot be signed",
                "take the charset out of the Content-Type",
            )
    return True


def have_one_origin(url: str, other: str) -> bool:
    """Say whether both have the same scheme, host and port: where they have not, no link covers both."""
    parts = [urlsplit(each) for each in (url, other)]
    first, second = ((each.scheme, each.hostname, each.port or _PORTS.get(each.scheme)) for each in parts)
    return first == second


def own_header() -> AtlSignError:
    """Return the error for a request that somebody else authorized already."""
    return AtlSignError(
        "bad_request",
        "the request has an Authorization header of its own",
        "take it out, or leave this auth out for that request",
    )


def insecure_redirect() -> AtlSignError:
    """Return the error for a redirect that gives up encryption."""
    return AtlSignError(
        "bad_request",
        "the provider redirects from https to http, which is not followed",
        "its administrator looks at its base URL and at the proxy before it",
    )


def log_refusal(daemon: AtlSign, link: str, www_authenticate: str | None) -> None:
    """Log what a provider refused and what to do; never fails, since the response is what the caller asked for."""
    if not www_authenticate or "oauth_problem" not in www_authenticate:
        return
    try:
        words = daemon.explain_refusal(link, www_authenticate)
    except AtlSignError as exc:
        words = f"link {link}: the provider refused the signature; why is not known: {exc}"
    if words is not None:
        LOG.warning("%s", words)
