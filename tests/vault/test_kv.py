"""A vault's KV version 2 as a store: what every store promises, and what comes with other machines."""

import threading

import pytest

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.base.errors import BadRequestError, StoreConflictError, StoreLockedError, StoreUnavailableError
from atl_sign.custody.stores.base import ABSENT, Store
from atl_sign.custody.stores.kv import KvStore
from atl_sign.custody.stores.opening import open_store
from tests.openbao import Refused
from tests.store.contract import StoreContract
from tests.unit.provider_lab import everything_shown
from tests.vault.conftest import Lab

BACKEND = "vault:ci/secret/atl-sign"
PATH = "secret/data/atl-sign/token%3Ajira"


@pytest.fixture
def store(lab: Lab) -> Store:
    return open_store(BACKEND, vaults=lab.vaults)


class TestKvStore(StoreContract):
    """As every store."""

    @pytest.fixture
    def store(self, lab: Lab) -> Store:
        return KvStore(BACKEND, lab.vaults)

    @pytest.fixture
    def another(self, lab: Lab, store: Store) -> Store:
        """Another machine's."""
        del store
        return KvStore(BACKEND, lab.another_machine())


def test_an_item_is_where_its_operators_look_for_it(store: Store, lab: Lab) -> None:
    """Below the prefix, each write a version; a deleted one is empty, and its count goes on."""
    store.write("token:jira", Secret("one"))
    store.write("token:jira", Secret("two"))
    assert lab.space.call("GET", PATH)["data"]["data"]["item"] == "two"

    store.delete("token:jira")

    found = lab.space.call("GET", PATH)["data"]
    assert found["data"]["item"] is None
    assert found["metadata"]["version"] == 3


def test_a_softly_deleted_item_can_come_back(store: Store, lab: Lab) -> None:
    """As `bao kv delete` leaves one: the next write counts on."""
    store.write("token:jira", Secret("one"))
    lab.space.call("DELETE", PATH)
    assert store.read("token:jira") is None

    store.write("token:jira", Secret("two"), if_version=ABSENT)

    item = store.read("token:jira")
    assert item is not None
    assert (item.value.reveal(), item.version) == ("two", "2")


