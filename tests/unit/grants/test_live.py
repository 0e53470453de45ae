"""A link's live credentials when somebody has replaced them."""

from dataclasses import replace

import pytest

from atl_sign.base.credentials import Credentials, Grant, Secret
from atl_sign.config.links import OwnSettings
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.live import Grants
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifests
from atl_sign.schemes.registry import SCHEMES
from atl_sign.schemes.static import StaticToken
from tests.unit.provider_lab import make_link

LINK = replace(make_link("http://127.0.0.1/jira"), scheme="bearer", own=OwnSettings())


def grant(secret: str, user: str | None) -> Grant:
    return Grant(StaticToken(Secret(secret)), user=user)


@pytest.mark.parametrize(
    ("kept", "is_taken"),
    [
        (grant("new-token", "alice"), True),
        (grant("new-token", None), True),  # whose it is is not known yet
        (grant("old-token", "alice"), False),
        (grant("new-token", "bob"), False),
        (None, False),
    ],
)
def test_a_refused_grant_is_replaced_by_another_of_the_same_user(kept: Grant | None, is_taken: bool) -> None:
    """A request of alice's is not sent as bob, who has danced meanwhile."""
    safe = Safe(MemoryStore())
    live = Grants(safe, SCHEMES, Clocks(), Manifests(), on_renewal=lambda link, outcome: None).of(LINK)
    if kept is not None:
        safe.put_token(LINK, kept)

    found = live._find_renewed(Credentials(None, grant("old-token", "alice")))

    assert (found is not None and found.grant is not None and kept is not None and found.grant.is_same_as(kept)) is is_taken
