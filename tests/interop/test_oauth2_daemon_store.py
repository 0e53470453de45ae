"""The daemon at OAuth 2.0 servers that others wrote: logout, restart, and two daemons with one store."""

import shutil
import signal
import threading
import time
from collections import Counter

import pytest

from tests.fork_server import ForkServer
from tests.interop.daemon_lab import By, FileDaemon, ForeignLink, add_link, refreshes, run, wait_for_end, who_is
from tests.interop.oauth2_servers import ForeignServer, Kind, OidcProvider
from tests.interop.our_client import DEAD, OurClient, knows_alice
from tests.lab import Daemon, wait_for

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs


@pytest.mark.parametrize(("kind", "by"), [("basic", "issuer"), ("post", "hand"), ("public", "issuer")])
def test_logout(server: ForeignServer, file_daemon: FileDaemon, kind: Kind, by: By) -> None:
    """Both tokens are dead at the server, and gone from the store."""
    link = add_link(file_daemon, server, kind, by)
    link.dance()
    header, tokens = link.fetch_header(), file_daemon.read_tokens()
    assert who_is(server, header) == "alice"

    reply = file_daemon.request("DELETE", "/links/app/token")

    assert (reply.status, reply.json["is_revoked"]) == (200, True), reply.text
    assert who_is(server, header) == ""
    assert OurClient(server, kind).refresh(tokens) == DEAD
    assert file_daemon.read_grant() is None
    assert link.sign().code == "dance_needed"


def test_logout_that_keeps_the_grant(server: ForeignServer, file_daemon: FileDaemon) -> None:
    """The twin: the server is not asked, and both tokens still work there."""
    link = add_link(file_daemon, server)
    link.dance()
    header, tokens = link.fetch_header(), file_daemon.read_tokens()

    reply = file_daemon.request("DELETE", "/links/app/token?keep_grant=true")

    assert (reply.status, reply.json["is_revoked"]) == (200, False), reply.text
    assert who_is(server, header) == "alice"
    assert knows_alice(server, OurClient(server).refresh(tokens))
    assert file_daemon.read_grant() is None
    assert link.sign().code == "dance_needed"


@pytest.mark.parametrize("reason", ["no address", "wrong secret"])
def test_logout_that_cannot_revoke(server: ForeignServer, file_daemon: FileDaemon, reason: str) -> None:
    """It says that the server has not revoked the token, which still works there; here it is forgotten."""
    link = (
        add_link(file_daemon, server, by="hand")
        if reason == "wrong secret"
        else add_link(file_daemon, server, by="hand", revoke_url=None)
    )
    link.dance()
    header = link.fetch_header()
    if reason == "wrong secret":
        file_daemon.request("PUT", "/links/app/secret", {"secret": "wrong"})

    reply = file_daemon.request("DELETE", "/links/app/token")

    assert (reply.status, reply.json["is_revoked"]) == (200, False), reply.text
    assert who_is(server, header) == "alice"
    assert file_daemon.read_grant() is None
    assert link.sign().code == "dance_needed"


def test_logout_in_the_terminal(server: ForeignServer, daemon: Daemon) -> None:
    link = add_link(daemon, server)
    for option, is_dead in (("", True), (" --keep-grant", False)):
        link.dance()
        header = link.fetch_header()

        done = run(daemon, f"atl-sign logout app{option}")

        assert done.returncode == 0, done.stderr
        assert ("to revoke it at the provider" in done.stdout) != is_dead
        assert (who_is(server, header) == "") == is_dead


def test_logout_after_the_end_of_the_access_token(short: ForeignServer, file_daemon: FileDaemon) -> None:
    """The refresh token is revoked all the same."""
    link = add_link(file_daemon, short)
    link.dance()
    tokens, header = file_daemon.read_tokens(), link.fetch_header()
    wait_for_end(short, header)

    assert file_daemon.request("DELETE", "/links/app/token").json["is_revoked"] is True

    assert OurClient(short).refresh(tokens) == DEAD


def test_logout_from_a_server_that_is_gone(server: ForeignServer, file_daemon: FileDaemon) -> None:
    """The token is forgotten here; nothing says that it was revoked."""
    with type(server)() as gone:
        link = add_link(file_daemon, gone)
        link.dance()

    reply = file_daemon.request("DELETE", "/links/app/token")

    assert (reply.status, reply.json["is_revoked"]) == (200, False), reply.text
    assert file_daemon.read_grant() is None


