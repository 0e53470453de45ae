"""
The requests for tokens: in a dance, for a refresh, and for their end.

requests-oauthlib's OAuth2Session is not used for them: docs/decisions/0029-oauth2-requests.md has the reasons.
Source: RFC 6749 §4.1.3, §5, §6; RFC 7009; RFC 8628 §3.4; facts oauth2.md sections 11 and 12.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import quote

from atl_sign.base.credentials import App, Credentials, Grant, Secret
from atl_sign.base.errors import (
    DaemonError,
    DanceExpiredError,
    DanceRefusedError,
    ProviderBusyError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.products import is_user_name
from atl_sign.providers.unexpected import explain_bystander
from atl_sign.schemes.base import Consent, PendingError
from atl_sign.schemes.oauth2.begun import begun_of
from atl_sign.schemes.oauth2.exchange import ask, ask_as, post
from atl_sign.schemes.oauth2.server import Server, address, flavour_of
from atl_sign.schemes.oauth2.sites import find_sites
from atl_sign.schemes.oauth2.token_answer import Asked, Failure, Tokens, read_token_answer
from atl_sign.schemes.oauth2.token_request import TokenRequest, TokenRequests
from atl_sign.schemes.oauth2.tokens import OAuth2Tokens, make_grant, tokens_of


def redeem(link: Link, app: App, consent: Consent, answer: Secret, clocks: Clocks) -> Grant:
    """
    Return the grant of *answer*, the code of a redirect or of a device; raises as `Scheme.redeem`.

    The code goes out once, whatever comes back: a server that sees one twice ends every token that came from it.
    """
    begun, asked = begun_of(consent), _asked_by(consent)
    requests = TokenRequests(app, begun.server.client_auth)
    if begun.redirect_uri is None:
        request = requests.for_device(answer)
    else:
        assert consent.secret is not None  # noqa: S101 - `begin` sets it
        request = requests.for_code(answer, begun.redirect_uri, consent.secret)
    begun_at = clocks.now_utc()
    found = _ask(link, begun.server, request, asked)
    if isinstance(found, Failure):
        raise _explain_code(link, found, begun.server)
    tokens = OAuth2Tokens(
        found.access,
        found.refresh,
        scopes=_sort(found.scopes) or _sort(frozenset(begun.scopes)),
        redirect_uri=begun.redirect_uri,
        sites=MappingProxyType({}),
    )
    flavour = flavour_of(link)
    if flavour is not None and flavour.shares_grant:
        tokens = replace(tokens, sites=MappingProxyType(find_sites(link, tokens.access)))
    return make_grant(tokens, found.lifetime_s, begun_at, _ask_user(link, tokens.access))


def _asked_by(consent: Consent) -> Asked:
    return "code" if consent.device is None else "device"


def refresh(link: Link, app: App, server: Server, grant: Grant, clocks: Clocks) -> Grant:
    """
    Return another grant in place of *grant*.

    Raises as `Scheme.renew`; a ProviderRefusedError with `ends_grant` when there will be no other one.
    """
    tokens = tokens_of(Credentials(None, grant))
    assert tokens.refresh is not None  # noqa: S101 - `may_renew` said so
    flavour = flavour_of(link)
    redirect_uri = tokens.redirect_uri if flavour is None or flavour.repeats_redirect else None
    requests = TokenRequests(app, server.client_auth)

    def ask_with(refresh_token: Secret) -> Tokens | Failure:
        return _ask(link, server, requests.for_refresh(refresh_token, redirect_uri), "refresh")

    begun_at = clocks.now_utc()
    refresh_token = tokens.refresh
    found, is_in_doubt = _ask_twice(lambda: ask_with(refresh_token))
    is_dead = isinstance(found, Failure) and found.kind == "dead"
    if is_dead and tokens.before is not None and flavour is not None and flavour.leeway_s:
        begun_at = clocks.now_utc()
        found = ask_with(tokens.before)  # the answer with the newer one may have come from half a server
    if isinstance(found, Failure):
        raise _explain_refresh(link, found, server, is_in_doubt=is_in_doubt)
    is_rotated = found.refresh is not None and found.refresh.reveal() != tokens.refresh.reveal()
    new = replace(
        tokens,
        access=found.access,
        refresh=found.refresh or tokens.refresh,
        before=tokens.refresh if is_rotated else tokens.before,
        scopes=_sort(found.scopes) or tokens.scopes,
    )
    return make_grant(new, found.lifetime_s, begun_at, grant.user)


def revoke(link: Link, app: App, server: Server, tokens: OAuth2Tokens) -> bool:
    """Have the provider end *tokens*, and tell whether it says that they are; raises ProviderUnreachableError."""
    flavour = flavour_of(link)
    if flavour is not None and flavour.deletes is not None:
        return _delete_at_github(link, app, tokens, address(link, flavour.deletes))
    if server.revoke_url is None:
        return False
    requests = TokenRequests(app, server.client_auth)
    given = [] if tokens.refresh is None else [requests.for_revocation(tokens.refresh, "refresh_token")]
    # The refresh token first: with it a server ends its access tokens, too, or should (RFC 7009 §2.1).
    answers = [post(link, server.revoke_url, each) for each in (*given, requests.for_revocation(tokens.access, "access_token"))]
    return all(answer.status == 200 for answer in answers)


def _delete_at_github(link: Link, app: App, tokens: OAuth2Tokens, api: str) -> bool:
    """End the token as GitHub has it: by the app's own password, or without one, by showing the token."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if app.secret is None:
        body = json.dumps({"credentials": [tokens.access.reveal()]}).encode()
        return ask(link, f"{api}/credentials/revoke", headers, method="POST", body=body).status == 202
    pair = f"{app.client_id}:{app.secret.reveal()}".encode()
    headers["Authorization"] = f"Basic {b64encode(pair).decode('ascii')}"
    body = json.dumps({"access_token": tokens.access.reveal()}).encode()
    url = f"{api}/applications/{quote(app.client_id, safe='')}/token"
    return ask(link, url, headers, method="DELETE", body=body).status == 204


