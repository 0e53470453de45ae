"""One command line run twice, by curl alone and by `atl-sign curl`, and what came of each."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.verify import NonceMemory
from tests.clients.differential.lines import FILES, INPUT_FOLDER, OUTPUT_FOLDER, Line
from tests.clients.differential.server import Judge, Recorder, Sent
from tests.lab import REPOSITORY, Daemon

SCRIPT = REPOSITORY / "clients/bash/atl-sign"
CURL = shutil.which("curl") or "curl"
REFUSED = 125
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one program did."""

    status: int
    stdout: bytes
    stderr: bytes
    files: dict[str, bytes]  # that it made, by their names
    sent: list[Sent]

    def describe(self) -> str:
        """Return it for a person to read."""
        lines = [f"status {self.status}, standard output {self.stdout[:500]!r}, standard error {self.stderr[:1_000]!r}"]
        lines += [f"file {name}: {content[:300]!r}" for name, content in sorted(self.files.items())]
        lines += [f"--- request {number}\n{sent.describe()}" for number, sent in enumerate(self.sent, 1)]
        return "\n".join(lines)


@cache
def installed_version() -> int:
    """Return the installed curl's, as the table of options has them: 1000 * major + minor."""
    text = subprocess.run([CURL, "-q", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = text.split()[1].split(".")[:2]
    return int(major) * 1_000 + int(minor)


class Lab:
    """A daemon that may sign for the recorder's address, and a folder with the files that command lines name."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._sandbox = Sandbox(["jira"])
        self.daemon = Daemon()
        self.here = self.daemon.folder / "here"
        self.home = self.daemon.folder / "home"
        self.recorder: Recorder

    def __enter__(self) -> Self:
        with self._sandbox, CloseOnFailure(self.daemon):
            self.recorder = Recorder(int(self._sandbox.base_url("jira").split(":")[2].split("/")[0]))
            self.daemon.start()
            self.recorder.judge = self._dance()
        self.here.mkdir()
        self.home.mkdir()
        for folder in (INPUT_FOLDER, OUTPUT_FOLDER):
            (self.here / folder).mkdir()
        for name, content in FILES.items():
            (self.here / name).write_bytes(content)
        (self.here / INPUT_FOLDER / "down.txt").write_bytes(b"down=1")
        self._inputs = {path.name for path in self.here.iterdir()}
        self.environment = {**self.daemon.environment, "HOME": str(self.home), "ATL_SIGN_SOCK": str(self.daemon.socket)}
        for name in [name for name in self.environment if name.startswith("COV")]:
            del self.environment[name]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.recorder.__exit__(kind, error, trace)
        self.daemon.close()

    def plain(self, line: Line) -> Run:
        """Run it by curl alone."""
        return self._run([CURL], line)

    def signed(self, line: Line) -> Run:
        """Run it by `atl-sign curl`."""
        return self._run([str(SCRIPT), "curl"], line)

    def concrete(self, text: str) -> str:
        """Return *text* with the real origins."""
        return text.replace("SERVER", f"127.0.0.1:{self.recorder.port}").replace(
            "ELSEWHERE", f"127.0.0.1:{self.recorder.elsewhere_port}"
        )

    def secrets(self) -> list[bytes]:
        """Return what may stand nowhere in a program's output or files."""
        assert self.recorder.judge is not None
        return [self.recorder.judge.token.encode()]

    def _run(self, program: Sequence[str], line: Line) -> Run:
        self._put(self.here / "config", line.config)
        self._put(self.home / ".curlrc", line.curlrc)
        stdin = None if line.stdin is None else self.concrete(line.stdin.decode("utf-8", "surrogateescape"))
        self.recorder.take()
        status, stdout, stderr = run(
            [*program, *(self.concrete(word) for word in line.arguments)],
            None if stdin is None else stdin.encode("utf-8", "surrogateescape"),
            self.environment,
            self.here,
        )
        return Run(status, stdout, stderr, self._take_files(), self.recorder.take())

    def _put(self, path: Path, content: str | None) -> None:
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(self.concrete(content), encoding="utf-8", errors="surrogateescape", newline="")

    def _take_files(self) -> dict[str, bytes]:
        """Return what was written, and remove it."""
        files = {}
        for path in self.here.iterdir():
            if path.name == OUTPUT_FOLDER:
                for inner in path.rglob("*"):
                    files[str(inner.relative_to(self.here))] = inner.read_bytes() if inner.is_file() else b""
                if any(path.iterdir()):
                    shutil.rmtree(path)
                    path.mkdir()
            elif path.name not in self._inputs and path.name != "config":
                files[path.name] = path.read_bytes() if path.is_file() else b""
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.name in FILES and path.stat().st_mtime_ns > self._written_at(path):
                files[path.name] = path.read_bytes()
                path.write_bytes(FILES[path.name])
        return files

    def _written_at(self, path: Path) -> int:
        """Return when an input was last written by us; an output of its name is put right again."""
        return path.stat().st_mtime_ns if path.stat().st_size == len(FILES[path.name]) else 0

    def _dance(self) -> Judge:
        """Key, link to the recorder's address, consumer and consent; the sandbox behind the recorder is asked."""
        reply = self.daemon.request("POST", "/key", {"bits": 2048})
        assert reply.status == 201, reply.text
        consumer_key = "differential"
        self._sandbox.register_consumer("jira", consumer_key, str(reply.json["public_key"]))
        reply = self.daemon.request("PUT", "/links/jira", {"url": self.recorder.base_url, "consumer_key": consumer_key})
        assert reply.status in (200, 201), reply.text
        begun = self.daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"})
        assert begun.status == 201, begun.text
        code = self._sandbox.approve("jira", begun.json["authorize_url"])
        reply = self.daemon.request("POST", f"/dance/{begun.json['id']}", {"verifier": code})
        assert reply.json["state"] == "granted", reply.text
        state = self._sandbox.state.sites["jira"].state
        consumer = state.find_consumer(consumer_key)
        assert consumer is not None
        (token,) = state.access_tokens.values()
        return Judge(consumer_key, consumer.public_key, token.key, NonceMemory())


class CloseOnFailure:
    """Closes the daemon when what is inside fails, and leaves it running else."""

    def __init__(self, daemon: Daemon) -> None:
        """Guard *daemon*."""
        self._daemon = daemon

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._daemon.close()


def run(command: Sequence[str], stdin: bytes | None, environment: dict[str, str], folder: Path) -> tuple[int, bytes, bytes]:
    """Run *command* to its end, in a group of its own that is ended with it; return status, standard output and error."""
    process = subprocess.Popen(
        [os.fsencode(word) for word in command],
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
        close_fds=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        return -999, stdout, stderr
    return process.returncode, stdout, stderr