def test_restart(short: ForeignServer, file_daemon: FileDaemon) -> None:
    """The grant is kept; the next daemon signs with it, refreshes it, and the one after that signs with what came of it."""
    link = add_link(file_daemon, short)
    link.dance()
    header = link.fetch_header()
    file_daemon.stop()
    file_daemon.start()
    assert link.read_token()["user"] == "alice"
    wait_for_end(short, header)

    assert link.use() == "alice"
    file_daemon.stop()
    file_daemon.start()
    assert link.use() == "alice"
    assert link.check().json["user"] == "alice"

    assert refreshes(short)[0] == "ok"
    assert set(refreshes(short)) == {"ok"}


def test_restart_without_a_store(server: ForeignServer, daemon: Daemon) -> None:
    """The twin: what was only in memory is gone."""
    link = add_link(daemon, server)
    link.dance()
    daemon.stop()
    daemon.start()

    assert link.sign().code == "dance_needed"


def test_killed_after_a_refresh(short: ForeignServer, file_daemon: FileDaemon) -> None:
    """The first program that gets the new token kills the daemon: the token is in the store already."""
    link = add_link(file_daemon, short)
    link.dance()
    for _ in range(3):
        wait_for_another(link)
        file_daemon.stop(signal.SIGKILL)
        file_daemon.start()

        assert link.use() == "alice"

    assert set(refreshes(short)) == {"ok"}


def wait_for_another(link: ForeignLink) -> None:
    """Return when the daemon gives another token than now."""
    before = link.fetch_header()
    wait_for(lambda: link.fetch_header() != before)


def make_neighbour(older: FileDaemon, fork_server: ForkServer) -> Daemon:
    """Return another daemon, at a socket of its own, with the same configuration and store."""
    newer = Daemon(fork_server)
    newer.environment = {**older.environment, "XDG_RUNTIME_DIR": str(newer.folder / "run")}
    newer.config = older.config
    return newer


def test_two_daemons_with_one_store(short: ForeignServer, file_daemon: FileDaemon, fork_server: ForkServer) -> None:
    """
    For 15 seconds both renew one grant, and each refresh token is used once.

    Programs sign and send by themselves at oidc-provider. Authlib revokes the old access token at each refresh, also under the
    requests of the other daemon, so there the daemons send: they try again with the new one.
    """
    older = ForeignLink(file_daemon, short, add_link(file_daemon, short).port)
    older.dance()
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + 15

    def use(link: ForeignLink) -> None:
        while time.monotonic() < end:
            if isinstance(short, OidcProvider):
                outcomes[link.use()] += 1
            else:
                reply = link.check()
                outcomes[reply.json["user"] if reply.status == 200 else reply.text] += 1
            time.sleep(0.1)

    with make_neighbour(file_daemon, fork_server) as daemon:
        links = [older, ForeignLink(daemon, short, older.port)]
        threads = [threading.Thread(target=use, args=(link,)) for link in links]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert set(outcomes) == {"alice"}, outcomes
        assert outcomes["alice"] > 40
        assert set(refreshes(short)) == {"ok"}
        assert 3 <= len(refreshes(short)) <= 20
        assert [link.use() for link in links] == ["alice", "alice"]
    assert file_daemon.read_grant() is not None


def test_two_daemons_with_copies_of_a_store(fork_server: ForkServer, file_daemon: FileDaemon) -> None:
    """The twin: each refreshes for itself, and oidc-provider revokes the grant of both."""
    with OidcProvider(access_s=3) as server, FileDaemon(fork_server) as other:
        link = add_link(file_daemon, server)
        link.dance()
        for daemon in (file_daemon, other):
            daemon.stop()
        for folder in ("config", ".local"):
            shutil.copytree(file_daemon.folder / folder, other.folder / folder, dirs_exist_ok=True)
        for daemon in (file_daemon, other):
            daemon.start()
        links = [link, ForeignLink(other, server, link.port)]

        wait_for(lambda: [each.sign().status for each in links] == [409, 409])

        assert [each.sign().code for each in links] == ["dance_needed", "dance_needed"]
        assert "invalid_grant" in refreshes(server)
