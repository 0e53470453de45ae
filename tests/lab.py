"""The real program for tests: a daemon in a folder of its own, and a peer that speaks HTTP to its socket."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from atl_sign.sandbox import Sandbox
    from tests.fork_server import ForkedProcess, ForkServer


REPOSITORY = Path(__file__).resolve().parent.parent
PRODUCTS = ("bamboo", "jira", "confluence", "bitbucket")
DEADLINE_S = 20.0
PROGRAM_S = 100.0


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: Path, timeout: float = DEADLINE_S) -> None:
        super().__init__("atl-sign", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.sock.connect(self._path)
            except BlockingIOError:  # the queue of connections is full; with a timeout set the kernel does not wait for a place
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                return


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the daemon."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def hint(self) -> str:
        return str(self.json["error"]["hint"])


class Daemon:
    """`atl-signd serve` with HOME, configuration and socket in a folder of its own, which goes away with it."""

    def __init__(self, fork_server: "ForkServer | None" = None, /, **environment: str) -> None:
        """
        Prepare the folder.

        Args:
            fork_server: forks the process; None starts an interpreter of its own, as a user does.
            environment: the variables beside those that every daemon of the tests has.
        """
        # Not pytest's tmp_path: a socket's address holds 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="atls-"))
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "ATL_SIGN_STORE": "memory",
            "ATL_SIGN_AUTOSTART": "0",  # a test leaves no daemon behind
            # coverage measures processes that find this
            **{name: value for name, value in os.environ.items() if name.startswith(("COVERAGE", "COV_"))},
            **environment,
        }
        (self.folder / "run").mkdir(mode=0o700)
        self.socket = Path(self.environment.get("ATL_SIGN_SOCK") or self.folder / "run/atl-sign/agent.sock")
        self.config = self.folder / "config/atl-sign/config.toml"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self._fork_server = fork_server

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and wait for its socket."""
        if self._fork_server is not None:
            self.process = self._fork_server.start(["serve"], self.environment, self.folder, self.log)
        else:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "atl_sign.commands.cli", "serve"],
                    env=self.environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        wait_for(self._answers, lambda: f"the daemon did not start: {self.log.read_text()}")

    def run_program(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `atl-signd` with *arguments* to its end in the daemon's folder and environment, with *variables* added."""
        environment = {**self.environment, **variables}
        if self._fork_server is not None:
            return self._fork_server.run(list(arguments), environment, self.folder, PROGRAM_S)
        return subprocess.run(
            [sys.executable, "-m", "atl_sign.commands.cli", *arguments],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PROGRAM_S,
            check=False,
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process, if it runs; returns its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(DEADLINE_S)
        self.process = None
        return status

    def close(self) -> None:
        """End the process and remove the folder."""
        try:
            self.stop()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | bytes | None = None,
        *,
        text: bool = False,
        form: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """
        Send one request on a connection of its own.

        Args:
            fields: the body's fields, or the body itself.
            text: ask for text/plain.
            form: send the fields as application/x-www-form-urlencoded instead of JSON.
        """
        sent = {"Accept": "text/plain" if text else "application/json", **(headers or {})}
        body = fields
        if isinstance(fields, Mapping):
            body = urlencode(fields).encode() if form else json.dumps(fields).encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded" if form else "application/json")
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body=body, headers=sent)  # type: ignore[arg-type]  # bytes or None by now
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), response.read().decode())
        finally:
            connection.close()

    def make_key(self) -> str:
        """Make a consumer key; returns the public one, PEM."""
        reply = self.request("POST", "/key", {"bits": 2048})
        assert reply.status == 201, reply.text
        return str(reply.json["public_key"])

    def link(self, sandbox: "Sandbox", product: str, name: str | None = None, **settings: Any) -> str:
        """Make the key if need be, add a link to the sandbox's *product*, register the consumer; returns the link's name."""
        name = name or product
        reply = self.request("GET", "/key")
        public_key = reply.json["public_key"] if reply.status == 200 else self.make_key()
        consumer_key = f"consumer-{self.folder.name}-{name}"
        fields = {"url": sandbox.base_url(product), "consumer_key": consumer_key, **settings}
        reply = self.request("PUT", f"/links/{name}", fields)
        assert reply.status in (200, 201), reply.text
        sandbox.register_consumer(product, fields["consumer_key"], public_key, name="atl-sign tests")
        return name

    def dance(self, sandbox: "Sandbox", product: str, name: str | None = None) -> None:
        """Link and dance: alice allows, by the code."""
        name = self.link(sandbox, product, name)
        begun = self.request("POST", "/dance", {"link": name, "callback": "oob"})
        assert begun.status == 201, begun.text
        code = sandbox.approve(product, begun.json["authorize_url"])
        reply = self.request("POST", f"/dance/{begun.json['id']}", {"verifier": code})
        assert reply.status == 200, reply.text
        assert reply.json["state"] == "granted"

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.log.read_text()}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            return True


def build_library(name: str, folder: Path) -> Path:
    """Compile `tests/tools/NAME.c` into a library in *folder*, to be preloaded into a process; returns its path."""
    library = folder / f"{name}.so"
    source = REPOSITORY / "tests/tools" / f"{name}.c"
    subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def wait_for(condition: Any, words: Any = lambda: "it did not happen", deadline_s: float = DEADLINE_S) -> None:
    """Return when *condition()* is true; fail with *words()* after *deadline_s* seconds."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, words()
        time.sleep(0.01)


def send(url: str, authorization: str, method: str = "GET") -> tuple[int, str]:
    """Send a request as a program does; returns status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    target = parts.path if not parts.query else f"{parts.path}?{parts.query}"
    connection.request(method, target, headers={"Authorization": authorization})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def revoke_tokens(sandbox: "Sandbox", product: str) -> None:
    """Do what the user's page of grants does, for everybody."""
    sandbox.state.sites[product].state.access_tokens.clear()


def secrets_of(sandbox: "Sandbox", product: str) -> set[str]:
    """Return every secret that the sandbox's *product* has given out and still knows."""
    state = sandbox.state.sites[product].state
    access = [text for token in state.access_tokens.values() for text in (token.key, token.secret, token.session_handle)]
    return {
        *access,
        *(text for token in state.request_tokens.values() for text in (token.key, token.secret, token.verifier)),
        *state.sessions,
    }
