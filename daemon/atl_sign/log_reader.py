"""`atl-sign log`: the recorded decisions out of the file and the journal, in the order of their time."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from atl_sign.audit import FILES_KEPT, IDENTIFIER, audit_path
from atl_sign.programs import ProgramError, call_program, find_program
from atl_sign.text import one_line

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_POLL_S = 0.2
_JOURNAL_S = 30.0  # for a journal that holds years
_JOURNAL_OPTIONS = ("--user", "--quiet", "--no-pager", "--output=cat", f"--identifier={IDENTIFIER}")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are wanted."""

    link: str | None = None
    since: datetime | None = None  # aware

    def wants(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether *entry*, a line's object, is one of them."""
        if self.link is not None and entry.get("link") != self.link:
            return False
        return self.since is None or _time_of(entry) >= self.since


def parse_since(text: str, now: datetime) -> datetime:
    """
    Return the moment that *text* names: `30m`, `2h`, `7d` ago, or an ISO 8601 date or time (local when it names no zone).

    Raises:
        ValueError: it is neither.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (OverflowError, ValueError):
        raise ValueError(f"this is no time: {text}") from None


class NothingRecordedError(Exception):
    """There is no file, and nothing in the journal."""


def show_log(environment: Mapping[str, str], wanted: LogFilter, *, as_json: bool, write: Callable[[str], Any]) -> None:
    """
    Print what was recorded, the oldest first.

    Args:
        environment: names the state folder.
        wanted: which lines.
        as_json: the lines as they were recorded, instead of columns.
        write: takes the text, newlines included.

    Raises:
        NothingRecordedError: there is nothing.
        OSError: a file cannot be read.
    """
    path = audit_path(environment)
    journal = _read_journal(environment)
    if journal is None and not path.exists():
        raise NothingRecordedError(f"the daemon writes to {path}, or to the journal when systemd runs it")
    lines = [*_read_files(path), *(journal or ())]
    entries = [entry for line in lines if (entry := _parse(line)) is not None]
    for entry in sorted(entries, key=_time_of):
        if wanted.wants(entry):
            write(_format(entry, as_json=as_json))


def follow_log(environment: Mapping[str, str], wanted: LogFilter, *, as_json: bool, write: Callable[[str], Any]) -> None:
    """Print what is recorded from now on, as `show_log` does, until the process is interrupted."""
    journal: SimpleQueue[str] = SimpleQueue()
    file = _FileFollower(audit_path(environment))
    with _journal_follower(environment, journal):
        while True:
            lines = list(file.read())
            while not journal.empty():
                lines.append(journal.get())
            for line in lines:
                if (entry := _parse(line)) is not None and wanted.wants(entry):
                    write(_format(entry, as_json=as_json))
            time.sleep(_POLL_S)


@contextmanager
def _journal_follower(environment: Mapping[str, str], queue: "SimpleQueue[str]") -> Iterator[None]:
    program = find_program(environment, "journalctl")
    if program is None:
        yield
        return
    command = [program, *_JOURNAL_OPTIONS, "--follow", "--lines=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace") as process:
        threading.Thread(target=_pass_on, args=(process.stdout or (), queue), daemon=True).start()
        try:
            yield
        finally:
            process.kill()


def _pass_on(lines: Iterable[str], queue: "SimpleQueue[str]") -> None:
    for line in lines:
        queue.put(line)


class _FileFollower:
    """What is appended to the file from now on, also when it is moved aside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._inode = path.stat().st_ino if path.exists() else None

    def read(self) -> Iterator[str]:
        """Give the lines that came since the last call."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        if status.st_ino != self._inode:
            moved = self._path.with_name(f"{self._path.name}.1")
            if self._inode is not None and moved.exists() and moved.stat().st_ino == self._inode:
                yield from self._read_from(moved)
            self._inode, self._offset = status.st_ino, 0
        yield from self._read_from(self._path)

    def _read_from(self, path: Path) -> Iterator[str]:
        with path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if line.endswith(b"\n"):
                    self._offset += len(line)
                    yield line.decode(errors="replace")


def _read_files(path: Path) -> Iterator[str]:
    for number in range(FILES_KEPT, -1, -1):
        part = path.with_name(f"{path.name}.{number}") if number else path
        if part.exists():
            yield from part.read_text(errors="replace").splitlines()


def _read_journal(environment: Mapping[str, str]) -> list[str] | None:
    """Return what the user's journal has of ours; None when there is no journal, or nothing in it."""
    try:
        answer = call_program(environment, "journalctl", *_JOURNAL_OPTIONS, timeout_s=_JOURNAL_S, may_fail=True)
    except ProgramError:
        return None
    lines = [line for line in answer.stdout.splitlines() if line.startswith("{")]
    return lines or None


def _parse(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        _time_of(entry)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # the end of a line that a crash cut off, or something else in the journal
    return entry if isinstance(entry, dict) else None


def _time_of(entry: Mapping[str, Any]) -> datetime:
    moment = datetime.fromisoformat(entry["time"])
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _format(entry: Mapping[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(entry) + "\n"
    peer = (
        f"{Path(str(entry['program'])).name}[{entry.get('pid')}]" if entry.get("program") else f"[{entry.get('pid', 'daemon')}]"
    )
    # git's helper names a host without a method and a path.
    request = f"{entry.get('method', '')} {entry.get('host', '')}{entry.get('path', '')}".strip()
    cells: Iterable[object] = (
        _time_of(entry).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{entry.get('outcome', '')!s:<12}",
        f"{entry.get('action', '')!s:<6}",
        f"{entry.get('link', '-')!s:<12}",
        peer,
        request,
    )
    return "  ".join(one_line(cell) for cell in cells).rstrip() + "\n"
