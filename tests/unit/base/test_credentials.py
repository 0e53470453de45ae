"""Credentials: a secret shows itself on no way but the one that asks for it."""

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from atl_sign.base.credentials import Grant, Secret
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken

CANARY = "canary-9f2c"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def _token(expires_at: datetime | None = None) -> Grant:
    return Grant(AccessToken(Secret(CANARY), Secret(CANARY), session_handle=Secret(CANARY)), expires_at=expires_at)


def test_reveal_gives_the_text() -> None:
    """The one way to the text."""
    assert Secret(CANARY).reveal() == CANARY


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        "{}".format,
        "{:>80}".format,
        "{!r}".format,
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - as logging formats
        lambda secret: f"{secret}",
        lambda secret: repr([secret]) + repr({"key": secret}),
        lambda secret: repr(AccessToken(secret, secret, session_handle=secret)),
        lambda secret: repr(RequestToken(secret, secret)),
    ],
)
def test_no_way_of_showing_shows_a_secret(show: Callable[[Secret], str]) -> None:
    """Nor does what holds it; it says that there is one."""
    shown = show(Secret(CANARY))

    assert CANARY not in shown
    assert "<secret>" in shown


def test_a_log_line_does_not_show_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Logging formats late, with the same words."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("token %s of %r", Secret(CANARY), _token())

    assert CANARY not in caplog.text
    assert "<secret>" in caplog.text


def test_a_failed_comparison_does_not_show_a_secret() -> None:
    """What pytest or a traceback would print of both sides."""
    with pytest.raises(AssertionError) as caught:
        assert _token() == _token(NOW)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, dataclasses.asdict])
def test_a_secret_is_not_copied_into_something_else(leak: Callable[[object], object]) -> None:
    """Each of these would carry the text away unseen."""
    subject = _token() if leak is dataclasses.asdict else Secret(CANARY)

    with pytest.raises(TypeError) as caught:
        leak(subject)

    assert CANARY not in str(caught.value)


def test_a_secret_has_no_dict() -> None:
    """So that vars() and debuggers that use it find nothing."""
    with pytest.raises(TypeError):
        vars(Secret(CANARY))


def test_a_secret_is_equal_to_itself_alone() -> None:
    """Comparing texts is hmac.compare_digest's work; == never looks at them."""
    secret = Secret(CANARY)
    others: list[object] = [Secret(CANARY), CANARY]

    assert secret == secret  # noqa: PLR0124 - the point
    assert secret not in others


@pytest.mark.parametrize(
    ("expires_at", "is_expired"),
    [
        (None, False),
        (NOW + timedelta(seconds=1), False),
        (NOW, True),
        (NOW - timedelta(seconds=1), True),
    ],
)
def test_a_token_expires_at_its_end_and_not_before(expires_at: datetime | None, is_expired: bool) -> None:
    """A token without an end does not expire."""
    assert _token(expires_at).is_expired(NOW) is is_expired


def test_with_user_changes_the_user_alone() -> None:
    """The token before stays as it was."""
    before = _token(NOW)

    after = before.with_user("alice")

    assert (before.user, after.user) == (None, "alice")
    assert after.expires_at == before.expires_at
    assert after.material is before.material


def test_credentials_do_not_change() -> None:
    """What was read from the store stays what it was."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        _token().user = "mallory"  # type: ignore[misc]  # the point
