"""Secrets struck out of addresses and of foreign texts, as people really write them; and what is no secret stays."""

import pytest

from atl_sign.base.striking import strike_address, strike_secrets, strike_user_info

CANARY = "canary-7f3a9c"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"http://ann:{CANARY}@proxy:3128", "http://…@proxy:3128"),
        (f"ann:{CANARY}@proxy:3128", "…@proxy:3128"),
        (f"http://ann:p@{CANARY}@proxy:3128", "http://…@proxy:3128"),
        (f"http://ann:p/{CANARY}@proxy:3128", "http://…@proxy:3128"),
        (f"http://ann:p#{CANARY}@proxy:3128", "http://…@proxy:3128"),
        (f"http://ann:two {CANARY}@proxy:3128", "http://…@proxy:3128"),
        (f"socks5h://{CANARY}@[::1]:1080", "socks5h://…@[::1]:1080"),
        ("http://proxy:3128/", "http://proxy:3128/"),
        ("proxy:3128", "proxy:3128"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    """RFC 3986 section 3.2.1 has no "@" and no "/" there; environments do."""
    assert strike_address(address) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a http://ann:p@{CANARY}@h/x, https://b.example.com/y", "a http://…@h/x, https://b.example.com/y"),
        (f"proxy ann:{CANARY}@h:3128 refused", "proxy …@h:3128 refused"),
        (f'proxy="ann:p/{CANARY}@h:3128"', 'proxy="…@h:3128"'),
        ("link jira: ann@example.com is there", "link jira: ann@example.com is there"),
        ("at 12:30 it ended", "at 12:30 it ended"),
    ],
)
def test_the_addresses_in_a_text(text: str, shown: str) -> None:
    """Each of them, with a scheme or without; what has no password stays."""
    assert strike_user_info(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'Authorization: OAuth oauth_token="{CANARY}"', "Authorization: <secret>"),
        (f"> Cookie: JSESSIONID={CANARY}; seraph={CANARY}", "> Cookie: <secret>"),
        (f"< Set-Cookie: a={CANARY}", "< Set-Cookie: <secret>"),
        (f"sent Bearer {CANARY}", "sent Bearer <secret>"),
        (f"credential={CANARY}", "credential=<secret>"),
        (f"GET /x;jsessionid={CANARY}?a=1", "GET /x;jsessionid=<secret>"),
        (f'"client_secret": "{CANARY}", "a": 1', '"client_secret": "<secret>", "a": 1'),
        (f"-----BEGIN PRIVATE KEY-----\n{CANARY}", "<secret>"),
        ("no access token for link jira", "no access token for link jira"),
        ("atl-signd: the store is locked", "atl-signd: the store is locked"),
        ("Basic authentication is off", "Basic authentication is off"),
    ],
)
def test_secrets_in_a_foreign_text(text: str, shown: str) -> None:
    """Headers, cookies, forms and keys; words of ours stay."""
    assert strike_secrets(text) == shown
