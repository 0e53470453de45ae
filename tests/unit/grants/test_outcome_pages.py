"""The page that a dance ends on: its command is the one that helps."""

import pytest

from atl_sign.base.errors import DaemonError, ProviderRefusedError, StoreLockedError
from atl_sign.grants.outcome_pages import make_error_page
from tests.unit.provider_lab import make_link

LINK = make_link("http://127.0.0.1/jira")
AGAIN = "atl-sign dance jira"


@pytest.mark.parametrize(
    ("error", "command", "message"),
    [
        (StoreLockedError("the store is locked", "atl-sign unlock"), "atl-sign unlock", f"Then sign in again: {AGAIN}"),
        (ProviderRefusedError("it refused", "ask the administrator"), AGAIN, "ask the administrator"),
        (ProviderRefusedError("it refused", AGAIN), AGAIN, AGAIN),
        (ProviderRefusedError("it refused"), AGAIN, "it refused."),
    ],
)
def test_the_command_of_a_failure(error: DaemonError, command: str, message: str) -> None:
    """A dance that is begun again before the cause is gone would end in the same way."""
    page = make_error_page(LINK, error)

    assert (page.command, page.message.splitlines()[-1], page.is_good) == (command, message, False)
