"""
The note of a move from one store to another, beside the configuration.

It lasts from the first copy until the last item is removed from the store before, so that a move that was cut off can be
finished.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atl_sign.base.errors import ConfigUnwritableError
from atl_sign.base.files import open_without_waiting, replace_whole
from atl_sign.base.folders import explain_failure, make_folder

_FILE_BYTES_MAX = 4 << 20
_NAME = "store-move.json"


@dataclass(frozen=True, slots=True)
class MoveNote:
    """
    A move that is not over.

    *whole* never names a store before all is in it, and names it no longer before the first item is taken out. So of two stores
    the one that is used may have the other one emptied when it is among them; else somebody has edited the configuration.
    """

    stores: tuple[str, str]  # from, to
    whole: tuple[str, ...]
    items: tuple[str, ...]  # names

    def leftover_of(self, backend: str) -> str | None:
        """Return the store that may still hold copies when *backend* is used; None when it is not known to be the whole one."""
        if backend not in self.whole:
            return None
        return self.stores[1] if backend == self.stores[0] else self.stores[0]


class MoveNotes:
    """The file with the note, of which there is one at most."""

    def __init__(self, config_path: Path) -> None:
        """Keep the note beside the configuration at *config_path*, which names the store."""
        self.path = config_path.with_name(_NAME)

    def read(self) -> MoveNote | None:
        """Return the note; None when there is none, or the file is not a note."""
        try:
            with os.fdopen(open_without_waiting(self.path, os.O_RDONLY), "rb") as file:
                found = json.loads(file.read(_FILE_BYTES_MAX))
            one, other = (str(store) for store in found["stores"])
            return MoveNote((one, other), tuple(map(str, found["whole"])), tuple(map(str, found["items"])))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, note: MoveNote) -> None:
        """Put *note* in the place of the one before; raises ConfigUnwritableError, and then that one stays."""
        content = json.dumps({"stores": note.stores, "whole": note.whole, "items": note.items}) + "\n"
        try:
            make_folder(self.path.parent)
            replace_whole(self.path, content.encode(), self.path.with_name(f".{_NAME}.new"))
        except OSError as exc:
            hint = "make room or fix the permissions; nothing was changed"
            raise ConfigUnwritableError(f"{self.path} cannot be written: {explain_failure(exc, self.path)}", hint) from exc

    def remove(self) -> None:
        """Take the note away: the move is over."""
        with suppress(OSError):  # the next move, or start, finds nothing to do for it
            self.path.unlink(missing_ok=True)
