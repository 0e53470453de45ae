"""
The store's items: what each is called, and its text.

An item is a JSON object on one line: `v` is the version of this envelope, `scheme` the name of the scheme that the item is for.
Each item of one grant has the link's `url` and `client`, and a token has what its scheme keeps of it in `grant`.
Version 1 knew only OAuth 1.0a: it had no `scheme`, called the client `consumer_key`, and had the grant's fields beside it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from atl_sign.base.clock import from_seconds, to_seconds
from atl_sign.base.credentials import GitRecord, GitToken, Grant, Secret
from atl_sign.base.errors import BadRequestError, StoreNewerError, StoreUnavailableError
from atl_sign.config.links import Link
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.keys.places import KeyPlaces
from atl_sign.custody.keys.public import load_public_key
from atl_sign.custody.keys.software import RsaPrivateKey, load_private_key
from atl_sign.providers.products import is_user_name
from atl_sign.schemes.base import Place
from atl_sign.schemes.registry import SCHEMES

KEY_ITEM = "consumer-key"
VERSION = 2
OAUTH1 = "oauth1"  # whose everything of version 1 is, and the consumer's key

_SCHEME = re.compile(r"[a-z0-9-]{1,32}")
_NOT_OURS = (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError)  # what reading a stranger's JSON raises
_UPGRADE = "install the newest atl-sign, then: atl-sign restart"

_T = TypeVar("_T")

_PLACES_MAX = 4_096
_PLACES: "dict[int, tuple[Link, Place, Owner]]" = {}  # by the id of the link, which it keeps, so that the id is of no other


def token_item(name: str) -> str:
    """Return the name of the item with the access token at the place called *name*."""
    return f"token:{name}"


def git_item(name: str) -> str:
    """Return the name of the item with what is known of the tokens for git of the link called *name*."""
    return f"git:{name}"


def items_of_link(link: Link | str) -> list[str]:
    """Return the name of every item that the store may hold for *link*, or for the one of which only the name can be read."""
    name, place = (link, link) if isinstance(link, str) else (link.name, place_of(link).name)
    return [token_item(place), app_item(place), git_item(name)]


def app_item(name: str) -> str:
    """Return the name of the item with the secret of the app at the place called *name*."""
    return f"app:{name}"


def place_of(link: Link) -> Place:
    """Return where the grant of *link* is kept, and what it is given for."""
    return _find_place(link)[1]


@dataclass(frozen=True, slots=True)
class Owner:
    """The place that a grant was given for. It is valid for nothing else, whatever the configuration says later."""

    scheme: str
    url: str
    client: str


def owner_of(link: Link) -> Owner:
    """Return what a grant is given for that the user consents to on *link* now."""
    return _find_place(link)[2]


def _find_place(link: Link) -> tuple[Link, Place, Owner]:
    """Return both, which each signature asks for several times; a link is the same object until the configuration changes."""
    known = _PLACES.get(id(link))
    if known is None or known[0] is not link:
        if len(_PLACES) >= _PLACES_MAX:
            _PLACES.clear()
        place = SCHEMES[link.scheme].place(link)
        known = _PLACES[id(link)] = link, place, Owner(link.scheme, place.url, place.client)
    return known


@dataclass(frozen=True, slots=True)
class Kept(Generic[_T]):
    """The stored form of one grant."""

    owner: Owner
    value: _T

    def of(self, link: Link) -> _T | None:
        """Return the value if it was given for *link* as that is now."""
        return self.value if self.owner == owner_of(link) else None


class Payload(Protocol):
    """The part of a grant that one scheme keeps; every scheme does."""

    def dump(self, grant: Grant) -> Mapping[str, str | int | None]:
        """Return the fields of *grant*."""

    def load(self, fields: Mapping[str, Any]) -> Grant:
        """Return what `dump` gave *fields* for; raises KeyError, TypeError, ValueError, OverflowError or OSError otherwise."""


@dataclass(frozen=True, slots=True)
class Parsed(Generic[_T]):
    """The content of an item."""

    value: _T | None  # None for what is of no use, and can be made again
    is_old: bool = False  # of an earlier version, so that it is to be written anew


class Codec(Protocol[_T]):
    """How one kind of item is written."""

    def format(self, value: _T) -> Secret:
        """Return the item's text for *value*."""

    def parse(self, name: str, text: Secret) -> Parsed[_T]:
        """
        Return what is in the item called *name*, whose text is *text*.

        Raises:
            StoreNewerError: it is of a newer version, or of a scheme that is not known.
            StoreUnavailableError: it is not what `format` writes.
        """

    def check_replaceable(self, name: str, text: Secret) -> None:
        """Raise StoreNewerError as `parse` does; what nobody can read may be replaced."""


