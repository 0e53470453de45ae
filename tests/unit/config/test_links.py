"""A link: its base URL, its name and the URL that the provider believes in."""

from dataclasses import replace
from pathlib import Path

import pytest

from atl_sign.base.errors import BadFieldsError, BadUrlError
from atl_sign.base.urls import Url, parse_url
from atl_sign.config.links import Link, OwnSettings, is_name, parse_base_url
from atl_sign.schemes.oauth1.settings import SETTINGS


def _link(name: str, url: str, signing_url: str | None = None) -> Link:
    seen = None if signing_url is None else parse_base_url(signing_url)
    own = OwnSettings(SETTINGS, ("consumer", seen))
    return Link(name, parse_base_url(url), own=own)


CONSUMER_KEY = next(row for row in SETTINGS if row.name == "consumer_key")
JIRA = _link("jira", "https://example.com/jira")


@pytest.mark.parametrize(
    ("url", "signing_url", "sent", "signed"),
    [
        ("https://h/jira", None, "https://h/jira/x?a=1", "https://h/jira/x?a=1"),
        ("https://h/jira", "http://10.0.0.5:8080/jira", "https://h/jira/x%2F?a=1", "http://10.0.0.5:8080/jira/x%2F?a=1"),
        ("https://h/jira", "https://h:8443/other/path/", "https://h/jira/x", "https://h:8443/other/path/x"),
        ("https://h/jira", "https://internal", "https://h/jira/x", "https://internal/x"),
        ("https://h/jira", "https://internal", "https://h/jira", "https://internal/"),
        ("https://h/jira", "https://internal", "https://h/jira?a", "https://internal/?a"),
        ("https://h", "https://h/jira", "https://h/x//y/", "https://h/jira/x//y/"),
        ("https://h", "https://h/jira", "https://h", "https://h/jira/"),
        ("https://h/jira", "https://internal/jira", "https://h/jira/jira/?", "https://internal/jira/jira/?"),
    ],
)
def test_a_url_is_signed_under_the_signing_url(url: str, signing_url: str | None, sent: str, signed: str) -> None:
    """Scheme, host, port and context path are the provider's; the rest, query included, is as sent."""
    assert str(_link("l", url, signing_url).as_signed(parse_url(sent))) == signed


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://h", Url("https", "h", 443, "")),
        ("https://h/", Url("https", "h", 443, "")),
        ("https://H:443/jira/", Url("https", "h", 443, "/jira")),
        ("https://h/jira//", Url("https", "h", 443, "/jira")),
        ("http://h:8080/a/b-c_d.e~1", Url("http", "h", 8080, "/a/b-c_d.e~1")),
        ("https://h/a%20b", Url("https", "h", 443, "/a%20b")),
        ("https://bücher.example/x", Url("https", "xn--bcher-kva.example", 443, "/x")),
    ],
)
def test_parse_base_url_takes_what_a_product_is_called_by(text: str, base: Url) -> None:
    """Slashes at the end do not count."""
    assert parse_base_url(text) == base


@pytest.mark.parametrize(
    "text", ["https://h/jira?", "https://h/jira?a=1", "https://h/?os_username=x", "https://h/jira#", "https://h/#top"]
)
def test_a_base_url_with_a_query_or_fragment_is_refused(text: str) -> None:
    """Nothing could be put behind it."""
    with pytest.raises(BadUrlError, match="no query and no fragment"):
        parse_base_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://h/..",
        "https://h/a/../b",
        "https://h/./a",
        "https://h/a/%2e%2e",
        "https://h/%252e",
        "https://h//a",
        "https://h/a//b",
        "https://h/a;b",
        "https://h/a%3Bb",
        "https://h/a%253Bb",
        "https://h/a%2Fb",
        "https://h/a%252fb",
        "https://h/a%5Cb",
        "https://h/a%2F",
        "https://h/%252525252541",
    ],
)
def test_a_base_url_that_servers_read_differently_is_refused(text: str) -> None:
    """Its segments are what every URL below it is held to."""
    with pytest.raises(BadUrlError, match="no dots, semicolons, encoded slashes or empty parts"):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["jira", "ftp://h/", "https://u:p@h/", "https://h/a b", "https://h/é"])
def test_a_base_url_must_be_a_url_first(text: str) -> None:
    """What parse_url refuses."""
    with pytest.raises(BadUrlError):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["a", "A", "0", "jira", "Jira_2.example-x", "a" * 64])
def test_a_link_can_be_called(text: str) -> None:
    """1 to 64 letters, digits, dots, dashes, underscores."""
    assert is_name(text)


@pytest.mark.parametrize("text", ["", ".", "-a", "_a", ".a", "a b", "a/b", "a\n", "é", "a" * 65, "a:b", "a\x00"])
def test_a_link_cannot_be_called(text: str) -> None:
    """It stands in paths, commands and item names."""
    assert not is_name(text)


@pytest.mark.parametrize("text", ["a", "OauthKey", "atl-sign:alice@host/1?", "a" * 255])
def test_a_consumer_key_is_printable_ascii(text: str) -> None:
    """Whatever an administrator typed."""
    assert CONSUMER_KEY.kind.read("consumer_key", text) == text


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "é", "a" * 256, "\x7f"])
def test_a_consumer_key_has_no_blanks(text: str) -> None:
    """Nor letters that two forms encode differently."""
    with pytest.raises(BadFieldsError, match=r"^consumer_key (is not 1 to 255|holds a control character)"):
        CONSUMER_KEY.kind.read("consumer_key", text)


def test_a_link_has_sensible_settings_of_its_own() -> None:
    """The twin: given ones stay."""
    given = replace(JIRA, ca_bundle=Path("/ca.pem"), client_cert=Path("/client.pem"), proxy="http://proxy:3128", timeout_s=5.0)

    assert (JIRA.ca_bundle, JIRA.client_cert, JIRA.proxy, JIRA.timeout_s) == (None, None, None, 30.0)
    assert (given.ca_bundle, given.client_cert, given.proxy, given.timeout_s) == (
        Path("/ca.pem"),
        Path("/client.pem"),
        "http://proxy:3128",
        5.0,
    )
