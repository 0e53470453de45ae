"""The process: the socket with its mode, one daemon a path, uvicorn on it, and a clean end."""

import asyncio
import ctypes
import gc
import logging
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from atl_sign.access.audit import open_audit
from atl_sign.agent.agent import Agent
from atl_sign.api.app import make_app
from atl_sign.base.errors import BadRequestError, DaemonError, StoreLockedError, StoreMissingError, StoreUnavailableError
from atl_sign.base.folders import state_folder
from atl_sign.base.terminal import LogFormatter
from atl_sign.config.file import ConfigFile, UntrustedConfigError, config_path
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.opening import STORE_DEFAULT, open_store
from atl_sign.custody.vault import Vault
from atl_sign.grants.dance import Dances
from atl_sign.schemes.registry import SCHEMES
from atl_sign.server.connections import ACCEPTS_MAX, IDLE_S, AcceptFailures, Connection
from atl_sign.server.idle import IdleWatch
from atl_sign.server.installed import read_stamp
from atl_sign.server.listening import BACKLOG, Listener, StartError, open_listener, passed_descriptors, take_inherited_socket
from atl_sign.server.notify import Notifier, notifier_of
from atl_sign.server.own_process import become_independent

KEY_CREDENTIAL = "atl-sign-store-key"  # in systemd's LoadCredential=
_PR_SET_DUMPABLE = 4
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # of glibc's mallopt(3)
_MAPPED_BYTES = 1 << 17  # glibc's own threshold, which it would raise to what was freed last
# Of the garbage collector: a closed connection leaves a kilobyte to it in five objects, so two thousand may wait for it. A full
# collection stops everybody, for 50 ms with 10,000 links, and by default a list of those started several of them.
_GC_THRESHOLDS = (10_000, 10, 50)
_SWITCH_S = 0.001  # how long a thread may keep the interpreter: the loop asks for it some ten times in a request
_SHUTDOWN_S = 3
_FILES_MAX = 65_536
_LATE_S = 0.1  # after our socket's path is gone, for those who had found it just before
_TURNS = 10  # of the event loop, until a connection that was taken is one of ours; two would do

_log = logging.getLogger("atl_sign")


