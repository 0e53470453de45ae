"""The audit log: a line a decision, in a file that rotates or in the journal, and a full disk told or refused."""

import errno
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atl_sign.access.audit import (
    IDENTIFIER,
    AuditLog,
    Decision,
    FileSink,
    JournalSink,
    audit_path,
    format_decision,
    open_audit,
)
from atl_sign.access.caller import DAEMON
from atl_sign.agent.build import make_agent
from atl_sign.base.errors import AuditUnavailableError, BadUrlError, DanceNeededError, InternalError, UnknownLinkError
from atl_sign.config.file import ConfigFile
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER, link_of, sign
from tests.audit_lab import PEER, MemorySink
from tests.unit.provider_lab import make_grant, private_key

URL = "http://127.0.0.1:1/jira"
NOON = datetime(2026, 11, 25, 12, 0, 0, 123456, UTC)


class Watched:
    """An agent that may sign, and its log."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.toml"
        self.sink = MemorySink()
        safe = Safe(MemoryStore())
        self.agent = make_agent(ConfigFile(self.config, SCHEME_SETTINGS), safe, Dances(), AuditLog(self.sink))
        self.agent.links.put(CALLER, "jira", {"url": URL})
        safe.put_key(private_key())
        safe.put_token(link_of(self.agent, "jira"), make_grant())
        self.sink.lines.clear()  # that of the link

    def set_mode(self, mode: str) -> None:
        self.config.write_text(f"audit = {mode}\n" + self.config.read_text())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.sink.lines]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_signature_is_recorded_without_its_query(watched: Watched) -> None:
    """Who, what, where, when; nothing of the query and nothing of the header."""
    header, _ = sign(watched.agent, "GET", f"{URL}/rest/x?password=canary")

    (line,) = watched.lines
    assert datetime.now(UTC).timestamp() - datetime.fromisoformat(line.pop("time")).timestamp() < 60
    assert line == {
        "action": "sign",
        "outcome": "ok",
        "link": "jira",
        "method": "GET",
        "host": "127.0.0.1:1",
        "path": "/jira/rest/x",
        "pid": PEER.pid,
        "uid": PEER.uid,
        "program": PEER.program,
    }
    assert not {"canary", "oauth", header} & set(watched.sink.lines[0].split('"'))


def test_a_refusal_is_recorded_with_its_code(watched: Watched) -> None:
    """As far as the request could be read."""
    for url, error in (("http://other.example/x?y", UnknownLinkError), ("no url", BadUrlError)):
        with pytest.raises(error):
            sign(watched.agent, "GET", url)
    watched.agent.links.log_out(CALLER, "jira")
    with pytest.raises(DanceNeededError):
        sign(watched.agent, "GET", f"{URL}/x")

    assert [(line["outcome"], line.get("link"), line.get("host"), line.get("path")) for line in watched.lines] == [
        ("unknown_link", None, "other.example", "/x"),
        ("bad_url", None, None, None),
        ("ok", "jira", None, None),  # the logout
        ("dance_needed", "jira", "127.0.0.1:1", "/jira/x"),
    ]


def test_what_nobody_foresaw_is_recorded_as_internal(watched: Watched) -> None:
    """And goes on as it is."""
    with pytest.raises(ZeroDivisionError), watched.agent.signing._records.entry("check", CALLER, "jira"):
        raise ZeroDivisionError
    with pytest.raises(InternalError), watched.agent.signing._records.entry("check", DAEMON, "jira"):
        raise InternalError("x")

    assert [(line["action"], line["outcome"], line.get("pid")) for line in watched.lines] == [
        ("check", "internal", PEER.pid),
        ("check", "internal", None),
    ]


def test_a_full_disk_stops_nobody_by_default(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """The state tells of it until a line is written again, the log once a minute."""
    watched.sink.failure = OSError(errno.ENOSPC, "No space left on device")

    for _ in range(3):
        sign(watched.agent, "GET", f"{URL}/x")

    (warning,) = watched.agent.status.show(CALLER).warnings
    assert (warning.code, str(warning)) == ("audit_failing", "the audit log cannot be written (memory): No space left on device")
    assert caplog.text.count("No space left") == 1
    watched.sink.failure = None
    sign(watched.agent, "GET", f"{URL}/x")
    assert watched.agent.status.show(CALLER).warnings == ()


@pytest.mark.parametrize("mode", ['"required"', "5"])
def test_a_full_disk_stops_signing_when_the_log_is_required(watched: Watched, mode: str) -> None:
    """What cannot be read counts as required; a refusal keeps its own code."""
    watched.set_mode(mode)
    sign(watched.agent, "GET", f"{URL}/x")
    watched.sink.failure = OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(AuditUnavailableError, match="No space left") as caught:
        sign(watched.agent, "GET", f"{URL}/x")
    assert "make room" in str(caught.value.hint)
    with pytest.raises(BadUrlError):
        sign(watched.agent, "GET", "no url")
    watched.sink.failure = None
    assert sign(watched.agent, "GET", f"{URL}/x")
    assert watched.agent.status.show(CALLER).signatures == 2


def test_it_can_be_turned_off(watched: Watched) -> None:
    """Then the state says so."""
    watched.set_mode('"off"')

    sign(watched.agent, "GET", f"{URL}/x")

    assert watched.lines == []
    assert watched.agent.status.show(CALLER).audit == "off"


def test_a_line_is_one_json_object() -> None:
    """Whatever was asked for: line ends and bytes that are no UTF-8 too; and not longer than a few thousand bytes."""
    decision = Decision("sign", "ok", path="/a\n\u2028é\udcff" + "x" * 1_000_000, pid=1)

    line = format_decision(decision, NOON)

    assert line.isascii()
    assert "\n" not in line
    assert len(line) < 3000
    entry = json.loads(line)
    assert entry["path"].startswith("/a\n\u2028é\udcffxxx")
    assert entry["time"] == "2026-11-25T12:00:00.123Z"
    assert set(entry) == {"time", "action", "outcome", "path", "pid"}


def test_the_file_is_private_and_rotates(tmp_path: Path) -> None:
    """No line is lost but those of the oldest file."""
    path = tmp_path / "state/audit.jsonl"
    sink = FileSink(path, bytes_max=100, kept=2)

    for number in range(40):
        sink.write(f"line {number:04}")

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(each.name for each in path.parent.iterdir()) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    texts = [path.with_name(name).read_text() for name in ("audit.jsonl.2", "audit.jsonl.1", "audit.jsonl")]
    assert all(len(text) <= 100 for text in texts)
    assert "".join(texts).split("\n")[:-1] == [f"line {number:04}" for number in range(40)][-"".join(texts).count("\n") :]
    assert "".join(texts).count("\n") >= 20


def test_a_file_that_was_moved_loses_nothing(tmp_path: Path) -> None:
    """The next line begins a new one."""
    path = tmp_path / "audit.jsonl"
    sink = FileSink(path)
    sink.write("first")
    path.rename(tmp_path / "moved")
    sink.write("second")

    assert (tmp_path / "moved").read_text() == "first\n"
    assert path.read_text() == "second\n"


def test_half_a_line_is_taken_back() -> None:
    """A disk that fills up in the middle of a write leaves no broken line: /dev/full is one that is full."""
    with pytest.raises(OSError, match="regular"):
        FileSink(Path("/dev/full")).write("x")


def test_a_short_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says how much it took."""
    path = tmp_path / "audit.jsonl"
    sink = FileSink(path)
    sink.write("whole")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))

    with pytest.raises(OSError, match="No space"):
        sink.write("cut off")

    assert path.read_text() == "whole\n"


