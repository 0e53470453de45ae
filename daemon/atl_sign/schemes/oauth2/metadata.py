"""
The metadata of an authorization server.

Source: RFC 8414; OpenID Connect Discovery 1.0; facts oauth2.md section 10.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import Url, parse_url

DOCUMENT_BYTES_MAX = 256 << 10  # the largest ones have some 10 KiB

ClientAuth = Literal["basic", "body", "none"]  # how the client shows who it is at the token endpoint

_WELL_KNOWN = "/.well-known/oauth-authorization-server"
_OPENID = "/.well-known/openid-configuration"
# The first that a server has is taken. RFC 6749 §2.3.1 wants Basic to be understood by every one.
_CLIENT_AUTHS: Mapping[str, ClientAuth] = {"client_secret_basic": "basic", "client_secret_post": "body", "none": "none"}


class BadMetadataError(Exception):
    """The document cannot be used; its text says why, and has nothing that it says itself but addresses."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of a server's metadata that counts here."""

    issuer: str
    authorize_url: str
    token_url: str
    device_url: str | None
    revoke_url: str | None
    client_auths: tuple[ClientAuth, ...]  # never empty
    announces_issuer: bool  # whether every redirect has `iss` (RFC 9207)
    knows_s256: bool  # whether it says that it checks PKCE by S256
    scopes: frozenset[str] | None  # None when it names none


def find_documents(issuer: str) -> tuple[str, str]:
    """
    Return where the document of *issuer* may be: by RFC 8414 §3.1 between host and path, by OpenID Connect behind the path.

    Raises:
        BadUrlError: it is not an address, has a query, or is neither https nor on this machine.
    """
    url = parse_server_address(issuer)
    if url.query is not None or "#" in issuer:
        raise BadUrlError("an issuer has neither a query nor a fragment", "write it as the provider's documentation has it")
    path = url.path.rstrip("/")
    return f"{url.origin}{_WELL_KNOWN}{path}", f"{url.origin}{path}{_OPENID}"


def read_metadata(issuer: str, text: str) -> Metadata:
    """
    Return what *text*, the document of *issuer*, says.

    Raises:
        BadMetadataError: it is not such a document, it is another issuer's, or an address in it is not https.
    """
    fields = _read_object(text)
    if fields.get("issuer") != issuer:  # RFC 8414 §3.3: identical, or somebody else may be behind it
        named = fields.get("issuer")
        raise BadMetadataError(f"it is of another issuer, {named[:200]}" if isinstance(named, str) else "it names no issuer")
    authorize_url, token_url = _address(fields, "authorization_endpoint"), _address(fields, "token_endpoint")
    if authorize_url is None or token_url is None:
        raise BadMetadataError(f"it has no {'authorization' if authorize_url is None else 'token'}_endpoint")
    if "code" not in (_texts(fields, "response_types_supported") or ()):
        raise BadMetadataError("its response_types_supported has no code")
    named_auths = _texts(fields, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    auths = tuple(ours for theirs, ours in _CLIENT_AUTHS.items() if theirs in named_auths)
    if not auths:
        raise BadMetadataError("its token endpoint takes neither client_secret_basic, client_secret_post nor none")
    scopes = _texts(fields, "scopes_supported")
    return Metadata(
        issuer,
        authorize_url,
        token_url,
        _address(fields, "device_authorization_endpoint"),
        _address(fields, "revocation_endpoint"),
        auths,
        announces_issuer=fields.get("authorization_response_iss_parameter_supported") is True,
        knows_s256="S256" in (_texts(fields, "code_challenge_methods_supported") or ()),
        scopes=None if scopes is None else frozenset(scopes),
    )


def _read_object(text: str) -> Mapping[str, Any]:
    if len(text) > DOCUMENT_BYTES_MAX:
        raise BadMetadataError(f"it is larger than {DOCUMENT_BYTES_MAX >> 10} KiB")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMetadataError("it is not JSON") from None
    if not isinstance(fields, dict):
        raise BadMetadataError("it is not a JSON object")
    return fields


def _address(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or "#" in value:  # RFC 6749 §3.1, §3.2
            raise BadMetadataError(f"its {name} is not an address")
        parse_server_address(value)
    except BadUrlError as exc:
        raise BadMetadataError(f"its {name} cannot be used: {exc.message}") from None
    return value


def _texts(fields: Mapping[str, Any], name: str) -> list[str] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadMetadataError(f"its {name} is not a list of texts")
    return value


def parse_server_address(text: str) -> Url:
    """Return *text*, an address of an authorization server, taken apart; raises BadUrlError unless it is https or loopback."""
    url = parse_url(text)
    if url.scheme != "https" and not url.is_loopback:
        raise BadUrlError("it is neither https nor on this machine", "a client secret goes there: write https")
    return url
