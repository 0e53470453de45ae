"""Repositories over HTTP: what git asks for, and `git http-backend`, which answers it."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from atl_sign.sandbox.bitbucket_data import Project, Repository
from atl_sign.sandbox.call import Call
from atl_sign.sandbox.parameters import Pairs
from atl_sign.sandbox.wire import Answer, StreamedAnswer, WireError, make_text

SERVICES = ("git-upload-pack", "git-receive-pack")

_TARGET = re.compile(r"/(?P<owner>[^/]+)/(?P<slug>[^/]+?)(?:\.git)?/(?P<rest>info/refs|git-upload-pack|git-receive-pack)")
_PIECE_BYTES = 65_536
_END_S = 10.0


class GitRefusalError(Exception):
    """A request below /scm that is refused; *answer* says so."""

    def __init__(self, answer: Answer) -> None:
        """Refuse with *answer*."""
        super().__init__(answer.status)
        self.answer = answer


class Repositories:
    """The product's repositories as bare ones on disk, each made when it is first asked for; they end with the sandbox."""

    def __init__(self) -> None:
        """Begin with none."""
        self._folder: Path | None = None
        self._lock = threading.Lock()

    def prepare(self, project: Project, repository: Repository) -> Path:
        """Return the folder that holds *repository*, by the names of its address."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="atl-sign-sandbox-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            path = self._folder / "scm" / project.key.lower() / f"{repository.slug}.git"
            if not path.is_dir():
                _make_repository(path, repository)
            return self._folder


@dataclass(frozen=True, slots=True)
class GitTarget:
    """Git's request: a repository by its two names, and one of its two services there."""

    owner: str
    slug: str
    rest: str  # info/refs, git-upload-pack or git-receive-pack
    service: str  # git-upload-pack or git-receive-pack

    @property
    def is_write(self) -> bool:
        """Whether this is a push."""
        return self.service == "git-receive-pack"


def find_target(call: Call, prefix: str = "") -> GitTarget:
    """Return what *call* asks for, below *prefix*; raises GitRefusalError (404) when it is nothing of git's protocol."""
    match = _TARGET.fullmatch(call.path.removeprefix(prefix)) if call.path.startswith(prefix) else None
    service = None
    if match is not None:
        service = call.request.parameter("service") if match["rest"] == "info/refs" else match["rest"]
    if match is None or service not in SERVICES or call.request.method != ("GET" if match["rest"] == "info/refs" else "POST"):
        raise GitRefusalError(make_text("There is nothing at this address.", 404))
    return GitTarget(match["owner"], match["slug"], match["rest"], service)


def is_git_path(path: str) -> bool:
    """Tell whether *path*, decoded, is an address of git's protocol."""
    return _TARGET.fullmatch(path) is not None


def make_environment(call: Call, target: GitTarget, folder: Path, path: str) -> dict[str, str]:
    """
    Return the environment for `git http-backend`.

    Args:
        call: by a caller who may do what *target* says.
        target: what is asked for.
        folder: where the repositories are.
        path: the repository's, below *folder*.
    """
    headers = dict(call.request.headers)
    environment = {
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{path}/{target.rest}",
        "QUERY_STRING": f"service={target.service}" if target.rest == "info/refs" else "",
        "REQUEST_METHOD": call.request.method,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    for name, header in (
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ):
        if header in headers:
            environment[name] = headers[header]
    if call.user is not None:
        environment["REMOTE_USER"] = call.user.name  # with it a push is let in
    return environment


def run_backend(environment: Mapping[str, str], body: Iterator[bytes]) -> StreamedAnswer:
    """Let `git http-backend` answer: the body goes in as it comes, and what it says comes out as it says it."""
    process = subprocess.Popen(  # noqa: S603 - only git runs
        [_find_git(), "http-backend"],
        env={**_plain_environment(), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    pipe_in, pipe_out = cast(BinaryIO, process.stdin), cast(BufferedReader, process.stdout)
    failures: list[WireError] = []
    feeder = threading.Thread(target=_feed, args=(pipe_in, body, failures), name="git-body", daemon=True)
    feeder.start()
    status, headers = _read_cgi_head(pipe_out)
    return StreamedAnswer(status, headers, _iterate_output(process, pipe_out, feeder, failures))


def _feed(pipe: BinaryIO, body: Iterator[bytes], failures: list[WireError]) -> None:
    with suppress(OSError):  # it has read enough, and ended
        try:
            for piece in body:
                pipe.write(piece)
        except WireError as exc:
            failures.append(exc)
        finally:
            pipe.close()


def _iterate_output(
    process: subprocess.Popen[bytes], pipe: BufferedReader, feeder: threading.Thread, failures: list[WireError]
) -> Iterator[bytes]:
    try:
        while piece := pipe.read1(_PIECE_BYTES):
            yield piece
    finally:
        pipe.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:  # the peer went away in the middle
            process.kill()
            process.wait()
        feeder.join(_END_S)
    if failures or feeder.is_alive():
        raise ConnectionError  # nobody knows where the connection's next request would begin


def _read_cgi_head(stream: BinaryIO) -> tuple[int, Pairs]:
    """Return status and headers of a CGI answer (RFC 3875 §6)."""
    status, headers = 200, []
    while line := stream.readline().rstrip(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers.append((name, value.strip()))
    return (status, tuple(headers)) if headers else (500, ())


def _plain_environment() -> dict[str, str]:
    """Return what git runs with: nobody's settings."""
    return {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": "/"}


def _find_git() -> str:
    program = shutil.which("git")
    if program is None:
        raise GitRefusalError(make_text("The sandbox needs git to serve repositories.\n", 501))
    return program


def _make_repository(path: Path, repository: Repository) -> None:
    """Make the bare repository at *path*, each branch with one commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".new")
    environment, git = _plain_environment(), _find_git()
    subprocess.run([git, "init", "--quiet", "--bare", "--initial-branch=main", made], env=environment, check=True)  # noqa: S603
    lines: list[bytes] = []
    for name, files in repository.branches.items():
        lines.append(b"commit refs/heads/%b\ncommitter Sandbox <sandbox@example.com> 1700000000 +0000\n" % name.encode())
        lines.append(b"data 6\nBegin\n\n")
        for file, text in files.items():
            content = text.encode()
            lines.append(b'M 100644 inline "%b"\ndata %d\n%b\n' % (file.encode(), len(content), content))
    subprocess.run(  # noqa: S603 - only git runs
        [git, "-C", made, "fast-import", "--quiet"],
        input=b"".join(lines),
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made.rename(path)
