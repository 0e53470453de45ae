"""References of keys in tokens: URIs of RFC 7512, without a PIN."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from atl_sign.base.errors import BadRequestError

_CHARS_MAX = 1024
_ATTRIBUTE = re.compile(r"[a-z][a-z-]{0,31}")
_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/&?|-]|%[0-9A-Fa-f]{2})*")  # RFC 7512 §2.3
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTS = ("token", "serial", "manufacturer", "model", "object")
_FORM = "name a key like 'pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/MODULE.so'"


@dataclass(frozen=True, slots=True)
class KeyUri:
    """The name of one key: its token, its object in there, and the module that knows the token."""

    token: str | None = None  # the token's label
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    object: str | None = None  # the key's label
    id: bytes | None = None  # CKA_ID
    module_path: Path | None = None  # None: every module that p11-kit is configured with

    def __str__(self) -> str:
        path = [f"{name}={_quote(value)}" for name in _TEXTS if (value := getattr(self, name)) is not None]
        if self.id is not None:
            path.append("id=" + "".join(f"%{byte:02x}" for byte in self.id))
        query = "" if self.module_path is None else f"?module-path={quote(str(self.module_path), safe='/-._~')}"
        return f"pkcs11:{';'.join(path)}{query}"

    @property
    def token_words(self) -> str:
        """The token for people."""
        words = [f"{name} {value}" for name in ("serial", "manufacturer", "model") if (value := getattr(self, name)) is not None]
        return " with ".join(["the token" if self.token is None else f"the token {self.token}", *words[:1]])

    @property
    def key_words(self) -> str:
        """The key for people, without its token."""
        return f"key {self.object}" if self.object is not None else f"key with the id {(self.id or b'').hex()}"


def parse_uri(reference: str) -> KeyUri:
    """
    Return what *reference* names.

    Raises:
        BadRequestError: it is not such a URI, names no token or no key, or holds what has no place here, such as a PIN; its
            values are not repeated.

    Source: RFC 7512 §2.3.
    """
    if len(reference) > _CHARS_MAX or not reference.startswith("pkcs11:"):
        raise BadRequestError("this is not a pkcs11: URI", _FORM)
    path, _, query = reference.removeprefix("pkcs11:").partition("?")
    found: dict[str, bytes] = {}
    for part in (*path.split(";"), *(query.split("&") if query else ())):
        name, equals, value = part.partition("=")
        if not equals or not _ATTRIBUTE.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadRequestError("the pkcs11: URI is malformed", _FORM)
        if name in found:
            raise BadRequestError(f"the pkcs11: URI has {name} twice", _FORM)
        found[name] = unquote_to_bytes(value)
    _refuse_others(found)
    texts = {name: _text(name, found[name]) for name in _TEXTS if name in found}
    module_path = _text("module-path", found["module-path"]) if "module-path" in found else None
    if module_path is not None and not module_path.startswith("/"):
        raise BadRequestError("module-path is not an absolute path", _FORM)
    if not {"token", "serial"} & texts.keys():
        raise BadRequestError("the pkcs11: URI names no token: it has neither token nor serial", _FORM)
    if "object" not in texts and not found.get("id"):
        raise BadRequestError("the pkcs11: URI names no key: it has neither object nor id", _FORM)
    return KeyUri(**texts, id=found.get("id") or None, module_path=None if module_path is None else Path(module_path))


def _refuse_others(found: dict[str, bytes]) -> None:
    for name in ("pin-value", "pin-source"):
        if name in found:
            raise BadRequestError(
                f"{name} has no place in a key's reference", "leave it out; the PIN is asked for: atl-sign unlock --key"
            )
    if "module-name" in found:
        raise BadRequestError("module-name is not used here", "name the module by its file: module-path=/usr/lib/MODULE.so")
    if found.pop("type", b"private") != b"private":
        raise BadRequestError("the pkcs11: URI does not name a private key", "leave type out, or write type=private")
    others = found.keys() - {*_TEXTS, "id", "module-path"}
    if others:
        raise BadRequestError(
            f"{min(others)} is not used here", "name the token by token and serial, and the key by object and id"
        )


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadRequestError(f"{name} in the pkcs11: URI is not UTF-8", _FORM) from None
    if not text or _CONTROL.search(text):
        raise BadRequestError(f"{name} in the pkcs11: URI is empty, or holds a control character", _FORM)
    return text


def _quote(text: str) -> str:
    return quote(text, safe="-._~")
