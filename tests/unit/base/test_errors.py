"""Errors: what programs match on stays as the contract has it, and nothing is raised without a code."""

import pytest

from atl_sign.base import errors
from atl_sign.base.errors import BadFieldsError, DaemonError, ProviderRefusedError, StoreLockedError

# The HTTP contract's codes and their statuses; programs match on them, so none may change.
CONTRACT = {
    "bad_request": 400,
    "bad_url": 400,
    "path_ambiguous": 400,
    "bad_rule": 400,
    "too_large": 413,
    "not_found": 404,
    "method_not_allowed": 405,
    "unknown_link": 404,
    "ambiguous_link": 409,
    "link_exists": 409,
    "dance_needed": 409,
    "unknown_dance": 404,
    "dance_refused": 409,
    "dance_expired": 409,
    "key_exists": 409,
    "key_missing": 409,
    "key_locked": 423,
    "key_unavailable": 503,
    "app_missing": 409,
    "config_broken": 503,
    "config_unwritable": 503,
    "store_locked": 423,
    "administrators_link": 409,
    "bad_link_file": 422,
    "store_unavailable": 503,
    "keyring_missing": 503,
    "audit_unavailable": 503,
    "wrong_passphrase": 403,
    "too_many_tries": 429,
    "store_missing": 428,
    "passphrase_needed": 423,
    "store_exists": 409,
    "store_conflict": 409,
    "store_newer": 409,
    "provider_refused": 502,
    "provider_unreachable": 502,
    "provider_busy": 503,
    "internal": 500,
}


def _leaves() -> list[type[DaemonError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, DaemonError) and value is not DaemonError
    ]


def test_every_code_of_the_contract_has_its_status() -> None:
    """Each code is there with its status, and there is no code that the contract does not know."""
    assert {leaf.code: leaf.status for leaf in _leaves() if leaf is not BadFieldsError} == CONTRACT


def test_a_code_belongs_to_one_error_alone() -> None:
    """Only unreadable fields share a code, with the rest of what cannot be read, under a status of their own."""
    codes = [leaf.code for leaf in _leaves() if leaf is not BadFieldsError]

    assert len(codes) == len(set(codes))
    assert (BadFieldsError.code, BadFieldsError.status) == ("bad_request", 422)


def test_the_base_has_no_code() -> None:
    """Raised itself it could not be told to a peer."""
    assert not hasattr(DaemonError, "code")
    assert not hasattr(DaemonError, "status")


@pytest.mark.parametrize("leaf", _leaves(), ids=lambda leaf: leaf.__name__)
def test_every_error_says_in_a_sentence_what_it_stands_for(leaf: type[DaemonError]) -> None:
    """The docstring ends in a full stop, the name in Error."""
    assert leaf.__name__.endswith("Error")
    assert leaf.__doc__ is not None
    assert leaf.__doc__.strip().endswith(".")


def test_an_error_keeps_its_message_and_hint() -> None:
    """Both are there to be shown; the exception's text is the message alone."""
    error = StoreLockedError("the keyring is locked", "unlock it")

    assert (error.message, error.hint, str(error)) == ("the keyring is locked", "unlock it", "the keyring is locked")


def test_an_error_has_no_hint_unless_it_is_given_one() -> None:
    """No hint is None, not an empty text."""
    assert StoreLockedError("the keyring is locked").hint is None


def test_a_refusal_of_the_provider_carries_its_own_word() -> None:
    """The oauth_problem is for programs; without one it is None."""
    assert ProviderRefusedError("no", problem="token_rejected").problem == "token_rejected"
    assert ProviderRefusedError("no", "hint").problem is None
