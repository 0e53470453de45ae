"""Refreshes at a token endpoint that misbehaves: what signers see, before and after the access token's end, and afterwards."""

import base64
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atl_sign.agent.build import make_agent
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import (
    DaemonError,
    DanceNeededError,
    ProviderBusyError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from atl_sign.config.file import ConfigFile
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.safe import Safe
from atl_sign.grants import renewal
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, sign
from tests.agent_machine import Machine
from tests.audit_lab import make_audit
from tests.lab import wait_for
from tests.strange_server import (
    ACCESS,
    CLIENT_ID,
    REFRESH,
    SECRET,
    Asked,
    StrangeServer,
    as_json,
    back_from,
    refusal,
    reset,
    settings_of,
    tokens,
)
from tests.token_answers import DEAD, FAILURES, ODDITIES
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import reply

LIFE_S = 3600.0
NEW_ACCESS, NEW_REFRESH = "canary-access-2", "canary-refresh-2"
NEW = tokens(access_token=NEW_ACCESS, refresh_token=NEW_REFRESH)
OLD_HEADER, NEW_HEADER = f"Bearer {ACCESS}", f"Bearer {NEW_ACCESS}"


class World(Machine):
    """A machine with the link `app`, whose authorization server says what a test wants."""

    def __init__(self, folder: Path, server: StrangeServer) -> None:
        super().__init__(folder)
        self.server = server
        self.put("app", settings_of(server), SECRET)
        server.answer("/token", tokens())
        self.dance("app", back_from)
        server.requests.clear()

    def sign(self) -> str:
        return self.header(f"{self.server.url}/api/x")

    def refreshes(self) -> list[str]:
        """Return the refresh token of each request that came since the dance."""
        asked = [each.fields for each in self.server.asked("/token")]
        assert {each["grant_type"] for each in asked} <= {"refresh_token"}
        return [each["refresh_token"] for each in asked]

    def fail(self) -> DaemonError:
        """Ask for a signature that there is none of; returns the error, in which no secret stands."""
        with pytest.raises(DaemonError) as caught:
            self.sign()
        assert "canary" not in everything_shown(caught.value)
        return caught.value


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(renewal, "DRAIN_S", 0.0)
    with StrangeServer() as server:
        yield World(tmp_path, server)


def test_a_refresh_takes_place_in_the_last_tenth(world: World) -> None:
    """RFC 6749 §6: the refresh token, and the app's secret where it belongs; the new pair is stored."""
    world.now += 0.9 * LIFE_S - 1
    assert world.sign() == OLD_HEADER
    assert world.refreshes() == []
    world.server.answer("/token", NEW)

    world.now += 2
    assert world.sign() == NEW_HEADER

    (asked,) = world.server.asked("/token")
    redirect_uri = asked.fields["redirect_uri"]  # which GitLab wants to see again, and RFC 6749 §3.2 has others ignore
    assert asked.fields == {"grant_type": "refresh_token", "refresh_token": REFRESH, "redirect_uri": redirect_uri}
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT_ID}:{SECRET}"
    stored = world.stored("token:app")
    assert stored is not None
    assert (stored["access_token"], stored["refresh_token"], stored["is_in_doubt"]) == (NEW_ACCESS, NEW_REFRESH, False)
    world.restart()
    assert world.sign() == NEW_HEADER


@pytest.mark.parametrize("name", FAILURES)
def test_a_refresh_that_fails_stops_nobody_while_the_access_token_lives(name: str, world: World) -> None:
    """The old one signs on and nothing is marked; only for a dead refresh token is a dance needed. Then all goes on."""
    failure = FAILURES[name]
    world.now += 0.9 * LIFE_S + 1
    world.server.answer("/token", failure.answer)

    if failure.is_dead:
        error = world.fail()
        assert (error.code, error.hint) == ("dance_needed", "atl-sign dance app")
        assert DEAD in error.message
    else:
        assert [world.sign() for _ in range(3)] == [OLD_HEADER] * 3

    # Facts oauth2.md section 11: once more with the same refresh token where the answer may have been lost, else not.
    assert world.refreshes() == [REFRESH] * (2 if failure.code == "provider_unreachable" else 1)
    stored = world.stored("token:app")
    assert stored is not None
    assert (stored["access_token"], stored["refresh_token"]) == (ACCESS, REFRESH)
    world.try_again_at_once()
    world.server.answer("/token", NEW)
    assert world.sign() == NEW_HEADER