def _ask(link: Link, server: Server, request: TokenRequest, asked: Asked) -> Tokens | Failure:
    """Return what the token endpoint says; raises ProviderUnreachableError, and ProviderBusyError with the time to wait."""
    flavour = flavour_of(link)
    answer = post(link, server.token_url, request)
    found = read_token_answer(answer, asked, () if flavour is None else flavour.late_code_words)
    if isinstance(found, Failure) and found.kind == "passing":
        raise _passing(link, answer)
    if isinstance(found, Failure) and 300 <= answer.status < 400:
        raise ProviderRefusedError(
            "the token endpoint redirects, and a secret is not sent after that",
            f"atl-sign link show {link.name}; the address must be the one that answers",
            link=link.name,
            problem="redirect",
        )
    return found


def _ask_twice(ask_once: Callable[[], Tokens | Failure]) -> tuple[Tokens | Failure, bool]:
    """
    Ask once more with the same refresh token if the answer was lost: either the first never arrived, or nothing is lost.

    Returns the answer, and whether there was another one that was lost.
    """
    try:
        return ask_once(), False
    except ProviderUnreachableError as first:
        try:
            return ask_once(), not first.nothing_sent
        except ProviderUnreachableError as exc:
            exc.nothing_sent = exc.nothing_sent and first.nothing_sent
            raise


def _passing(link: Link, answer: Answer) -> DaemonError:
    error = explain_bystander(link, answer)
    if error is not None:
        return error
    message = f"the provider gives no token at the moment (status {answer.status})"
    return ProviderBusyError(message, "try again in a moment", link=link.name, retry_after_s=None)


def _explain_code(link: Link, failure: Failure, server: Server) -> DaemonError:
    """Return the error for a code that brought no tokens; for a device that must go on asking, a PendingError is raised."""
    again = f"atl-sign dance {link.name}"
    shown = f" ({failure.word})" if failure.word else ""
    if failure.kind in ("pending", "slow_down"):
        raise PendingError(is_slower=failure.kind == "slow_down")
    if failure.kind == "denied":
        return DanceRefusedError("the user refused access", again)
    if failure.kind == "expired":
        return DanceExpiredError(f"the code came too late{shown}", again)
    if failure.kind == "client":
        return _wrong_app(link, failure, server)
    if failure.kind == "dead":
        message = f"the provider does not take this code{shown}: it was used, or is of another app or redirect address"
        return ProviderRefusedError(message, again, link=link.name, problem=failure.word)
    message = f"the token endpoint {server.token_url} did not answer with tokens{shown}"
    return ProviderRefusedError(message, f"atl-sign link setup {link.name}; then: {again}", link=link.name, problem=failure.word)


def _explain_refresh(link: Link, failure: Failure, server: Server, *, is_in_doubt: bool) -> DaemonError:
    shown = f" ({failure.word})" if failure.word else ""
    if failure.kind == "client":
        return _wrong_app(link, failure, server)
    if failure.kind == "dead":
        message = f"its refresh token is no longer good: it was revoked, has expired, or another program has used it{shown}"
        word = None if is_in_doubt else failure.word  # the token may have been good until the answer that was lost
        return ProviderRefusedError(message, f"atl-sign dance {link.name}", link=link.name, problem=word, ends_grant=True)
    message = f"the token endpoint did not answer with tokens{shown}"
    return ProviderRefusedError(message, f"atl-sign doctor {link.name}", link=link.name, problem=failure.word)


def _wrong_app(link: Link, failure: Failure, server: Server) -> ProviderRefusedError:
    shown = f" ({failure.word})" if failure.word else ""
    hint = f"copy the secret again: atl-sign link secret {link.name}; the id: atl-sign link show {link.name}"
    if flavour_of(link) is None:  # the metadata say what the server can, not what this app is registered for
        other = {"basic": "body", "body": "basic", "none": "basic"}[server.client_auth]
        hint += f"; or send the secret in another place: {format_link_command(link, client_auth=other)}"
    return ProviderRefusedError(
        f"the provider does not take the app's id and secret{shown}",
        hint,
        link=link.name,
        problem=failure.word,
    )


def _ask_user(link: Link, access_token: Secret) -> str | None:
    """Return the user's name as the flavour tells it; None when it has no address for that, or does not say."""
    flavour = flavour_of(link)
    url = link.own.get("who_url")
    if url is None and flavour is not None and flavour.who is not None:
        url = address(link, flavour.who)
    name = link.own.get("who_field") or (flavour.who_field if flavour is not None else "") or "sub"
    if url is None:
        return None
    try:
        found = (ask_as(link, url, access_token).json_object or {}).get(name)
    except DaemonError:
        return None
    return found if isinstance(found, str) and is_user_name(found) else None


def _sort(scopes: frozenset[str] | None) -> tuple[str, ...] | None:
    return None if scopes is None else tuple(sorted(scopes))