def test_kv_version_1_is_refused(lab: Lab) -> None:
    """It would take each write without a look at what is there."""
    lab.space.call("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    lab.space.make_policy("old", 'path "old/*" { capabilities = ["create", "read", "update"] }')
    lab.log_in("old")
    store = KvStore("vault:ci/old/atl-sign", lab.vaults)

    for call in (lambda: store.read("token:jira"), lambda: store.write("token:jira", Secret("one"))):
        with pytest.raises(StoreUnavailableError, match="is not KV version 2") as caught:
            call()
        assert caught.value.hint is not None
        assert "bao kv enable-versioning old" in caught.value.hint

    with pytest.raises(Refused):
        lab.space.call("GET", "old/atl-sign/token%3Ajira")


def test_a_policy_that_is_too_narrow_is_named(store: Store, lab: Lab) -> None:
    """With the path and the capability, for a read and for a write; nothing is changed."""
    lab.space.make_policy("reader", 'path "secret/data/atl-sign/*" { capabilities = ["read"] }')
    store.write("token:jira", Secret("one"))
    lab.log_in("reader", no_default_policy=False)

    with pytest.raises(StoreUnavailableError, match="does not allow this login to write secret/data/atl-sign/token:jira"):
        store.write("token:jira", Secret("two"))

    lab.log_in("default", no_default_policy=False)
    with pytest.raises(StoreUnavailableError) as caught:
        store.read("token:jira")
    assert caught.value.hint is not None
    assert 'path "secret/data/atl-sign/token:jira" { capabilities = ["read"] }' in caught.value.hint
    assert lab.space.call("GET", PATH)["data"]["data"]["item"] == "one"


def test_a_dead_login_locks_the_store(store: Store, lab: Lab) -> None:
    """Until there is another token in the file; then it goes on without a word."""
    store.write("token:jira", Secret("canary item"))
    lab.space.call("POST", "auth/token/revoke", {"token": lab.token})

    with pytest.raises(StoreLockedError, match="refuses the login: it has ended") as caught:
        store.read("token:jira")
    assert store.state() == "locked"
    assert lab.token not in everything_shown(caught.value)

    lab.log_in("atl-sign")
    assert store.state() == "ready"
    assert store.read("token:jira") is not None


def test_a_token_that_dies_in_the_middle_is_replaced(store: Store, lab: Lab) -> None:
    """An agent puts the next one into the file; the call that met the 403 is repeated with it."""
    store.write("token:jira", Secret("one"))
    old = lab.token
    lab.token_file.write_text(lab.space.make_token("atl-sign"))
    lab.space.call("POST", "auth/token/revoke", {"token": old})

    assert store.read("token:jira") is not None


def test_a_hundred_threads_make_one_item(store: Store, lab: Lab) -> None:
    """`cas: 0` has one winner, and the others hear of it."""
    stores = [KvStore(BACKEND, lab.another_machine()) for _ in range(20)]
    outcomes = []

    def make(mine: Store) -> None:
        try:
            mine.write("token:jira", Secret("one"), if_version=ABSENT)
            outcomes.append("made")
        except StoreConflictError:
            outcomes.append("conflict")

    threads = [threading.Thread(target=make, args=(each,)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["conflict"] * 19 + ["made"]
    assert store.read("token:jira") is not None


NO_REFERENCES = [
    *("vault:", "vault:ci", "vault:ci/secret", "vault:ci/secret/", "vault:ci//atl-sign", "vault:ci/se cret/x"),
    *("vault:ci/secret/../x", "vault:ci/../x", "vault:ci/secret/x/.", "vault:ci/secret/x?y", "vault:ci/secret/x%2Fy"),
]


@pytest.mark.parametrize("backend", NO_REFERENCES)
def test_what_is_no_reference_is_refused(backend: str, lab: Lab) -> None:
    """Before anything is asked."""
    with pytest.raises(BadRequestError) as caught:
        open_store(backend, vaults=lab.vaults)

    assert caught.value.hint == "name one such as vault:ci/secret/atl-sign"


def test_a_vault_that_nobody_has_named_is_refused(lab: Lab) -> None:
    """With the table that is missing; none is ever found by itself."""
    with pytest.raises(BadRequestError, match="no vault is called other") as caught:
        open_store("vault:other/secret/atl-sign", vaults=lab.vaults)

    assert caught.value.hint == "add a table [vaults.other] to config.toml"


def test_it_has_no_passphrase(store: Store) -> None:
    """Nobody's passphrase goes there."""
    with pytest.raises(BadRequestError, match="has no passphrase"):
        store.unlock(Passphrase(b"canary"), None)


def test_a_lock_forgets_the_login(store: Store, lab: Lab) -> None:
    """And the next read logs in again."""
    store.write("token:jira", Secret("one"))
    login = lab.vaults.client("ci")._login
    before = login._token
    assert before is not None

    store.lock()

    assert login._token is not before
    assert store.read("token:jira") is not None


def test_a_version_is_good_in_every_process(store: Store, lab: Lab) -> None:
    """It is the vault's own number."""
    version = store.write("token:jira", Secret("one"))

    KvStore(BACKEND, lab.another_machine()).write("token:jira", Secret("two"), if_version=version)

    assert lab.space.call("GET", PATH)["data"]["metadata"]["version"] == int(version) + 1


def test_a_vault_that_left_the_configuration(store: Store, lab: Lab) -> None:
    """The store says so and keeps nothing anywhere else; when the vault is named again, it goes on."""
    store.write("token:jira", Secret("one"))
    servers = dict(lab.servers)
    lab.servers.clear()

    calls = (
        lambda: store.read("token:jira"),
        lambda: store.write("token:jira", Secret("two")),
        lambda: store.delete("token:jira"),
    )
    for call in calls:
        with pytest.raises(StoreUnavailableError, match="no vault is called ci") as caught:
            call()
        assert caught.value.hint == "add a table [vaults.ci] to config.toml"
    assert store.state() == "unavailable"
    store.lock()

    lab.servers.update(servers)
    item = store.read("token:jira")
    assert item is not None
    assert item.value.reveal() == "one"
