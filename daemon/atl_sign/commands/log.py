"""`atl-sign log`: the recorded decisions out of the file and the journal, in the order of their time."""

import errno
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from atl_sign.access.audit import FILES_KEPT, IDENTIFIER, audit_path
from atl_sign.base.errors import AtlSignError
from atl_sign.base.files import open_without_waiting
from atl_sign.base.text import one_line
from atl_sign.commands.durations import parse_duration
from atl_sign.commands.programs import ProgramError, call_program, find_program

_POLL_S = 0.2
_WIDTHS = (19, 12, 6, 12, 0, 0)
_JOURNAL_S = 30.0  # for a journal that holds years
_JOURNAL_OPTIONS = ("--user", "--quiet", "--no-pager", "--output=cat", f"--identifier={IDENTIFIER}")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are wanted."""

    link: str | None = None
    since: datetime | None = None  # aware
    lease: str | None = None  # an id; the lines then have the rule that decided

    def wants(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether *entry*, a line's object, is one of them."""
        if self.link is not None and entry.get("link") != self.link:
            return False
        if self.lease is not None and entry.get("lease") != self.lease:
            return False
        return self.since is None or _time_of(entry) >= self.since


def parse_since(text: str, now: datetime) -> datetime:
    """
    Return the moment that *text* names: `30m`, `2h`, `7d` ago, or an ISO 8601 date or time (UTC when it names no zone).

    Raises:
        ValueError: it is neither.
    """
    try:
        with suppress(ValueError):
            return now - parse_duration(text)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise ValueError(f"this is not a time: {text}") from None


class NothingRecordedError(AtlSignError):
    """There is no file, and nothing in the journal."""


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where the file was shown."""

    inode: int
    offset: int


def show_log(environment: Mapping[str, str], wanted: LogFilter, *, as_json: bool, write: Callable[[str], Any]) -> Position | None:
    """
    Print what was recorded, the oldest first, and return where `follow_log` goes on; None when there is no current file.

    Args:
        environment: names the state folder.
        wanted: which lines.
        as_json: the lines as they were recorded, instead of columns.
        write: takes one line, without its newline, and cleans it.

    Raises:
        NothingRecordedError: there is nothing.
        OSError: a file cannot be read.
    """
    path = audit_path(environment)
    journal = _read_journal(environment)
    recorded, position = _read_files(path)
    if journal is None and recorded is None:
        raise NothingRecordedError(
            "nothing was recorded yet", f"the daemon writes to {path}, or to the journal when systemd runs it"
        )
    lines = [*(recorded or ()), *(journal or ())]
    entries = [entry for line in lines if (entry := _parse(line)) is not None]
    if not as_json:
        write(_HEADS if wanted.lease is None else f"{_HEADS}  RULE")
    for entry in sorted(entries, key=_time_of):
        if wanted.wants(entry):
            write(_format(entry, as_json=as_json, with_rule=wanted.lease is not None))
    return position


def follow_log(
    environment: Mapping[str, str], wanted: LogFilter, position: Position | None, *, as_json: bool, write: Callable[[str], Any]
) -> None:
    """Print what is recorded after *position*, and in the journal from now on, until the process is interrupted."""
    journal: SimpleQueue[str] = SimpleQueue()
    file = _FileFollower(audit_path(environment), position)
    with _journal_follower(environment, journal):
        while True:
            lines = list(file.read())
            while not journal.empty():
                lines.append(journal.get())
            for line in lines:
                if (entry := _parse(line)) is not None and wanted.wants(entry):
                    write(_format(entry, as_json=as_json, with_rule=wanted.lease is not None))
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
    """Follows the file from a position on, also when it is moved aside."""

    def __init__(self, path: Path, position: Position | None) -> None:
        self._path = path
        self._inode = None if position is None else position.inode
        self._offset = 0 if position is None else position.offset

    def read(self) -> Iterator[str]:
        """Give the lines that came since the last call."""
        current = _open(self._path)
        if current is None:
            return
        with current:
            inode = os.fstat(current.fileno()).st_ino
            if inode != self._inode:
                if self._inode is not None and (moved := _open(self._path.with_name(f"{self._path.name}.1"))) is not None:
                    with moved:
                        if os.fstat(moved.fileno()).st_ino == self._inode:
                            yield from self._read_from(moved)
                self._inode, self._offset = inode, 0
            yield from self._read_from(current)

    def _read_from(self, file: BinaryIO) -> Iterator[str]:
        file.seek(self._offset)
        for line in file:
            if line.endswith(b"\n"):
                self._offset += len(line)
                yield line.decode(errors="replace")


def _read_files(path: Path) -> tuple[list[str] | None, Position | None]:
    """Return the lines of all files, the oldest first (None when there are no files), and where the current one ended."""
    position = None
    parts: dict[int, list[str]] = {}  # by inode
    # The newest first: one that is moved aside meanwhile is met again, and none is missed.
    for number in range(FILES_KEPT + 1):
        file = _open(path.with_name(f"{path.name}.{number}") if number else path)
        if file is None:
            continue
        with file:
            inode = os.fstat(file.fileno()).st_ino
            if inode not in parts:
                content = file.read()
                parts[inode] = content.decode(errors="replace").split("\n")
                if number == 0:
                    position = Position(inode, content.rfind(b"\n") + 1)
    lines = [line for part in reversed(parts.values()) for line in part]
    return (lines if parts else None), position


def _open(path: Path) -> BinaryIO | None:
    """Open *path* for reading; None when it is not there. OSError also for a pipe, which would keep us waiting, and the like."""
    try:
        descriptor = open_without_waiting(path, os.O_RDONLY, follow=True)
    except FileNotFoundError:
        return None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


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
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None  # the end of a line that a crash cut off, or something else in the journal
    return entry if isinstance(entry, dict) else None


def _time_of(entry: Mapping[str, Any]) -> datetime:
    moment = datetime.fromisoformat(entry["time"])
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)  # OverflowError at the ends of the calendar


def _format(entry: Mapping[str, Any], *, as_json: bool, with_rule: bool) -> str:
    if as_json:
        return json.dumps(entry)
    # By the port of a lease the kernel names nobody; what the daemon does by itself has no lease, or is about that lease.
    nobody = "port" if entry.get("lease") and entry.get("action") != "lease" else "daemon"
    peer = f"{Path(str(entry['program'])).name}[{entry.get('pid')}]" if entry.get("program") else f"[{entry.get('pid', nobody)}]"
    # git's helper names a host without a method and a path.
    request = f"{entry.get('method', '')} {entry.get('host', '')}{entry.get('path', '')}".strip() or entry.get("verb", "")
    moment = _time_of(entry).strftime("%Y-%m-%d %H:%M:%S")
    line = _in_columns(moment, entry.get("outcome", ""), entry.get("action", ""), entry.get("link", "-"), peer, request)
    return f"{line}  {one_line(entry.get('rule') or '-')}" if with_rule else line


def _in_columns(*cells: object) -> str:
    return "  ".join(one_line(cell).ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


_HEADS = _in_columns("TIME (UTC)", "OUTCOME", "ACTION", "LINK", "PROGRAM[PID]", "REQUEST")
