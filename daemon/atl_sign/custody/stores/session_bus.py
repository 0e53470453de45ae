"""
Which session bus has the keyring: looked for at each connection, not fixed by the environment of the first caller.

A daemon that cron or `su` has started knows no bus, or one of a session that is over; those that call it later know theirs.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]  # it has no annotations

from atl_sign.base.folders import runtime_folder
from atl_sign.base.peer import read_environment

ADDRESS = "DBUS_SESSION_BUS_ADDRESS"


class SessionBus:
    """The places where the bus can be."""

    def __init__(self, environment: Mapping[str, str], list_callers: Callable[[], Iterable[int]] = tuple) -> None:
        """
        Look in *environment* first.

        Args:
            environment: the daemon's own.
            list_callers: returns the pids of those that are connected now, all of our user.
        """
        self.list_callers = list_callers
        self._environment = environment
        self._proven: str | None = None

    def addresses(self) -> Iterator[str]:
        """
        Return each place once, the likeliest first, as an address for `connect`.

        The one that had a keyring before; those of our environment; those of the environments of our callers.
        """
        seen = set()
        for address in self._all():
            if address not in seen:
                seen.add(address)
                yield address

    @property
    def is_named(self) -> bool:
        """Whether our environment names a bus, though perhaps one that cannot be."""
        return ADDRESS in self._environment

    def keep(self, address: str) -> None:
        """Begin with *address* next time: a keyring has answered there."""
        self._proven = address

    def _all(self) -> Iterator[str]:
        if self._proven is not None:
            yield self._proven
        yield from addresses_in(self._environment)
        for pid in self.list_callers():
            yield from addresses_in(read_environment(pid))


def addresses_in(environment: Mapping[str, str]) -> list[str]:
    """Return where *environment* says that the bus is, and where systemd puts it: in the runtime folder, if that is ours."""
    found = []
    with suppress(ValueError, RuntimeError):  # not an address, or not one of a Unix socket
        found += list(get_connectable_addresses(environment.get(ADDRESS, "")))
    folder = runtime_folder(environment)
    if folder is not None and _is_own_socket(folder / "bus"):
        found.append(str(folder / "bus"))
    return found


def _is_own_socket(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()
