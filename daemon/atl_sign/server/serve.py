"""The process: the socket with its mode, one daemon a path, uvicorn on it, and a clean end."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from atl_sign.access.audit import open_audit
from atl_sign.agent.build import Agent, make_agent
from atl_sign.api.app import make_app
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    KeyUnavailableError,
    StoreLockedError,
    StoreMissingError,
    StoreUnavailableError,
)
from atl_sign.base.folders import state_folder
from atl_sign.config.file import ConfigFile, config_path, system_config_path
from atl_sign.config.reading import UntrustedConfigError
from atl_sign.custody.keys.places import KeyPlace, KeyPlaces
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.opening import STORE_DEFAULT, open_store
from atl_sign.custody.vaults.registry import Vaults
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from atl_sign.server.connections import ACCEPTS_MAX, IDLE_S, Connection, list_callers
from atl_sign.server.doors import LeaseDoors, leases_folder, remove_stale
from atl_sign.server.idle import IdleWatch
from atl_sign.server.installed import read_stamp, serve_command
from atl_sign.server.listening import StartError, open_listener, passed_descriptors, socket_path, take_inherited_sockets
from atl_sign.server.loop import Server
from atl_sign.server.notify import notifier_of
from atl_sign.server.process import allow_open_files, become_independent, keep_memory_private, set_up_log
from atl_sign.server.proxies import OwnDoor, Proxies, proxy_path

KEY_CREDENTIAL = "atl-sign-store-key"  # in systemd's LoadCredential=
_SWITCH_S = 0.001  # how long a thread may keep the interpreter: the loop asks for it some ten times in a request
_SHUTDOWN_S = 3

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
    keep_memory_private()
    allow_open_files()
    sys.setswitchinterval(_SWITCH_S)
    set_up_log()
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: early.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the configuration is about to be read anyway
    notifier = notifier_of(environment)
    try:
        connections: set[Connection] = set()
        agent = _make_agent(environment, key_fd, partial(list_callers, connections))
    except StartError as exc:
        _tell_waiting(environment, exc)
        raise
    threading.Thread(target=agent.life.clear_up, name="clear-up", daemon=True).start()
    # FastAPI asks whether a model is one of pydantic 1, and loads all of that (3 MB, 50 ms) to answer; we have none.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # None: the import fails, which FastAPI expects
    listener = open_listener(environment, passed_on)
    if report_fd is not None:
        os.close(report_fd)  # nothing can be wrong any more
    is_systemds = listener.path is None
    # Without systemd nobody keeps a socket meanwhile: that daemon goes on for as long as it is the installed version.
    watch = IdleWatch(lambda: agent.life.read_settings().idle_exit_s if is_systemds else 0.0, read_stamp)
    path = Path(listener.socket.getsockname())
    proxies = Proxies(agent)
    own_door = OwnDoor(agent, proxies, proxy_path(path), listener.proxy)
    agent.proxy.serve_at(own_door)
    server = Server(_make_config(make_app(agent)), agent.life, connections, notifier, watch, own_door=own_door)
    remove_stale(leases_folder(path))
    agent.leases.serve_at(LeaseDoors(agent, proxies, leases_folder(path), server.server_state, _make_config))
    # Before and after uvicorn's own handlers, which raise the signal once more: its default would end us before the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    if early:
        server.should_exit = True
    _log.info("serving at %s, store %s", listener.path or "the socket that systemd handed over", agent.life.backend)
    try:
        server.run(sockets=[listener.socket])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # one that came before is noted, one that comes now ends us
        agent.life.close_keys()
        if server.has_left and not server.should_exit:
            _go_on_as_installed(listener.pass_on(), environment)
    finally:
        listener.remove()


def _make_config(app: Any) -> uvicorn.Config:
    """Return how uvicorn serves *app*."""
    return uvicorn.Config(
        app,
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


def _go_on_as_installed(passed_on: tuple[int, int] | None, environment: Mapping[str, str]) -> None:
    """Become the installed version, with the same pid, socket and lock; returns when that is not to be, or cannot be started."""
    if passed_on is None:
        return
    command = [*serve_command(), f"--passed-on={passed_on[0]},{passed_on[1]}"]
    try:
        os.execve(command[0], command, environment)  # noqa: S606 - there is no shell to go through
    except OSError as exc:
        _log.warning("the installed version cannot be started: %s", exc.strerror)


def _tell_waiting(environment: Mapping[str, str], error: StartError) -> None:
    """
    Tell those who wait on systemd's socket why there is no daemon.

    Else they would wait until their deadline, and systemd would start us again and again for them.
    """
    for listener in take_inherited_sockets(environment):
        from atl_sign.server.refusal import refuse_waiting

        refuse_waiting(listener, StoreUnavailableError(str(error), error.hint))


def _make_agent(environment: Mapping[str, str], key_fd: int | None, list_callers: Callable[[], list[int]]) -> Agent:
    config = ConfigFile(config_path(environment), SCHEME_SETTINGS, system_config_path(environment))
    try:
        config.check_trusted()  # there is no earlier reading to go on with, and it names the store
    except UntrustedConfigError as exc:
        raise StartError(str(exc), exc.hint) from exc
    settings = config.settings()
    pinned = environment.get("ATL_SIGN_STORE")
    problem = settings.problem_of_store
    if not pinned and problem is not None:
        # Secrets in another store than the file names would be lost to its owner.
        cause = f"which store keeps the secrets is not known: {problem}"
        raise StartError(cause, config.remedy(problem))
    backend = pinned or settings.store_backend or STORE_DEFAULT
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    key_file = Path(credentials) / KEY_CREDENTIAL if credentials else None
    if key_file is not None and not key_file.exists():
        key_file = None  # the unit loads other credentials

    vaults = Vaults(lambda: config.settings().vaults)

    def open_named(name: str) -> Store:
        return open_store(name, state_folder(environment) / "store", key_file, list_callers, vaults)

    try:
        store = open_named(backend)
    except BadRequestError as exc:
        raise StartError(exc.message, exc.hint or "name another store") from exc
    _unlock_at_start(store, key_fd)
    pinned_by = "ATL_SIGN_STORE" if pinned else None
    neighbours = Neighbours(None if store.backend == "memory" else state_folder(environment))
    places = _make_places(environment, config, vaults)
    safe = Safe(store, neighbours, places)
    return make_agent(
        config, safe, Dances(), open_audit(environment), open_store=open_named, store_pinned_by=pinned_by, places=places
    )


def _make_places(environment: Mapping[str, str], config: ConfigFile, vaults: Vaults) -> KeyPlaces:
    """Return the places where the consumer's key may be besides the store, each to be loaded when a key there is named."""

    def open_tokens() -> KeyPlace:
        try:
            from atl_sign.custody.keys.pkcs11.place import Pkcs11Place
        except ImportError as exc:
            install = f"{sys.executable} -m pip install 'python-pkcs11>=0.10.1,<0.11'; atl-sign restart"
            raise KeyUnavailableError("python-pkcs11 is not installed, which PKCS#11 tokens need", install) from exc
        return Pkcs11Place(socket_path(environment).with_suffix(".p11") / "s", config.settings)

    def open_transit() -> KeyPlace:
        from atl_sign.custody.keys.transit import TransitPlace

        return TransitPlace(vaults)

    return KeyPlaces({"vault": open_transit, "pkcs11": open_tokens})


def _unlock_at_start(store: Store, key_fd: int | None) -> None:
    """Open the store's file when a key was given; failures are logged, and the daemon serves with a locked store."""
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
