"""Documents that authorization servers have about themselves: as the standards show them, as servers have them, and with lies."""

import json
from typing import Any

import pytest

from atl_sign.base.errors import BadUrlError
from atl_sign.schemes.oauth2.metadata import DOCUMENT_BYTES_MAX, BadMetadataError, find_documents, read_metadata

# RFC 8414 §3.2.
EXAMPLE = {
    "issuer": "https://server.example.com",
    "authorization_endpoint": "https://server.example.com/authorize",
    "token_endpoint": "https://server.example.com/token",
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
    "userinfo_endpoint": "https://server.example.com/userinfo",
    "jwks_uri": "https://server.example.com/jwks.json",
    "registration_endpoint": "https://server.example.com/register",
    "scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
    "response_types_supported": ["code", "code token"],
    "service_documentation": "http://server.example.com/service_documentation.html",
    "ui_locales_supported": ["en-US", "en-GB", "en-CA", "fr-FR", "fr-CA"],
}
ISSUER = str(EXAMPLE["issuer"])


def read(**changes: Any) -> Any:
    fields = {**EXAMPLE, **changes}
    return read_metadata(ISSUER, json.dumps({name: value for name, value in fields.items() if value is not ...}))


def test_the_example_of_the_standard_is_read() -> None:
    found = read()

    assert (found.issuer, found.authorize_url, found.token_url) == (ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token")
    assert (found.device_url, found.revoke_url, found.client_auths) == (None, None, ("basic",))
    assert (found.announces_issuer, found.knows_s256) == (False, False)
    assert found.scopes == set(EXAMPLE["scopes_supported"])


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        # RFC 8414 §3.1 has the first of each; OpenID Connect Discovery 1.0 §4.1 the second.
        ("https://example.com", ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")),
        (
            "https://example.com/issuer1",
            ("/.well-known/oauth-authorization-server/issuer1", "/issuer1/.well-known/openid-configuration"),
        ),
        (
            "https://example.com/issuer1/",
            ("/.well-known/oauth-authorization-server/issuer1", "/issuer1/.well-known/openid-configuration"),
        ),
        ("https://example.com/", ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")),
    ],
)
def test_a_document_is_looked_for_in_two_places(issuer: str, expected: tuple[str, str]) -> None:
    assert find_documents(issuer) == tuple(f"https://example.com{path}" for path in expected)


@pytest.mark.parametrize("issuer", ["http://localhost:8080/x", "http://127.0.0.1", "http://[::1]:80", "https://10.0.0.1"])
def test_in_the_clear_only_this_machine_is_asked(issuer: str) -> None:
    assert find_documents(issuer)


@pytest.mark.parametrize(
    "issuer", ["http://example.com", "http://localhost.example.com", "http://10.0.0.1", "ftp://x", "x", "", "https://x/?a", "https://x/#a"]
)  # fmt: skip
def test_what_is_no_issuer_is_not_asked(issuer: str) -> None:
    with pytest.raises(BadUrlError):
        find_documents(issuer)


@pytest.mark.parametrize(
    "other",
    [
        "https://server.example.com/",
        "https://SERVER.example.com",
        "http://server.example.com",
        "https://evil.example",
        "",
        5,
        ...,
    ],
)
def test_a_document_that_names_another_issuer_is_a_lie(other: object) -> None:
    """Identical, without normalisation (RFC 8414 §3.3, RFC 3986 §6.2.1); the twin is the example."""
    with pytest.raises(BadMetadataError, match="issuer"):
        read(issuer=other)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("authorization_endpoint", ..., "it has no authorization_endpoint"),
        ("token_endpoint", ..., "it has no token_endpoint"),
        ("authorization_endpoint", "http://server.example.com/authorize", "authorization_endpoint cannot be used: .*https"),
        ("token_endpoint", "http://server.example.com/token", "token_endpoint cannot be used: .*https"),
        ("token_endpoint", "https://ann@server.example.com/token", "token_endpoint cannot be used"),
        ("token_endpoint", "/token", "token_endpoint cannot be used"),
        ("token_endpoint", "https://server.example.com/token#x", "token_endpoint is not an address"),
        ("token_endpoint", 5, "token_endpoint is not an address"),
        ("revocation_endpoint", "http://server.example.com/revoke", "revocation_endpoint cannot be used"),
        (
            "device_authorization_endpoint",
            ["https://server.example.com/device"],
            "device_authorization_endpoint is not an address",
        ),
        ("response_types_supported", ..., "response_types_supported"),
        ("response_types_supported", ["token"], "response_types_supported"),
        ("response_types_supported", "code", "not a list"),
        ("token_endpoint_auth_methods_supported", ["private_key_jwt"], "takes neither"),
        ("token_endpoint_auth_methods_supported", {"a": 1}, "not a list"),
        ("scopes_supported", [5], "not a list"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: object, words: str) -> None:
    with pytest.raises(BadMetadataError, match=words):
        read(**{name: value})


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (..., ("basic",)),  # RFC 8414 §2: the default
        (["client_secret_post"], ("body",)),
        (["none", "client_secret_post", "client_secret_basic"], ("basic", "body", "none")),
        (["none", "tls_client_auth"], ("none",)),
    ],
)
def test_how_a_client_shows_who_it_is(methods: object, expected: tuple[str, ...]) -> None:
    assert read(token_endpoint_auth_methods_supported=methods).client_auths == expected


def test_what_a_server_can_do_is_read() -> None:
    found = read(
        code_challenge_methods_supported=["plain", "S256"],
        authorization_response_iss_parameter_supported=True,
        revocation_endpoint=f"{ISSUER}/revoke",
        device_authorization_endpoint="https://devices.example.com/start",
        scopes_supported=...,
    )

    assert (found.knows_s256, found.announces_issuer, found.scopes) == (True, True, None)
    assert (found.revoke_url, found.device_url) == (f"{ISSUER}/revoke", "https://devices.example.com/start")
    assert not read(authorization_response_iss_parameter_supported="true").announces_issuer


@pytest.mark.parametrize("text", ["", "<html>", "[]", "null", '"x"', "{", "[" * 100_000, " " * (DOCUMENT_BYTES_MAX + 1)])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(BadMetadataError):
        read_metadata(ISSUER, text)
