"""A daemon whose key and tokens are in a vault: the whole way from its configuration to a request that a product takes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import Daemon, Reply, send, wait_for
from tests.openbao import Refused, Space
from tests.vault.conftest import Lab
from tests.vault.test_transit import OPERATORS

KEY = "vault:ci/transit/atl-sign"
STORE = "vault:ci/secret/atl-sign"


def write_vault(daemon: Daemon, space: Space, token_file: Path, store: str | None = None) -> None:
    """Write the daemon's configuration, with the vault and perhaps a store in it."""
    settings = "\n".join(f'{name} = "{value}"' for name, value in space.settings(token_file).items())
    named = "" if store is None else f'[store]\nbackend = "{store}"\n'
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text(f"{named}[vaults.ci]\n{settings}\n")


@pytest.fixture
def machine(fork_server: ForkServer, lab: Lab) -> Iterator[Daemon]:
    """A daemon that knows the vault, with a store of its own."""
    with Daemon(fork_server) as daemon:
        write_vault(daemon, lab.space, lab.token_file)
        yield daemon


@contextmanager
def another_machine(fork_server: ForkServer, lab: Lab, first: Daemon | None = None) -> Iterator[Daemon]:
    """Give a daemon whose store is in the vault, with the links that the *first* one has."""
    daemon = Daemon(fork_server, ATL_SIGN_STORE="")
    if first is None:
        write_vault(daemon, lab.space, lab.token_file, STORE)
    else:
        daemon.config.parent.mkdir(parents=True)
        daemon.config.write_text(first.config.read_text())
    with daemon:
        yield daemon


def sign(daemon: Daemon, sandbox: Sandbox, product: str = "jira", path: str = "/rest/api/2/myself") -> Reply:
    return daemon.request("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url(product)}{path}"})


def fetch(daemon: Daemon, sandbox: Sandbox) -> int:
    """Sign a request and send it; returns the product's answer."""
    reply = sign(daemon, sandbox)
    assert reply.status == 200, reply.text
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    return send(url, reply.json["authorization"])[0]


def test_a_key_moves_to_the_vault_and_no_provider_notices(machine: Daemon, sandbox: Sandbox, lab: Lab) -> None:
    """The grant stays, too; the store has no private key any more."""
    machine.dance(sandbox, "jira")
    before = machine.request("GET", "/key").json
    assert before["reference"] is None
    lab.space.make_policy("operators", OPERATORS)
    lab.log_in("operators")

    moved = machine.request("POST", "/key/import", {"reference": KEY})

    assert moved.status == 200, moved.text
    assert moved.json == {**before, "reference": f"{KEY}@1"}
    assert machine.request("GET", "/key").json == moved.json
    lab.log_in("atl-sign")
    assert fetch(machine, sandbox) == 200
    again = machine.request("POST", "/key/import", {"reference": "vault:ci/transit/other"})
    assert (again.status, again.code) == (400, "bad_request")


def test_a_key_is_made_in_the_vault(machine: Daemon, sandbox: Sandbox, lab: Lab) -> None:
    """By the command, as its user types it; the form shows the public half, and the product takes the signature."""
    lab.space.make_policy("operators", OPERATORS)
    lab.log_in("operators")
    made = machine.request("POST", "/key", {"reference": KEY})
    assert (made.status, made.json["reference"]) == (201, f"{KEY}@1")

    lab.log_in("atl-sign")
    machine.dance(sandbox, "jira")

    assert fetch(machine, sandbox) == 200
    shown = lab.space.call("GET", "transit/keys/atl-sign")["data"]["keys"]["1"]["public_key"]
    assert machine.request("GET", "/key").json["public_key"].strip() == shown.strip()


def test_another_key_is_used_only_when_it_is_meant(machine: Daemon, lab: Lab) -> None:
    """With `replace`; the same key again needs no word."""
    machine.make_key()
    lab.make_key()

    refused = machine.request("POST", "/key/use", {"reference": KEY})
    used = machine.request("POST", "/key/use", {"reference": KEY, "replace": True})
    again = machine.request("POST", "/key/use", {"reference": f"{KEY}@1"})

    assert (refused.status, refused.code) == (409, "key_exists")
    assert (used.status, again.status) == (200, 200)


