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
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from atl_sign.access.audit import open_audit
from atl_sign.agent.build import Agent, make_agent
from atl_sign.agent.life import Life
from atl_sign.api.app import make_app
from atl_sign.base.errors import BadRequestError, DaemonError, StoreLockedError, StoreMissingError, StoreUnavailableError
from atl_sign.base.folders import state_folder
from atl_sign.base.terminal import LogFormatter
from atl_sign.config.file import ConfigFile, UntrustedConfigError, config_path
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.opening import STORE_DEFAULT, open_store
from atl_sign.custody.vault import Vault
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from atl_sign.server.connections import ACCEPTS_MAX, IDLE_S, AcceptFailures, Connection
from atl_sign.server.idle import IdleWatch
from atl_sign.server.installed import read_stamp, serve_command
from atl_sign.server.listening import BACKLOG, StartError, open_listener, passed_descriptors, take_inherited_socket
from atl_sign.server.notify import Notifier, notifier_of
from atl_sign.server.own_process import become_independent

KEY_CREDENTIAL = "atl-sign-store-key"  # in systemd's LoadCredential=
_PR_SET_DUMPABLE = 4
# Of the garbage collector: a closed connection leaves a kilobyte to it in five objects, so two thousand may wait for it.
_GC_THRESHOLDS = (10_000, 10, 50)
_SWITCH_S = 0.001  # how long a thread may keep the interpreter: the loop asks for it some ten times in a request
_SHUTDOWN_S = 3
_FILES_MAX = 65_536

_log = logging.getLogger("atl_sign")


def serve(
    environment: Mapping[str, str],
    key_fd: int | None = None,
    passed_on: tuple[int, int] | None = None,
    report_fd: int | None = None,
) -> None:
    """
    Serve until SIGTERM or SIGINT, or, with systemd's socket, until nobody has needed us for a while and we can be had back.

    With a socket of its own the process becomes the version that was installed meanwhile, which goes on with that socket.

    Args:
        environment: the variables that docs/configuration.md lists.
        key_fd: a descriptor that gives the passphrase of the store's file; it is read to its end.
        passed_on: what `Listener.pass_on` returned in the program that this process was before.
        report_fd: a descriptor for the caller to report a StartError to; it is closed when there is none.

    Raises:
        StartError: another daemon is there, or the socket's folder cannot be used, or the store's name is unknown.
    """
    given = {number for number in (key_fd, report_fd, *(passed_on or ())) if number is not None}
    become_independent(passed_descriptors(environment) | given)
    _keep_memory_private()
    _allow_open_files()
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
    threading.Thread(target=agent.life.clear_up, name="clear-up", daemon=True).start()
    # FastAPI asks whether a model is one of pydantic 1, and loads all of that (3 MB, 50 ms) to answer; we have none.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # None: the import fails, which FastAPI expects
    listener = open_listener(environment, passed_on)
    if report_fd is not None:
        os.close(report_fd)  # nothing can be wrong any more
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
    is_systemds = listener.path is None
    # Without systemd nobody keeps a socket meanwhile: that daemon goes on for as long as it is the installed version.
    watch = IdleWatch(lambda: agent.life.read_settings().idle_exit_s if is_systemds else 0.0, read_stamp)
    server = Server(config, agent.life, notifier, watch)
    callers.connections = server.server_state.connections
    # Before and after uvicorn's own handlers, which raise the signal once more: its default would end us before the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    if early:
        server.should_exit = True
    _log.info("serving at %s, store %s", listener.path or "the socket that systemd handed over", agent.life.backend)
    try:
        server.run(sockets=[listener.socket])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # one that came before is noted, one that comes now ends us
        if server.has_left and not server.should_exit:
            _go_on_as_installed(listener.pass_on(), environment)
    finally:
        listener.remove()


def _go_on_as_installed(passed_on: tuple[int, int] | None, environment: Mapping[str, str]) -> None:
    """Become the installed version, with the same pid, socket and lock; returns when that is not to be, or cannot be started."""
    if passed_on is None:
        return
    command = [*serve_command(), f"--passed-on={passed_on[0]},{passed_on[1]}"]
    try:
        os.execve(command[0], command, environment)  # noqa: S606 - there is no shell to go through
    except OSError as exc:
        _log.warning("the installed version cannot be started: %s", exc.strerror)