def serve(environment: Mapping[str, str], key_fd: int | None = None, *, may_end: bool = False) -> None:
    """
    Serve until SIGTERM or SIGINT, or until nobody has needed us for a while and we can be had back.

    Args:
        environment: the variables that docs/configuration.md lists.
        key_fd: a descriptor that gives the passphrase of the store's file; it is read to its end.
        may_end: end when idle, because the clients start another one (autostart); with systemd's socket we always may.

    Raises:
        StartError: another daemon is there, or the socket's folder cannot be used, or the store's name is unknown.
    """
    become_independent(passed_descriptors(environment) | ({key_fd} if key_fd is not None else set()))
    _keep_memory_private()
    _allow_open_files()
    _keep_heap_small()
    sys.setswitchinterval(_SWITCH_S)
    _set_up_log()
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: early.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the configuration is about to be read anyway
    notifier = notifier_of(environment)
    try:
        callers = _Callers()
        agent = _make_agent(environment, key_fd, callers.pids)
    except StartError as exc:
        _tell_waiting(environment, exc)
        raise
    threading.Thread(target=agent.store.clear_up, name="clear-up", daemon=True).start()
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
    watch = None
    if may_end or listener.path is None:
        watch = IdleWatch(lambda: agent.read_settings().idle_exit_s, read_stamp)
    server = _Server(config, agent, notifier, watch, listener)
    callers.connections = server.server_state.connections
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
    """
    uvicorn's server as a service: it keeps the service manager informed, reads the configuration again, and ends when idle.

    At the end the waiting dances end first, so that nobody is left to wait for them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        agent: Agent,
        notifier: Notifier | None = None,
        watch: IdleWatch | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(config)
        self._agent = agent
        self._notifier = notifier or Notifier(None)
        self._watch = watch
        self._listener = listener
        self._sockets: list[socket.socket] = []
        self._leaving: asyncio.Task[bool] | None = None
        self._reloading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and let everybody who waits for a dance go."""
        super().handle_exit(sig, frame)
        threading.Thread(target=self._agent.close, daemon=True).start()  # a handler must not wait for locks

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with a longer queue in the kernel than connections are taken at once."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(AcceptFailures(self.server_state.connections))
        self._sockets = sockets or []
        # uvicorn closes what it is given, and then the kernel refuses those in the queue; ours stay open until the end.
        await super().startup([each.dup() for each in self._sockets])
        for each in self._sockets:
            each.listen(BACKLOG)
        gc.set_threshold(*_GC_THRESHOLDS)
        if self._leaving is None and threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
            if self._watch is not None:
                self._watch.begin(loop.time())
            self._notifier.tell_ready(await asyncio.to_thread(self._describe))

    async def on_tick(self, counter: int) -> bool:
        """Give a sign of life; once a second, look for connections that came to nothing, and whether anybody needs us."""
        now = asyncio.get_running_loop().time()
        self._notifier.tell_alive(now)
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                connection.drop_when_late(now)  # type: ignore[union-attr]  # all are of our class
            if self._agent.store.is_due():  # in a thread: it waits for a token that is being stored
                threading.Thread(target=self._agent.lock_when_due, name="lock", daemon=True).start()
            self._look_whether_idle(now)
        has_left = self._leaving is not None and self._leaving.done() and self._leaving.result()
        return await super().on_tick(counter) or has_left

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the service manager, then end as uvicorn does."""
        self._notifier.tell_stopping("ending")
        await super().shutdown(sockets)

    def _look_whether_idle(self, now: float) -> None:
        watch, state = self._watch, self.server_state
        if watch is None or (self._leaving is not None and not self._leaving.done()):
            return
        is_busy = bool(state.connections) or not self._agent.is_settled()
        watch.note(now, requests=state.total_requests, is_busy=is_busy)
        if watch.is_due(now):
            self._leaving = asyncio.create_task(self._leave(watch, state.total_requests))

    async def _leave(self, watch: IdleWatch, requests: int) -> bool:
        """Stop taking connections if another daemon could go on where we are; tells whether nobody had come meanwhile."""
        loop = asyncio.get_running_loop()
        if not await asyncio.to_thread(self._agent.may_be_replaced):
            watch.put_off(loop.time())
            return False
        listener = self._listener
        if listener is not None and listener.step_aside():
            await asyncio.sleep(_LATE_S)
        await self._stop_taking()
        is_needed = bool(self.server_state.connections) or self.server_state.total_requests != requests
        # With systemd those in the queue are for the next one of us; our own socket ends with us, and they with it.
        if is_needed or (listener is not None and listener.path is not None and _has_queue(listener.socket)):
            await self.startup(self._sockets)
            if listener is not None:
                listener.step_back()
            return False
        _log.info(
            "ending: %s", "another version is installed" if watch.is_upgraded(loop.time()) else "nobody needed me for a while"
        )
        return True

    async def _stop_taking(self) -> None:
        """
        Take no more connections, and make those that were taken ours.

        asyncio drops a connection without a word when its server is closed before its first turn.
        """
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for each in server.sockets:
                loop.remove_reader(each)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()

    def _begin_reload(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._notifier.tell_reloading()
            self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        await asyncio.to_thread(self._agent.forget_settings)
        self._notifier.tell_ready(await asyncio.to_thread(self._describe))

    def _describe(self) -> str:
        """Log what is wrong in the configuration, and return one line on how we are."""
        settings = self._agent.read_settings()
        for problem in settings.problems:
            _log.warning("%s", problem)
        wrong = f", {len(settings.problems)} problems in config.toml: atl-sign status" if settings.problems else ""
        return f"{len(settings.links.by_name)} links, store {self._agent.backend}{wrong}"


def _has_queue(listener: socket.socket) -> bool:
    """Tell whether a connection waits to be accepted."""
    return bool(select.select([listener], [], [], 0)[0])


def _tell_waiting(environment: Mapping[str, str], error: StartError) -> None:
    """
    Tell those who wait on systemd's socket why there is no daemon.

    Else they would wait until their deadline, and systemd would start us again and again for them.
    """
    listener = take_inherited_socket(environment)
    if listener is not None:
        from atl_sign.server.refusal import refuse_waiting

        refuse_waiting(listener, StoreUnavailableError(str(error), error.hint))


class _Callers:
    """Those that are connected, for the store, which is there before the server is."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()  # of `Connection`

    def pids(self) -> list[int]:
        """Return their pids, the youngest process first; from any thread."""
        peers = [each.app_state["peer"] for each in tuple(self.connections) if "peer" in each.app_state]
        return sorted({peer.pid for peer in peers if peer.is_ours()}, reverse=True)


def _make_agent(environment: Mapping[str, str], key_fd: int | None, list_callers: Callable[[], list[int]]) -> Agent:
    config = ConfigFile(config_path(environment), SCHEMES)
    try:
        config.check_trusted()  # there is no earlier reading to go on with, and it names the store
    except UntrustedConfigError as exc:
        raise StartError(str(exc), exc.hint) from exc
    backend = environment.get("ATL_SIGN_STORE") or config.settings().store_backend or STORE_DEFAULT
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    key_file = Path(credentials) / KEY_CREDENTIAL if credentials else None
    if key_file is not None and not key_file.exists():
        key_file = None  # the unit loads other credentials

    def open_named(name: str) -> Store:
        return open_store(name, state_folder(environment) / "store", key_file, list_callers)

    try:
        store = open_named(backend)
    except BadRequestError as exc:
        raise StartError(exc.message, exc.hint or "name another store") from exc
    _unlock_at_start(store, key_fd)
    pinned_by = "ATL_SIGN_STORE" if environment.get("ATL_SIGN_STORE") else None
    neighbours = Neighbours(None if store.backend == "memory" else state_folder(environment))
    return Agent(
        config, Vault(store, neighbours), Dances(), open_audit(environment), open_store=open_named, store_pinned_by=pinned_by
    )


def _unlock_at_start(store: Store, key_fd: int | None) -> None:
    """Open the store's file when a key was given; what fails is told, and the daemon serves with a locked store."""
    if store.backend != "file":
        if key_fd is not None:
            raise StartError(f"the store {store.backend} takes no key", "leave --key-fd out, or name the store file")
        return
    from atl_sign.custody.stores.file import FileStore, read_key

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


def _keep_heap_small() -> None:
    """
    Let threads share one heap, and give back what was large.

    Each would keep another heap at its largest, 5 MB for every thread that listed 10,000 links; and the one kept 4 MB of them.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc alone
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def _set_up_log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    _log.setLevel(logging.INFO)
    for name in ("oauthlib", "requests_oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # at DEBUG they print tokens