class _Json(Generic[_T]):
    """The envelope, which all kinds share."""

    def __init__(self, payloads: Mapping[str, Payload]) -> None:
        """Know the schemes in *payloads*, by name."""
        self.payloads = payloads

    def parse(self, name: str, text: Secret) -> Parsed[_T]:
        """See `Codec.parse`."""
        self.check_replaceable(name, text)
        try:
            item = json.loads(text.reveal())
            return Parsed(self._load(item if item["v"] == VERSION else _renew(item)), item["v"] != VERSION)
        except _NOT_OURS:
            pass  # no error of ours in here: its cause would hold the item, and `from None` only hides it
        return self._refuse(name)

    def check_replaceable(self, name: str, text: Secret) -> None:
        """See `Codec.check_replaceable`."""
        try:
            item = json.loads(text.reveal())
            version, scheme = item["v"], item.get("scheme", OAUTH1)
        except (*_NOT_OURS, AttributeError):
            return
        if type(version) is int and version > VERSION:
            raise StoreNewerError(f"the item {name} of the store was written by a newer atl-sign", _UPGRADE)
        if version == VERSION and isinstance(scheme, str) and _SCHEME.fullmatch(scheme) and scheme not in self.payloads:
            raise StoreNewerError(f"the item {name} of the store has the scheme {scheme}, which is not known here", _UPGRADE)

    def _load(self, item: Mapping[str, Any]) -> _T:
        raise NotImplementedError

    def _refuse(self, name: str) -> Parsed[_T]:
        kind, _, link = name.partition(":")
        remedies = {KEY_ITEM: "atl-sign key new --replace", "app": f"atl-sign link secret {link}"}
        remedy = remedies.get(kind, f"atl-sign dance {link}")
        raise StoreUnavailableError(f"the item {name} of the store is not what was written there", remedy)


class KeyCodec(_Json[Signer]):
    """The consumer's private key, or the reference and the public half of one that is elsewhere."""

    def __init__(self, payloads: Mapping[str, Payload], places: KeyPlaces) -> None:
        """Know the schemes in *payloads*, and the *places* of keys that the store does not hold."""
        super().__init__(payloads)
        self._places = places

    def format(self, value: Signer) -> Secret:
        """See `Codec.format`."""
        if isinstance(value, RsaPrivateKey):
            return _format({"scheme": OAUTH1, "private_key": value.private_pem().reveal()})
        return _format({"scheme": OAUTH1, "reference": value.reference, "public_key": value.public.pem})

    def _load(self, item: Mapping[str, Any]) -> Signer:
        if "reference" not in item:
            return load_private_key(Secret(str(item["private_key"])))
        reference, public = str(item["reference"]), load_public_key(str(item["public_key"]))
        try:
            return self._places.place_of(reference).open(reference, public)
        except BadRequestError as exc:
            raise StoreNewerError("the consumer's key is at a place that is not known here", _UPGRADE) from exc


class TokenCodec(_Json[Kept[Grant]]):
    """A link's access token."""

    def format(self, value: Kept[Grant]) -> Secret:
        """See `Codec.format`."""
        return _format({**_dump_owner(value.owner), "grant": dict(self.payloads[value.owner.scheme].dump(value.value))})

    def _load(self, item: Mapping[str, Any]) -> Kept[Grant]:
        owner = _load_owner(item)
        return Kept(owner, self.payloads[owner.scheme].load(item["grant"]))


class AppCodec(_Json[Kept[Secret]]):
    """The secret of a link's app."""

    def format(self, value: Kept[Secret]) -> Secret:
        """See `Codec.format`."""
        return _format({**_dump_owner(value.owner), "secret": value.value.reveal()})

    def _load(self, item: Mapping[str, Any]) -> Kept[Secret]:
        return Kept(_load_owner(item), Secret(str(item["secret"])))


class GitCodec(_Json[Kept[GitRecord]]):
    """The known tokens for git of a link; losing them loses nothing that could not be made again."""

    def format(self, value: Kept[GitRecord]) -> Secret:
        """See `Codec.format`."""
        token = value.value.token
        found = token and {
            "name": token.name,
            "secret": token.secret.reveal(),
            "user": token.user,
            "permission": token.permission,
            "expires_at": to_seconds(token.expires_at),
        }
        return _format({**_dump_owner(value.owner), "leftovers": list(value.value.leftovers), "token": found})

    def _load(self, item: Mapping[str, Any]) -> Kept[GitRecord]:
        found, token = item["token"], None
        if found is not None:
            expires_at = from_seconds(found["expires_at"])
            if found["permission"] not in ("read", "write") or not is_user_name(found["user"]) or expires_at is None:
                raise ValueError("another kind of token")
            token = GitToken(str(found["name"]), Secret(str(found["secret"])), found["user"], found["permission"], expires_at)
        return Kept(_load_owner(item), GitRecord(token, tuple(str(name) for name in item["leftovers"])))

    def _refuse(self, name: str) -> Parsed[Kept[GitRecord]]:  # noqa: ARG002 - the others name it
        return Parsed(None)


def _format(fields: Mapping[str, Any]) -> Secret:
    return Secret(json.dumps({"v": VERSION, **fields}, separators=(",", ":")))


def _dump_owner(owner: Owner) -> dict[str, str]:
    return {"scheme": owner.scheme, "url": owner.url, "client": owner.client}


def _load_owner(item: Mapping[str, Any]) -> Owner:
    return Owner(str(item["scheme"]), str(item["url"]), str(item["client"]))


def _renew(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an item of version 1 as one of this version; raises ValueError for any other."""
    if item["v"] != 1:
        raise ValueError("no version of ours")
    return {**item, "scheme": OAUTH1, "client": item.get("consumer_key"), "grant": item}
