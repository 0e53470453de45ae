"""SOCKS5 to the byte. Source: RFC 1928, RFC 1929."""

from collections.abc import Callable

import pytest

from atl_sign.proxy import socks
from atl_sign.proxy.socks import Login, SocksError, Target


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (b"\x05\x01\x00", b"\x05\x00"),
        (b"\x05\x02\x00\x02", b"\x05\x02"),  # curl, with a user name
        (b"\x05\x03\x00\x01\x02", b"\x05\x02"),
        (b"\x05\x01\x02", b"\x05\x02"),
    ],
)
def test_a_client_that_can_name_a_link_is_asked_for_it(greeting: bytes, answer: bytes) -> None:
    assert socks.read_greeting(greeting + b"more") == (answer, len(greeting))


@pytest.mark.parametrize(
    ("greeting", "answer"), [(b"\x05\x01\x01", b"\x05\xff"), (b"\x05\x00", b"\x05\xff"), (b"\x04\x01\x00", b"")]
)
def test_a_client_of_another_kind_is_refused(greeting: bytes, answer: bytes) -> None:
    with pytest.raises(SocksError) as caught:
        socks.read_greeting(greeting)

    assert caught.value.answer == answer


@pytest.mark.parametrize(
    ("message", "login"),
    [
        (b"\x01\x00\x00", Login()),
        (b"\x01\x04jira\x00", Login("jira")),
        (b"\x01\x04jira\x07dry-run", Login("jira", True)),
        (b"\x01\x00\x07dry-run", Login(None, True)),
    ],
)
def test_a_login_carries_choices(message: bytes, login: Login) -> None:
    assert socks.read_login(message + b"more") == (login, len(message))


@pytest.mark.parametrize(
    "message", [b"\x01\x03a/b\x00", b"\x01\x02\xc3\xa4\x00", b"\x01\x04jira\x06secret", b"\x01\x01a\x07DRY-RUN"]
)
def test_a_choice_that_is_not_there_is_refused(message: bytes) -> None:
    """An older daemon must not send what a newer client wanted only shown."""
    with pytest.raises(SocksError) as caught:
        socks.read_login(message)

    assert caught.value.answer == b"\x01\x01"


@pytest.mark.parametrize(
    ("message", "target"),
    [
        (b"\x05\x01\x00\x03\x10jira.example.com\x01\xbb", Target("jira.example.com", 443)),
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", Target("127.0.0.1", 8080)),
        (b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50", Target("[::1]", 80)),
    ],
)
def test_a_request_names_an_address(message: bytes, target: Target) -> None:
    assert socks.read_request(message + b"more") == (target, len(message))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", 7),  # BIND
        (b"\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50", 7),  # UDP ASSOCIATE
        (b"\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x50", 8),
        (b"\x05\x01\x01\x01\x7f\x00\x00\x01\x00\x50", 8),
        (b"\x05\x01\x00\x03\x02\xc3\xa4\x00\x50", 8),
    ],
)
def test_a_request_for_something_else_is_refused(message: bytes, code: int) -> None:
    with pytest.raises(SocksError) as caught:
        socks.read_request(message)

    assert caught.value.answer == bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (socks.read_greeting, b"\x05\x02\x00\x02"),
        (socks.read_login, b"\x01\x04jira\x07dry-run"),
        (socks.read_request, b"\x05\x01\x00\x03\x04host\x01\xbb"),
        (socks.read_request, b"\x05\x01\x00\x04" + bytes(16) + b"\x01\xbb"),
    ],
)
def test_a_message_can_come_in_pieces(read: Callable[[bytes], object], message: bytes) -> None:
    for length in range(1, len(message)):
        assert read(message[:length]) is None
    assert read(message) is not None


def test_another_version_is_refused_at_once() -> None:
    for read in (socks.read_login, socks.read_request):
        with pytest.raises(SocksError) as caught:
            read(b"\x04\x01")
        assert caught.value.answer == b""
