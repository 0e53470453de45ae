"""Messages to the service manager: ready, reloading, stopping, a line of status, and that the event loop is alive."""

import logging
import os
import socket
import time
from collections.abc import Mapping

from atl_sign.base.text import printable

_log = logging.getLogger("atl_sign")


class Notifier:
    """Messages to the program that set `NOTIFY_SOCKET`; to nobody otherwise. Source: sd_notify(3), sd_watchdog_enabled(3)."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """
        Send to the datagram socket at *address*.

        Args:
            address: a path, or `@` and an abstract name; None for nobody.
            watchdog_s: how long the manager waits for a sign of life; None when it does not wait for any.
        """
        self._address = address
        self.watchdog_s = watchdog_s
        self._next_sign_at = float("-inf")  # on the event loop's clock

    def tell_ready(self, status: str) -> None:
        """Tell that requests are answered, the first time or after a reload; *status* is one line for `systemctl status`."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def tell_reloading(self) -> None:
        """Tell that the configuration is read again; `tell_ready` ends that."""
        # The moment lets the manager tell an answer to its own signal from an older one.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def tell_stopping(self, status: str) -> None:
        """Tell that the end has begun."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def tell_alive(self, now: float) -> None:
        """Give a sign of life at half of the time that the manager waits for one; called by the event loop itself, at *now*."""
        if self.watchdog_s is not None and now >= self._next_sign_at:
            self._next_sign_at = now + self.watchdog_s / 2
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a manager that does not read must not hold up a signature
                sender.sendto(text.encode(), address)
        except OSError as exc:
            _log.warning("the service manager cannot be notified of %s: %s", text.partition("=")[0], exc.strerror or exc)


def notifier_of(environment: Mapping[str, str]) -> Notifier:
    """Return the notifier for what the service manager set in *environment*."""
    address = environment.get("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":  # an address of another kind is for virtual machines
        return Notifier(None)
    wait_us = environment.get("WATCHDOG_USEC", "")
    is_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return Notifier(address, int(wait_us) / 1e6 if wait_us.isdecimal() and int(wait_us) and is_for_us else None)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