@pytest.mark.parametrize("name", FAILURES)
def test_a_refresh_that_fails_is_the_error_after_the_end(name: str, world: World) -> None:
    """With words and a hint of its own; a restart and a better answer heal everything."""
    failure = FAILURES[name]
    world.now += LIFE_S + 1
    world.server.answer("/token", failure.answer)

    error = world.fail()

    assert error.code == ("dance_needed" if failure.is_dead else failure.code)
    assert (DEAD if failure.is_dead else failure.words) in f"{error.message}\n{error.hint}"
    assert error.hint
    world.restart()
    assert world.stored("token:app") is not None
    world.server.answer("/token", NEW)
    assert world.sign() == NEW_HEADER
    assert set(world.refreshes()) == {REFRESH}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_odd_answer_with_tokens_is_taken(name: str, world: World) -> None:
    """As in a dance."""
    world.server.answer("/token", ODDITIES[name].answer)
    world.now += LIFE_S + 1

    assert world.sign() == OLD_HEADER  # the table's token has the same letters

    assert world.refreshes() == [REFRESH]
    world.now += 600
    assert world.sign() == OLD_HEADER
    assert world.refreshes() == [REFRESH]


@pytest.mark.parametrize("before_end", [True, False])
def test_a_lost_answer_is_asked_for_once_more(before_end: bool, world: World) -> None:
    """With the same refresh token, at once: by then the first may have been used (Cloud, Bitbucket), or never have come."""
    world.now += 0.9 * LIFE_S + 1 if before_end else LIFE_S + 1
    world.server.answer("/token", reset, NEW)

    assert world.sign() == NEW_HEADER

    assert world.refreshes() == [REFRESH, REFRESH]
    assert world.stored("token:app")["is_in_doubt"] is False  # type: ignore[index]


def test_an_answer_that_is_lost_twice_leaves_the_matter_open(world: World) -> None:
    """If the provider says later that the token is dead, the message says why that may be."""
    world.now += LIFE_S + 1
    world.server.answer("/token", reset)
    assert isinstance(world.fail(), ProviderUnreachableError)
    world.try_again_at_once()
    world.server.answer("/token", refusal("invalid_grant"))

    error = world.fail()

    assert isinstance(error, DanceNeededError)
    assert "was lost in a renewal that was cut off" in error.message
    assert world.refreshes() == [REFRESH] * 3


def test_a_slow_refresh_takes_the_links_time_twice_at_most(world: World) -> None:
    """And no longer, whoever waits."""
    world.put("app", settings_of(world.server, timeout_s=1), None)
    world.now += LIFE_S + 1
    world.server.answer("/token", world.server.hang)

    error = world.fail()

    assert isinstance(error, ProviderUnreachableError)
    assert "no whole answer within 1 s" in error.message
    assert world.refreshes() == [REFRESH] * 2


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_takes_no_secret_elsewhere(status: int, world: World) -> None:
    """The other host hears nothing; the error says where to look."""
    world.now += LIFE_S + 1
    with StrangeServer() as other:
        other.answer("/token", NEW)
        world.server.answer("/token", reply("", status, {"Location": f"{other.url}/token"}))

        error = world.fail()

        assert other.connections == 0
    assert isinstance(error, ProviderRefusedError)
    assert "redirects" in error.message
    assert (error.hint or "").startswith("atl-sign link show app")


@pytest.mark.parametrize("given", [..., None])
def test_an_answer_without_a_refresh_token_keeps_the_old_one(given: object, world: World) -> None:
    """RFC 6749 §6: it may be left out; the next refresh is made with the one that is known."""
    world.server.answer("/token", tokens(access_token=NEW_ACCESS, refresh_token=given), NEW)

    world.now += LIFE_S + 1
    assert world.sign() == NEW_HEADER
    stored = world.stored("token:app")
    assert stored is not None
    assert (stored["refresh_token"], stored["refresh_token_before"]) == (REFRESH, None)
    world.now += LIFE_S + 1
    world.sign()

    assert world.refreshes() == [REFRESH, REFRESH]


