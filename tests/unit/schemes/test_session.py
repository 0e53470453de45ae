"""A session's requests when their credentials are replaced while one is on its way."""

from dataclasses import replace

import pytest

from atl_sign.base.credentials import Credentials, Grant, Secret
from atl_sign.base.errors import DanceNeededError
from atl_sign.providers.clocks import Clocks
from atl_sign.schemes.session import Session
from atl_sign.schemes.static import Bearer, StaticToken
from tests.unit.provider_lab import make_link
from tests.unit.raw_server import RawServer, header_of, reply

OLD, NEW = (Credentials(None, Grant(StaticToken(Secret(f"{name}-token")))) for name in ("old", "new"))
REFUSED, GOOD = reply("{}", 401, {"Content-Type": "application/json"}), reply("{}", headers={"Content-Type": "application/json"})


def open_session(server: RawServer, *found: Credentials | None) -> Session:
    """Return a session of the old credentials, which are replaced by each of *found* in turn."""
    waiting = iter(found)
    return Session(replace(make_link(server.url), scheme="bearer"), Bearer(), OLD, Clocks(), lambda _: next(waiting))


def tokens(server: RawServer) -> list[str]:
    return [(header_of(request, "Authorization") or "").removeprefix("Bearer ") for request in server.requests]


def test_a_refused_request_is_sent_again_with_what_took_the_credentials_place() -> None:
    """And so is every later one of the session, without another refusal."""
    with RawServer(REFUSED, GOOD, GOOD) as server:
        session = open_session(server, NEW)

        assert [session.send("GET", "/x").status, session.send("GET", "/y").status] == [200, 200]
        assert tokens(server) == ["old-token", "new-token", "new-token"]


@pytest.mark.parametrize(("found", "sent"), [([None], ["old-token"]), ([NEW], ["old-token", "new-token"])])
def test_a_refusal_stays_one(found: list[Credentials | None], sent: list[str]) -> None:
    """Where nothing took their place, and where that is refused, too: it is tried once."""
    with RawServer(REFUSED) as server:
        with pytest.raises(DanceNeededError):
            open_session(server, *found).send("GET", "/x")

        assert tokens(server) == sent
