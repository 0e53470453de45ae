"""The process: the socket with its mode, one daemon a path, uvicorn on it, and a clean end."""

import asyncio
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import uvicorn

from atl_sign.agent import Agent
from atl_sign.api import make_app
from atl_sign.audit import open_audit
from atl_sign.config import ConfigFile, config_path
from atl_sign.connections import ACCEPTS_MAX, IDLE_S, AcceptFailures, Connection
from atl_sign.dance import Dances
from atl_sign.errors import BadRequestError, DaemonError, StoreLockedError, StoreMissingError
from atl_sign.listening import BACKLOG, StartError, open_listener
from atl_sign.store import Store, open_store
from atl_sign.vault import Vault

STORE_DEFAULT = "secret-service"
KEY_CREDENTIAL = "atl-sign-store-key"  # in systemd's LoadCredential=
_PR_SET_DUMPABLE = 4
_M_ARENA_MAX = -8  # of glibc's mallopt(3)
# A full collection stops everybody, for 50 ms with 10,000 links, and a list of those started several of them.
_GC_THRESHOLDS = (100_000, 50, 1_000)
_SWITCH_S = 0.001  # how long a thread may keep the interpreter: the loop asks for it some ten times in a request
_SHUTDOWN_S = 3
_FILES_MAX = 65_536

_log = logging.getLogger("atl_sign")


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where the store's file is: `$XDG_STATE_HOME/atl-sign`, `~/.local/state/atl-sign` when that is not set."""
    home = environment.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "atl-sign"


def serve(environment: Mapping[str, str], key_fd: int | None = None) -> None:
    """
    Serve until SIGTERM or SIGINT.

    Args:
        environment: the variables that docs/configuration.md lists.
        key_fd: a descriptor that gives the passphrase of the store's file; it is read to its end.

    Raises:
        StartError: another daemon is there, or the socket's folder cannot be used, or the store's name is unknown.
    """
    os.umask(0o077)
    _keep_memory_private()
    _allow_open_files()
    _keep_one_heap()
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(*_GC_THRESHOLDS)
    _set_up_log()
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: early.append(number))
    agent = _make_agent(environment, key_fd)
    # FastAPI asks whether a model is one of pydantic 1, and loads all of that (3 MB, 50 ms) to answer; we have none.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # None: the import fails, which FastAPI expects
    listener = open_listener(environment)
    config = uvicorn.Config(
        make_app(agent),
        http=Connection,
        loop="asyncio",  # whatever else is installed beside us
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_S,
        backlog=ACCEPTS_MAX,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = _Server(config, agent)
    # Before and after uvicorn's own handlers, which raise the signal once more: its default would end us before the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    if early:
        server.should_exit = True
    _log.info("serving at %s, store %s", listener.path or "the socket that systemd handed over", agent.backend)
    try:
        server.run(sockets=[listener.socket])
    finally:
        listener.remove()


class _Server(uvicorn.Server):
    """uvicorn's server, which ends the waiting dances first, so that nobody is left to wait for them."""

    def __init__(self, config: uvicorn.Config, agent: Agent) -> None:
        super().__init__(config)
        self._agent = agent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and let everybody who waits for a dance go."""
        super().handle_exit(sig, frame)
        threading.Thread(target=self._agent.close, daemon=True).start()  # a handler must not wait for locks

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with a longer queue in the kernel than connections are taken at once."""
        asyncio.get_running_loop().set_exception_handler(AcceptFailures(self.server_state.connections))
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Once a second, look for connections that came to nothing."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.drop_when_late(now)  # type: ignore[union-attr]  # all are of our class
            if self._agent.store.is_due():  # in a thread: it waits for a token that is being stored
                threading.Thread(target=self._agent.lock_when_due, name="lock", daemon=True).start()
        return await super().on_tick(counter)


def _make_agent(environment: Mapping[str, str], key_fd: int | None) -> Agent:
    config = ConfigFile(config_path(environment))
    settings = config.settings()
    for problem in settings.problems:
        _log.warning("%s", problem)
    backend = environment.get("ATL_SIGN_STORE") or settings.store_backend or STORE_DEFAULT
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    key_file = Path(credentials) / KEY_CREDENTIAL if credentials else None
    if key_file is not None and not key_file.exists():
        key_file = None  # the unit loads other credentials

    def open_named(name: str) -> Store:
        return open_store(name, state_folder(environment) / "store", key_file)

    try:
        store = open_named(backend)
    except BadRequestError as exc:
        raise StartError(exc.message, exc.hint or "name another store") from exc
    _unlock_at_start(store, key_fd)
    pinned_by = "ATL_SIGN_STORE" if environment.get("ATL_SIGN_STORE") else None
    return Agent(config, Vault(store), Dances(), open_audit(environment), open_store=open_named, store_pinned_by=pinned_by)


def _unlock_at_start(store: Store, key_fd: int | None) -> None:
    """Open the store's file when a key was given; what fails is told, and the daemon serves with a locked store."""
    if store.backend != "file":
        if key_fd is not None:
            raise StartError(f"the store {store.backend} takes no key", "leave --key-fd out, or name the store file")
        return
    from atl_sign.store_file import FileStore, read_key

    try:
        if key_fd is not None and isinstance(store, FileStore):
            passphrase = read_key(key_fd)
            try:
                store.unlock_or_create(passphrase)
            finally:
                passphrase.wipe()
        else:
            store.unlock(None, None)
    except (StoreLockedError, StoreMissingError) as exc:
        _log.info("%s; %s", exc.message, exc.hint)
    except DaemonError as exc:
        _log.warning("the store stays locked: %s; %s", exc.message, exc.hint)


def _keep_memory_private() -> None:
    """Let neither a core file nor another process of ours see the secrets in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _allow_open_files() -> None:
    """Raise the limit of open files, which is 1,024 in most sessions for the sake of select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _keep_one_heap() -> None:
    """Let threads share one heap: each would keep another one at its largest, 5 MB for every thread that listed 10,000 links."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc alone
        libc.mallopt(_M_ARENA_MAX, 1)


def _set_up_log() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    _log.setLevel(logging.INFO)
    for name in ("oauthlib", "requests_oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # at DEBUG they print tokens
