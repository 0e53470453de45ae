"""The process: the socket with its mode, one daemon a path, uvicorn on it, and a clean end."""

import ctypes
import fcntl
import logging
import os
import resource
import signal
import socket
import stat
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atl_sign.agent import Agent
from atl_sign.answers import answer_error
from atl_sign.api import make_app
from atl_sign.config import ConfigFile
from atl_sign.dance import Dances
from atl_sign.errors import BadRequestError
from atl_sign.peer import read_peer
from atl_sign.store import open_store
from atl_sign.vault import Vault

SOCKET_PATH_BYTES_MAX = 107  # sun_path holds 108 with the zero at its end (unix(7))
STORE_DEFAULT = "secret-service"
_FIRST_INHERITED_FD = 3  # sd_listen_fds(3)
_PR_SET_DUMPABLE = 4
_SHUTDOWN_S = 3

_log = logging.getLogger("atl_sign")


class StartError(Exception):
    """The daemon cannot start; says why, and in `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        """Say what failed and what to do."""
        super().__init__(message)
        self.hint = hint


def socket_path(environment: Mapping[str, str]) -> Path:
    """
    Return where the socket is, by the one rule that every client follows (design, section 3).

    Raises:
        StartError: the path is longer than a socket's address can be.
    """
    if environment.get("ATL_SIGN_SOCK"):
        path = Path(environment["ATL_SIGN_SOCK"])
    elif environment.get("XDG_RUNTIME_DIR"):
        path = Path(environment["XDG_RUNTIME_DIR"]) / "atl-sign/agent.sock"
    else:
        run = Path(f"/run/user/{os.getuid()}")
        base = run if run.is_dir() and run.stat().st_uid == os.getuid() else Path.home() / ".local/state"
        path = base / "atl-sign/agent.sock"
    path = path.absolute()
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise StartError(f"the socket's path is over {SOCKET_PATH_BYTES_MAX} bytes: {path}", "set ATL_SIGN_SOCK to a shorter one")
    return path


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where the configuration file is: `$XDG_CONFIG_HOME/atl-sign/config.toml`, `~/.config` when that is not set."""
    home = environment.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "atl-sign/config.toml"


def serve(environment: Mapping[str, str]) -> None:
    """
    Serve until SIGTERM or SIGINT.

    Raises:
        StartError: another daemon is there, or the socket's folder cannot be used, or the store's name is unknown.
    """
    os.umask(0o077)
    _keep_memory_private()
    _set_up_log()
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: early.append(number))
    agent = _make_agent(environment)
    inherited = _inherited_socket(environment)
    path = None if inherited else socket_path(environment)
    # FastAPI asks whether a model is one of pydantic 1, and loads all of that (3 MB, 50 ms) to answer; we have none.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # None: the import fails, which FastAPI expects
    claim = None if path is None else _claim(path)
    listener = inherited or _bind(path)  # type: ignore[arg-type]  # one of the two is there
    config = uvicorn.Config(
        make_app(agent),
        http=_PeerProtocol,
        loop="asyncio",  # whatever else is installed beside us
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = _Server(config, agent)
    # Before and after uvicorn's own handlers, which raise the signal once more: its default would end us before the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    if early:
        server.should_exit = True
    _log.info("serving at %s, store %s", path or "the socket that systemd handed over", agent.backend)
    try:
        server.run(sockets=[listener])
    finally:
        if path is not None:
            path.unlink(missing_ok=True)
        if claim is not None:
            os.close(claim)


class _Server(uvicorn.Server):
    """uvicorn's server, which ends the waiting dances first, so that nobody is left to wait for them."""

    def __init__(self, config: uvicorn.Config, agent: Agent) -> None:
        super().__init__(config)
        self._agent = agent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and let everybody who waits for a dance go."""
        super().handle_exit(sig, frame)
        threading.Thread(target=self._agent.close, daemon=True).start()  # a handler must not wait for locks


class _PeerProtocol(HttpToolsProtocol):
    """One connection: cut off before a byte is parsed when another user opened it."""

    def connection_made(self, transport: Any) -> None:
        """Ask the kernel who it is."""
        super().connection_made(transport)
        try:
            is_ours = read_peer(transport.get_extra_info("socket")).is_ours()
        except OSError:
            is_ours = False
        if not is_ours:
            transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the shape that every failure has."""
        del msg
        body, kind = answer_error(BadRequestError("this is no HTTP/1.1 request", "speak HTTP to this socket"), as_text=False)
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (
            kind,
            len(body),
        )
        self.transport.write(head + body)
        self.transport.close()


def _make_agent(environment: Mapping[str, str]) -> Agent:
    config = ConfigFile(config_path(environment))
    settings = config.settings()
    for problem in settings.problems:
        _log.warning("%s", problem)
    backend = environment.get("ATL_SIGN_STORE") or settings.store_backend or STORE_DEFAULT
    try:
        store = open_store(backend)
    except BadRequestError as exc:
        raise StartError(exc.message, exc.hint or "name another store") from exc
    return Agent(config, Vault(store), Dances())


def _inherited_socket(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the listening socket that systemd handed over (sd_listen_fds(3)), or None."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    if environment.get("LISTEN_FDS") != "1":
        raise StartError("systemd handed over another number of sockets than one", "mend the .socket unit")
    listener = socket.socket(fileno=_FIRST_INHERITED_FD)
    listener.set_inheritable(False)
    if listener.family != socket.AF_UNIX:
        listener.close()
        raise StartError("systemd handed over a socket that is no Unix socket", "ListenStream= in the .socket unit is a path")
    return listener


def _claim(path: Path) -> int:
    """Make the socket's folder and take the lock beside the socket, which lives as long as we do; returns its descriptor."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.parent.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise StartError(
                f"others may write into {path.parent}", "set ATL_SIGN_SOCK to a path in a folder that is yours alone (mode 0700)"
            )
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise StartError(
            f"{path.parent} cannot be used: {exc.strerror}", "set ATL_SIGN_SOCK to a path in a folder of yours"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise StartError(f"{_who_is_there(path)} serves at {path} already", "use that one, or end it first") from exc
    return descriptor


def _bind(path: Path) -> socket.socket:
    """Return a listening socket at *path*; whoever has the lock beside it may replace a stale one."""
    if path.is_socket():
        if _answers(path):
            os_hint = "another program listens there; set ATL_SIGN_SOCK to another path"
            raise StartError(f"{_who_is_there(path)} serves at {path} already", os_hint)
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the moment the file is there: uvicorn's own uds= would open it to all afterwards.
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as exc:
        listener.close()
        raise StartError(f"{path} cannot be made: {exc.strerror}", "remove what is there, or set ATL_SIGN_SOCK") from exc
    finally:
        os.umask(previous)
    listener.listen(1024)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _who_is_there(path: Path) -> str:
    """Return the words for the process that listens at *path*, as the kernel names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
            return f"a daemon with pid {read_peer(probe).pid}"
        except OSError:
            return "another daemon, which is just starting or ending,"


def _keep_memory_private() -> None:
    """Let neither a core file nor another process of ours see the secrets in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _set_up_log() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    _log.setLevel(logging.INFO)
    for name in ("oauthlib", "requests_oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # at DEBUG they print tokens