def test_a_vault_that_says_nothing_holds_up_its_key_alone(machine: Daemon, sandbox: Sandbox, lab: Lab) -> None:
    """Each signature is an error within its deadline, the seventeenth at once; a link with a token is served as before."""
    lab.make_key()
    assert machine.request("POST", "/key/use", {"reference": KEY}).status == 200
    machine.dance(sandbox, "jira")
    url = sandbox.base_url("bamboo")
    machine.request("PUT", "/links/token", {"url": url, "scheme": "bearer"})
    begun = machine.request("POST", "/dance", {"link": "token", "callback": "paste"}).json
    made = sandbox.make_token("bamboo", "alice").secret
    assert machine.request("POST", f"/dance/{begun['id']}", {"secret": made}).status == 200

    def wait(_: int) -> tuple[float, Reply]:
        began = time.monotonic()
        reply = sign(machine, sandbox)
        return time.monotonic() - began, reply

    with lab.space.server.stopped(), ThreadPoolExecutor(24) as pool:
        began = time.monotonic()
        waiting = [pool.submit(wait, number) for number in range(24)]
        times = []
        for _ in range(20):
            asked = time.monotonic()
            assert sign(machine, sandbox, "bamboo", "/rest/api/latest/currentUser").status == 200
            times.append(time.monotonic() - asked)
        replies = [each.result() for each in waiting]
        took_s = time.monotonic() - began

    assert {(reply.status, reply.code) for _, reply in replies} == {(503, "key_unavailable")}
    at_once = [took for took, reply in replies if "wait for the consumer's key already" in reply.message]
    assert len(at_once) == 8, sorted(took for took, _ in replies)
    assert max(at_once) < 1.5
    assert took_s < 6
    assert sorted(times)[10] < 0.2
    assert fetch(machine, sandbox) == 200


def test_machines_share_one_consent(fork_server: ForkServer, sandbox: Sandbox, lab: Lab) -> None:
    """One dances, and the other signs; a logout counts on both."""
    with another_machine(fork_server, lab) as one:
        one.dance(sandbox, "jira")
        with another_machine(fork_server, lab, one) as other:
            assert fetch(other, sandbox) == 200
            assert fetch(one, sandbox) == 200
            assert other.request("GET", "/status").json["store"] == STORE

            assert one.request("DELETE", "/links/jira/token").status == 200
            assert sign(one, sandbox).code == "dance_needed"
        with another_machine(fork_server, lab, one) as third:
            assert sign(third, sandbox).code == "dance_needed"


def test_memory_serves_on_while_the_vault_is_away(fork_server: ForkServer, sandbox: Sandbox, lab: Lab) -> None:
    """What was read is signed with; a machine that starts has nothing, says so, and signs when the vault is back."""
    with another_machine(fork_server, lab) as one:
        one.dance(sandbox, "jira")
        assert fetch(one, sandbox) == 200
        with another_machine(fork_server, lab, one) as other:
            with lab.space.server.stopped():
                assert fetch(one, sandbox) == 200
                refused = sign(other, sandbox)
                assert (refused.status, refused.code) == (503, "store_unavailable")
                assert "does not answer in time" in refused.message
            wait_for(lambda: sign(other, sandbox).status == 200)


def test_the_store_moves_into_the_vault_and_back(fork_server: ForkServer, sandbox: Sandbox, lab: Lab) -> None:
    """Everything goes along, and nothing is left behind that can be read."""
    daemon = Daemon(fork_server, ATL_SIGN_STORE="")
    write_vault(daemon, lab.space, lab.token_file, "file")
    with daemon:
        assert daemon.request("POST", "/unlock", {"new_passphrase": "a passphrase"}).status == 200
        daemon.dance(sandbox, "jira")
        before = daemon.request("GET", "/key").json

        moved = daemon.request("POST", "/store/move", {"backend": STORE})
        assert moved.status == 200, moved.text
        assert fetch(daemon, sandbox) == 200
        assert f'backend = "{STORE}"' in daemon.config.read_text()
        assert not any((daemon.folder / "config").rglob("store"))
        daemon.stop()
        daemon.start()
        assert fetch(daemon, sandbox) == 200
        assert daemon.request("GET", "/key").json == before

        back = daemon.request("POST", "/store/move", {"backend": "memory", "volatile": True})
        assert back.status == 200, back.text
        assert fetch(daemon, sandbox) == 200
    for name in ("consumer-key", "token%3Ajira"):
        with suppress(Refused):
            assert lab.space.call("GET", f"secret/data/atl-sign/{name}")["data"]["data"]["item"] is None


def test_a_lock_forgets_the_login_and_the_items(fork_server: ForkServer, sandbox: Sandbox, lab: Lab) -> None:
    """And unlock brings them back without a passphrase."""
    with another_machine(fork_server, lab) as one:
        one.dance(sandbox, "jira")
        assert one.request("POST", "/lock").status == 200
        assert sign(one, sandbox).code == "store_locked"

        assert one.request("POST", "/unlock", {}).status == 200

        assert fetch(one, sandbox) == 200


def test_a_wrong_vault_costs_what_is_in_it(machine: Daemon, sandbox: Sandbox) -> None:
    """A mistake in its table is named with its line, and the other links go on."""
    machine.dance(sandbox, "jira")
    machine.config.write_text(machine.config.read_text().replace('address = "http://127.0.0.1', 'address = "http://192.0.2.1'))

    assert fetch(machine, sandbox) == 200

    (warning,) = machine.request("GET", "/status").json["warnings"]
    assert "vaults.ci: address: not https" in warning
    used = machine.request("POST", "/key/use", {"reference": KEY})
    assert (used.status, used.hint) == (400, "add a table [vaults.ci] to config.toml")