def test_what_is_no_file_of_ours_is_not_written_to(tmp_path: Path) -> None:
    """A symbolic link, a pipe, a folder."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("link", "pipe", "folder"):
        with pytest.raises(OSError):  # noqa: PT011 - each in its own words
            FileSink(tmp_path / name).write("x")
    assert not (tmp_path / "elsewhere").exists()


def test_the_journal_gets_a_datagram(tmp_path: Path) -> None:
    """As its native protocol wants it; a journal that is gone or stands still is an error at once."""
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        journal.settimeout(5)
        JournalSink(path).write('{"a": 1}')
        assert journal.recv(4096) == f'MESSAGE={{"a": 1}}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nPRIORITY=6\n'.encode()
        with pytest.raises(BlockingIOError):
            _write_often(JournalSink(path))  # until the queue is full
    with pytest.raises(ConnectionRefusedError):
        JournalSink(path).write("x")


def test_where_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal for a service, else the state folder."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert open_audit({"JOURNAL_STREAM": "8:1"}).place == "journal"
    assert open_audit({"XDG_STATE_HOME": "/state"}).place == "/state/atl-sign/audit.jsonl"
    assert open_audit({}).place == "~/.local/state/atl-sign/audit.jsonl"
    assert audit_path({}) == tmp_path / ".local/state/atl-sign/audit.jsonl"


def _write_often(sink: JournalSink) -> None:
    for _ in range(10_000):
        sink.write("x")
