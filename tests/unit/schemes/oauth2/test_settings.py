"""Addresses of authorization servers as a setting; the others are kinds that every link has, and are tried over the socket."""

import pytest

from atl_sign.base.errors import BadFieldsError
from atl_sign.config.link_fields import chosen_fields, link_from_fields
from atl_sign.schemes.oauth2.flavours import FLAVOURS
from atl_sign.schemes.oauth2.settings import SETTINGS, ServerAddress
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.oauth2_links import make_link


@pytest.mark.parametrize(
    "text",
    [
        "https://login.example.com",
        "https://login.example.com/",
        "https://LOGIN.example.com/Realms/Main/",
        "https://h.example/authorize?tenant=a%20b",
        "http://127.0.0.1:8080/x",
        "http://127.1.2.3",
        "http://localhost:1",
        "http://[::1]:8080",
    ],
)
def test_an_address_stays_as_it_was_written(text: str) -> None:
    """RFC 8414 §3.3: an issuer is compared without normalisation."""
    assert ServerAddress().read("issuer", text) == text


@pytest.mark.parametrize(
    "value",
    [
        "http://login.canary.example",
        "http://0.0.0.0",
        "http://[::]",
        "http://localhost.canary.example",
        "http://127.0.0.1.canary.example",
        "ftp://canary.example",
        "canary.example",
        "https://canary:canary@h.example",
        "https://h.example/canary\n",
        "https://h.example/canary x",
        "https://",
        "",
        5,
        None,
        True,
        ["https://canary.example"],
    ],
)
def test_a_wrong_address_is_named_and_not_repeated(value: object) -> None:
    with pytest.raises(BadFieldsError) as caught:
        ServerAddress().read("token_url", value)

    assert caught.value.message.startswith("token_url")
    assert "canary" not in f"{caught.value.message}{caught.value.hint}"
    assert caught.value.status == 422


def test_a_link_comes_back_from_the_file_as_it_was() -> None:
    """Every setting at once, and none."""
    settings = {
        "client_id": "x",
        "account": "alice",
        "issuer": "https://h.example/",
        "scopes": "a b",
        "redirect_port": 5_000,
        "gateway": "https://api.example",
        "authorize_url": "https://h.example/a",
        "token_url": "https://h.example/t",
        "device_url": "https://h.example/d",
        "revoke_url": "https://h.example/r",
        "who_url": "https://h.example/w",
        "who_field": "name",
        "client_auth": "none",
        "git_minutes": 5,
    }
    assert settings.keys() == {row.name for row in SETTINGS} - {"flavour"}
    for link in (make_link(**settings), make_link()):
        assert link_from_fields("app", chosen_fields(link), SCHEME_SETTINGS) == link


def test_the_words_of_the_flavours_are_those_that_there_are() -> None:
    """In help and documentation, too."""
    (row,) = (each for each in SETTINGS if each.name == "flavour")

    for name in (*FLAVOURS, "generic"):
        assert row.kind.read("flavour", name) == name
        assert name in row.help
        assert f"`{name}`" in row.docs
    with pytest.raises(BadFieldsError):
        row.kind.read("flavour", "canary")
