"""The connections that carry an authorized request, its answer, or a tunnel: those that the end of a lease's time cuts."""

import asyncio
from typing import Any


class Transfers:
    """The tasks of these connections."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[Any] | None] = set()

    def begin(self) -> None:
        """Count the current task's connection, until `end`."""
        self._tasks.add(asyncio.current_task())

    def end(self) -> None:
        """Stop counting the current task's connection; without effect if it is not counted."""
        self._tasks.discard(asyncio.current_task())

    def has(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether *task* serves one of them now."""
        return task in self._tasks
