"""
Notes: the daemon's words on the requests of one curl, in a file that `atl-sign curl` looks at when curl has ended.

Each line begins with a letter: E and M a message (of a request that was not sent, and of one that was), H the hint for it, S the
status that curl would have ended with, D a line that was asked for by --dry-run. No line has a secret.
"""

from contextlib import suppress
from pathlib import Path

from atl_sign.base.clock import now_s
from atl_sign.base.errors import DaemonError, ProviderUnreachableError
from atl_sign.base.text import one_line

KEPT_S = 60.0  # after the last connection
REFUSED_STATUS = 125
_UNREACHABLE_STATUS, _TIMEOUT_STATUS = 7, 28  # curl's


class Note:
    """The daemon's words to one curl."""

    def __init__(self, path: Path) -> None:
        """Write to the file at *path* when there is something to say."""
        self.path = path
        self.connections = 0
        self.released_at: float | None = None
        self._places: set[tuple[str, int]] = set()
        self._led_to: set[str] = set()  # links
        self._has_left = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost with it."""
        return not self._places and not self._led_to and not self._has_left and not self.path.exists()

    def refuse(self, error: DaemonError) -> None:
        """Say that a request was not sent."""
        status = REFUSED_STATUS
        if isinstance(error, ProviderUnreachableError):
            status = _TIMEOUT_STATUS if error.is_timeout else _UNREACHABLE_STATUS
        self._write([f"E{one_line(error.message)}", *([f"H{one_line(error.hint)}"] if error.hint else []), f"S{status}"])

    def tell(self, message: str, hint: str | None) -> None:
        """Say what the provider's answer means."""
        self._write([f"M{one_line(message)}", *([f"H{one_line(hint)}"] if hint else [])])

    def show(self, lines: list[str]) -> None:
        """Show *lines*, as they were asked for."""
        separator = ["D"] if self.path.exists() else []
        self._write([*separator, *(f"D{one_line(line)}" for line in lines)])

    def allow(self, host: str, port: int) -> None:
        """Take note that an answer redirects to *host* and *port*."""
        self._places.add((host.lower(), port))

    def lead_to(self, link: str) -> None:
        """Take note that an answer of another link redirects to this one."""
        self._led_to.add(link)

    @property
    def is_led(self) -> bool:
        """Whether a request may come from a redirect of another server, so that it is not for that server to have it signed."""
        return self._has_left or bool(self._led_to)

    def may_sign(self, link: str) -> bool:
        """Tell whether curl's own line, or a redirect of the same link, leads to *link*."""
        return not self._has_left and link not in self._led_to

    def may_leave(self, host: str, port: int) -> bool:
        """Tell whether curl may connect to an address outside the links: a redirect led there, or to one that may redirect."""
        if (host.lower(), port) in self._places:
            self._has_left = True
        return self._has_left

    def _write(self, lines: list[str]) -> None:
        with suppress(OSError):  # a message less
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{line}\n" for line in lines)


class Notes:
    """The notes of every curl that runs, and for a while after its end."""

    def __init__(self, folder: Path) -> None:
        """Keep the files in *folder*."""
        self._folder = folder
        self._notes: dict[str, Note] = {}

    def open(self, name: str) -> Note:
        """Return the note called *name*, for one more connection."""
        self._forget_old()
        note = self._notes.setdefault(name, Note(self._folder / name))
        note.connections += 1
        note.released_at = None
        return note

    def release(self, note: Note) -> None:
        """End one connection of *note*."""
        note.connections -= 1
        if note.connections == 0:
            note.released_at = now_s()
            if note.is_empty:
                self._notes.pop(note.path.name, None)

    def _forget_old(self) -> None:
        now = now_s()
        for name, note in list(self._notes.items()):  # in the order of their beginning
            if note.released_at is None or now - note.released_at < KEPT_S:
                continue
            del self._notes[name]
            note.path.unlink(missing_ok=True)
