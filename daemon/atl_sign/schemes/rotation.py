"""Personal access tokens that are made by a call: by the one before, or signed (facts oauth2.md section 7)."""

import secrets

from atl_sign.base.credentials import Credentials, Grant, Secret
from atl_sign.base.errors import DaemonError, ProviderRefusedError
from atl_sign.base.machine import short_host_name
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.personal_tokens import ListedToken, PersonalTokens, calls_path, parse_list, parse_made, tokens_page
from atl_sign.providers.unexpected import unexpected_answer
from atl_sign.providers.who_am_i import Send
from atl_sign.schemes.static import StaticToken, static_token_of


def make_token(link: Link, tokens: PersonalTokens, send: Send, days: int, user: str | None) -> Grant:
    """
    Return the grant of a new token that is good for *days*.

    Args:
        link: who it is for.
        tokens: where the product's tokens are.
        send: sends as the user: with a token of *link*, or signed for another link to the same product.
        days: the new token's life.
        user: whose it is.

    Raises:
        ProviderRefusedError: the product makes no token for a token, or not this one.
        ProviderUnreachableError, DanceNeededError: as *send*.
    """
    name = f"{name_prefix(link)}{secrets.token_hex(4)}"
    if tokens.make is None:
        raise ProviderRefusedError(
            "this product makes no token for a token",
            f"make one at {tokens_page(link, tokens)}, then: atl-sign dance {link.name}",
            link=link.name,
        )
    answer = send("POST", calls_path(tokens, user), tokens.make(name, days))
    made = parse_made(tokens, answer.text) if answer.status in (200, 201) else None
    if made is None:
        raise _explain(link, answer)
    secret, listed = made
    return Grant(StaticToken(Secret(secret), None, listed.id, listed.name), user=user, expires_at=listed.expires_at)


def discard(link: Link, tokens: PersonalTokens, send: Send, kept: Grant, old: Grant) -> str | None:
    """
    Remove the token of *old*, and what a rotation that was cut off has left, at the product.

    Args:
        link: whose product it is.
        tokens: where that product's tokens are.
        send: sends with the token of *kept*, which stays.
        kept: the grant that is used from now on.
        old: the one before.

    Returns:
        None; or what is left there, in words.
    """
    ours, before = (static_token_of(Credentials(None, grant)) for grant in (kept, old))
    path = calls_path(tokens, kept.user)
    try:
        answer = send("GET", path, None)
        listed = parse_list(tokens, answer.text) if answer.status == 200 else []
        gone = [each for each in listed if each.id != ours.id and _is_ours(link, each, before)]
        statuses = [send("DELETE", f"{path}/{each.id}", None).status for each in gone]
    except DaemonError as exc:
        return exc.message
    if not any(each.id == before.id for each in gone) or any(status not in (200, 204) for status in statuses):
        return "the old token is still good"
    return None


def name_prefix(link: Link) -> str:
    """Return how the names of our tokens begin: those of this machine and *link*; never as those that the git helper makes."""
    holder = "link git" if link.name == "git" else link.name  # decision 0012: the helper's begin with "atl-sign git on"
    return f"atl-sign {holder} on {short_host_name()} "


def _is_ours(link: Link, listed: ListedToken, before: StaticToken) -> bool:
    return listed.id == before.id or listed.name.startswith(name_prefix(link))


def _explain(link: Link, answer: Answer) -> DaemonError:
    if answer.status in (400, 403, 409):
        return ProviderRefusedError(
            f"the product made no token (status {answer.status})",
            "the administrator may allow fewer days: --days 30; or a token may not make tokens there",
            link=link.name,
        )
    return unexpected_answer(link, answer, "its answer holds no token")
