"""The append-only log of decisions: one JSON line each, in the journal or in a file that rotates; never a secret."""

import errno
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from atl_sign.base.errors import AuditUnavailableError
from atl_sign.base.files import open_without_waiting
from atl_sign.base.folders import explain_failure, make_folder, state_folder
from atl_sign.config.settings import AuditMode

FILE_NAME = "audit.jsonl"
IDENTIFIER = "atl-sign-audit"  # the journal's SYSLOG_IDENTIFIER
FILE_BYTES_MAX = 4 << 20
FILES_KEPT = 5  # beside the current one: about 100,000 lines in all
_JOURNAL = "/run/systemd/journal/socket"
_TEXT_CHARS_MAX = 2000  # of a path or a method: what a peer sends can be a megabyte
_TELL_AGAIN_S = 60.0

Action = Literal[
    "sign",
    "dance",
    "renew",
    "check",
    "rotate",
    "logout",
    "key",
    "link",
    "register",
    "git-credential",
    "lock",
    "unlock",
    "store",
    "lease",
    "tunnel",
]
# Calls that give something away are refused when they must be recorded and cannot be. The rest is done by then: a refusal would
# be a lie, and worst of all about a lock. The status reports that the line is missing.
HELD_BACK: frozenset[Action] = frozenset({"sign", "dance", "check", "git-credential", "lease", "tunnel"})

TAKEN_AWAY = frozenset({"suspend", "revoke"})  # what is done with a lease that gives nothing away

_log = logging.getLogger("atl_sign")


@dataclass(slots=True)
class Decision:
    """
    One decision: the caller, the request and the outcome.

    The three fields of the peer are None if the daemon acted by itself; method, host and path belong to the request to sign, the
    host also to a tunnel.
    """

    action: Action
    outcome: str  # "ok", an error's code, or the state in which a dance ended
    link: str | None = None
    method: str | None = None
    host: str | None = None  # with its port when that is not the scheme's own
    path: str | None = None  # without the query
    pid: int | None = None
    uid: int | None = None
    program: str | None = None
    lease: str | None = None  # the id of the lease that the caller has
    rule: str | None = None  # the rule of the lease that decided; of a new lease, what allows
    verb: str | None = None  # what was done with a lease


class Sink(Protocol):
    """Where lines go."""

    place: str  # for people

    def write(self, line: str) -> None:
        """Keep *line*, which has no newline; raises OSError, and then nothing of it is kept."""


class FileSink:
    """
    A file that only its owner can read, and that is moved aside when it is full.

    It stays open, and each write checks that its name still leads to it: moving or removing the file loses no line after
    that. Not `logging.handlers`: those keep what a full disk refused in a buffer, and write it behind other lines later.
    """

    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT) -> None:
        """Write to *path*; `PATH.1` is the youngest of the *kept* full ones."""
        self.place = _shown(path)
        self._path = path
        self._name = str(path)  # os.stat takes it in half the time
        self._bytes_max = bytes_max
        self._kept = kept
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._identity = (0, 0)  # device and inode of what is open

    def write(self, line: str) -> None:
        """See `Sink.write`."""
        data = line.encode() + b"\n"
        with self._lock:
            descriptor, size = self._find_open()
            if size and size + len(data) > self._bytes_max:
                self._rotate()
                descriptor, size = self._find_open()
            written = os.write(descriptor, data)
            if written != len(data):
                try:
                    if os.write(descriptor, data[written:]) != len(data) - written:  # else it says why
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise

    def _find_open(self) -> tuple[int, int]:
        """Return the descriptor of the file that has the name now, and its size."""
        if self._descriptor is not None:
            try:
                status = os.stat(self._name, follow_symlinks=False)  # noqa: PTH116 - for each signature
            except FileNotFoundError:
                status = None
            if status is not None and (status.st_dev, status.st_ino) == self._identity:
                return self._descriptor, status.st_size
            os.close(self._descriptor)
            self._descriptor = None
        descriptor = self._open()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        self._descriptor, self._identity = descriptor, (status.st_dev, status.st_ino)
        return descriptor, status.st_size

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            return open_without_waiting(self._path, flags)
        except FileNotFoundError:
            make_folder(self._path.parent)
            return open_without_waiting(self._path, flags)

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            younger = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            with suppress(FileNotFoundError):
                younger.replace(older)


class JournalSink:
    """
    systemd's journal, by its native protocol: a datagram of `FIELD=value` lines.

    Source: systemd.io/JOURNAL_NATIVE_PROTOCOL.
    """

    place = "journal"

    def __init__(self, path: str = _JOURNAL) -> None:
        """Write to the journal whose socket is at *path*."""
        self._path = path

    def write(self, line: str) -> None:
        """See `Sink.write`."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # a journal that stands still must not hold up every signature
            sender.sendto(f"MESSAGE={line}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nPRIORITY=6\n".encode(), self._path)


class AuditLog:
    """The log, as the configuration wants it."""

    def __init__(self, sink: Sink) -> None:
        """Write to *sink*."""
        self._sink = sink
        self._failure: str | None = None
        self._told_at: float | None = None

    @property
    def place(self) -> str:
        """Where lines go: "journal", or a file's path."""
        return self._sink.place

    @property
    def failure(self) -> str | None:
        """Why the last line was not written; None when it was."""
        return self._failure

    def record(self, decision: Decision, mode: AuditMode) -> None:
        """
        Write one line now.

        Raises:
            AuditUnavailableError: *mode* is "required", and the line could not be written.
        """
        if mode == "off":
            return
        try:
            self._sink.write(format_decision(decision, datetime.now(UTC)))
        except OSError as exc:
            self._failure = f"the audit log cannot be written ({self.place}): {explain_failure(exc)}"
            if self._told_at is None or time.monotonic() - self._told_at > _TELL_AGAIN_S:
                self._told_at = time.monotonic()
                _log.warning("%s", self._failure)
            if mode == "required":
                raise AuditUnavailableError(self._failure, 'make room for it; or set audit = "on" to sign without') from exc
        else:
            self._failure = None


def format_decision(decision: Decision, now: datetime) -> str:
    """Return the line for *decision*, made at *now* (aware, UTC): one JSON object, without the fields that are None."""
    fields = {name: value for name in Decision.__slots__ if (value := getattr(decision, name)) is not None}
    shown = {name: value[:_TEXT_CHARS_MAX] if isinstance(value, str) else value for name, value in fields.items()}
    return json.dumps({"time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **shown})


def _shown(path: Path) -> str:
    """Return *path* as a person writes it, the home folder as `~`."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def open_audit(environment: Mapping[str, str]) -> AuditLog:
    """Return the log of this process: the journal for a service of systemd, else a file in the state folder."""
    if environment.get("JOURNAL_STREAM"):
        return AuditLog(JournalSink())
    return AuditLog(FileSink(audit_path(environment)))


def audit_path(environment: Mapping[str, str]) -> Path:
    """Return where the file is."""
    return state_folder(environment) / FILE_NAME
