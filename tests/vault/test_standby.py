"""A store by way of a standby node, whose own copy is behind for some tenths of a second (facts custody.md section 5)."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import StoreConflictError
from atl_sign.base.urls import parse_url
from atl_sign.config.vaults import VaultServer
from atl_sign.custody.stores.base import ABSENT
from atl_sign.custody.stores.kv import KvStore
from atl_sign.custody.vaults.registry import Vaults
from tests.lab import wait_for
from tests.openbao import OpenBao, Refused, free_port

pytestmark = pytest.mark.slow

WRITES = 20
_CONFIG = """
storage "raft" {{ path = "{folder}", node_id = "{name}" {join} }}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
listener "tcp" {{ address = "127.0.0.1:{port}", cluster_address = "127.0.0.1:{cluster}", tls_disable = true }}
"""


class Node(OpenBao):
    """One server of the cluster."""

    def __init__(self, name: str, folder: Path, leader: "Node | None" = None) -> None:
        folder = folder / name
        (folder / "data").mkdir(parents=True)
        super().__init__(folder)
        self._name = name
        self._join = ""
        if leader is not None:
            self.root_token = leader.root_token
            self._join = f'\n retry_join {{ leader_api_addr = "{leader.address}" }}\n'

    def _arguments(self) -> list[str]:
        settings = {"folder": self._folder / "data", "name": self._name, "join": self._join}
        config = self._folder / "bao.hcl"
        config.write_text(_CONFIG.format(**settings, port=self.port, cluster=free_port()))
        return [f"-config={config}"]

    def _is_up(self) -> bool:
        return self.health() in (200, 429, 501, 503)

    def health(self) -> int:
        return self.status("GET", "sys/health")

    def status(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> int:
        """Return the status of the answer to a call; 0 when there is none."""
        try:
            self.call(method, path, body)
        except Refused as exc:
            return exc.status
        except OSError:
            return 0
        return 200


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """An active node and a standby, with a KV engine."""
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        active = stack.enter_context(Node("n1", folder))
        made = active.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        active.root_token = made["root_token"]
        active.call("PUT", "sys/unseal", {"key": made["keys"][0]})
        wait_for(lambda: active.health() == 200, active.log)
        standby = stack.enter_context(Node("n2", folder, active))

        def joins() -> bool:
            standby.status("PUT", "sys/unseal", {"key": made["keys"][0]})
            return standby.health() == 429

        wait_for(joins, standby.log, deadline_s=60)
        active.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        wait_for(lambda: active.status("POST", "secret/data/ready", {"data": {}}) == 200)
        wait_for(lambda: standby.status("GET", "secret/data/ready") == 200)  # it has seen that the engine is ready
        yield active, standby


@pytest.fixture
def stores(nodes: tuple[Node, Node], tmp_path: Path) -> Iterator[list[KvStore]]:
    """A machine at each node, with a prefix of the test's own."""
    token_file = tmp_path / "token"
    token_file.touch(0o600)
    token_file.write_text(nodes[0].root_token)
    prefix = secrets.token_hex(4)
    servers = [{"ci": VaultServer("ci", address=parse_url(node.address), token_file=token_file)} for node in nodes]
    machines = [Vaults(partial(dict, each)) for each in servers]
    yield [KvStore(f"vault:ci/secret/{prefix}", vaults) for vaults in machines]
    for vaults in machines:
        vaults.forget()


def test_every_write_by_a_standby_succeeds_once(stores: list[KvStore]) -> None:
    """Its copy is behind what it has just written, so it refuses the right version for a while, and gives old items."""
    _, standby = stores
    version = ABSENT
    for number in range(1, WRITES + 1):
        version = standby.write("token:jira", Secret(str(number)), if_version=version)

        item = standby.read("token:jira")

        assert item is not None
        assert (item.value.reveal(), item.version, version) == (str(number), str(number), str(number))


def test_a_conflict_is_one_at_either_node(stores: list[KvStore]) -> None:
    """The twin: a machine at the other node was faster, and nothing of ours takes the place of what it wrote."""
    active, standby = stores
    for number in range(10):
        old = standby.write(f"token:{number}", Secret("old"), if_version=ABSENT)
        active.write(f"token:{number}", Secret("theirs"), if_version=old)

        with pytest.raises(StoreConflictError):
            standby.write(f"token:{number}", Secret("ours"), if_version=old)

        item = active.read(f"token:{number}")
        assert item is not None
        assert item.value.reveal() == "theirs"


def test_writes_at_both_nodes_by_turns(stores: list[KvStore]) -> None:
    """Each over what the other one wrote."""
    version = ABSENT
    for number in range(1, WRITES + 1):
        version = stores[number % 2].write("token:turns", Secret(str(number)), if_version=version)

    assert version == str(WRITES)
