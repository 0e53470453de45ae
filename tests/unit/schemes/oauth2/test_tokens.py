"""The material of a grant: when it is renewed, and how it is kept."""

from datetime import UTC, datetime, timedelta

import pytest

from atl_sign.base.credentials import Credentials, Grant, Secret
from atl_sign.schemes.oauth2.tokens import RENEW_AFTER, OAuth2Tokens, dump_grant, load_grant, make_grant, tokens_of

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
TOKENS = OAuth2Tokens(Secret("canary-access"), Secret("canary-refresh"))


@pytest.mark.parametrize(
    ("lifetime_s", "renewed_after_s"),
    [
        (3600, 3240),  # a tenth of its life is left (facts oauth2.md section 12)
        (28_800, 25_920),
        (300, 240),  # a minute is, at least
        (60, 30),  # but half of it is lived in any case
        (1, 0.5),
        (10 * 365 * 86_400, 9 * 365 * 86_400),
    ],
)
def test_a_token_is_renewed_ahead_of_its_end(lifetime_s: float, renewed_after_s: float) -> None:
    """Counted from before the request, since the provider began to count later."""
    grant = make_grant(TOKENS, lifetime_s, NOW, "alice")

    assert grant.expires_at == NOW + timedelta(seconds=lifetime_s)
    assert grant.renew_at == NOW + timedelta(seconds=renewed_after_s)
    assert not grant.wants_renewal(NOW + timedelta(seconds=renewed_after_s - 0.1))
    assert grant.wants_renewal(NOW + timedelta(seconds=renewed_after_s))
    assert grant.user == "alice"


def test_a_token_whose_life_nobody_knows_is_renewed_now_and_then() -> None:
    """RFC 6749 §5.1: expires_in may be missing. It never counts as expired; without a refresh token it is left alone."""
    grant, alone = make_grant(TOKENS, None, NOW), make_grant(OAuth2Tokens(Secret("canary-access")), None, NOW)

    assert (grant.expires_at, alone.expires_at) == (None, None)
    assert not grant.wants_renewal(NOW + RENEW_AFTER - timedelta(seconds=1))
    assert grant.wants_renewal(NOW + RENEW_AFTER)
    later = NOW + timedelta(days=3650)
    assert not grant.is_expired(later)
    assert not alone.wants_renewal(later)


def test_everything_is_kept_and_nothing_is_shown() -> None:
    """As a store's item has it, which is JSON; repr has no token."""
    sites = {"https://a.atlassian.net": "1-2"}
    tokens = OAuth2Tokens(
        Secret("canary-a" * 750), Secret("canary-b" * 750), Secret("canary-c" * 750), ("b", "a"), "http://localhost:1/x", sites
    )
    grant = Grant(tokens, "alice", NOW, NOW - timedelta(hours=1), is_in_doubt=True)

    loaded = load_grant(dump_grant(grant))

    assert loaded == Grant(tokens_of(Credentials(None, loaded)), "alice", NOW, NOW - timedelta(hours=1), is_in_doubt=True)
    assert dump_grant(loaded) == dump_grant(grant)
    assert tokens_of(Credentials(None, loaded)).sites == sites
    assert "canary" not in repr(grant) + repr(loaded) + str(tokens)


def test_grants_are_the_same_by_their_access_token() -> None:
    """The refresh token may be the old one."""
    other = OAuth2Tokens(Secret("canary-access"), Secret("canary-other"), scopes=("a",))

    assert TOKENS.is_same_as(other)
    assert not TOKENS.is_same_as(OAuth2Tokens(Secret("canary-other"), Secret("canary-refresh")))


@pytest.mark.parametrize("sites", ["[]", "5", "null", '"x"'])
def test_an_item_of_another_shape_is_refused(sites: str) -> None:
    """By one of the errors that the store knows as such."""
    with pytest.raises((TypeError, ValueError)):
        load_grant({**dump_grant(make_grant(TOKENS, None, NOW)), "sites": sites})
