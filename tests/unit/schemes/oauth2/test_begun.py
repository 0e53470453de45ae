"""The words of a redirect that brings no code."""

import pytest

from atl_sign.base.errors import DanceRefusedError, ProviderRefusedError
from atl_sign.schemes.oauth2.begun import refusal_of
from tests.oauth2_links import make_link


def test_only_the_user_refuses_access() -> None:
    """RFC 6749 §4.1.2.1."""
    error = refusal_of(make_link(), "access_denied")

    assert isinstance(error, DanceRefusedError)
    assert error.hint == "atl-sign dance app"


@pytest.mark.parametrize(
    ("word", "words", "hint"),
    [
        ("invalid_scope", "does not have the scopes", "atl-sign link setup app"),
        ("redirect_uri_mismatch", "registered with another redirect address", "atl-sign link setup app"),
        ("unauthorized_client", "may not ask for this consent", "atl-sign link setup app"),
        ("temporarily_unavailable", "is not available at the moment", "atl-sign dance app"),
        ("server_error", "the provider failed", "atl-sign dance app"),
        ("interaction_required", "refuses this consent", "atl-sign dance app"),
    ],
)
def test_a_word_is_explained_and_shown(word: str, words: str, hint: str) -> None:
    error = refusal_of(make_link(), word)

    assert isinstance(error, ProviderRefusedError)
    assert words in error.message
    assert error.message.endswith(f" ({word})")
    assert (error.hint or "").startswith(hint)
    assert error.problem == word
    assert not error.ends_grant


@pytest.mark.parametrize("word", ["", " ", "<b>", "a b", "Access_Denied", "a\nb", "\u202ex", "é", "x" * 65, "canary'\"="])
def test_what_is_no_word_is_not_repeated(word: str) -> None:
    """Whatever an address says ends on a page and in a terminal."""
    error = refusal_of(make_link(), word)

    assert isinstance(error, ProviderRefusedError)
    assert error.message == "link app: the provider refuses this consent"
    assert error.problem is None
