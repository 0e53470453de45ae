"""A machine's way to the vault: a port of its own, which can be cut."""

import select
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Relay:
    """Carries connections to another port of this machine, until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection, in the middle of what goes over it, and take no other one."""
        self._is_cut = True
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                taken.close()
                continue
            threading.Thread(target=self._carry, args=(taken,), daemon=True).start()

    def _carry(self, taken: socket.socket) -> None:
        with taken, suppress(OSError), socket.create_connection(("127.0.0.1", self._target), 5) as onward:
            with self._lock:
                self._open |= {taken, onward}
            try:
                others = {taken: onward, onward: taken}
                while True:
                    for ready in select.select(list(others), [], [])[0]:
                        content = ready.recv(1 << 16)
                        if not content:
                            return
                        others[ready].sendall(content)
            finally:
                with self._lock:
                    self._open -= {taken, onward}