class Server(uvicorn.Server):
    """
    uvicorn's server as a service: it keeps the service manager informed, reads the configuration again, and leaves when idle.

    At the end the waiting dances end first, so that nobody is left to wait for them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        life: Life,
        notifier: Notifier | None = None,
        watch: IdleWatch | None = None,
    ) -> None:
        super().__init__(config)
        self._life = life
        self._notifier = notifier or Notifier(None)
        self._watch = watch
        self._lasting: set[asyncio.Task[Any]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self.has_left = False  # without a signal: nobody needs us, or another version is installed
        self._reloading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and let everybody who waits for a dance go."""
        super().handle_exit(sig, frame)
        threading.Thread(target=self._life.close, daemon=True).start()  # a handler must not wait for locks

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with a longer queue in the kernel than connections are taken at once."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(AcceptFailures(self.server_state.connections))
        # uvicorn closes what it is given, and then the kernel refuses those in the queue; ours stay open until the end.
        await super().startup([each.dup() for each in sockets or []])
        for each in sockets or []:
            each.listen(BACKLOG)
        gc.set_threshold(*_GC_THRESHOLDS)
        self._lasting = asyncio.all_tasks()
        if threading.current_thread() is threading.main_thread():
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
            if self._life.is_lock_due():  # in a thread: it waits for a token that is being stored
                threading.Thread(target=self._life.lock_when_due, name="lock", daemon=True).start()
            self._look_whether_idle(now)
        return await super().on_tick(counter) or self.has_left

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the service manager that the end has begun, then end as uvicorn does."""
        if self.has_left:  # another daemon goes on at once; were the socket closed, the kernel would reset those in its queue
            sockets = None
        else:
            self._notifier.tell_stopping("ending")
        await super().shutdown(sockets)

    def _look_whether_idle(self, now: float) -> None:
        watch, state = self._watch, self.server_state
        if watch is None or self.has_left or (self._leaving is not None and not self._leaving.done()):
            return
        is_busy = bool(state.connections) or not self._life.is_settled()
        watch.note(now, requests=state.total_requests, is_busy=is_busy)
        if watch.is_due(now):
            self._leaving = asyncio.create_task(self._leave(watch, state.total_requests))

    async def _leave(self, watch: IdleWatch, requests: int) -> None:
        """
        Take no more connections, if another daemon could go on where we are and nobody has come meanwhile.

        Those in the socket's queue are for the next one: systemd keeps the socket open, or we pass it on.
        """
        loop = asyncio.get_running_loop()
        if not await asyncio.to_thread(self._life.may_be_replaced):
            watch.put_off(loop.time())
            return
        # A connection that was taken and is not yet one of ours is a task of asyncio, which drops it without a word at the end.
        others = asyncio.all_tasks() - self._lasting - {asyncio.current_task()}
        if others or self.server_state.connections or self.server_state.total_requests != requests:
            return
        for server in self.servers:
            for each in server.sockets:
                loop.remove_reader(each)
        self.has_left = True
        _log.info(
            "leaving: %s", "another version is installed" if watch.is_upgraded(loop.time()) else "nobody needed me for a while"
        )

    def _begin_reload(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._notifier.tell_reloading()
            self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        await asyncio.to_thread(self._life.forget_settings)
        self._notifier.tell_ready(await asyncio.to_thread(self._describe))

    def _describe(self) -> str:
        """Log what is wrong in the configuration, and return one line on how we are."""
        settings = self._life.read_settings()
        for problem in settings.problems:
            _log.warning("%s", problem)
        wrong = f", {len(settings.problems)} problems in config.toml: atl-sign status" if settings.problems else ""
        return f"{len(settings.links.by_name)} links, store {self._life.backend}{wrong}"


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
    config = ConfigFile(config_path(environment), SCHEME_SETTINGS)
    try:
        config.check_trusted()  # there is no earlier reading to go on with, and it names the store
    except UntrustedConfigError as exc:
        raise StartError(str(exc), exc.hint) from exc
    settings = config.settings()
    pinned = environment.get("ATL_SIGN_STORE")
    if not pinned and settings.problem_of_file is not None:
        cause = f"which store keeps the secrets is not known: {settings.problem_of_file}"
        raise StartError(cause, f"fix {config.path}")  # secrets in another store than the file names would be lost to its owner
    backend = pinned or settings.store_backend or STORE_DEFAULT
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
    pinned_by = "ATL_SIGN_STORE" if pinned else None
    neighbours = Neighbours(None if store.backend == "memory" else state_folder(environment))
    return make_agent(
        config, Vault(store, neighbours), Dances(), open_audit(environment), open_store=open_named, store_pinned_by=pinned_by
    )


def _unlock_at_start(store: Store, key_fd: int | None) -> None:
    """Open the store's file when a key was given; what fails is told, and the daemon serves with a locked store."""
    if store.backend != "file":
        if key_fd is not None:
            raise StartError(f"the store {store.backend} takes no key", "leave --key-fd out, or name the store file")
        return
    from atl_sign.custody.stores.file import FileStore
    from atl_sign.custody.stores.key_file import read_key

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


def _set_up_log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    _log.setLevel(logging.INFO)
    for name in ("oauthlib", "requests_oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # at DEBUG they print tokens
