"""A key and a store in a vault, against what the vault itself takes: bare HTTP on kept connections."""

import json
import statistics
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha1
from http.client import HTTPConnection
from pathlib import Path

from atl_sign.base.credentials import Secret
from atl_sign.base.urls import parse_url
from atl_sign.config.vaults import VaultServer
from atl_sign.custody.stores.kv import KvStore
from atl_sign.custody.vaults.registry import Vaults
from atl_sign.sandbox import Sandbox
from tests.lab import Daemon
from tests.openbao import OpenBao, Space

_KEY = "vault:ci/transit/atl-sign"


class BareClient:
    """Asks the vault for a signature over a kept connection, and does nothing with it."""

    def __init__(self, space: Space, token: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", space.server.port)
        self._headers = {"X-Vault-Token": token, "X-Vault-Namespace": space.name, "Content-Type": "application/json"}
        digest = b64encode(sha1(b"x" * 400).digest()).decode()
        self._body = json.dumps({"input": digest, "prehashed": True, "signature_algorithm": "pkcs1v15", "key_version": 1})

    def sign(self) -> None:
        self._connection.request("POST", "/v1/transit/sign/atl-sign/sha1", self._body, self._headers)
        answer = self._connection.getresponse()
        assert b'"vault:v1:' in answer.read()
        assert answer.status == 200

    def close(self) -> None:
        self._connection.close()


def vault_rows() -> Iterator[tuple[str, str, str, bool]]:
    """Give name, figures, aim, and whether it is met."""
    from tests.benchmarks.__main__ import CONNECTIONS, SignConnection, in_turn, throughput

    with tempfile.TemporaryDirectory() as name, OpenBao(Path(name)) as bao, Sandbox(["jira"]) as sandbox:
        folder, space = Path(name), bao.make_space()
        space.make_policy()
        space.call("POST", "transit/keys/atl-sign", {"type": "rsa-2048"})
        token = space.make_token("atl-sign")
        token_file = space.token_file(folder / "token", token)
        daemon = Daemon()
        daemon.config.parent.mkdir(parents=True)
        settings = "\n".join(f'{name} = "{value}"' for name, value in space.settings(token_file).items())
        daemon.config.write_text(f"[vaults.ci]\n{settings}\n")
        with daemon:
            assert daemon.request("POST", "/key/use", {"reference": _KEY}).status == 200
            daemon.dance(sandbox, "jira")
            url = f"{sandbox.base_url('jira')}/rest/api/2/search?jql=project%20%3D%20WEB&maxResults=5"
            connection, bare = SignConnection(daemon.socket, url), BareClient(space, token)
            ours, theirs = in_turn(connection.sign, bare.sign, rounds=6)
            aim = 1.3 * theirs + 1_000
            yield (
                "one /sign with a key in a vault, against the vault's own answer on a kept connection",
                f"{ours:.0f} µs / {theirs:.0f} µs = {ours / theirs:.2f}",
                "≤ 1.3, and 1 ms",
                ours <= aim,
            )
            rate, bare_rate = [], []
            for _ in range(3):
                rate.append(throughput(daemon.socket, url, 3.0))
                bare_rate.append(_bare_throughput(lambda: BareClient(space, token), CONNECTIONS, 3.0))
            ours, theirs = statistics.median(rate), statistics.median(bare_rate)
            yield (
                f"{CONNECTIONS} connections with a key in a vault, against as many to the vault itself",
                f"{ours:.0f}/s / {theirs:.0f}/s = {ours / theirs:.2f}",
                "≥ 0.7",
                ours >= 0.7 * theirs,
            )
        first_ms = statistics.median(_first_read_ms(space, token_file) for _ in range(20))
        yield "the first read of an item in a vault, of a new process", f"{first_ms:.1f} ms", "≤ 60 ms", first_ms <= 60


def _bare_throughput(make: Callable[[], BareClient], connections: int, seconds: float) -> float:
    counts = [0] * connections
    end = time.perf_counter() + seconds

    def run(at: int) -> None:
        client = make()
        while time.perf_counter() < end:
            client.sign()
            counts[at] += 1
        client.close()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _first_read_ms(space: Space, token_file: Path) -> float:
    server = VaultServer("ci", address=parse_url(space.server.address), namespace=space.name, token_file=token_file)
    vaults = Vaults(lambda: {"ci": server})
    store = KvStore("vault:ci/secret/atl-sign", vaults)
    KvStore("vault:ci/secret/atl-sign", vaults).write("token:jira", Secret("x" * 2_000))
    vaults.forget()
    began = time.perf_counter()
    assert store.read("token:jira") is not None
    took_ms = (time.perf_counter() - began) * 1e3
    vaults.forget()
    return took_ms
