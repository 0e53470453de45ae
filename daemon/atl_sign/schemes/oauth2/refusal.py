"""A provider's refusal of a request with a bearer token (RFC 6750 §3; facts oauth2.md sections 2 to 4, 8 and 9)."""

import re
from typing import Any

from atl_sign.base.errors import DanceNeededError, ProviderRefusedError
from atl_sign.base.request import Request
from atl_sign.base.text import shorten
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.personal_tokens import not_taken
from atl_sign.schemes.base import Refusal, Sent
from atl_sign.schemes.oauth2.scopes import wanted_scopes
from atl_sign.schemes.oauth2.server import flavour_of

_BEARER = re.compile(r"\bBearer\b", re.I)
_ERROR = re.compile(r'\berror="([a-z0-9_.-]{1,64})"')
_SCOPE = re.compile(r'\bscope="([\x20-\x7e]{1,200}?)"')
_UNNAMED = "one that the page of that call names"
_REMEDY = "add it to the app and to the link's --scopes, then: atl-sign dance {name}"


def explain_challenge(link: Link, www_authenticate: str) -> tuple[str, str, str] | None:
    """Return word, message and hint for a refusal by a challenge; None for one that says nothing of the token."""
    error = _ERROR.search(www_authenticate) if _BEARER.search(www_authenticate) else None
    if error is None:
        return None
    again = f"atl-sign dance {link.name}"
    if error[1] == "insufficient_scope":
        scope = _SCOPE.search(www_authenticate)
        named = f" {scope[1]}" if scope is not None else ""
        return error[1], f"link {link.name}: the token lacks the scope{named} for this", _REMEDY.format(name=link.name)
    if error[1] == "invalid_token":
        return error[1], f"link {link.name}: the provider does not take the access token any more", again
    return error[1], f"link {link.name}: the provider refuses the token ({error[1]})", again


def explain_lack(link: Link, request: Request, answer: Answer) -> tuple[str, str, str] | None:
    """Return word, message and hint for an answer that says what the token may not do; see `Scheme.explain_lack`."""
    if answer.status not in (401, 403):
        return None
    scope = _find_lacking(link, request, answer)
    if scope is not None:
        message = f"the token lacks a scope for this (status {answer.status}); it probably wants: {scope}"
        return "insufficient_scope", f"link {link.name}: {message}", _REMEDY.format(name=link.name)
    sso = answer.headers.get("X-GitHub-SSO", "")
    if not sso:
        return None
    page = re.search(r"url=(https://[^\s;]{1,500})", sso)
    hint = f"open {page[1]}" if page is not None else "authorize the token for the organization on GitHub's page"
    return "sso_required", f"link {link.name}: the organization requires single sign-on for this token", hint


def explain_answer(link: Link, sent: Sent) -> Refusal | None:
    """Return what the answer in *sent* refuses, None when it takes the token; see `Scheme.explain`."""
    from atl_sign.providers.unexpected import explain_bystander

    answer, prefix = sent.answer, f"link {link.name}: "
    if answer.status not in (401, 403):
        return None
    lack = explain_lack(link, sent.request, answer)
    if lack is not None:
        return Refusal(ProviderRefusedError(lack[1].removeprefix(prefix), lack[2], link=link.name))
    if answer.status == 403:
        return None
    challenge = explain_challenge(link, answer.headers.get("WWW-Authenticate", ""))
    if challenge is not None:
        return Refusal(DanceNeededError(challenge[1].removeprefix(prefix), challenge[2], link=link.name))
    return Refusal(explain_bystander(link, answer) or not_taken(link))


def _find_lacking(link: Link, request: Request, answer: Answer) -> str | None:
    """Return the scopes that the call probably wants, when the answer says that one is missing."""
    flavour = flavour_of(link)
    if "scope does not match" in answer.text and flavour is not None and flavour.shares_grant:
        return wanted_scopes(request.method, request.url.path) or _UNNAMED
    if "required privilege scopes" in answer.text:
        required: Any = answer.json_object
        for name in ("error", "detail", "required"):
            required = required.get(name) if isinstance(required, dict) else None
        return shorten(", ".join(map(str, required))) if isinstance(required, list) else _UNNAMED
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status == 403 and ('"insufficient_scope"' in answer.text or '"insufficient_scope"' in challenge):
        scope, named = (answer.json_object or {}).get("scope"), _SCOPE.search(challenge)
        return shorten(scope) if isinstance(scope, str) else named[1] if named is not None else _UNNAMED
    return None
