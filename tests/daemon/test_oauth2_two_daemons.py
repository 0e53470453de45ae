"""Two daemons with one store and one grant of OAuth 2.0: one refresh for both, and neither loses what the other got."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.fork_server import ForkServer
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon
from tests.oauth2_daemon import LinkedProvider, access_of, linked_provider

pytestmark = pytest.mark.slow

LIFE_S = 3.0
CREDENTIAL = "atl-sign-store-key"


@pytest.fixture
def provider() -> Iterator[LinkedProvider]:
    """A Data Center, whose old pair dies at once."""
    with linked_provider("datacenter") as provider:
        yield provider


@pytest.fixture(params=["file", "secret-service"])
def pair(request: pytest.FixtureRequest, fork_server: ForkServer) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons at two sockets, with one configuration and one store."""
    with KeyringLab() as keyring:
        older = Daemon(fork_server, ATL_SIGN_STORE=request.param, **keyring.env)
        (older.folder / CREDENTIAL).write_text("passphrase\n")
        older.environment["CREDENTIALS_DIRECTORY"] = str(older.folder)
        newer = Daemon(fork_server)
        newer.environment = {**older.environment, "XDG_RUNTIME_DIR": str(newer.folder / "run")}
        newer.config = older.config
        try:
            older.start()
            newer.start()
            yield older, newer
        finally:
            older.close()
            newer.close()


@pytest.mark.alone  # a header that is sent two seconds late is for the token before
def test_one_refresh_a_period(pair: tuple[Daemon, Daemon], provider: LinkedProvider) -> None:
    """For fifteen seconds with tokens of three: no header is refused, none is lost, and no refresh token is used twice."""
    provider.add_to(pair[0])
    provider.server.access_token_life_s = LIFE_S
    provider.dance(pair[0])
    failures: list[str] = []
    given: set[str] = set()

    def use(daemon: Daemon) -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            reply = provider.sign(daemon)
            if reply.status != 200:
                failures.append(reply.text)
                continue
            given.add(access_of(reply))
            status = provider.send(reply)
            if status != 200:
                failures.append(f"{status}")
            time.sleep(0.1)

    threads = [threading.Thread(target=use, args=(daemon,)) for daemon in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    asked = provider.token_requests()
    assert failures == []
    assert {each.status for each in asked} == {200}
    assert provider.server.refreshes == len(asked) - 1  # the first is the dance's
    assert 3 <= provider.server.refreshes <= 15 / (LIFE_S / 2) + 1
    assert len(given) in (provider.server.refreshes, provider.server.refreshes + 1)


def test_a_dance_at_one_holds_for_both(pair: tuple[Daemon, Daemon], provider: LinkedProvider) -> None:
    """At the next request, also when the other one has the grant before in memory."""
    older, newer = pair
    provider.add_to(older)
    provider.dance(older)
    first = access_of(provider.sign(newer))

    provider.dance(newer)

    second = access_of(provider.sign(older))
    assert second == access_of(provider.sign(newer)) != first
    assert provider.send(provider.sign(older)) == 200
    assert provider.server.refreshes == 0


def test_a_logout_at_one_holds_for_both(pair: tuple[Daemon, Daemon], provider: LinkedProvider) -> None:
    """The other one gives no header any more, and does not write its own copy back."""
    older, newer = pair
    provider.add_to(older)
    provider.dance(older)
    header = provider.sign(newer)
    assert provider.send(header) == 200

    assert older.request("DELETE", "/links/app/token").json["is_revoked"] is True

    assert provider.sign(newer).code == "dance_needed"
    assert provider.send(header) != 200
    newer.stop()
    newer.start()
    assert provider.sign(newer).code == "dance_needed"
    provider.dance(newer)
    assert provider.send(provider.sign(older)) == 200


def test_a_dance_at_one_during_a_refresh_of_the_other(pair: tuple[Daemon, Daemon], provider: LinkedProvider) -> None:
    """The newer consent wins, whichever comes to the store last."""
    older, newer = pair
    provider.add_to(older)
    provider.server.access_token_life_s = 2.0
    provider.dance(older)
    time.sleep(2.1)
    provider.server.access_token_life_s = 3600.0
    provider.server.faults.delay_s = 2.0
    replies: list[int] = []
    refreshing = threading.Thread(target=lambda: replies.append(provider.sign(older).status))
    refreshing.start()
    time.sleep(0.5)

    provider.dance(newer)
    refreshing.join()

    assert replies == [200]
    assert access_of(provider.sign(older)) == access_of(provider.sign(newer))
    grant = provider.server.find_access(access_of(provider.sign(older)))
    assert grant is not None
    assert grant.grant is provider.server.grants[-1]
    assert provider.send(provider.sign(newer)) == 200


@pytest.mark.parametrize("kind", ["datacenter", "atlassian-cloud"])
def test_one_that_is_killed_in_a_refresh_leaves_word(pair: tuple[Daemon, Daemon], kind: str) -> None:
    """Its note in the store tells the other one that the token is not revoked but lost; a Cloud's is asked for once more."""
    older, newer = pair
    with linked_provider(kind) as provider:
        kill_in_refresh(older, newer, provider)

        reply = provider.sign(newer)

        if provider.server.leeway_s:
            assert provider.send(reply) == 200
            return
        assert reply.code == "dance_needed"
        assert "was lost in a renewal that was cut off" in reply.message
        provider.dance(newer)
        assert provider.send(provider.sign(newer)) == 200


def kill_in_refresh(older: Daemon, newer: Daemon, provider: LinkedProvider) -> None:
    """Kill *older* when the provider has replaced the token that both have in memory."""
    provider.add_to(older)
    provider.server.access_token_life_s = 2.0
    provider.dance(older)
    assert provider.sign(newer).status == 200
    time.sleep(2.1)
    refresh = provider.server.refresh

    def refresh_and_kill(token: object) -> object:
        issued = refresh(token)  # type: ignore[arg-type]
        assert older.process is not None
        older.process.kill()
        return issued

    provider.server.refresh = refresh_and_kill  # type: ignore[method-assign,assignment]
    with pytest.raises(OSError):  # noqa: PT011 - the connection ends somehow
        provider.sign(older)
    provider.server.refresh = refresh  # type: ignore[method-assign]
