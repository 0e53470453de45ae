"""Git's protocol out of the daemon."""

from datetime import UTC, datetime

from atl_sign.api.git import format_token
from atl_sign.base.credentials import GitToken, Secret

TOKEN = GitToken("name", Secret("canary"), "alice", "write", datetime.fromtimestamp(1_900_000_000, UTC))


def test_both_forms() -> None:
    """git-credential(1); what ends when."""
    assert format_token(TOKEN, can_authtype=False) == ["username=alice", "password=canary", "password_expiry_utc=1900000000"]
    assert format_token(TOKEN, can_authtype=True) == [
        "capability[]=authtype",
        "authtype=Bearer",
        "credential=canary",
        "ephemeral=1",
        "password_expiry_utc=1900000000",
    ]