def test_a_rotated_refresh_token_is_the_next_one(world: World) -> None:
    """Each is used once; the one before stays beside it in the store, and scopes stay when nothing is said of them."""
    world.server.answer("/token", tokens(access_token=NEW_ACCESS, refresh_token=NEW_REFRESH, scope=...), tokens())

    for _ in range(2):
        world.now += LIFE_S + 1
        world.sign()

    assert world.refreshes() == [REFRESH, NEW_REFRESH]
    stored = world.stored("token:app")
    assert stored is not None
    assert (stored["refresh_token"], stored["refresh_token_before"], stored["scopes"]) == (REFRESH, NEW_REFRESH, "read")


def test_a_wrong_secret_does_not_end_the_grant(world: World) -> None:
    """The access token serves to its end, then the hint names the secret; with the right one no dance is needed, at once."""
    world.server.answer("/token", refusal("invalid_client", 401))
    world.now += 0.9 * LIFE_S + 1
    assert [world.sign() for _ in range(2)] == [OLD_HEADER] * 2
    assert world.refreshes() == [REFRESH]
    world.now += LIFE_S
    world.try_again_at_once()
    error = world.fail()
    assert isinstance(error, ProviderRefusedError)
    assert "atl-sign link secret app" in (error.hint or "")
    assert not error.ends_grant

    world.server.answer("/token", NEW)
    world.agent.links.put_secret(CALLER, "app", Secret("canary-better-secret"))

    assert world.sign() == NEW_HEADER
    sent = world.server.asked("/token")[-1].headers["authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == f"{CLIENT_ID}:canary-better-secret"


def test_a_setting_that_is_put_right_counts_at_once(world: World) -> None:
    """The way to the token endpoint was wrong: a link that is put anew need not wait for a minute."""
    world.put("app", settings_of(world.server, client_auth="none"), None)
    world.server.answer("/token", refusal("invalid_client", 401))
    world.now += LIFE_S + 1
    world.fail()

    world.server.answer("/token", NEW)
    world.put("app", settings_of(world.server, client_auth="body"), None)

    assert world.sign() == NEW_HEADER
    assert world.server.asked("/token")[-1].fields["client_secret"] == SECRET


def test_nothing_is_marked_dead_for_ever(world: World) -> None:
    """atlassian/atlascode#1907: a proxy's hiccup must not force a login; the refresh token that was refused is tried again."""
    world.server.answer("/token", refusal("invalid_grant", 401))
    world.now += LIFE_S + 1
    for _ in range(3):
        assert isinstance(world.fail(), DanceNeededError)
    assert world.refreshes() == [REFRESH]  # within a minute nobody asks again

    world.try_again_at_once()
    world.server.answer("/token", NEW)

    assert world.sign() == NEW_HEADER
    assert world.refreshes() == [REFRESH, REFRESH]


def test_a_dance_heals_a_dead_grant_at_once(world: World) -> None:
    """Its hint works when pasted."""
    world.server.answer("/token", refusal("invalid_grant"))
    world.now += LIFE_S + 1
    assert world.fail().hint == "atl-sign dance app"
    world.server.answer("/token", NEW)

    world.dance("app", back_from)

    assert world.sign() == NEW_HEADER


def test_a_dance_that_brings_the_same_access_token_heals_too(world: World) -> None:
    """Doorkeeper's reuse_access_token, say: the renewal that failed belongs to the grant before."""
    world.server.answer("/token", refusal("invalid_grant"))
    world.now += 0.9 * LIFE_S + 1
    world.fail()
    world.server.answer("/token", tokens(refresh_token=NEW_REFRESH, expires_in=300))
    world.dance("app", back_from)
    world.now += 299

    world.server.answer("/token", NEW)

    assert world.sign() == NEW_HEADER
    assert world.server.asked("/token")[-1].fields["refresh_token"] == NEW_REFRESH


def test_a_provider_that_asks_for_patience_gets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks it again before Retry-After is over, after the end neither; then it is asked."""
    monkeypatch.setattr(renewal, "RETRY_S", 0.0)
    monkeypatch.setattr(renewal, "RETRY_EXPIRED_S", 0.0)
    world.now += LIFE_S + 1
    world.server.answer("/token", as_json({"error": "rate_limited"}, 429, **{"Retry-After": "1"}), NEW)

    for _ in range(3):
        error = world.fail()
        assert isinstance(error, ProviderBusyError)
        assert (error.retry_after_s, error.hint) == (1, "try again in 1 s")
    assert world.refreshes() == [REFRESH]

    wait_for(lambda: _signs(world))
    assert world.refreshes() == [REFRESH, REFRESH]


def _signs(world: World) -> bool:
    try:
        return world.sign() == NEW_HEADER
    except ProviderBusyError:
        return False


def test_a_token_without_an_end_is_renewed_all_the_same(world: World) -> None:
    """RFC 6749 §5.1 lets a provider keep silent about the end: the refresh token is used before anybody meets a refusal."""
    world.server.answer("/token", tokens(expires_in=...))
    world.dance("app", back_from)
    world.server.requests.clear()
    world.server.answer("/token", NEW)
    assert world.sign() == OLD_HEADER

    world.now += LIFE_S + 1

    assert world.sign() == NEW_HEADER
    assert world.refreshes() == [REFRESH]


def test_a_token_without_end_and_refresh_token_is_used_as_it_is(world: World) -> None:
    """GitHub's OAuth apps (facts oauth2.md section 8.1): it lives until it is revoked."""
    world.server.answer("/token", tokens(expires_in=..., refresh_token=...))
    world.dance("app", back_from)
    world.server.requests.clear()

    world.now += 300 * 86_400

    assert world.sign() == OLD_HEADER
    assert world.server.requests == []


def test_a_token_without_refresh_token_needs_a_dance_after_its_end(world: World) -> None:
    """Not before it."""
    world.server.answer("/token", tokens(refresh_token=...))
    world.dance("app", back_from)
    world.now += LIFE_S - 1
    assert world.sign() == OLD_HEADER

    world.now += 2
    error = world.fail()

    assert isinstance(error, DanceNeededError)
    assert error.hint == "atl-sign dance app"
    assert "has expired" in error.message


def test_another_daemon_waits_for_a_renewal_that_is_tried_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not spend the refresh token beside the first one, which takes longer than one exchange may."""
    monkeypatch.setattr(renewal, "_NEIGHBOURS_S", 0.2)
    world.put("app", settings_of(world.server, timeout_s=1), None)

    def answer_late(connection: socket.socket, asked: Asked) -> None:
        time.sleep(0.5)
        connection.sendall(NEW)

    world.server.answer("/token", world.server.hang, answer_late)
    config = ConfigFile(world.folder / "config.toml", SCHEME_SETTINGS)
    agents = [
        make_agent(config, Safe(world.store, Neighbours(world.folder / "state")), Dances(), make_audit(), clock=world.clock)
        for _ in range(2)
    ]
    url = f"{world.server.url}/api/x"
    for agent in agents:
        assert sign(agent, "GET", url)[0] == OLD_HEADER
    world.now += LIFE_S + 1

    with ThreadPoolExecutor(2) as pool:
        headers = [each.result()[0] for each in [pool.submit(sign, agent, "GET", url) for agent in agents]]

    assert headers == [NEW_HEADER] * 2
    assert world.refreshes() == [REFRESH] * 2


def test_tokens_of_6_kb_are_renewed(world: World) -> None:
    """Bitbucket Cloud's exceed 2,500 characters (facts oauth2.md section 4); each goes out and comes back whole."""
    for letter in "abc":
        world.server.answer("/token", tokens(access_token=letter * 6_000, refresh_token=f"refresh-{letter * 6_000}"))
        world.now += LIFE_S + 1
        assert world.sign() == f"Bearer {letter * 6_000}"
        world.restart()
        assert world.sign() == f"Bearer {letter * 6_000}"

    assert world.refreshes() == [REFRESH, f"refresh-{'a' * 6_000}", f"refresh-{'b' * 6_000}"]


@pytest.mark.parametrize("life_s", [0.5, 1, 30, 10**15])
def test_a_strange_life_is_lived(life_s: float, world: World) -> None:
    """Neither a refresh for each signature, nor an error."""
    world.server.answer("/token", tokens(expires_in=life_s, access_token=NEW_ACCESS))
    world.now += LIFE_S + 1

    for _ in range(3):
        assert world.sign() == NEW_HEADER

    assert world.refreshes() == [REFRESH]
