"""The doctor on vaults: a section for each in the configuration, and none where there is none."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.base.findings import VAULT_CHECKS
from atl_sign.base.urls import parse_url
from atl_sign.commands.doctor.vault import check_vault
from tests.fork_server import ForkServer
from tests.lab import Daemon
from tests.openbao import RaftBao
from tests.vault.conftest import Lab
from tests.vault.test_client import BACKEND, KEY
from tests.vault.test_daemon import write_vault
from tests.vault.test_login import AppRole, logins

REACHABLE, LOGIN, POLICY = VAULT_CHECKS


def look(
    lab: Lab, store: str | None = BACKEND, key: str | None = f"{KEY}@1", **settings: object
) -> dict[str, tuple[str, str, str]]:
    """Return result, cause and hint of each check."""
    findings = check_vault(lab.server(**settings), store, key)
    assert [each.check for each in findings] == list(VAULT_CHECKS)
    return {each.check: (each.result, each.cause, str(each.hint)) for each in findings}


def test_all_is_well(lab: Lab) -> None:
    """With the policy that is printed for the key and the store in use."""
    found = look(lab)

    assert {result for result, _, _ in found.values()} == {"ok"}
    assert found[REACHABLE][1] == f"the vault ci at {lab.space.server.address} is unsealed"
    assert found[LOGIN][1].startswith("the vault ci accepts the login by token-file, and will for another ")
    assert (
        found[POLICY][1] == "the vault ci allows what --key vault:ci/transit/atl-sign and --store vault:ci/secret/atl-sign needs"
    )


def test_what_is_elsewhere_is_not_asked_for(lab: Lab) -> None:
    """A vault that nothing is in, or only one of both."""
    assert look(lab, "file", None)[POLICY][:2] == ("skipped", "neither the store nor the key is in the vault ci")
    assert look(lab, "vault:other/secret/atl-sign", "pkcs11:token=x")[POLICY][0] == "skipped"
    assert look(lab, None)[POLICY][1] == "the vault ci allows what --key vault:ci/transit/atl-sign needs"


def test_a_policy_that_is_too_narrow(lab: Lab) -> None:
    """Each path and capability that is missing is named, with the command that prints the policy; it is enough."""
    lab.space.make_policy("reader", 'path "secret/data/atl-sign/*" { capabilities = ["read"] }')
    lab.log_in("reader", no_default_policy=False)

    result, cause, hint = look(lab)[POLICY]

    assert result == "broken"
    assert cause == (
        "the vault ci does not allow this login to update transit/sign/atl-sign/sha1; read transit/keys/atl-sign; "
        "create and update secret/data/atl-sign/probe"
    )
    assert hint.endswith("atl-sign vault policy --key vault:ci/transit/atl-sign --store vault:ci/secret/atl-sign")


def test_a_policy_that_does_not_let_it_ask(lab: Lab) -> None:
    """It is no fault: signing needs no such question."""
    lab.space.make_policy("mute", 'path "auth/token/lookup-self" { capabilities = ["read"] }')
    lab.log_in("mute")

    result, cause, _ = look(lab)[POLICY]

    assert result == "skipped"
    assert "sys/capabilities-self" in cause


def test_a_dead_login(lab: Lab) -> None:
    """With the way to another one."""
    lab.space.call("POST", "auth/token/revoke", {"token": lab.token})

    found = look(lab)

    assert found[REACHABLE][0] == "ok"
    assert found[LOGIN][0] == "broken"
    assert "bao login" in found[LOGIN][2]
    assert found[POLICY][0] == "skipped"
    assert lab.token not in str(found)


def test_a_vault_that_is_away(lab: Lab) -> None:
    """Neither login nor policy are looked at then."""
    found = look(lab, address=parse_url("http://127.0.0.1:1"))

    assert [found[check][0] for check in VAULT_CHECKS] == ["broken", "skipped", "skipped"]
    assert found[REACHABLE][1] == "the vault ci at http://127.0.0.1:1 cannot be reached: connection refused"


def test_a_sealed_vault(raft_lab: Lab, raft_bao: RaftBao) -> None:
    """It is its operators' to open."""
    raft_bao.seal()
    try:
        found = look(raft_lab)
    finally:
        raft_bao.unseal()

    assert found[REACHABLE] == ("broken", "the vault ci is sealed", "its operators must unseal it")
    assert look(raft_lab)[REACHABLE][0] == "ok"


def test_a_secret_id_is_not_used(lab: Lab) -> None:
    """The doctor changes nothing: a secret id may be good for one login, and a wrapped one can be opened once."""
    approle = AppRole(lab, secret_id_num_uses=1)

    found = look(lab, auth="approle", role_id_file=lab.folder / "role-id", secret_id_file=approle.secret_id_file)

    assert [found[check][0] for check in VAULT_CHECKS] == ["ok", "skipped", "skipped"]
    assert logins(lab.space) == 0


@pytest.fixture
def machine(fork_server: ForkServer, lab: Lab) -> Iterator[Daemon]:
    """A daemon whose store is in the vault, and its key, too."""
    lab.make_key()
    daemon = Daemon(fork_server, ATL_SIGN_STORE="")
    write_vault(daemon, lab.space, lab.token_file, BACKEND)
    with daemon:
        yield daemon


def doctor(daemon: Daemon) -> dict[str, dict[str, Any]]:
    checks = json.loads(daemon.run_program("doctor", "--json").stdout)["checks"]
    return {each["check"]: each for each in checks}


def test_the_daemon_knows_what_is_in_use(machine: Daemon, lab: Lab) -> None:
    """Its store and its key; without a daemon the configuration knows the store."""
    assert machine.request("POST", "/key/use", {"reference": KEY}).status == 200

    found = doctor(machine)

    assert {found[check]["result"] for check in VAULT_CHECKS} == {"ok"}
    assert "--key vault:ci/transit/atl-sign and --store" in found[POLICY]["cause"]
    assert (found["store"]["result"], found["key"]["result"]) == ("ok", "ok")
    machine.stop()
    found = doctor(machine)
    assert found[POLICY]["cause"] == "the vault ci allows what --store vault:ci/secret/atl-sign needs"
    assert found["store"]["result"] == "skipped"
    assert lab.token not in json.dumps(found)


def test_no_vault_no_section(fork_server: ForkServer) -> None:
    """For people who have none, nothing changes."""
    with Daemon(fork_server) as daemon:
        assert not set(VAULT_CHECKS) & set(doctor(daemon))
