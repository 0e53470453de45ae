"""A listening socket for the servers that tests write: a thread for each connection, and nothing left after `with`."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

DEADLINE_S = 10.0


class Listener:
    """Takes connections inside `with`, each in a thread of its own; a subclass says what is done on one."""

    def __init__(self, listener: socket.socket) -> None:
        """Prepare to take connections on *listener*, which is closed at the end."""
        self.listener = listener
        self.stopping = threading.Event()  # set when all is to end; a connection that is not wrapped is shut down then, too
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def connections(self) -> int:
        """How many were taken."""
        return len(self._open)

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stopping.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads[:1]:  # the one that accepts: after it there is no other connection
            thread.join(DEADLINE_S)
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(DEADLINE_S)

    def serve(self, connection: socket.socket) -> None:
        """Do what this server is for, on one connection, which is closed afterwards; an OSError ends it."""
        raise NotImplementedError

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, name=type(self).__name__))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # it was shut down
                return
            self._open.append(connection)
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE_S)
        with connection, suppress(OSError):
            self.serve(connection)
