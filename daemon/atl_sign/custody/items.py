"""The store's items: what each is called, and credentials as the JSON text that it holds, and back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from atl_sign.base.credentials import AccessToken, GitRecord, GitToken, Secret
from atl_sign.custody.keys.software import RsaPrivateKey, load_private_key
from atl_sign.providers.products import is_user_name

KEY_ITEM = "consumer-key"
_VERSION = 1  # of the items' JSON

# What belongs to one grant: base URL and consumer key of the link when it was given, and the credentials.
KeptToken = tuple[str, str, AccessToken]
KeptGitRecord = tuple[str, str, GitRecord]

_T = TypeVar("_T")


def token_item(name: str) -> str:
    """Return the name of the item with the access token of the link called *name*."""
    return f"token:{name}"


def git_item(name: str) -> str:
    """Return the name of the item with what is known of the tokens for git of the link called *name*."""
    return f"git:{name}"


def items_of_link(name: str) -> list[str]:
    """Return the name of every item that the store may hold for the link called *name*; beside them there is `KEY_ITEM` alone."""
    return [token_item(name), git_item(name)]


def format_key(key: RsaPrivateKey) -> Secret:
    """Return the item's text for the consumer's private key."""
    return _format({"private_key": key.private_pem().reveal()})


def parse_key(text: Secret) -> RsaPrivateKey | None:
    """Return the key in an item's *text*; None when that is not what `format_key` writes."""
    return _parse(text, lambda item: load_private_key(Secret(str(item["private_key"]))))


def format_token(kept: KeptToken) -> Secret:
    """Return the item's text for an access token."""
    url, consumer_key, token = kept
    return _format(
        {
            "url": url,
            "consumer_key": consumer_key,
            "oauth_token": token.key.reveal(),
            "oauth_token_secret": token.secret.reveal(),
            "expires_at": _to_seconds(token.expires_at),
            "session_handle": token.session_handle.reveal() if token.session_handle else None,
            "session_expires_at": _to_seconds(token.session_expires_at),
            "user": token.user,
            "renew_at": _to_seconds(token.renew_at),
            "is_in_doubt": token.is_in_doubt,
        }
    )


def parse_token(text: Secret) -> KeptToken | None:
    """Return the token in an item's *text*; None when that is not what `format_token` writes."""
    return _parse(text, _token_of)


def format_git_record(kept: KeptGitRecord) -> Secret:
    """Return the item's text for what is known of the tokens for git."""
    url, consumer_key, record = kept
    token = record.token
    return _format(
        {
            "url": url,
            "consumer_key": consumer_key,
            "leftovers": list(record.leftovers),
            "token": token
            and {
                "name": token.name,
                "secret": token.secret.reveal(),
                "user": token.user,
                "permission": token.permission,
                "expires_at": _to_seconds(token.expires_at),
            },
        }
    )


def parse_git_record(text: Secret) -> KeptGitRecord | None:
    """Return the record in an item's *text*; None when that is not what `format_git_record` writes."""
    return _parse(text, _git_record_of)


def _format(item: dict[str, Any]) -> Secret:
    return Secret(json.dumps({"v": _VERSION, **item}, separators=(",", ":")))


def _parse(text: Secret, parse: Callable[[dict[str, Any]], _T]) -> _T | None:
    try:
        item = json.loads(text.reveal())
        return parse(item) if item["v"] == _VERSION else None
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None  # no error of ours: its cause would hold the item, and `from None` only hides it


def _token_of(item: dict[str, Any]) -> KeptToken:
    handle, user = item["session_handle"], item["user"]
    token = AccessToken(
        Secret(str(item["oauth_token"])),
        Secret(str(item["oauth_token_secret"])),
        expires_at=_from_seconds(item["expires_at"]),
        session_handle=None if handle is None else Secret(str(handle)),
        session_expires_at=_from_seconds(item["session_expires_at"]),
        user=user if isinstance(user, str) and is_user_name(user) else None,
        renew_at=_from_seconds(item.get("renew_at")),
        is_in_doubt=item.get("is_in_doubt") is True,
    )
    return str(item["url"]), str(item["consumer_key"]), token


def _git_record_of(item: dict[str, Any]) -> KeptGitRecord:
    found, token = item["token"], None
    if found is not None:
        if found["permission"] not in ("read", "write") or not is_user_name(found["user"]):
            raise ValueError("another kind of token")
        expires_at = datetime.fromtimestamp(found["expires_at"], UTC)
        token = GitToken(str(found["name"]), Secret(str(found["secret"])), found["user"], found["permission"], expires_at)
    return str(item["url"]), str(item["consumer_key"]), GitRecord(token, tuple(str(name) for name in item["leftovers"]))


def _to_seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _from_seconds(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
