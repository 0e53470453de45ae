"""The daemon at OAuth 2.0 servers that others wrote: access tokens of three seconds, and refresh tokens that are used once."""

import threading
import time
from collections import Counter

import pytest

from atl_sign.schemes.oauth2.token_answer import Tokens
from tests.interop.daemon_lab import FileDaemon, add_link, commands_in, refreshes, run, wait_for_end, who_is
from tests.interop.oauth2_servers import AuthlibServer, ForeignServer, OidcProvider
from tests.interop.our_client import DEAD, OurClient, knows_alice
from tests.lab import Daemon, wait_for

pytestmark = pytest.mark.slow  # they need Node's packages, which `make test` installs

LIFE_S = 3  # of an access token of `short`


def test_requests_through_renewals(short: ForeignServer, daemon: Daemon) -> None:
    """Three programs sign and send for ten seconds: every request succeeds, and each token but the last is refreshed once."""
    link = add_link(daemon, short)
    link.dance()
    outcomes: Counter[str] = Counter()
    headers = set()
    end = time.monotonic() + 10

    def use() -> None:
        while time.monotonic() < end:
            header = link.fetch_header()
            outcomes[who_is(short, header)] += 1
            headers.add(header)
            time.sleep(0.05)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(outcomes) == {"alice"}, outcomes
    assert outcomes["alice"] > 30
    assert refreshes(short) == ["ok"] * (len(headers) - 1)
    assert 2 <= len(headers) - 1 <= 5  # it is due after half of the token's life
    assert link.check().json["user"] == "alice"


def test_refresh_after_the_end(short: ForeignServer, daemon: Daemon) -> None:
    """Of each client, however the tokens came: nobody asked meanwhile, and the first request afterwards gets a new one."""
    device = add_link(daemon, short, "public", name="device")
    begun = device.begin("device")
    short.enter_device_code(begun["authorize_url"], begun["user_code"])
    links = [
        add_link(daemon, short, "basic", name="basic"),
        add_link(daemon, short, "post", "hand", name="post"),
        add_link(daemon, short, "public", name="public"),
        add_link(daemon, short, "exact", name="exact"),
    ]
    assert [link.dance()["state"] for link in links] == ["granted"] * 4
    assert device.ask(begun)["state"] == "granted"
    before = device.fetch_header()
    wait_for_end(short, before)

    for link in [*links, device]:
        assert link.use() == "alice"
        assert link.check().status == 200
        assert link.read_token()["state"] == "active"

    assert refreshes(short) == ["ok"] * 5
    assert who_is(short, before) == ""


def test_fifty_threads_at_the_end(short: ForeignServer, daemon: Daemon) -> None:
    """All ask at the moment when the token ends: one refresh, and none fails."""
    link = add_link(daemon, short)
    asked_at = time.monotonic()
    link.dance()
    first = link.fetch_header()
    begin = threading.Barrier(50)
    headers: list[str] = []
    users: list[str] = []

    def use() -> None:
        begin.wait(30)
        headers.append(link.fetch_header())
        users.append(who_is(short, headers[-1]))

    time.sleep(max(0.0, asked_at + LIFE_S - time.monotonic()))
    threads = [threading.Thread(target=use) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert users == ["alice"] * 50
    assert len(set(headers)) == 1
    assert headers[0] != first
    assert refreshes(short) == ["ok"]


def test_refresh_token_that_was_used_elsewhere(short: ForeignServer, file_daemon: FileDaemon) -> None:
    """The daemon's refresh is rejected: a dance is needed, the store keeps the record, and a dance repairs it."""
    link = add_link(file_daemon, short)
    link.dance()
    stolen = file_daemon.read_tokens()
    header = link.fetch_header()

    spent = OurClient(short).refresh(stolen)
    assert knows_alice(short, spent)
    wait_for_end(short, header)
    wait_for(lambda: link.sign().status != 200)
    reply = link.sign()

    assert (reply.status, reply.code) == (409, "dance_needed")
    words = "its refresh token is no longer good: it was revoked, has expired, or another program has used it (invalid_grant)"
    assert reply.message == f"link app: {words}"
    assert reply.hint == "atl-sign dance app"
    assert link.check().code == "dance_needed"
    assert refreshes(short) == ["ok", "invalid_grant"]
    kept = file_daemon.read_grant()
    assert kept is not None
    assert stolen.refresh is not None
    assert (kept["access_token"], kept["refresh_token"]) == (stolen.access.reveal(), stolen.refresh.reveal())
    assert isinstance(spent, Tokens)
    assert (OurClient(short).refresh(spent) == DEAD) == isinstance(short, OidcProvider)  # RFC 9700 §4.14.2: the whole family
    assert link.dance()["state"] == "granted"
    assert link.use() == "alice"


def test_family_that_was_revoked(short: ForeignServer, file_daemon: FileDaemon) -> None:
    """Somebody replays a refresh token that the daemon has used: oidc-provider revokes everything, Authlib only the replay."""
    link = add_link(file_daemon, short)
    link.dance()
    stolen = file_daemon.read_tokens()
    wait_for_end(short, link.fetch_header())
    assert link.use() == "alice"

    assert OurClient(short).refresh(stolen) == DEAD

    if isinstance(short, AuthlibServer):
        assert link.use() == "alice"
        return
    assert who_is(short, link.fetch_header()) == ""
    checked = link.check()
    assert checked.code == "dance_needed"
    assert "the provider does not take the access token any more" in checked.message
    wait_for(lambda: link.sign().status != 200)
    assert link.sign().code == "dance_needed"
    assert "no longer good" in link.sign().message
    assert file_daemon.read_grant() is not None


def test_access_token_that_was_revoked(server: ForeignServer, file_daemon: FileDaemon) -> None:
    """Only that one, long before its end: the check refreshes it, and needs no dance."""
    link = add_link(file_daemon, server)
    link.dance()
    header, before = link.fetch_header(), refreshes(server)
    assert OurClient(server).revoke(file_daemon.read_tokens().access, "access_token") == 200
    assert who_is(server, header) == ""

    assert link.check().json["user"] == "alice"

    assert refreshes(server) == [*before, "ok"]
    assert link.use() == "alice"


def test_expired_refresh_token(short: ForeignServer, daemon: Daemon) -> None:
    with type(short)(access_s=1, refresh_s=2) as brief:
        link = add_link(daemon, brief)
        link.dance()
        time.sleep(3)  # asking earlier would use it up

        reply = link.sign()

    assert (reply.status, reply.code) == (409, "dance_needed")
    assert "has expired" in reply.message


def test_secret_that_has_changed(short: ForeignServer, file_daemon: FileDaemon) -> None:
    """The app's, not the grant's: no dance is needed, and the hint's command repairs it at once."""
    link = add_link(file_daemon, short)
    link.dance()
    header, grant = link.fetch_header(), file_daemon.read_grant()
    file_daemon.request("PUT", "/links/app/secret", {"secret": "wrong"})
    wait_for_end(short, header)

    reply = link.sign()

    assert (reply.status, reply.code) == (502, "provider_refused")
    assert "(invalid_client)" in reply.message
    assert set(refreshes(short)) == {"invalid_client"}
    assert file_daemon.read_grant() == grant
    command = commands_in(reply.hint)[0]
    assert command == "atl-sign link secret app"
    assert run(file_daemon, command, f"{short.client('basic').secret}\n").returncode == 0
    assert link.use() == "alice"
    assert refreshes(short)[-1] == "ok"
