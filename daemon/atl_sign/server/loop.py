"""uvicorn's server as a service: one look a second at connections, store and idle time, and an end that loses nobody."""

import asyncio
import gc
import logging
import signal
import socket
import threading
from types import FrameType
from typing import Any

import uvicorn

from atl_sign.agent.life import Life
from atl_sign.server.connections import AcceptFailures, Connection
from atl_sign.server.idle import IdleWatch
from atl_sign.server.listening import BACKLOG
from atl_sign.server.notify import Notifier
from atl_sign.server.proxies import OwnDoor

# Of the garbage collector: a closed connection leaves a kilobyte to it in five objects, so two thousand may wait for it.
_GC_THRESHOLDS = (10_000, 10, 50)

_log = logging.getLogger("atl_sign")


class Server(uvicorn.Server):
    """
    uvicorn's server as a service: it keeps the service manager informed, reads the configuration again, and leaves when idle.

    At the end the waiting dances end first, so that nobody is left to wait for them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        life: Life,
        connections: set[Connection],
        notifier: Notifier | None = None,
        watch: IdleWatch | None = None,
        *,
        own_door: OwnDoor | None = None,
    ) -> None:
        """
        Serve *config*'s application.

        Args:
            config: uvicorn's.
            life: the agent's own life.
            connections: where those that are open are kept.
            own_door: the owner's proxy; None for none.
            notifier: of the service manager.
            watch: says when to leave; None for never.
        """
        super().__init__(config)
        self.server_state.connections = connections  # type: ignore[assignment]  # uvicorn has several kinds
        self._life = life
        self._connections = connections
        self._own_door = own_door
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
        if self._own_door is not None:
            await self._own_door.open()
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
            for connection in list(self._connections):
                connection.drop_when_late(now)
            if self._life.is_lock_due():  # in a thread: it waits for a token that is being stored
                threading.Thread(target=self._life.lock_when_due, name="lock", daemon=True).start()
            self._life.leases.look()
            self._look_whether_idle(now)
        return await super().on_tick(counter) or self.has_left

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the service manager that the end has begun, then end as uvicorn does."""
        if self.has_left:  # another daemon goes on at once; were the socket closed, the kernel would reset those in its queue
            sockets = None
        else:
            self._notifier.tell_stopping("ending")
        self._life.leases.close_all()
        if self._own_door is not None:
            await self._own_door.close()
        await super().shutdown(sockets)

    def _look_whether_idle(self, now: float) -> None:
        watch, state = self._watch, self.server_state
        if watch is None or self.has_left or (self._leaving is not None and not self._leaving.done()):
            return
        is_busy = bool(state.connections) or not self._life.is_settled() or self._is_proxying()
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
        if others or self.server_state.connections or self._is_proxying() or self.server_state.total_requests != requests:
            return
        for server in (*self.servers, *(self._own_door.servers if self._own_door else ())):
            for each in server.sockets:
                loop.remove_reader(each)
        self.has_left = True
        _log.info(
            "leaving: %s", "another version is installed" if watch.is_upgraded(loop.time()) else "nobody needed me for a while"
        )

    def _is_proxying(self) -> bool:
        return self._own_door is not None and self._own_door.is_busy()

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
        wrong = f", {len(settings.problems)} problems in the configuration: atl-sign status" if settings.problems else ""
        return f"{len(settings.links.by_name)} links, store {self._life.backend}{wrong}"
